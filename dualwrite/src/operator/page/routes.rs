//! The routes of the page, one table: the router is made of it, and the document of the JSON API names those that are
//! not for people.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};

use crate::operator::page::served::Served;
use crate::operator::page::{
    all, all_json, commands, drops, icon, live, one, one_json, script, tab,
};

/// The document of the JSON API, as it is served.
pub(super) const SPEC: &str = include_str!("openapi.json");

/// The table. A `{query}` stands for each of the queries, a `{command}` for each of the commands.
pub(super) fn table() -> [(&'static str, MethodRouter<Served>); 23] {
    [
        ("/", get(all)),
        ("/view/{name}", get(one)),
        ("/view/{name}/live", get(live::migration)),
        ("/view/{name}/{tab}", get(tab)),
        ("/view/{name}/confirm/{command}", get(commands::confirm)),
        ("/live", get(live::overview)),
        ("/icon.svg", get(icon)),
        ("/live.js", get(script)),
        ("/openapi.json", get(document)),
        ("/migrations", get(all_json)),
        ("/migrations/{name}", get(one_json)),
        ("/commands", get(commands::list)),
        ("/migrations/{name}/{query}", get(commands::query)),
        ("/migrations/{name}/commands/{command}", post(commands::execute)),
        ("/view-removals", get(drops::removals_page)),
        ("/view-removals/{name}", get(drops::removal_page)),
        ("/contracts", get(drops::contracts)),
        ("/contracts/{name}", get(drops::contract)),
        ("/contracts/{name}/approve", post(drops::approve)),
        ("/contracts/{name}/backup", post(drops::backup)),
        ("/removals", get(drops::removals)),
        ("/removals/{name}", get(drops::removal)),
        ("/removals/{name}/backup", post(drops::removal_backup)),
    ]
}

/// The routes.
pub(super) fn router() -> Router<Served> {
    let add = |router: Router<Served>, (path, handler): (&str, _)| router.route(path, handler);
    table().into_iter().fold(Router::new(), add)
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], SPEC).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::page::queries::QUERIES;
    use crate::operator::specs::COMMANDS;

    #[test]
    fn every_route_that_is_not_for_people_is_in_the_document_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(SPEC).unwrap();
        let mut documented: Vec<String> =
            document["paths"].as_object().unwrap().keys().cloned().collect();
        let mut expected = Vec::new();
        for (path, _) in table() {
            match path {
                "/" | "/live" | "/live.js" | "/icon.svg" => {}
                path if path.starts_with("/view") => {}
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
