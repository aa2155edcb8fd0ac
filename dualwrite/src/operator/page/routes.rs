//! The routes of the page, one table: the router is made of it, and the document of the JSON API names those that are
//! not for people.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};

use crate::operator::Operator;
use crate::operator::page::{all, all_json, commands, one, one_json, script};

/// The document of the JSON API, as it is served.
pub(super) const SPEC: &str = include_str!("openapi.json");

/// A query of one migration.
#[cfg_attr(not(test), allow(dead_code, reason = "the document is made of them, in a test"))]
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Whether it answers with a list.
    pub(super) is_list: bool,
    /// The fields that one of it has at the least, by their kinds in JSON.
    pub(super) item: Option<&'static [(&'static str, &'static str)]>,
}

const fn list(
    name: &'static str,
    about: &'static str,
    item: &'static [(&'static str, &'static str)],
) -> Query {
    Query { name, about, is_list: true, item: Some(item) }
}

const fn one_of(name: &'static str, about: &'static str) -> Query {
    Query { name, about, is_list: false, item: None }
}

/// All of them.
pub(super) const QUERIES: [Query; 10] = [
    list(
        "readiness",
        "What stands against the next move; empty: nothing",
        &[("gate", "string"), ("reason", "string")],
    ),
    one_of("preflight", "What the newest preflight found"),
    list(
        "hazards",
        "Writers that no trigger sees, and sequences that are behind",
        &[("name", "string")],
    ),
    list(
        "events",
        "The newest changes of the position",
        &[("actor", "string"), ("reason", "string"), ("epoch", "integer")],
    ),
    list(
        "audit",
        "The newest commands that moved nothing",
        &[("kind", "string"), ("actor", "string"), ("reason", "string")],
    ),
    list("instances", "The live instances", &[("id", "string"), ("release", "string")]),
    list(
        "dead-letters",
        "The keys that could not be copied, and why",
        &[("key", "string"), ("error", "string")],
    ),
    list("mismatches", "The samples of mismatches", &[("method", "string"), ("field", "string")]),
    list(
        "jobs",
        "What was started for any instance, and what became of it",
        &[("kind", "string"), ("done", "boolean")],
    ),
    one_of("rollout", "How far the rollout is"),
];

/// The table. A `{query}` stands for each of the queries, a `{command}` for each of the commands.
pub(super) fn table() -> [(&'static str, MethodRouter<Operator>); 9] {
    [
        ("/", get(all)),
        ("/view/{name}", get(one)),
        ("/live.js", get(script)),
        ("/openapi.json", get(document)),
        ("/migrations", get(all_json)),
        ("/migrations/{name}", get(one_json)),
        ("/commands", get(commands::list)),
        ("/migrations/{name}/{query}", get(commands::query)),
        ("/migrations/{name}/commands/{command}", post(commands::execute)),
    ]
}

/// The routes.
pub(super) fn router() -> Router<Operator> {
    let add = |router: Router<Operator>, (path, handler): (&str, _)| router.route(path, handler);
    table().into_iter().fold(Router::new(), add)
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], SPEC).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::specs::COMMANDS;

    #[test]
    fn every_route_that_is_not_for_people_is_in_the_document_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(SPEC).unwrap();
        let mut documented: Vec<String> =
            document["paths"].as_object().unwrap().keys().cloned().collect();
        let mut expected = Vec::new();
        for (path, _) in table() {
            match path {
                "/" | "/view/{name}" | "/live.js" => {}
                path if path.contains("{query}") => {
                    expected.extend(QUERIES.iter().map(|one| path.replace("{query}", one.name)));
                }
                path if path.contains("{command}") => {
                    expected.extend(COMMANDS.iter().map(|one| path.replace("{command}", one.name)));
                }
                path => expected.push(path.to_owned()),
            }
        }
        expected.sort();
        documented.sort();
        assert_eq!(documented, expected);
    }
}
