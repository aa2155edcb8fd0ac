//! Exact mode: two SQL databases, of which one at a time has the authority.

mod basics;
mod carts;
mod downtime;
mod history;
mod hostile;
mod operated;
mod oracle;
