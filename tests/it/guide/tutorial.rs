//! The tutorial is carried out: its programs are those that are compiled here, and its commands are run against them.

use std::path::Path;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt as _;

use super::{blocks, words};
use crate::tool::run_on;

const PAGE: &str = include_str!("../../../dualwrite/src/docs/tutorial.md");
const BEFORE: &str = include_str!("shop_before.rs");
const AFTER: &str = include_str!("shop_after.rs");

/// The first program of the page.
#[allow(dead_code, reason = "its `main` is not called")]
mod before {
    include!("shop_before.rs");

    pub(super) async fn started(url: &str, migrations: &Path) -> Router {
        app(SqlCustomers(connect(url, migrations).await.unwrap()))
    }
}

/// The second one.
#[allow(dead_code, reason = "its `main` is not called")]
mod after {
    include!("shop_after.rs");

    pub(super) async fn started(url: &str, migrations: &Path) -> (Router, Runtime<Sqlite>) {
        let pool = connect(url, migrations).await.unwrap();
        let (runtime, migration) = start(&pool).await.unwrap();
        (app(wrap(&migration, &pool)), runtime)
    }
}

/// A line of a terminal, and what it prints.
async fn carried_out(line: &str, app: &Router, url: &str) -> String {
    let words = words(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (method, data, address) = match words.as_slice() {
        ["curl", "-X", "PUT", "-d", data, address] => ("PUT", *data, *address),
        ["curl", address] => ("GET", "", *address),
        ["dualwrite", arguments @ ..] => {
            let named =
                [arguments, if line.contains("--because") { &["--by", "ada"] } else { &[] }]
                    .concat();
            let (code, out, err) = run_on(url, &named).await;
            assert_eq!(code, dualwrite_cli::DONE, "{line}: {out}{err}");
            return out;
        }
        ["cargo", ..] | ["export", ..] | ["mkdir", ..] => return String::new(),
        _ => panic!("what does this do: {line}"),
    };
    let path = address.strip_prefix("localhost:3000").unwrap();
    let request = Request::builder().method(method).uri(path).body(Body::from(data.to_owned()));
    let answer = app.clone().oneshot(request.unwrap()).await.unwrap();
    assert!(answer.status().is_success(), "{line}: {}", answer.status());
    String::from_utf8(to_bytes(answer.into_body(), 1_000).await.unwrap().to_vec()).unwrap()
}

fn migration(folder: &Path, name: &str, block: &super::Block<'_>) {
    assert!(PAGE.contains(&format!("`migrations/{name}`")), "{name}");
    std::fs::write(folder.join(name), block.lines.join("\n")).unwrap();
}

#[tokio::test]
async fn the_tutorial_is_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/shop.db", folder.path().display());
    let migrations = folder.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();

    let (mut app, mut running, mut printed, mut count) = (Router::new(), None, String::new(), 0);
    for block in blocks(PAGE) {
        let text = block.lines.join("\n") + "\n";
        match block.kind {
            "sql" if text.contains("CREATE") => migration(&migrations, "1_customer.sql", &block),
            "sql" => migration(&migrations, "2_email_address.sql", &block),
            "rust,ignore" if running.is_none() && !text.contains("dualwrite::") => {
                assert_eq!(text, BEFORE);
                app = before::started(&url, &migrations).await;
            }
            "rust,ignore" => {
                assert_eq!(text, AFTER);
                let (next, runtime) = after::started(&url, &migrations).await;
                (app, running) = (next, Some(runtime));
            }
            "sh" => {
                for line in block.lines {
                    printed = carried_out(line, &app, &url).await;
                    count += 1;
                }
            }
            "text" => {
                let expected: Vec<&str> = text.split_whitespace().collect();
                let found: Vec<&str> = printed.split_whitespace().collect();
                // The first lines are enough of what the command prints.
                let there = |word| found.contains(word);
                assert!(expected.iter().all(there), "{expected:?}: {printed}");
            }
            kind => panic!("what is {kind}"),
        }
    }
    assert!(count > 30, "the commands were not found: {count}");
    running.unwrap().shutdown().await.unwrap();
}
