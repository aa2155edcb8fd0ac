//! The page for operators: what it shows, which commands it gives, and what it refuses.

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Extension, Router};
use dualwrite::{
    defaults::PAGE_FORM_BYTES_MAX,
    operator::{Access, COMMANDS, Caller, Operator},
};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::operated::{halted, off};
use crate::support::sql::Sql;

on_all_databases!(
    a_backfill_is_shown_and_takes_commands,
    a_backfill_is_started,
    what_cannot_be_done_is_told,
    other_sites_are_refused,
    nobody_sees_anything_and_a_reader_changes_nothing,
    a_token_is_as_good_as_a_login,
    changes_are_bounded_but_for_a_rollback_and_the_kill_switch,
    links_hold_where_the_page_is_nested,
    many_migrations_are_pages_of_fifty_lines,
    what_others_wrote_is_text,
    a_database_without_tables_tells_nothing_of_itself,
);

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// The page as somebody sees it who is logged in.
pub(crate) fn page_for(operator: Operator, caller: Caller) -> Router {
    dualwrite::operator::page(operator, Access::from_layer()).layer(Extension(caller))
}

/// A browser without a window.
pub(crate) struct Browser(pub(crate) Router);

impl Browser {
    pub(crate) fn of<D: Sql>(db: &Scratch<D>) -> Self {
        Self::logged_in(db, Caller::operator("ada"))
    }

    pub(crate) fn logged_in<D: Sql>(db: &Scratch<D>, caller: Caller) -> Self {
        Self(page_for(Operator::new(db.pool().clone()), caller))
    }

    async fn ask_with(&self, path: &str, token: &str) -> Answer {
        let request = Request::get(path).header("authorization", token);
        self.ask(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn shows(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.text
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.shows(path).await).unwrap()
    }

    /// Sends a body of this kind.
    pub(crate) async fn send(&self, path: &str, kind: &str, body: &str) -> Answer {
        let request = Request::post(path).header(HOST, "ops.example").header(CONTENT_TYPE, kind);
        self.ask(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        self.post_with(path, form, &[]).await
    }

    async fn post_with(&self, path: &str, form: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path)
            .header(HOST, "ops.example")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            request.headers_mut().unwrap().insert(name, value.parse().unwrap());
        }
        self.ask(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    async fn give(&self, command: &str, form: &str) -> Answer {
        let form = if form.contains("because=") { form } else { &format!("because=x&{form}") };
        self.post(&format!("/migrations/notes/commands/{command}"), form).await
    }
}

async fn a_backfill_is_shown_and_takes_commands<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let browser = Browser::of(&world.db);
    let page = browser.shows("/").await;
    for shown in ["notes", "dual_write, epoch", "without a worker, 99.9 %", "dead letters"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let before = browser.json("/migrations").await;
    assert_eq!(before[0]["name"], "notes");
    assert_eq!((&before[0]["dead_letters"], &before[0]["instances"]), (&1.into(), &1.into()));
    let backfill = async || browser.json("/migrations/notes").await["backfill"].clone();
    let shown = backfill().await;
    assert_eq!((&shown["done"], &shown["migrated"]), (&4.into(), &3.into()));
    assert_eq!((&shown["remaining"], &shown["percent"]), (&0.into(), &99.9.into()));

    let paused = browser.give("backfill-pause", "").await;
    assert_eq!((paused.status, &*paused.text), (StatusCode::SEE_OTHER, ""));
    assert_eq!(paused.headers[LOCATION], "./../../../view/notes");
    assert!(browser.shows("/view/notes").await.contains("paused"));
    assert_eq!(backfill().await["paused"], true);
    assert_eq!(browser.give("backfill-rate", "rate=500").await.status, StatusCode::SEE_OTHER);
    assert_eq!(backfill().await["rate"], 500);
    assert!(browser.shows("/view/notes").await.contains("at most 500 keys/s"));
    assert_eq!(browser.give("backfill-rate", "rate=none").await.status, StatusCode::SEE_OTHER);
    assert_eq!(backfill().await["rate"], Value::Null);
    assert_eq!(browser.give("backfill-resume", "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(backfill().await["paused"], false);
    assert_eq!(browser.give("backfill-cancel", "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(backfill().await["cancelled"], true);

    let nothing = browser.give("backfill-pause", "reverse=true").await;
    assert_eq!(nothing.status, StatusCode::CONFLICT);
    assert!(nothing.text.contains("start it"), "{}", nothing.text);
    world.runtime.shutdown().await.unwrap();
}

async fn a_backfill_is_started<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let browser = Browser::of(&world.db);
    assert!(browser.shows("/").await.contains("none yet"));
    let form = "by=ada&because=columns+are+there&workers=2&rate=700&reverse=";
    let started = browser.give("backfill-start", form).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    let seen = browser.json("/migrations/notes").await["started"][0].clone();
    assert_eq!((&seen["actor"], &seen["side"]), (&"ada".into(), &"new".into()));
    assert_eq!((&seen["workers"], &seen["rate"]), (&2.into(), &700.into()));
    let page = browser.shows("/view/notes").await;
    assert!(page.contains("columns are there") && page.contains("at most 700"), "{page}");

    let again = browser.give("backfill-start", form).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "it holds already: {}", again.text);
    let again = browser.give("backfill-start", "workers=3").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.text.contains("cancel it first"), "{}", again.text);
    assert_eq!(browser.give("backfill-cancel", "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.json("/migrations/notes").await["started"], Value::Array(Vec::new()));
    world.runtime.shutdown().await.unwrap();
}

async fn what_cannot_be_done_is_told<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let browser = Browser::of(&world.db);
    for path in ["/view/nobody", "/migrations/nobody", "/view/%00"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
    }
    for command in ["start", "pause", "resume", "cancel", "rate"] {
        let form = "because=x&rate=5";
        let path = format!("/migrations/nobody/commands/backfill-{command}");
        let unknown = browser.post(&path, form).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{command}: {}", unknown.text);
        assert!(unknown.text.contains("`nobody`"), "{}", unknown.text);
        if command != "start" {
            let nothing = browser.give(&format!("backfill-{command}"), form).await;
            assert_eq!(nothing.status, StatusCode::CONFLICT, "{command}: {}", nothing.text);
        }
    }
    // Changes without who and why are no longer there.
    for path in ["commands/backfill-stop", "backfill/pause", "backfill/start"] {
        let gone = browser.post(&format!("/migrations/notes/{path}"), "because=x").await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{path}: {}", gone.text);
    }
    let long = format!("by={}&because=x", "a".repeat(101));
    for (command, form, field) in [
        ("start", "by=ada&because=", "`because`"),
        ("start", &long, "`by`"),
        ("start", "by=ada&because=x&workers=99", "`workers`"),
        ("start", "by=ada&because=x&rate=0", "`rate`"),
        ("rate", "", "`rate`"),
        ("pause", "reverse=perhaps", "`reverse`"),
    ] {
        let refused = browser.give(&format!("backfill-{command}"), form).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{command} {form}");
        assert!(refused.text.contains(field), "{command} {form}: {}", refused.text);
    }
    let endless = format!("by=ada&because={}", "x".repeat(PAGE_FORM_BYTES_MAX));
    assert_eq!(
        browser.give("backfill-start", &endless).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(browser.json("/migrations/notes").await["started"], Value::Array(Vec::new()));
    world.runtime.shutdown().await.unwrap();
}

async fn other_sites_are_refused<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let browser = Browser::of(&world.db);
    let path = "/migrations/notes/commands/backfill-pause";
    for header in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "https://ops.example:8443"),
        ("origin", "null"),
    ] {
        let refused = browser.post_with(path, "because=x", &[header]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{header:?}");
        assert_eq!(browser.json("/migrations/notes").await["backfill"]["paused"], false);
    }
    let own = [("sec-fetch-site", "same-origin"), ("origin", "https://ops.example")];
    assert_eq!(browser.post_with(path, "because=x", &own).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.json("/migrations/notes").await["backfill"]["paused"], true);
    // Whatever the answer, it may not be kept, framed or taken for something else.
    for answer in [
        browser.get("/").await,
        browser.get("/migrations").await,
        browser.get("/nowhere").await,
        browser.post_with(path, "because=x", &[("origin", "null")]).await,
    ] {
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("form-action 'self'; frame-ancestors 'none'"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
        // Without it browsers send the page's own forms with `Origin: null`.
        assert_eq!(answer.headers["referrer-policy"], "same-origin");
    }
    world.runtime.shutdown().await.unwrap();
}

const PAUSE: &str = "/migrations/notes/commands/backfill-pause";

async fn nobody_sees_anything_and_a_reader_changes_nothing<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let operator = Operator::new(world.db.pool().clone());
    let nobody = Browser(dualwrite::operator::page(operator, Access::from_layer()));
    for path in ["/", "/view/notes", "/migrations", "/migrations/nobody", "/nowhere", "/live.js"] {
        let answer = nobody.get(path).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {}", answer.text);
        assert!(!answer.text.contains("notes"), "{}", answer.text);
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(nobody.post(PAUSE, "because=x").await.status, StatusCode::UNAUTHORIZED);

    let reader = Browser::logged_in(&world.db, Caller::reader("grace"));
    let page = reader.shows("/view/notes").await;
    assert!(page.contains("You may look, and not change anything."), "{page}");
    assert!(!page.contains("<form"), "{page}");
    for path in [PAUSE, "/migrations/notes/commands/rollback"] {
        let refused = reader.post(path, "because=x").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}: {}", refused.text);
    }
    assert_eq!(reader.json("/migrations/notes").await["backfill"]["paused"], false);

    // Who acts is who is logged in, whatever the form says.
    let ada = Browser::of(&world.db);
    assert!(ada.shows("/view/notes").await.contains("You act as "));
    let path = "/migrations/notes/commands/kill-on";
    let other = ada.post(path, "because=x&by=grace").await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST, "{}", other.text);
    assert!(other.text.contains("the field `by`"), "{}", other.text);
    assert_eq!(ada.post(path, "because=x").await.status, StatusCode::SEE_OTHER);
    assert_eq!(ada.json("/migrations/notes").await["killed_by"], "ada");
    world.runtime.shutdown().await.unwrap();
}

async fn a_token_is_as_good_as_a_login<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let operator = Operator::new(world.db.pool().clone());
    let tokens = [
        (Caller::reader("pipeline"), "0123456789abcdef"),
        (Caller::operator("deployer"), "fedcba9876543210"),
    ];
    let browser = Browser(dualwrite::operator::page(operator, Access::bearer(tokens).unwrap()));
    let answer = browser.get("/migrations").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    for wrong in ["Bearer 0123456789abcdee", "0123456789abcdef", "Basic 0123456789abcdef"] {
        let answer = browser.ask_with("/migrations", wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let answer = browser.ask_with("/migrations", "Bearer 0123456789abcdef").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    for (token, status) in [
        ("Bearer 0123456789abcdef", StatusCode::FORBIDDEN),
        ("Bearer fedcba9876543210", StatusCode::SEE_OTHER),
    ] {
        let answer = browser.post_with(PAUSE, "because=x", &[("authorization", token)]).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    world.runtime.shutdown().await.unwrap();
}

async fn changes_are_bounded_but_for_a_rollback_and_the_kill_switch<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let operator = Operator::new(world.db.pool().clone());
    let access = Access::from_layer().writes_per_minute(2).public_host("ops.example");
    let page = dualwrite::operator::page(operator, access);
    let browser = Browser(page.layer(Extension(Caller::operator("ada"))));
    // A proxy has rewritten the host.
    let sent = [("host", "10.0.0.7"), ("origin", "https://ops.example")];
    let mut refused = None;
    for _ in 0..4 {
        let answer = browser.post_with(PAUSE, "because=x", &sent).await;
        match answer.status {
            StatusCode::TOO_MANY_REQUESTS => refused = Some(answer),
            status => assert_eq!(status, StatusCode::SEE_OTHER, "{}", answer.text),
        }
    }
    let refused = refused.expect("two changes a minute");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    for command in ["kill-on", "rollback"] {
        let path = format!("/migrations/notes/commands/{command}");
        let answer = browser.post_with(&path, "because=x", &sent).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{command}");
    }
    assert_eq!(browser.json("/migrations/notes").await["killed_by"], "ada");
    world.runtime.shutdown().await.unwrap();
}

async fn links_hold_where_the_page_is_nested<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let Browser(page) = Browser::of(&world.db);
    for (router, first) in [
        (page.clone(), "/"),
        (Router::new().nest("/ops", page.clone()), "/ops"),
        (Router::new().nest("/admin/dualwrite", page.clone()), "/admin/dualwrite"),
        (Router::new().nest_service("/admin/dualwrite", page.clone()), "/admin/dualwrite/"),
        (Router::new().nest_service("/admin/dualwrite", page), "/admin/dualwrite"),
    ] {
        let browser = Browser(router);
        let page = browser.shows(first).await;
        let links = linked(first, &page);
        // Home, search, the migration, removals, refresh, JSON, the icon, and the script.
        assert_eq!(links.len(), 8, "{page}");
        for link in &links {
            browser.shows(link).await;
        }
        let view = links.iter().find(|link| link.ends_with("/view/notes")).unwrap();
        let page = browser.shows(view).await;
        let links = linked(view, &page);
        let forms = links.iter().filter(|link| link.contains("/commands/"));
        assert_eq!(forms.count(), COMMANDS.len(), "{page}");
        for link in &links {
            if link.contains("/commands/") {
                assert_eq!(browser.get(link).await.status, StatusCode::METHOD_NOT_ALLOWED);
            } else {
                browser.shows(link).await;
            }
        }
        for command in ["/backfill-pause", "/backfill-resume"] {
            let form = links.iter().find(|link| link.ends_with(command)).unwrap();
            let answer = browser.post(form, "because=x").await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{form}: {}", answer.text);
            let back = answer.headers[LOCATION].to_str().unwrap();
            assert_eq!(led(form, back), *view);
        }
    }
    world.runtime.shutdown().await.unwrap();
}

async fn what_others_wrote_is_text<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    world
        .db
        .execute(
            "UPDATE dualwrite_backfill SET throttled = '<script>throttled</script>';
             UPDATE dualwrite_batch SET owner = '<script>owner</script>'",
        )
        .await;
    let browser = Browser::logged_in(&world.db, Caller::operator("<script>by"));
    let form = "because=%22%3E%3Cscript%3Ebecause&reverse=true";
    let started = browser.give("backfill-start", form).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    let page = browser.shows("/view/notes").await;
    assert!(!page.contains("<script>"), "{page}");
    for told in ["throttled", "owner", "by", "because"] {
        assert!(page.contains(&format!("&lt;script&gt;{told}")), "{told}: {page}");
    }
    let odd = browser.get("/view/%3Cscript%3E").await;
    assert_eq!(odd.status, StatusCode::NOT_FOUND);
    assert_eq!(odd.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    world.runtime.shutdown().await.unwrap();
}

async fn a_database_without_tables_tells_nothing_of_itself<D: Sql>(db: Scratch<D>) {
    let browser = Browser::of(&db);
    for answer in [
        browser.get("/").await,
        browser.get("/view/notes").await,
        browser.get("/migrations").await,
        browser.give("backfill-start", "by=ada&because=x").await,
        browser.give("backfill-pause", "").await,
    ] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
        assert!(answer.text.contains("control tables"), "{}", answer.text);
        assert!(!answer.text.contains("dualwrite_"), "{}", answer.text);
    }
}

async fn many_migrations_are_pages_of_fifty_lines<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let prepared = (0..53).map(|n| world.runtime.migration(format!("m{n:03}")));
    for migration in prepared {
        migration.register().await.unwrap();
    }
    let browser = Browser::of(&world.db);
    let first = browser.shows("/").await;
    assert!(first.contains("54 migrations, page 1 of 2"), "{first}");
    let line = "<th scope=\"row\">";
    assert_eq!(first.matches(line).count(), 50);
    let next = linked("/", &first).into_iter().find(|link| link.contains("page=2")).unwrap();
    assert_eq!(browser.shows(&next).await.matches(line).count(), 4);
    let found = browser.shows("/?search=M00").await;
    assert_eq!(found.matches(line).count(), 10, "{found}");
    assert!(browser.shows("/?search=nobody").await.contains("No name contains"));
    world.runtime.shutdown().await.unwrap();
}

/// Where the links and forms of a page lead.
pub(crate) fn linked(from: &str, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mark in [" href=\"", " action=\"", " formaction=\"", " src=\""] {
        for piece in page.split(mark).skip(1) {
            let link = piece.split('"').next().unwrap().replace("&amp;", "&");
            found.push(led(from, &link));
        }
    }
    found
}

/// Where a relative link of this page leads.
fn led(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
