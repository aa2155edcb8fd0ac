// The example of the README needs both features; with them, it is a test.
#![cfg_attr(all(feature = "macros", feature = "sqlite"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "macros", feature = "sqlite")),
    doc = "Online data migrations; build with the features `macros` and `sqlite` for the full page."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a database there is nobody to use the adapters' waist.
#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(dead_code)
)]

// 1. values
mod bucket;
mod compare;
mod conversion;
mod error;
mod gate;
mod key;
mod moves;
mod needs;
mod position;
mod route;
mod stage;
// 2. ports
mod backend;
mod clock;
mod control;
mod copy;
mod in_flight;
mod observe;
mod shared;
mod slots;
// 3. deciders and 4. runners
mod backfill;
mod lazy;
mod read;
mod readiness;
mod repository;
mod shadow;
mod transaction;
mod verify;
mod write;
// 5. composition
mod jobs;
mod migration;
mod moving;
mod runtime;
mod status;
// 6. for tests of services
pub mod testing;
/// Guides: what the reference of each item is too short for.
pub mod guide {
    #[doc = include_str!("docs/limits.md")]
    pub mod limits {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/repository.md")]
    pub mod repository {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/verify.md")]
    pub mod verify {}
}
// 7. for generated code
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod dual;
// the proof: every interleaving of a few rows, instances and transactions
#[cfg(test)]
mod model;

pub use backend::{Backend, Isolation};
pub use backfill::decide::{BATCH_KEYS, BATCH_TIME, FAILURES_MAX};
pub use backfill::throttle::Throttle;
pub use backfill::walk::{FAILURES_NAMED_MAX, Walk};
pub use bucket::{Bucket, BucketRule, salt};
pub use compare::{
    Compare, Comparison, DIFFERENCES_MAX, Difference, DifferenceKind, Differences, PATH_CHARS_MAX,
    SHOWN_CHARS_MAX, Shown,
};
pub use control::{BackfillProgress, DeadLetter, Event, SAMPLES_MAX};
pub use conversion::ConversionError;
pub use copy::{
    ConvertColumns, Copied, CopyColumns, CopyKeys, DualTable, Identifier, KeySource,
    MAPPED_FIELDS_MAX, Mapping,
};
pub use dual::Dual;
pub use error::{BoxError, Error, ErrorKind};
pub use gate::{Blocker, Gate};
pub use jobs::{Backfill, Repair, Verification};
pub use key::{KEY_BYTES_MAX, Key, KeyKind, KeyPart, OwnedKey};
pub use lazy::decide::Missing;
pub use migration::Migration;
pub use moves::Move;
pub use moving::{Moving, PATIENCE};
pub use observe::{CallReport, CounterReport, MethodReport};
pub use position::{Epoch, Generation, Percent, Position};
pub use readiness::InstanceReport;
pub use route::{Operation, Plan, route};
pub use runtime::{LEASE, POLL, Registration, Runtime, RuntimeBuilder, SHUTDOWN};
pub use shared::{MirrorPolicy, SHADOW_CONCURRENCY, SHADOW_TIMEOUT, UNAWARE_WINDOW};
pub use stage::{Side, Stage};
pub use status::Status;
pub use transaction::Tx;
pub use verify::decide::{
    DIFFERING_MAX, FIELDS_MAX, KeyDifference, KeyDifferenceKind, VerifyReport,
};
pub use verify::repair::RepairReport;
pub use verify::run::{ASKED_KEYS, CHECKPOINT_KEYS, CHUNK_KEYS};

#[cfg(feature = "macros")]
#[doc = include_str!("docs/compare.md")]
pub use dualwrite_macros::Compare;
#[cfg(feature = "macros")]
#[doc = include_str!("docs/dual.md")]
pub use dualwrite_macros::Dual;
#[cfg(feature = "macros")]
pub use dualwrite_macros::repository;
