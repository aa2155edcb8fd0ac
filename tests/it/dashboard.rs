//! The page as somebody uses it at three in the morning: what it costs, what it shows of all instances, the way back in
//! two clicks, errors with a way back, and what is renewed.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HOST, REFERER};
use axum::http::{Request, StatusCode};
use dualwrite::{
    Runtime, Stage,
    operator::{Caller, Operator},
};
use futures_util::StreamExt as _;
use tower::ServiceExt as _;

use crate::page::{Browser, linked, page_for};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::log::{Log, listen};
use crate::support::notes::{CopyNotes, DualNotes, Notes as _, Store, World, plain};
use crate::support::operated::halted;
use crate::support::sql::Sql;
use crate::support::wait::until;
use crate::tool::prints;

on_all_databases!(
    a_view_asks_at_most_twelve_statements,
    calls_of_all_instances_are_shown_together,
    a_rollback_takes_two_clicks,
    a_shutdown_tells_the_calls_of_the_last_minute,
    weighty_commands_are_confirmed_and_the_way_back_fits_the_stage,
    what_would_happen_is_shown_before_it_is_done,
    errors_are_pages_with_a_way_back,
    a_page_is_renewed_while_it_is_looked_at,
    what_was_read_is_shown_to_all_for_a_second_and_not_after_a_command,
    the_overview_is_filtered,
    keys_and_history_have_pages_of_their_own,
);

/// The statements that this asks of the database.
async fn statements(of: impl Future<Output = ()>) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter("sqlx::query=trace").with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let guard = listen(subscriber);
    of.await;
    drop(guard);
    let log = log.text();
    log.lines().filter(|line| line.contains(" sqlx::query: ")).map(str::to_owned).collect()
}

const STATEMENTS_MAX: usize = 12;
/// What the tool asks beside, to connect.
const CONNECTING: usize = 6;

async fn a_view_asks_at_most_twelve_statements<D: Sql>(db: Scratch<D>) {
    if D::NAME == "sqlite" {
        return; // its statements are run, and logged, by threads of sqlx
    }
    let world = halted(db).await;
    for n in 0..30 {
        world.runtime.migration(format!("m{n:03}")).register().await.unwrap();
    }
    world.runtime.shutdown().await.unwrap();
    for path in [
        "/",
        "/view/notes",
        "/view/notes/keys",
        "/view/notes/history",
        "/view/notes/catalogue",
        "/migrations",
        "/migrations/notes",
    ] {
        let browser = Browser::of(&world.db);
        browser.json("/migrations/notes/jobs").await; // what connecting asks is no part of a view
        let asked = statements(async { drop(browser.shows(path).await) }).await;
        let count = asked.len();
        assert!((3..=STATEMENTS_MAX).contains(&count), "{path}: {count} statements: {asked:#?}");
    }
    let url = &*world.db.url();
    for view in [&["status"][..], &["status", "notes"], &["list"]] {
        let asked = statements(async { drop(prints(url, view).await) }).await;
        let count = asked.len();
        assert!(
            (3..=STATEMENTS_MAX + CONNECTING).contains(&count),
            "{view:?}: {count}: {asked:#?}"
        );
    }
}

/// An instance whose clock the test moves.
async fn instance<D: Sql>(
    db: &Scratch<D>,
) -> (Runtime<D::Db>, dualwrite::testing::ManualClock, DualNotes<Store<D>, Store<D>>) {
    let builder = Runtime::builder(db.pool().clone()).lease(Duration::from_secs(1_000_000));
    let (builder, hands) = builder.manual_clock();
    let runtime = builder.start().await.unwrap();
    let migration = runtime.migration("notes").backfill(CopyNotes::<D>::new()).register().await;
    let store = |table: &'static str| Store {
        table,
        pool: db.pool().clone(),
        mood: Default::default(),
        hanging: Default::default(),
        reading: Hook::default(),
        removing: Hook::default(),
    };
    let notes = DualNotes::new(&migration.unwrap(), store("old_note"), store("new_note"));
    (runtime, hands, notes)
}

async fn calls_of_all_instances_are_shown_together<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
    )
    .await;
    let browser = Browser::of(&db);
    let operator = Operator::new(db.pool().clone());
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(instance(&db).await);
    }
    let rows = "SELECT count(*) FROM dualwrite_traffic";
    for (_, hands, notes) in &running {
        for id in 0..10 {
            notes.find(id).await.unwrap();
        }
        assert_eq!(db.number(rows).await, 0, "nothing is reported before a minute has passed");
        hands.advance(Duration::from_secs(61));
    }
    let told = async || operator.traffic("notes").await.unwrap();
    until("both have told", async || told().await.old.hour.calls == 20).await;
    let found = told().await;
    assert_eq!((found.new.hour.calls, found.old.hour.errors), (0, 0), "{found:?}");
    assert!(found.old.hour.p50_us > 0.0 && found.old.hour.p99_us >= found.old.hour.p50_us);
    assert!(!found.old.minutes.is_empty() && found.old.minutes.len() <= 2, "{found:?}");

    // A minute without calls asks nothing; old ones are not shown.
    for (_, hands, _) in &running {
        hands.advance(Duration::from_secs(61));
    }
    let page = browser.shows("/view/notes").await;
    for shown in ["20 calls", "Old side", "New side", "<svg class=\"chart\"", "p99 "] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let json = browser.json("/migrations/notes/traffic").await;
    assert_eq!(json["old"]["hour"]["calls"], 20);
    let shown = prints(&db.url(), &["traffic", "notes"]).await;
    assert!(shown.contains("old  20 calls in the last hour, 0.00 % failed, p50 "), "{shown}");
    db.execute("UPDATE dualwrite_traffic SET minute = minute - 3720000000").await;
    assert_eq!(told().await.old.hour.calls, 0);
    for (runtime, _, _) in running {
        runtime.shutdown().await.unwrap();
    }
}

/// Instances tell of their calls once a minute; one that ends tells of the rest.
async fn a_shutdown_tells_the_calls_of_the_last_minute<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    for id in 1..=3 {
        world.notes.find(id).await.unwrap();
    }
    let operator = Operator::new(world.db.pool().clone());
    assert_eq!(operator.traffic("notes").await.unwrap().old.hour.calls, 0, "not told yet");
    world.runtime.shutdown().await.unwrap();
    assert_eq!(operator.traffic("notes").await.unwrap().old.hour.calls, 3);
}

async fn a_rollback_takes_two_clicks<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 3, plain).await;
    let browser = Browser::of(&world.db);
    let page = browser.shows("/view/notes").await;
    assert!(page.contains("A rollback leads to <strong>dual_write</strong>"), "{page}");
    let links = linked("/view/notes", &page);
    let confirm = links.iter().find(|link| link.ends_with("/confirm/rollback")).unwrap();
    let asked = browser.shows(confirm).await;
    assert!(asked.contains("nothing is done yet") && asked.contains("would "), "{asked}");
    assert_eq!(world.migration.refresh().await.unwrap().stage, Stage::Shadow);
    let action = linked(confirm, &asked);
    let action = action.iter().find(|link| link.ends_with("/commands/rollback")).unwrap();
    // What the form has already, with nothing to be typed.
    assert!(asked.contains("name=\"because\"") && asked.contains("value=\"decided on the page\""));
    let done = browser.post(action, "because=decided+on+the+page&expect-epoch=1").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(world.migration.refresh().await.unwrap().stage, Stage::DualWrite);
    let reader = Browser::logged_in(&world.db, Caller::reader("grace"));
    assert_eq!(reader.get(confirm).await.status, StatusCode::FORBIDDEN);
    world.runtime.shutdown().await.unwrap();
}

async fn what_would_happen_is_shown_before_it_is_done<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let browser = Browser::of(&world.db);
    let path = "/migrations/notes/commands/ramp";
    let dry = browser.post(path, "percent=5&because=%3Cb%3E&dry-run=true").await;
    assert_eq!(dry.status, StatusCode::OK, "{}", dry.text);
    for shown in ["nothing is done yet", "name=\"percent\" value=\"5\"", "&lt;b&gt;", "ramp now"] {
        assert!(dry.text.contains(shown), "{shown}: {}", dry.text);
    }
    assert!(world.migration.refresh().await.unwrap().ramp.basis_points() == 0);
    let asked = browser.shows("/view/notes/confirm/advance?to=shadow").await;
    assert!(asked.contains("would advance to shadow"), "{asked}");
    let illegal = browser.get("/view/notes/confirm/advance?to=live").await;
    assert_eq!(illegal.status, StatusCode::CONFLICT, "{}", illegal.text);
    world.runtime.shutdown().await.unwrap();
}

/// What changes which side is used, or throws something away, is first looked at; what is taken back easily is not.
async fn weighty_commands_are_confirmed_and_the_way_back_fits_the_stage<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let browser = Browser::of(&world.db);
    let page = browser.shows("/view/notes").await;
    let form = |command: &str| {
        let from = page.find(&format!("commands/{command}\"")).unwrap();
        page[from..].split("</form>").next().unwrap().to_owned()
    };
    for weighty in ["advance", "ramp", "kill-on", "close", "repair", "backfill-cancel"] {
        let form = form(weighty);
        assert!(form.contains(r#"type="hidden" name="dry-run" value="true""#), "{weighty}: {form}");
    }
    for light in ["backfill-pause", "verify", "open", "dead-letters-retry"] {
        assert!(form(light).contains(r#"type="checkbox" name="dry-run""#), "{light}");
    }
    assert!(page.contains("There is nothing to roll back"), "{page}");
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let browser = Browser::of(&world.db); // that has not looked a moment ago
    let links = linked("/view/notes", &browser.shows("/view/notes").await);
    let link = links.iter().find(|link| link.ends_with("confirm/step-back?to=off")).unwrap();
    let asked = browser.shows(link).await;
    assert!(asked.contains("nothing is done yet") && asked.contains("step back to off"), "{asked}");
    world.runtime.shutdown().await.unwrap();
}

async fn errors_are_pages_with_a_way_back<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let browser = Browser::of(&world.db);
    let ask = async |request: axum::http::request::Builder, body: &'static str| {
        let request = request.header(ACCEPT, "text/html,*/*").header(HOST, "ops.example");
        browser.ask(request.body(Body::from(body)).unwrap()).await
    };
    let gone = ask(Request::get("/view/nobody"), "").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(gone.headers[CONTENT_TYPE], "text/html; charset=utf-8");
    assert!(
        gone.text.contains("All migrations") && gone.text.contains("`nobody`"),
        "{}",
        gone.text
    );
    let form = Request::post("/migrations/notes/commands/backfill-rate")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(REFERER, "https://ops.example/view/notes");
    let wrong = ask(form, "because=x&rate=fast").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text.contains("href=\"https://ops.example/view/notes\""), "{}", wrong.text);
    assert!(wrong.text.contains("`rate`"), "{}", wrong.text);
    let other = Request::get("/view/nobody").header(REFERER, "https://evil.example/x");
    assert!(!ask(other, "").await.text.contains("evil"));
    world.runtime.shutdown().await.unwrap();
}

async fn a_page_is_renewed_while_it_is_looked_at<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let page = page_for(Operator::new(world.db.pool().clone()), Caller::operator("ada"));
    let browser = Browser(page.clone());
    for path in ["/live", "/view/notes/live"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = page.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()[CONTENT_TYPE], "text/event-stream; charset=utf-8");
        let mut events = answer.into_body().into_data_stream();
        let mut next = async || {
            let event = events.next().await.unwrap().unwrap();
            String::from_utf8(event.to_vec()).unwrap()
        };
        let first = next().await;
        assert!(first.starts_with("retry: ") && first.contains("event: view\ndata: "), "{first}");
        assert!(!first.contains("<form") && !first.contains("paused"), "{first}");
        browser.post("/migrations/notes/commands/backfill-pause", "because=x").await;
        let second = next().await;
        assert!(second.contains("paused"), "{second}");
        browser.post("/migrations/notes/commands/backfill-resume", "because=x").await;
    }
    // Its links are those of the page that it is part of.
    let nested = axum::Router::new().nest_service("/admin", page.clone());
    for (query, link) in [("", "./admin/view/notes"), ("?slash=1", "./view/notes")] {
        let request = Request::get(format!("/admin/live{query}")).body(Body::empty()).unwrap();
        let answer = nested.clone().oneshot(request).await.unwrap();
        let event = answer.into_body().into_data_stream().next().await.unwrap().unwrap();
        let event = String::from_utf8(event.to_vec()).unwrap();
        assert!(event.contains(&format!("href=\"{link}\"")), "{event}");
    }
    let asked = async || {
        let request = Request::get("/live").body(Body::empty()).unwrap();
        page.clone().oneshot(request).await.unwrap()
    };
    let mut open = Vec::new();
    for _ in 0..dualwrite::defaults::PAGE_LIVE_MAX {
        open.push(asked().await);
    }
    assert!(open.iter().all(|answer| answer.status() == StatusCode::OK));
    assert_eq!(asked().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    open.clear();
    assert_eq!(asked().await.status(), StatusCode::OK);
    world.runtime.shutdown().await.unwrap();
}

async fn what_was_read_is_shown_to_all_for_a_second_and_not_after_a_command<D: Sql>(
    db: Scratch<D>,
) {
    let world = halted(db).await;
    let browser = Browser::of(&world.db);
    if D::NAME != "sqlite" {
        browser.shows("/").await;
        let ten = async {
            for _ in 0..10 {
                browser.shows("/").await;
            }
        };
        // A second may end meanwhile.
        assert!(statements(ten).await.len() <= STATEMENTS_MAX, "ten viewers ask as one");
    }
    browser.shows("/view/notes").await;
    browser.post("/migrations/notes/commands/backfill-pause", "because=x").await;
    assert!(browser.shows("/view/notes").await.contains("<td>paused</td>"));
    world.runtime.shutdown().await.unwrap();
}

async fn the_overview_is_filtered<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    for name in ["one", "two"] {
        world.runtime.migration(name).register().await.unwrap();
    }
    let browser = Browser::of(&world.db);
    browser.post("/migrations/two/commands/kill-on", "because=x").await;
    let names = async |path: &str| {
        let page = browser.shows(path).await;
        let found = ["notes", "one", "two"]
            .into_iter()
            .filter(|name| page.contains(&format!("/view/{name}")));
        found.collect::<Vec<_>>()
    };
    assert_eq!(names("/?needs=1").await, ["two"]);
    assert_eq!(names("/?stage=dual_write").await, ["notes"]);
    assert_eq!(names("/?stage=off&search=o").await, ["one", "two"]);
    assert_eq!(names("/?stage=sideways").await, ["notes", "one", "two"]);
    assert!(browser.shows("/?stage=live").await.contains("No migration is like that."));
    world.runtime.shutdown().await.unwrap();
}

async fn keys_and_history_have_pages_of_their_own<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let browser = Browser::of(&world.db);
    browser.post("/migrations/notes/commands/backfill-pause", "because=noon").await;
    let keys = browser.shows("/view/notes/keys").await;
    assert!(keys.contains("note 4 cannot be copied") && keys.contains("Mismatches"), "{keys}");
    let history = browser.shows("/view/notes/history").await;
    for shown in ["backfill_pause", "noon", "ada", "dual_write"] {
        assert!(history.contains(shown), "{shown}: {history}");
    }
    assert_eq!(browser.get("/view/notes/dance").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/view/nobody/keys").await.status, StatusCode::NOT_FOUND);
    world.runtime.shutdown().await.unwrap();
}
