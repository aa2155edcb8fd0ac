//! Pages that are renewed while somebody looks: server-sent events, hand-made, for they are a line or two.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use crate::clock;
use crate::operator::page::links::Links;
use crate::operator::page::list::Asked;
use crate::operator::page::served::Served;
use crate::operator::page::{check_name, html, one};

/// How often is looked whether something has changed.
const EVERY: Duration = Duration::from_secs(2);
/// After so many looks the browser asks again: whoever is no longer let in is not told for long, and a server that is
/// shut down does not wait.
const LOOKS_MAX: u32 = 30;

type Look = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// The lines of the overview.
pub(super) async fn overview(
    State(served): State<Served>,
    Query(fields): Query<HashMap<String, String>>,
    OriginalUri(original): OriginalUri,
) -> Response {
    // The links are those of the page, which is one step up.
    let page = original.path().strip_suffix("/live").unwrap_or_default();
    let slash = page.is_empty() || fields.get("slash").is_some_and(|slash| slash == "1");
    let page = if slash { format!("{page}/") } else { page.to_owned() };
    let (links, asked) = (Links::new(&page, "/"), Asked::of(&fields));
    renewed(served, move |served| {
        let (links, asked) = (links.clone(), asked.clone());
        Box::pin(async move {
            let migrations = served.all().await.ok()?;
            Some(html::all_live(&migrations, &asked, &links).into_string())
        })
    })
}

/// One migration.
pub(super) async fn migration(State(served): State<Served>, Path(name): Path<String>) -> Response {
    if let Err(failed) = check_name(&name) {
        return failed.into_response();
    }
    renewed(served, move |served| {
        let name = name.clone();
        Box::pin(async move {
            let details = served.details(&name).await.ok()?;
            Some(one::one_live(&details).into_string())
        })
    })
}

fn renewed(served: Served, look: impl Fn(Served) -> Look + Send + 'static) -> Response {
    let Ok(permit) = std::sync::Arc::clone(&served.live).try_acquire_owned() else {
        let mut response =
            (StatusCode::SERVICE_UNAVAILABLE, "too many pages are being renewed").into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        return response;
    };
    let state = (served, look, permit, String::new(), 0);
    let events = stream::unfold(state, |(served, look, permit, before, mut looks)| async move {
        while looks < LOOKS_MAX {
            if looks > 0 {
                clock::sleep(EVERY).await;
            }
            looks += 1;
            // What cannot be read is read again at the next look; the page stays as it is.
            let Some(text) = look(served.clone()).await else { continue };
            if text != before {
                let event = Ok::<_, Infallible>(event(&text));
                return Some((event, (served, look, permit, text, looks)));
            }
        }
        None
    });
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    ([(CONTENT_TYPE, kind)], Body::from_stream(events)).into_response()
}

fn event(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("data: {line}\n")).collect();
    format!("retry: 2000\nevent: view\n{lines}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_page_ends_an_event() {
        let event = event("<p>one\n\nevent: evil</p>");
        assert_eq!(
            event,
            "retry: 2000\nevent: view\ndata: <p>one\ndata: \ndata: event: evil</p>\n\n"
        );
    }
}
