//! Which engine answers, and whether it can hold the fence: decided from what the server says of itself.
//!
//! The fence is a lock that one transaction holds shared and another asks for exclusively. An engine that
//! speaks PostgreSQL's or MySQL's protocol and keeps no such lock, or keeps it on one of several nodes that
//! take writes, lets a dual write through under a stage that has passed.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// The engine behind a runtime's pool, as it was found at [`start`](crate::RuntimeBuilder::start).
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// # use dualwrite::{Error, Runtime};
/// async fn start(pool: sqlx::SqlitePool) -> Result<(), Error> {
///     let runtime = Runtime::builder(pool).start().await?;
///     println!("{}", runtime.engine());
///     runtime.shutdown().await
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    name: String,
    verdict: Verdict,
    /// Connections go through a pooler that gives each transaction another session.
    pooled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "postgres", feature = "mysql")),
    expect(dead_code, reason = "SQLite is one engine")
)]
enum Verdict {
    /// The tests of this library pass on it.
    Tested,
    /// It should hold the fence, and nobody has tried.
    Untested,
    Refused(Refusal),
}

/// Why an engine cannot hold the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    reason: &'static str,
    needed: &'static str,
}

impl Engine {
    pub(crate) fn tested(name: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Tested, pooled: false }
    }

    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(super) fn untested(name: impl Into<String>) -> Self {
        Self { verdict: Verdict::Untested, ..Self::tested(name) }
    }

    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(super) fn refused(
        name: impl Into<String>,
        reason: &'static str,
        needed: &'static str,
    ) -> Self {
        Self { verdict: Verdict::Refused(Refusal { reason, needed }), ..Self::tested(name) }
    }

    /// Its name and version, as the server gives them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the tests of this library run on it.
    #[must_use]
    pub fn is_tested(&self) -> bool {
        self.verdict == Verdict::Tested
    }

    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn through_a_pooler(mut self) -> Self {
        self.pooled = true;
        self
    }

    /// Refuses an engine that cannot hold the fence, unless an operator has accepted it.
    pub(crate) fn admit(&self, accepted: Option<&str>) -> Result<(), Error> {
        match (&self.verdict, accepted) {
            (Verdict::Tested, _) => {}
            (Verdict::Untested, _) => {
                tracing::warn!(
                    engine = self.name,
                    "the tests of dualwrite do not run on this engine; try a rollout where nothing is lost"
                );
            }
            (Verdict::Refused(refusal), Some(because)) => {
                tracing::warn!(
                    engine = self.name,
                    reason = refusal.reason,
                    because,
                    "this engine cannot hold the fence, and an operator has accepted it"
                );
            }
            (Verdict::Refused(Refusal { reason, needed }), None) => {
                let message = format!(
                    "{} cannot hold the fence: {reason}. {needed}; whoever has made sure of that says so with \
                     `RuntimeBuilder::accept_engine`",
                    self.name
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.pooled {
            f.write_str(" through a pooler")?;
        }
        match self.verdict {
            Verdict::Tested => Ok(()),
            Verdict::Untested => f.write_str(" (not tested)"),
            Verdict::Refused(_) => f.write_str(" (cannot hold the fence; accepted)"),
        }
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const OPTIMISTIC: &str =
    "its transactions are checked when they commit, and a shared lock excludes nobody";
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const SERVER_NEEDED: &str = "Use a server of PostgreSQL, MySQL or MariaDB";
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const ONE_WRITER: &str = "each of its nodes that take writes keeps row locks of its own, so a change of the \
                          stage on one node does not wait for writes on another";
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const ONE_WRITER_NEEDED: &str =
    "Send all writes, and this runtime, through one node, or make the others read-only";
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const READ_ONLY: &str = "it is a standby, or read-only";
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) const READ_ONLY_NEEDED: &str =
    "Give the runtime a pool to the primary that takes writes";

/// Whether what a server says of itself names another engine of the list: a part of it, the name, the reason.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn foreign_among(
    list: &[(&str, &'static str, &'static str)],
    said: &str,
) -> Option<Engine> {
    let said_lower = said.to_ascii_lowercase();
    let found = list.iter().find(|(part, ..)| said_lower.contains(&part.to_ascii_lowercase()));
    found.map(|(_, name, reason)| Engine::refused(*name, reason, SERVER_NEEDED))
}

/// Why an engine is refused, which an operator may accept.
#[cfg(all(test, any(feature = "postgres", feature = "mysql")))]
pub(super) fn refused(engine: &Engine) -> Option<String> {
    engine.admit(None).err().map(|error| {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(engine.admit(Some("all writes go to one node")).is_ok());
        error.to_string()
    })
}
