//! The command-line tool as a process of its own: what other processes and people see of it.

use std::env;
use std::process::{Output, Stdio, exit};

use dualwrite::{
    ErrorKind, Stage,
    operator::{CommandOptions, Operator},
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::operated::{halted, off};
use crate::support::process::PATIENCE;
use crate::support::sql::Sql;

on_all_databases!(
    writes_are_closed_and_opened,
    a_view_is_repeated_until_nobody_reads_it,
    a_bar_is_shown_on_a_terminal_alone,
    one_waits_for_a_verification,
);

/// The arguments, as a JSON array.
const ARGUMENTS: &str = "DUALWRITE_TOOL_ARGUMENTS";
/// What comes before this is the test runner's.
const MARK: &str = "@tool";
const AUDITED: [&str; 4] = ["--by", "ada", "--because", "new disks"];

/// The tool, in a process that a test started; nothing in any other.
#[test]
fn child() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = serde_json::from_str(&arguments).unwrap();
    println!("{MARK}");
    exit(dualwrite_cli::run_process(arguments).into())
}

/// The program, and how it becomes the tool. The URL comes by the environment, where no list of processes shows it.
fn tool(url: &str, arguments: &[&str]) -> Command {
    let arguments = [&["dualwrite"], arguments].concat();
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "tool_process::child", "--nocapture", "--test-threads=1"])
        .env(ARGUMENTS, serde_json::to_string(&arguments).unwrap())
        .env("DATABASE_URL", url)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The same on a terminal of its own.
fn on_terminal(url: &str, arguments: &[&str]) -> Command {
    let tool = tool(url, arguments);
    let tool = tool.as_std();
    let words = std::iter::once(tool.get_program()).chain(tool.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    script.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.stdin(Stdio::null()).kill_on_drop(true);
    script
}

async fn ended(mut command: Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let [out, err] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    let out = out.split_once(MARK).map_or(String::new(), |(_, out)| out.trim_start().to_owned());
    (status.code().unwrap(), out, err)
}

async fn run(url: &str, arguments: &[&str]) -> (i32, String, String) {
    ended(tool(url, arguments)).await
}

async fn prints(url: &str, arguments: &[&str]) -> String {
    let (code, out, err) = run(url, arguments).await;
    assert_eq!((code, &*err), (0, ""), "{arguments:?}: {out}");
    out
}

async fn writes_are_closed_and_opened<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let url = &*world.db.url();
    let close = ["close", "notes", "--what", "writes", "--for", "2h"];
    let close = [&close[..], &AUDITED].concat();
    let dry = prints(url, &[&close[..], &["--dry-run"]].concat()).await;
    assert!(dry.contains("would close writes for about 2h") && dry.contains("way back"), "{dry}");
    world.begin().await.rollback().await.unwrap();
    let closed = prints(url, &close).await;
    assert!(closed.contains("ada") && closed.contains("new disks"), "{closed}");
    let refused = world.migration.begin(world.db.pool()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Maintenance, "{refused}");
    let status = prints(url, &["status", "notes"]).await;
    assert!(status.contains("maintenance") && status.contains("new disks"), "{status}");
    assert!(prints(url, &["list"]).await.contains("needs: writes closed"));
    let again = prints(url, &close).await;
    assert!(again.contains("it was so already"), "{again}");
    let open = [&["open", "notes"], &AUDITED[..]].concat();
    let stale = [&open[..], &["--expect-epoch", "1", "--output", "json"]].concat();
    let (code, _, told) = run(url, &stale).await;
    assert_eq!(code, i32::from(dualwrite_cli::REFUSED), "{told}");
    assert!(told.contains("\"refused\"") && told.contains("epoch"), "{told}");
    assert_eq!(prints(url, &open).await, "notes: all calls are open\n");
    world.begin().await.rollback().await.unwrap();
    assert!(prints(url, &open).await.contains("open already"));
    let audit = prints(url, &["audit", "notes"]).await;
    let kinds: Vec<_> = audit.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(kinds, ["open", "close"], "{audit}");

    let calls = [&["close", "notes", "--what", "calls", "--for", "1h"], &AUDITED[..]].concat();
    prints(url, &calls).await;
    let read = world.migration.read("one", &1_i64);
    let read = read.old(async || Ok::<_, dualwrite::Error>(1)).new(async || Ok(1));
    assert_eq!(read.run().await.unwrap_err().kind(), ErrorKind::Maintenance);
    prints(url, &open).await;
    world.runtime.shutdown().await.unwrap();
}

async fn a_view_is_repeated_until_nobody_reads_it<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    let mut watching = tool(url, &["list", "--watch=1s"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("it goes on").unwrap();
        line.expect("it goes on")
    };
    // The test runner has begun that line.
    while !next().await.ends_with(MARK) {}
    assert!(next().await.starts_with("notes  off"));
    let operator = Operator::new(world.db.pool().clone());
    let by = CommandOptions::new("ada", "x");
    operator.command("notes", &dualwrite::operator::Command::KillOn, &by).await.unwrap();
    let mut looks = 0..60;
    while !next().await.contains("needs: killed") {
        looks.next().expect("it is seen");
    }
    drop(lines);
    let status = timeout(PATIENCE, watching.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(dualwrite_cli::FAILED.into()));

    for wrong in [
        &["list", "--watch=10ms"][..],
        &["list", "--watch=2h"],
        &["wait", "notes", "--for", "backfill", "--watch"],
        &[&["kill-off", "notes", "--watch"], &AUDITED[..]].concat(),
    ] {
        let (code, out, told) = run(url, wrong).await;
        assert_eq!((code, &*out), (dualwrite_cli::WRONG_USE.into(), ""), "{wrong:?}: {told}");
        assert!(told.contains("watch"), "{told}");
    }
    let (code, _, told) = run(url, &["status", "nobody", "--watch"]).await;
    assert_eq!(code, i32::from(dualwrite_cli::UNKNOWN), "{told}");
    world.runtime.shutdown().await.unwrap();
}

async fn a_bar_is_shown_on_a_terminal_alone<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let url = &*world.db.url();
    let wait = ["wait", "notes", "--for", "backfill", "--timeout", "1s"];
    let (code, out, err) = run(url, &wait).await;
    assert_eq!(code, i32::from(dualwrite_cli::TIMED_OUT), "{err}");
    assert!(!out.contains('#') && !err.contains('#') && !err.contains('\u{1b}'), "{out}{err}");
    let (code, out, err) = ended(on_terminal(url, &wait)).await;
    assert_eq!(code, i32::from(dualwrite_cli::TIMED_OUT), "{out}{err}");
    assert!(out.contains("[#############################.] 99.9 %, 4 of 4"), "{out}");
    assert!(out.contains("without a worker"), "{out}");
    // It is removed before the answer.
    assert!(out.contains("\r\u{1b}[Kdualwrite: "), "{out:?}");
    let json = [&wait[..], &["--output", "json"]].concat();
    let (_, out, _) = ended(on_terminal(url, &json)).await;
    assert!(!out.contains('#'), "for programs there is none: {out}");
    world.runtime.shutdown().await.unwrap();
}

async fn one_waits_for_a_verification<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let url = &*world.db.url();
    let wait = ["wait", "notes", "--for", "verify", "--timeout", "60s"];
    let (code, _, told) = run(url, &wait).await;
    assert_eq!(code, i32::from(dualwrite_cli::REFUSED), "{told}");
    assert!(told.contains("`verify`"), "{told}");
    world.migration.backfill().run().await.unwrap();
    prints(url, &[&["verify", "notes"], &AUDITED[..]].concat()).await;
    prints(url, &wait).await;
    let status = prints(url, &["status", "notes", "--output", "json"]).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["verification"]["compared"], 3, "{status}");
    world.runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_url_is_read_from_a_file_and_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let shop = folder.path().join("shop.db");
    let made = format!("sqlite://{}?mode=rwc", shop.display());
    let pool = sqlx::SqlitePool::connect(&made).await.unwrap();
    let runtime = dualwrite::Runtime::builder(pool).start().await.unwrap();
    runtime.migration("notes").register().await.unwrap();
    let url = format!("sqlite://{}", shop.display());
    let run = async |arguments: &[&str]| {
        let arguments = [&["dualwrite"][..], arguments].concat();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let good = file("good", &format!("{url}\n"));
    let (code, out, err) = run(&["--database-file", &good, "list"]).await;
    assert_eq!((code, &*err), (dualwrite_cli::DONE, ""));
    assert!(out.contains("notes"), "{out}");
    let (code, out, _) = run(&[
        "compare",
        "notes",
        "--percent",
        "5",
        "--database-file",
        &good,
        "--by",
        "ada",
        "--because",
        "new disks",
    ])
    .await;
    assert_eq!(code, dualwrite_cli::DONE, "{out}");

    let absent = folder.path().join("absent").display().to_string();
    for (path, why) in [
        (&absent, "cannot be used"),
        (&file("empty", "\n"), "it is empty"),
        (&file("several", "s3cret\nmore"), "several lines"),
    ] {
        let (code, out, err) = run(&["--database-file", path, "list"]).await;
        assert_eq!((code, &*out), (dualwrite_cli::UNREADABLE, ""), "{err}");
        assert!(
            err.contains(why) && err.contains("--database-file") && !err.contains("s3cret"),
            "{err}"
        );
    }
    let refused = file("refused", "postgres://ada:s3cret@127.0.0.1:1/none");
    let (code, _, err) = run(&["--database-file", &refused, "list"]).await;
    assert_eq!(code, dualwrite_cli::UNREACHABLE, "{err}");
    assert!(!err.contains("s3cret"), "{err}");
    let both = ["--database", &url, "--database-file", &good, "list"];
    let (code, _, err) = run(&both).await;
    assert_eq!(code, dualwrite_cli::WRONG_USE, "{err}");
    assert!(err.contains("not both"), "{err}");
    runtime.shutdown().await.unwrap();
}

/// An output on a disk that is full.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An answer that is not kept was not given.
#[tokio::test]
async fn a_full_disk_is_an_error() {
    let mut err = Vec::new();
    let code = dualwrite_cli::run(["dualwrite", "completions", "bash"], &mut Full, &mut err).await;
    assert_eq!(code, dualwrite_cli::FAILED);
    assert!(!err.is_empty(), "it is told where there is room");
}
