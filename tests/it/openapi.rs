//! The document of the JSON API: what it says is what the page does. An outside tool, schemathesis, checks that in
//! `tests/run --all`: it is installed from PyPI into a folder of its own.

use std::path::Path;
use std::process::Output;

use axum::Extension;
use dualwrite::{
    Stage,
    operator::{Access, COMMANDS, Caller, Operator},
};
use tokio::process::Command;

use crate::page::Browser;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

on_all_databases!(the_document_is_served, an_outside_tool_finds_nothing_against_the_document);

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

async fn the_document_is_served<D: Sql>(db: Scratch<D>) {
    let browser = Browser::of(&db);
    let document = browser.json("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    for spec in &COMMANDS {
        let path = format!("/migrations/{{name}}/commands/{}", spec.name);
        let command = &document["paths"][&path]["post"];
        assert_eq!(command["summary"], spec.about, "{path}");
        let body = &command["requestBody"]["content"]["application/json"]["schema"];
        for field in spec.fields {
            assert!(body["properties"][field.name].is_object(), "{path}: {}", field.name);
            let required = body["required"].as_array().unwrap();
            assert_eq!(required.contains(&field.name.into()), field.required, "{path}");
        }
    }
}

async fn done(mut command: Command) -> Output {
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{said}");
    output
}

/// Its program, in a folder of its own.
async fn installed(folder: &Path) -> std::path::PathBuf {
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(folder);
    done(make).await;
    let mut install = Command::new(folder.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", SCHEMATHESIS]);
    done(install).await;
    folder.join("bin/schemathesis")
}

async fn an_outside_tool_finds_nothing_against_the_document<D: Sql>(db: Scratch<D>) {
    // Once is enough: what it looks at is above the databases.
    if std::env::var_os("DUALWRITE_TEST_ALL").is_none() || D::NAME != "sqlite" {
        return;
    }
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let access = Access::from_layer().writes_per_minute(u32::MAX);
    let page =
        dualwrite::operator::page(operator, access).layer(Extension(Caller::operator("ada")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move { axum::serve(listener, page).await });
    let folder = tempfile::tempdir().unwrap();
    let mut check = Command::new(installed(folder.path()).await);
    check.current_dir(folder.path()).args(["run", "--no-color", "--max-examples", "10"]);
    // A command may wait for instances, for seconds; what it is given is drawn at random, so most are refused.
    check.args(["--phases", "examples,coverage,fuzzing", "--seed", "1", "--request-timeout", "30"]);
    check.args(["--checks", CHECKS, "--url", &url, &format!("{url}/openapi.json")]);
    let output = done(check).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("/migrations/{name}") || said.contains("passed"), "{said}");
    serving.abort();
    world.runtime.shutdown().await.unwrap();
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";
