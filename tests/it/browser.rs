//! Chromium drives the page as operators do: `browser/flows.mjs` says what they do and look at. The driver and axe-core
//! come from npm, into a folder of their own; screenshots stay in the folder that `DUALWRITE_TEST_SCREENSHOTS` names.

use std::path::{Path, PathBuf};

use axum::Extension;
use dualwrite::{
    ErrorKind, Stage,
    operator::{Access, Caller, Operator},
};
use tokio::process::Command;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::World;
use crate::support::notice;
use crate::support::sql::Sql;

on_all_databases!(operators_use_the_page_in_a_browser);

const PACKAGES: [&str; 2] = ["puppeteer-core@23.11.1", "axe-core@4.10.3"];
/// Whatever happens, it ends.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(180);

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let all = || std::env::split_paths(&path);
    names.iter().find_map(|name| all().map(|folder| folder.join(name)).find(|file| file.exists()))
}

/// Fails with what the command said.
async fn run(mut command: Command) -> Result<(), String> {
    let ran = tokio::time::timeout(LIMIT, command.kill_on_drop(true).output()).await;
    let output = ran.map_err(|_| format!("{command:?} did not end in time"))?.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{command:?}: {said}"))
}

/// Sixty migrations, some of which need somebody, and the calls of an hour.
async fn populate<D: Sql>(world: &World<D>) {
    for n in 0..60 {
        let name = format!("customer-email-{n:02}");
        world.runtime.migration(name).register().await.unwrap();
    }
    world
        .db
        .execute(
            "INSERT INTO dualwrite_kill (migration, actor, reason, at) \
             VALUES ('customer-email-07', 'grace', 'latency', 1)",
        )
        .await;
    let now = "SELECT min(created_at) FROM dualwrite_migration";
    let now = world.db.number(now).await / 60_000_000;
    for minute in 0..55 {
        for (side, calls, class) in
            [("old", 400 + minute % 7 * 20, 9), ("new", 380 + minute % 5 * 30, 10)]
        {
            let (slow, at) = (calls / 50, (now - minute) * 60_000_000);
            world
                .db
                .execute(&format!(
                    "INSERT INTO dualwrite_traffic (migration, side, minute, calls, errors, h{class:02}, h14) \
                     VALUES ('notes', '{side}', {at}, {calls}, {}, {}, {slow})",
                    minute % 11 / 9,
                    calls - slow
                ))
                .await;
        }
    }
}

async fn operators_use_the_page_in_a_browser<D: Sql>(db: Scratch<D>) {
    // Once is enough: what a browser sees is above the databases.
    if D::NAME != "sqlite" {
        return;
    }
    let found = (
        program(&["chromium", "chromium-browser", "google-chrome"]),
        program(&["node"]),
        program(&["npm"]),
    );
    let (Some(chromium), Some(node), Some(npm)) = found else {
        assert!(
            std::env::var_os("DUALWRITE_TEST_REQUIRE_ALL").is_none(),
            "install chromium, nodejs and npm"
        );
        return notice("SKIPPED a browser: chromium, nodejs and npm are not all there");
    };
    let world =
        World::with(db, Stage::DualWrite, 3, |one| one.approval(Stage::Shadow, "owner")).await;
    world.db.execute("INSERT INTO old_note (id, word) VALUES (4, 'poison')").await;
    let backfill = world.migration.backfill().batch(1).stop_after_failures(0);
    assert_eq!(backfill.run().await.unwrap_err().kind(), ErrorKind::Halted);
    populate(&world).await;

    let operator = Operator::new(world.db.pool().clone());
    let access = Access::from_layer().writes_per_minute(1_000);
    let page =
        dualwrite::operator::page(operator, access).layer(Extension(Caller::operator("ada")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, page).await });

    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("DUALWRITE_TEST_SCREENSHOTS").map(PathBuf::from);
    let folder: &Path = kept.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("package.json"), "{}").unwrap();
    let mut install = Command::new(npm);
    install.current_dir(folder).args(["install", "--no-audit", "--no-fund", "--silent"]);
    install.args(PACKAGES);
    if let Err(said) = run(install).await {
        // Being offline is not a fault of the page.
        assert!(std::env::var_os("DUALWRITE_TEST_ALL").is_none(), "{said}");
        return notice(&format!("SKIPPED a browser: its driver cannot be fetched: {said}"));
    }
    let mut drive = Command::new(node);
    drive.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/flows.mjs"));
    drive.arg(&url).arg(folder).arg(chromium);
    run(drive).await.unwrap();
    assert!(folder.join("rolled-back.png").exists());
    serving.abort();
    world.runtime.shutdown().await.unwrap();
}
