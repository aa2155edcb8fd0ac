//! Exact mode: two SQL databases, of which one at a time has the authority.

mod basics;
mod canonical;
mod carts;
mod copying;
mod history;
mod hostile;
mod oracle;
