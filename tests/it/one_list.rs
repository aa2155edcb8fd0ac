//! Page, JSON and command-line tool are held to one list of commands.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use dualwrite::operator::{COMMANDS, Caller, CommandSpec, Operator};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::page::page_for;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::operated::off;
use crate::support::sql::Sql;
use crate::tool::run_on;

on_all_databases!(every_command_of_the_list_is_offered_by_page_json_and_tool);

/// A plan of a rollout.
pub(crate) const PLAN: &str = "[[step]]\nstage = \"dual_write\"\nsoak = \"1day\"\n";

/// What a command of the list needs, as a form takes it.
fn given(spec: &CommandSpec) -> Vec<String> {
    let needed = |name: &str| spec.name == "backfill-throttle" && name == "lag";
    let required = spec.fields.iter().filter(|field| field.required || needed(field.name));
    let own = required.flat_map(|field| {
        let value = match field.name {
            "to" => "dual_write",
            "percent" => "5",
            "what" => "writes",
            "for" => "30m",
            "rate" => "500",
            "batch-time" => "20ms",
            "workers" => "3",
            "lag" => "5s",
            "plan" => PLAN,
            "key" => "4",
            _ => "owner",
        };
        [format!("--{}", field.name), value.to_owned()]
    });
    own.collect()
}

async fn every_command_of_the_list_is_offered_by_page_json_and_tool<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    let operator = Operator::new(world.db.pool().clone());
    let page = page_for(operator, Caller::operator("ada"));
    let ask = async |request: Request<Body>| {
        let answer = page.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    };
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let (_, html) = ask(get("/view/notes")).await;
    let (_, listed) = ask(get("/commands")).await;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let (_, help, _) = run_on(url, &["--help"]).await;
    assert_eq!(listed.len(), COMMANDS.len());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), PLAN).unwrap();
    for (spec, listed) in COMMANDS.iter().zip(&listed) {
        assert_eq!(listed["name"], spec.name);
        let path = format!("/migrations/notes/commands/{}", spec.name);
        assert!(html.contains(&format!("action=\"./..{path}\"")), "{}: {html}", spec.name);
        assert!(help.contains(&format!("  {} ", spec.name)), "{}: {help}", spec.name);
        // Both dry-run it, and say the same.
        let fields = given(spec);
        let mut form = serde_json::json!({ "by": "ada", "because": "x", "dry-run": true });
        for pair in fields.chunks(2) {
            form[pair[0].trim_start_matches("--")] = pair[1].clone().into();
        }
        let request = Request::post(&path)
            .header("content-type", "application/json")
            .header("accept", "application/json");
        let (status, by_page) = ask(request.body(Body::from(form.to_string())).unwrap()).await;
        // The tool takes a text of several lines from a file.
        let fields: Vec<String> = fields
            .into_iter()
            .map(|text| if text == PLAN { file.path().display().to_string() } else { text })
            .collect();
        let common = ["--by", "ada", "--because", "x", "--dry-run", "--output", "json"];
        let mut arguments = vec![spec.name, "notes"];
        arguments.extend(fields.iter().map(String::as_str));
        arguments.extend(common);
        let (code, by_tool, err) = run_on(url, &arguments).await;
        match code {
            dualwrite_cli::DONE => {
                let [by_page, by_tool] =
                    [by_page, by_tool].map(|text| serde_json::from_str::<Value>(&text).unwrap());
                assert_eq!((by_page, status.as_u16()), (by_tool, 200), "{}", spec.name);
            }
            // There is no such step from where it stands: neither does it.
            _ => assert!(status.is_client_error() && err.contains("error"), "{}: {err}", spec.name),
        }
    }
    world.runtime.shutdown().await.unwrap();
}
