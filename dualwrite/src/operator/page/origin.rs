//! Whether a request comes from the page itself, or from what is no browser. Pure.

use axum::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use axum::http::{HeaderValue, Uri};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// `false` for what another site has a browser send. What the browser itself says of the site decides where it does;
/// otherwise the origin, which must be the host that the page was told, or that the request names (by its address
/// where HTTP/2 has no header for it).
pub(super) fn is_own(headers: &HeaderMap, address: &Uri, told: Option<&str>) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| site == "same-origin" || site == "none");
    }
    let host = told.map(str::as_bytes);
    let host = host.or_else(|| headers.get(HOST).map(HeaderValue::as_bytes));
    let host = host.or_else(|| address.authority().map(|host| host.as_str().as_bytes()));
    let origins = headers.get_all(ORIGIN);
    origins.iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        match (origin, host) {
            (Some((_, from)), Some(host)) => from.as_bytes().eq_ignore_ascii_case(host),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        is_own(&headers, &Uri::from_static("/"), None)
    }

    #[test]
    fn the_page_itself_and_what_is_no_browser_are_let_in() {
        assert!(own(&[]));
        assert!(own(&[("host", "db.example")]));
        assert!(own(&[("host", "db.example"), ("sec-fetch-site", "same-origin")]));
        assert!(own(&[("host", "db.example:8080"), ("origin", "http://DB.example:8080")]));
        assert!(own(&[("host", "db.example"), ("sec-fetch-site", "none")]));
    }

    #[test]
    fn other_sites_are_not() {
        for site in ["cross-site", "same-site", "", "something new"] {
            assert!(!own(&[("host", "db.example"), ("sec-fetch-site", site)]), "{site}");
        }
        for origin in ["null", "", "https://evil.example", "https://db.example:8443"] {
            assert!(!own(&[("host", "db.example"), ("origin", origin)]), "{origin}");
        }
        assert!(!own(&[("origin", "https://db.example")]));
        let twice = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert!(!own(&twice));
        let twice = [("host", "a"), ("origin", "https://a"), ("origin", "https://b")];
        assert!(!own(&twice));
    }

    #[test]
    fn without_a_header_the_address_names_the_host() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("https://db.example"));
        assert!(is_own(&headers, &Uri::from_static("https://db.example/migrations"), None));
        assert!(!is_own(&headers, &Uri::from_static("https://other.example/migrations"), None));
    }

    #[test]
    fn what_the_browser_says_decides_before_what_a_proxy_made_of_the_host() {
        let rewritten = [("host", "10.0.0.7"), ("origin", "https://ops.example")];
        assert!(!own(&rewritten));
        let said = [rewritten[0], rewritten[1], ("sec-fetch-site", "same-origin")];
        assert!(own(&said));
        let mut headers = HeaderMap::new();
        for (name, value) in rewritten {
            headers.append(name, HeaderValue::from_static(value));
        }
        let address = Uri::from_static("/");
        assert!(is_own(&headers, &address, Some("ops.example")));
        assert!(!is_own(&headers, &address, Some("evil.example")));
    }
}
