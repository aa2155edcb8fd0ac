//! The proof: every interleaving of a few rows, instances and transactions, explored to the last state.
//!
//! What decides is the library's own: [`route`](crate::stages::route::route), the gates through `decide_change`,
//! and the deciders of writes, lazy reads and the backfill. What is modelled is the rest of the world:
//! the database, the network, time, and an operator who turns the dial wherever that is allowed.
//!
//! The database is the weakest that is supported, PostgreSQL at READ COMMITTED: rows that are there can
//! be locked until the end of a transaction, rows that are not cannot; a statement sees what was
//! committed when it began. A step that nobody can observe halfway is one step: a change of the position
//! has the fence alone, and the last side of a write and its commit are seen together or not at all.
//!
//! - [`state`]: what there is; [`world`]: its bounds, and the guard that it may lack
//! - [`failover`]: a standby that lags takes over
//! - [`operator`], [`writing`], [`reading`], [`copying`], [`backfilling`], [`reversing`], [`verifying`], [`locks`]: the steps
//! - [`search`]: all steps together; [`properties`]: what must hold, and what must be reachable
//! - [`converging`]: two stores that share no transaction, a model of its own
//! - [`exact`]: two SQL databases, of which one at a time has the authority, a model of its own
//! - [`worlds`], [`returns`]: the bounded worlds; [`checks`]: the tests

mod backfilling;
mod budget;
mod checks;
mod converging;
mod copying;
mod exact;
mod failover;
mod locks;
mod operator;
mod properties;
mod reading;
mod returns;
mod reversing;
mod search;
mod state;
mod verifying;
mod world;
mod worlds;
mod writing;
