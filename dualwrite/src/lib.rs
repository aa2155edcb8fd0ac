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
mod guard;
mod hours;
mod key;
mod moves;
mod needs;
mod position;
mod route;
mod stage;
#[cfg(feature = "toml")]
mod toml_text;
// 2. ports
mod backend;
mod clock;
mod control;
mod copy;
mod events;
mod facts;
mod in_flight;
mod observe;
mod replicas;
mod shared;
mod slots;
// 3. deciders and 4. runners
mod backfill;
mod flags;
mod lazy;
mod plan;
mod read;
mod readiness;
mod repository;
mod shadow;
mod transaction;
mod verify;
mod waiving;
mod write;
// 5. composition
mod health;
mod jobs;
mod migration;
mod moving;
mod operator;
mod rollout;
mod runtime;
mod status;
mod steering;
// 6. for operators, and for tests of services
#[cfg(feature = "page")]
mod page;
pub mod testing;
/// Guides: what the reference of each item is too short for.
pub mod guide {
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/backfill.md")]
    pub mod backfill {}
    #[doc = include_str!("docs/flags.md")]
    pub mod flags {}
    #[doc = include_str!("docs/limits.md")]
    pub mod limits {}
    #[doc = include_str!("docs/metrics.md")]
    pub mod metrics {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/repository.md")]
    pub mod repository {}
    #[doc = include_str!("docs/rollout.md")]
    pub mod rollout {}
    #[doc = include_str!("docs/shadow.md")]
    pub mod shadow {}
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
pub use backfill::decide::{BATCH_KEYS, BATCH_TIME, FAILURES_MAX, RETRY_AFTER, RETRY_AFTER_MAX};
pub use backfill::options::WORKERS_MAX;
pub use backfill::throttle::{Throttle, WRITES_MIN, WRITES_WINDOW};
pub use backfill::walk::{FAILURES_NAMED_MAX, Walk};
pub use bucket::{Bucket, BucketRule, salt};
pub use compare::{
    Compare, Comparison, DIFFERENCES_MAX, Difference, DifferenceKind, Differences, PATH_CHARS_MAX,
    SHOWN_CHARS_MAX, Shown,
};
pub use control::letters::{DeadLetter, Waiver};
pub use control::tasks::StartedBackfill;
pub use control::{BackfillProgress, Event, Mismatch, WORKERS_SHOWN_MAX, WorkerProgress};
pub use conversion::ConversionError;
pub use copy::alone::FENCE_REFUSALS_MAX;
pub use copy::{
    ConvertColumns, Copied, CopyColumns, CopyKeys, CopySql, DualTable, Identifier, KeySource,
    MAPPED_FIELDS_MAX, Mapping,
};
pub use dual::Dual;
pub use error::{BoxError, Error, ErrorKind};
pub use events::{EVENTS_WAITING_MAX, RuntimeEvent};
pub use facts::InstanceReport;
pub use flags::env::EnvFlags;
#[cfg(feature = "toml")]
pub use flags::file::{FLAG_FILE_BYTES_MAX, FileFlags};
#[cfg(feature = "open-feature")]
pub use flags::open_feature::OpenFeatureFlags;
pub use flags::report::FlagReport;
pub use flags::source::FlagSource;
pub use flags::wanted::Wanted;
pub use gate::{Blocker, Gate};
pub use guard::rules::{
    Breach, GUARD_DEVIATION, GUARD_PERIOD, GUARD_SAMPLES_MIN, GUARD_WINDOW, GUARDS_MAX, Guard,
    GuardReport, Guards, Unjudged,
};
pub use health::{FieldReport, RecentCalls, RecentMethod, RecentReport};
pub use jobs::{Backfill, Repair, Verification};
pub use key::{KEY_BYTES_MAX, Key, KeyKind, KeyPart, OwnedKey};
pub use lazy::decide::Missing;
pub use migration::Migration;
pub use moves::Move;
pub use moving::{Moving, PATIENCE};
pub use observe::mirror::{MIRROR_WARNING_PAUSE, MirrorError, MirrorReport};
pub use observe::tally::FIELDS_MAX;
pub use observe::{CallReport, CounterReport, MethodReport};
pub use operator::{BackfillOrders, MigrationOverview, Operator};
#[cfg(feature = "page")]
pub use page::{PAGE_FORM_BYTES_MAX, page};
pub use plan::health::Health;
pub use plan::order::{OrderKind, RolloutOrder};
pub use plan::rollout::{RolloutPlan, RolloutStep, STEPS_MAX};
pub use plan::state::RolloutState;
pub use position::{Epoch, Generation, Percent, Position};
pub use replicas::REPLICAS_MAX;
pub use rollout::{ORDERS_SHOWN_MAX, Rollout, RolloutStatus};
pub use route::{Operation, Plan, route};
pub use runtime::{LEASE, POLL, Registration, Runtime, RuntimeBuilder, SHUTDOWN};
pub use shadow::cohort::{COHORT_BYTES_MAX, COHORTS_MAX, CohortReport, cohort};
pub use shadow::noise::{
    NOISE_ABSOLUTE, NOISE_LOOKS_MIN, NOISE_RELATIVE, NOISE_SAMPLE, NoiseReport,
};
pub use shadow::outcome::ComparedReport;
pub use shadow::rules::ShadowRules;
pub use shadow::samples::{SAMPLES_MAX, SAMPLES_PER_FIELD_MAX};
pub use shared::{
    AnswerPolicy, MIRROR_WRITE_TIMEOUT, MirrorPolicy, SHADOW_CONCURRENCY, SHADOW_TIMEOUT,
    SINGLE_WRITER_TIMEOUT, UNAWARE_WINDOW,
};
pub use stage::{Side, Stage};
pub use status::Status;
pub use steering::FLAG_TIMEOUT;
pub use transaction::Tx;
pub use verify::decide::{
    DIFFERING_MAX, FIELDS_NAMED_MAX, KeyDifference, KeyDifferenceKind, VerifyReport,
};
pub use verify::repair::RepairReport;
pub use verify::run::{ASKED_KEYS, CHECKPOINT_KEYS, CHUNK_KEYS};
pub use waiving::Waiving;

#[cfg(feature = "macros")]
#[doc = include_str!("docs/compare.md")]
pub use dualwrite_macros::Compare;
#[cfg(feature = "macros")]
#[doc = include_str!("docs/dual.md")]
pub use dualwrite_macros::Dual;
#[cfg(feature = "macros")]
pub use dualwrite_macros::repository;
