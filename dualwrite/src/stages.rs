//! Where a migration stands, and when it may move: stages, positions, buckets, routes, moves, gates. All pure.

pub(crate) mod audit;
pub(crate) mod bucket;
pub(crate) mod columns;
pub(crate) mod converging;
pub(crate) mod exact;
pub(crate) mod facts;
pub(crate) mod hazard;
pub(crate) mod lineage;
pub(crate) mod mirror;
pub(crate) mod moves;
pub(crate) mod name;
pub(crate) mod position;
pub(crate) mod readiness;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod sample;
pub(crate) mod stage;
pub(crate) mod stale;
pub(crate) mod terms;
pub(crate) mod verification;
