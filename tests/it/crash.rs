//! A process of the service is killed, over and over, at any moment: while it writes, while it copies,
//! while it moves. Whatever it had acknowledged is there afterwards, in old and in new, and what it had
//! begun is there wholly or not at all.
//!
//! The random rounds are `DUALWRITE_CRASH_ROUNDS` kills for each stage on each database (2 where nothing
//! is said), drawn from `DUALWRITE_CRASH_SEED`. A soak: `DUALWRITE_CRASH_ROUNDS=200 tests/run --test it
//! crash::rounds`.

mod halfway;
mod model;
mod rounds;
mod workers;
mod writers;

pub(crate) use workers::work;
pub(crate) use writers::serve;
