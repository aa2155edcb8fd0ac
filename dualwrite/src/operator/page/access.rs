//! Who asks the page, what they may do, and how often they may change something.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::migration::transition::check_named;
use crate::operator::page::origin;

/// The fewest bytes of a bearer token.
pub const PAGE_TOKEN_BYTES_MIN: usize = 16;
/// How many changes a minute the page takes of all callers together, unless
/// [`Access::writes_per_minute`] says otherwise. A rollback and the kill switch are never refused for that.
pub const PAGE_WRITES_PER_MINUTE: u32 = 60;
/// The commands that always act.
const ALWAYS: [&str; 2] = ["/commands/rollback", "/commands/kill-on"];

/// Somebody who asks the page: their name, for the audit, and whether they may change anything.
///
/// ```
/// use dualwrite::operator::Caller;
/// assert!(Caller::operator("ada").may_operate());
/// assert!(!Caller::reader("grace").may_operate());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    actor: String,
    operates: bool,
}

impl Caller {
    /// Sees everything, and changes nothing.
    pub fn reader(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), operates: false }
    }

    /// Sees and changes everything.
    pub fn operator(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), operates: true }
    }

    /// The name, as the audit keeps it.
    #[must_use]
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Whether commands are taken of them.
    #[must_use]
    pub fn may_operate(&self) -> bool {
        self.operates
    }
}

/// How a [`page`](crate::operator::page) knows who asks. Requests of nobody are answered with 401, changes of a reader with 403.
#[derive(Clone)]
pub struct Access {
    known_by: KnownBy,
    host: Option<String>,
    writes_per_minute: u32,
}

#[derive(Clone)]
enum KnownBy {
    Layer,
    Tokens(Arc<[Token]>),
}

struct Token {
    digest: [u8; 32],
    caller: Caller,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Access {
    /// By a layer of your own around the page, which knows your login: it puts a [`Caller`] into the extensions of each
    /// request. A request without one is refused.
    #[must_use]
    pub fn from_layer() -> Self {
        Self::known(KnownBy::Layer)
    }

    /// By tokens that callers send as `Authorization: Bearer …`: for pipelines and scripts, since a browser sends none
    /// by itself. Only their hashes are kept, and they are compared in constant time.
    ///
    /// ```
    /// use dualwrite::operator::{Access, Caller};
    /// # let from_the_vault = || "0123456789abcdef".to_owned();
    /// let access = Access::bearer([(Caller::reader("pipeline"), from_the_vault())])?;
    /// # Ok::<(), dualwrite::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for no token, a token of less than [`PAGE_TOKEN_BYTES_MIN`] bytes, or the name of an actor that the
    /// audit does not take.
    pub fn bearer<T: AsRef<[u8]>>(
        tokens: impl IntoIterator<Item = (Caller, T)>,
    ) -> Result<Self, Error> {
        let tokens = tokens.into_iter().map(|(caller, token)| {
            check_named("actor", &caller.actor)?;
            let token = token.as_ref();
            if token.len() < PAGE_TOKEN_BYTES_MIN {
                let message = format!(
                    "the token of `{}` has fewer than {PAGE_TOKEN_BYTES_MIN} bytes: draw a longer one at random",
                    caller.actor
                );
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            Ok(Token { digest: Sha256::digest(token).into(), caller })
        });
        let tokens = tokens.collect::<Result<Arc<[Token]>, Error>>()?;
        if tokens.is_empty() {
            let message = "give at least one token, or nobody reaches the page";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(Self::known(KnownBy::Tokens(tokens)))
    }

    fn known(known_by: KnownBy) -> Self {
        Self { known_by, host: None, writes_per_minute: PAGE_WRITES_PER_MINUTE }
    }

    /// The host under which browsers reach the page, with its port where it has one: for a proxy that does not pass the
    /// header `Host` on.
    #[must_use]
    pub fn public_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// How many changes a minute the page takes of all callers together; [`PAGE_WRITES_PER_MINUTE`] by default.
    #[must_use]
    pub fn writes_per_minute(mut self, most: u32) -> Self {
        self.writes_per_minute = most.max(1);
        self
    }

    fn caller(&self, request: &Request) -> Option<Caller> {
        match &self.known_by {
            KnownBy::Layer => request.extensions().get::<Caller>().cloned(),
            KnownBy::Tokens(tokens) => {
                let sent = request.headers().get(AUTHORIZATION)?.as_bytes();
                let (scheme, token) = sent.split_at_checked("Bearer ".len())?;
                if !scheme.eq_ignore_ascii_case(b"Bearer ") {
                    return None;
                }
                let digest: [u8; 32] = Sha256::digest(token).into();
                // Each of them, whichever is the one.
                let mut found = None;
                for known in &**tokens {
                    if bool::from(known.digest.ct_eq(&digest)) {
                        found = Some(&known.caller);
                    }
                }
                found.cloned()
            }
        }
    }
}

/// What stands before the page: lets a request in, with its caller, or answers it.
pub(super) struct Gatekeeper {
    access: Access,
    clock: Clock,
    allowance: Mutex<Allowance>,
}

impl Gatekeeper {
    pub(super) fn new(access: Access) -> Self {
        let (clock, most) = (Clock::system(), f64::from(access.writes_per_minute));
        let allowance = Mutex::new(Allowance { left: most, most, at: clock.ticks() });
        Self { access, clock, allowance }
    }

    pub(super) fn admit(&self, request: &mut Request) -> Result<(), Box<Response>> {
        let Some(caller) = self.access.caller(request) else {
            return Err(Box::new(unauthorized(&self.access.known_by)));
        };
        let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
        if !safe {
            let host = self.access.host.as_deref();
            if !origin::is_own(request.headers(), request.uri(), host) {
                let message = "this order came from another site; give it on the page itself (a proxy before the page \
                               must pass the header `Host` on, or the page be told its name: `Access::public_host`)";
                return Err(refused(StatusCode::FORBIDDEN, message));
            }
            if !caller.may_operate() {
                let message =
                    "you may look, and not change anything; ask somebody who operates migrations";
                return Err(refused(StatusCode::FORBIDDEN, message));
            }
            let always = ALWAYS.iter().any(|end| request.uri().path().ends_with(end));
            if !always && let Err(wait) = self.take() {
                let message = "too many changes in a minute; try again later (a rollback and the kill switch are taken)";
                let mut response = refused(StatusCode::TOO_MANY_REQUESTS, message);
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
                return Err(response);
            }
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }

    fn take(&self) -> Result<(), Duration> {
        let now = self.clock.ticks();
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = Duration::from_nanos(self.clock.nanos(allowance.at, now));
        allowance.at = now;
        allowance.take(passed)
    }
}

fn refused(status: StatusCode, message: &'static str) -> Box<Response> {
    Box::new((status, message).into_response())
}

fn unauthorized(known_by: &KnownBy) -> Response {
    let message = match known_by {
        KnownBy::Layer => {
            "nobody is logged in (to the developer: a layer around the page puts a `Caller` into the request)"
        }
        KnownBy::Tokens(_) => "send a token that the page knows, as `Authorization: Bearer …`",
    };
    let mut response = (StatusCode::UNAUTHORIZED, message).into_response();
    if let KnownBy::Tokens(_) = known_by {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A bucket that fills within a minute (a token bucket).
struct Allowance {
    left: f64,
    most: f64,
    at: u64,
}

impl Allowance {
    /// Takes one, after this time; or says when there is one again.
    fn take(&mut self, passed: Duration) -> Result<(), Duration> {
        let per_second = self.most / 60.0;
        self.left = passed.as_secs_f64().mul_add(per_second, self.left).min(self.most);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / per_second))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asks(authorization: &[u8]) -> Option<Caller> {
        let tokens = [
            (Caller::reader("pipeline"), "0123456789abcdef"),
            (Caller::operator("ada"), "fedcba9876543210-and-more"),
        ];
        let value = HeaderValue::from_bytes(authorization).unwrap();
        let request = Request::get("/").header(AUTHORIZATION, value).body(Body::empty()).unwrap();
        Access::bearer(tokens).unwrap().caller(&request)
    }

    #[test]
    fn a_token_names_its_caller() {
        assert_eq!(asks(b"Bearer 0123456789abcdef"), Some(Caller::reader("pipeline")));
        assert_eq!(asks(b"bearer fedcba9876543210-and-more"), Some(Caller::operator("ada")));
        for other in [
            &b"Bearer 0123456789abcdeF"[..],
            b"Bearer ",
            b"Basic 0123456789abcdef",
            b"",
            b"Bearer \xff",
        ] {
            assert_eq!(asks(other), None);
        }
    }

    #[test]
    fn short_tokens_and_bad_names_are_refused() {
        let refused = |caller, token| Access::bearer([(caller, token)]).unwrap_err().to_string();
        assert!(refused(Caller::reader("a"), "short").contains("the token of `a`"));
        assert!(refused(Caller::reader(""), "0123456789abcdef").contains("actor"));
        let nobody: [(Caller, &str); 0] = [];
        assert!(Access::bearer(nobody).is_err());
    }

    #[test]
    fn a_minute_fills_the_allowance_and_no_more() {
        let mut allowance = Allowance { left: 2.0, most: 2.0, at: 0 };
        assert!(allowance.take(Duration::ZERO).is_ok());
        assert!(allowance.take(Duration::ZERO).is_ok());
        assert_eq!(allowance.take(Duration::ZERO), Err(Duration::from_secs(30)));
        assert!(allowance.take(Duration::from_secs(30)).is_ok());
        allowance.take(Duration::from_secs(3600)).unwrap();
        allowance.take(Duration::ZERO).unwrap();
        assert!(allowance.take(Duration::ZERO).is_err());
    }
}
