//! Exact mode: two SQL databases, of which one at a time has the authority.

mod basics;
mod canonical;
pub(crate) mod carts;
mod copying;
mod downtime;
mod history;
mod hostile;
#[cfg(unix)]
pub(crate) mod killed;
mod operated;
mod oracle;
