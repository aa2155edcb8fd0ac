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

// What everything uses.
mod clock;
mod error;
mod gate;
mod key;
mod needs;
mod printable;
// The rooms, of which each imports only from those before it: ARCHITECTURE.md has their order.
mod backfill;
mod call;
mod compare;
mod contract;
mod control;
mod converging;
mod copier;
mod copy;
mod database;
mod doctor;
mod exact;
mod expand;
mod flags;
mod guard;
mod migration;
mod observe;
mod operator;
mod pace;
mod preflight;
mod removal;
mod rollout;
mod runtime;
#[cfg(feature = "schema")]
pub mod schema;
mod shadow;
mod stages;
mod state;
mod store;
pub mod testing;
mod transaction;
mod verify;
/// Guides: what the reference of each item is too short for.
pub mod guide {
    #[doc = include_str!("docs/alter_to_drop.md")]
    pub mod alter_to_drop {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/backfill.md")]
    pub mod backfill {}
    #[doc = include_str!("docs/contract.md")]
    pub mod contract {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/converging.md")]
    pub mod converging {}
    #[doc = include_str!("docs/doctor.md")]
    pub mod doctor {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/exact.md")]
    pub mod exact {}
    #[doc = include_str!("docs/flags.md")]
    pub mod flags {}
    #[doc = include_str!("docs/limits.md")]
    pub mod limits {}
    #[doc = include_str!("docs/maintenance.md")]
    pub mod maintenance {}
    #[doc = include_str!("docs/metrics.md")]
    pub mod metrics {}
    #[doc = include_str!("docs/pipeline.md")]
    pub mod pipeline {}
    #[doc = include_str!("docs/removal.md")]
    pub mod removal {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/repository.md")]
    pub mod repository {}
    #[doc = include_str!("docs/rollout.md")]
    pub mod rollout {}
    #[doc = include_str!("docs/shadow.md")]
    pub mod shadow {}
    #[cfg(feature = "schema")]
    #[doc = include_str!("docs/schema.md")]
    pub mod schema {}
    #[cfg(all(feature = "testing", feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/testing.md")]
    pub mod testing {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/verify.md")]
    pub mod verify {}
}
// For generated code.
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
// The proof: every interleaving of a few rows, instances and transactions
#[cfg(test)]
mod model;

pub use backfill::decide::{BATCH_KEYS, BATCH_TIME, FAILURES_MAX};
pub use backfill::walk::{CopyReport, FAILURES_NAMED_MAX};
pub use call::closures::converging::ConvergingWrite;
pub use call::closures::read::ReadCall;
pub use call::closures::write::{ColumnsCall, InTx, WriteCall};
pub use call::lazy::decide::MaybeMissing;
pub use compare::{
    Compare, Comparison, DIFFERENCES_MAX, Difference, DifferenceKind, Differences, PATH_CHARS_MAX,
    SHOWN_CHARS_MAX, Shown,
};
pub use contract::decide::{ContractDecision, Evidence, EvidenceKind, MissingEvidence};
pub use contract::declared::{
    COMPLETE_FOR, CONTRACT_APPROVAL, CONTRACT_OBJECTS_MAX, Contract, OldObject,
};
pub use contract::plan::{ContractPlan, SchemaFile};
pub use control::commands::{Compared, Job, JobKind};
pub use control::contracts::ContractEvent;
pub use control::dead_letters::{DeadLetter, Waived};
pub use control::settings::WORKERS_MAX;
pub use control::settings::{BackfillSetting, BackfillSettings};
pub use control::tasks::StartedBackfill;
pub use control::traffic::{
    TRAFFIC_MINUTES, TrafficFigures, TrafficMinute, TrafficReport, TrafficSide,
};
pub use control::{AuditEvent, BackfillProgress, Mismatch, WORKERS_SHOWN_MAX, WorkerProgress};
pub use converging::{
    COPY_ATTEMPTS_MAX, Converging, IN_FLIGHT_MAX, MirrorFailure, Overflow, QUEUE_WAIT,
    SETTLE_AFTER, STORE_CALL_LIMIT, TwoStores,
};
pub use copy::bound::BindColumns;
pub use copy::conversion::ConversionError;
pub use copy::dual::Dual;
pub use copy::exclusive::FENCE_REFUSALS_MAX;
pub use copy::one_row::Statement;
pub use copy::{
    ConvertColumns, Copied, CopyColumns, CopyKeys, CopySql, DualTable, Identifier, KeySource,
    MAPPED_FIELDS_MAX, Mapping,
};
pub use database::{Backend, Engine, Isolation};
pub use doctor::report::{DoctorFinding, DoctorLimits, DoctorReport};
pub use error::{BoxError, Closed, Error, ErrorKind, Maintenance};
pub use exact::handle::{Exact, ExactFailure, ExactStatus};
pub use exact::read::ExactRead;
pub use exact::start::ExactBuilder;
pub use exact::write::ExactWrite;
pub use exact::{
    BACKLOG_COUNTED, DRAIN_WAIT, EXACT_POLL, ExactReport, ExactSide, ExactStep, HAND_OVER_WAIT,
    OUTBOX_PAGE, TAKE_OVER_AFTER,
};
pub use expand::declared::{EXPAND_OBJECTS_MAX, Expand};
pub use expand::plan::{ExpandPlan, ExpandStatement};
pub use expand::table::NewTable;
pub use flags::desired::DesiredState;
pub use flags::report::FlagReport;
pub use flags::source::FlagSource;
pub use gate::{Blocker, Gate};
pub use guard::rules::{
    Breach, GUARD_DEVIATION, GUARD_PERIOD, GUARD_SAMPLES_MIN, GUARD_WINDOW, GUARDS_MAX, Guard,
    GuardReport, Guards, Inconclusive,
};
pub use key::{KEY_BYTES_MAX, Key, KeyKind, KeyPart, OwnedKey};
pub use migration::Migration;
pub use migration::contracting::{ContractRun, Contracting, RunContract};
pub use migration::expanding::{ExpandReport, Expanding};
#[cfg(feature = "schema")]
pub use migration::guarded::{GuardedMigrator, GuardedStatement};
pub use migration::health::{FieldReport, RecentCalls, RecentMethod, RecentReport};
pub use migration::jobs::{Backfill, Repair, Verification};
pub use migration::removing::Removing;
pub use migration::rollout::{COMMANDS_SHOWN_MAX, Rollout, RolloutStatus};
pub use migration::smoke::{SMOKE_LIMIT, Smoke, SmokeCheck, SmokeReport};
pub use migration::status::Status;
pub use migration::transition::{MOVE_TIMEOUT, Transition};
pub use migration::waiver::Waiver;
pub use observe::mirror::{MIRROR_WARNING_PAUSE, MirrorReport};
pub use observe::outcome::ComparedReport;
pub use observe::tally::FIELDS_MAX;
pub use observe::{CallReport, CounterReport, MethodReport};
pub use operator::command::Command;
pub use operator::execute::{CommandOptions, CommandOutcome};
pub use operator::mirror::MirrorOverview;
#[cfg(feature = "page")]
pub use operator::page::access::{Access, Caller, PAGE_TOKEN_BYTES_MIN, PAGE_WRITES_PER_MINUTE};
#[cfg(feature = "page")]
pub use operator::page::{PAGE_FORM_BYTES_MAX, PAGE_LIVE_MAX, page};
pub use operator::specs::{COMMANDS, CommandField, CommandSpec};
pub use operator::{MigrationOverview, Operator};
pub use pace::replicas::REPLICAS_MAX;
pub use pace::throttle::{Throttle, WRITES_MIN, WRITES_WINDOW};
pub use preflight::finding::{Finding, FindingLevel, Preflight};
pub use preflight::live::{Live, LiveTable, SMALL_TABLE_BYTES, SMALL_TABLE_ROWS};
pub use preflight::report::PreflightReport;
pub use printable::printable;
pub use removal::declared::{REMOVAL_WAIT, Removal};
pub use removal::phase::RemovalPhase;
pub use removal::report::{RemovalReport, RemovalUse};
pub use rollout::health::Health;
pub use rollout::order::{RolloutCommand, RolloutCommandKind};
pub use rollout::plan::{RolloutPlan, RolloutStep, STEPS_MAX};
pub use rollout::state::RolloutState;
pub use runtime::health::{Probe, Probes};
pub use runtime::removal::{REMOVAL_CALLS_MAX, REMOVAL_PHASE_KNOWN_FOR, RemovalSwitch};
pub use runtime::sources::env::EnvFlags;
#[cfg(feature = "toml")]
pub use runtime::sources::file::{FLAG_FILE_BYTES_MAX, FileFlags};
#[cfg(feature = "open-feature")]
pub use runtime::sources::open_feature::OpenFeatureFlags;
pub use runtime::steering::FLAG_TIMEOUT;
pub use runtime::{LEASE, POLL, Registration, Runtime, RuntimeBuilder, SHUTDOWN};
pub use shadow::cohort::{COHORT_BYTES_MAX, COHORTS_MAX, CohortReport, cohort};
pub use shadow::context::{CallContext, with_context};
pub use shadow::noise::{
    NOISE_ABSOLUTE, NOISE_CHECKS_MIN, NOISE_RELATIVE, NOISE_SAMPLE, NoiseReport,
};
pub use shadow::report::{
    FieldMismatch, SHADOW_REPORTS_MAX, ShadowCall, ShadowFinding, ShadowReport,
};
pub use shadow::rules::ShadowRules;
pub use shadow::samples::{SAMPLES_MAX, SAMPLES_PER_FIELD_MAX};
pub use stages::bucket::{Bucket, BucketRule, salt};
pub use stages::columns::Columns;
pub use stages::facts::InstanceReport;
pub use stages::hazard::{Hazard, HazardKind, Stopped};
pub use stages::mirror::{MirrorError, MirrorNote};
pub use stages::moves::Move;
pub use stages::position::{Epoch, Generation, Percent, Position};
pub use stages::retry::{RETRY_AFTER, RETRY_AFTER_MAX};
pub use stages::route::{Operation, Route, route};
pub use stages::sample::OrderedSample;
pub use stages::stage::{Side, Stage};
pub use stages::stale::{StaleKind, StaleMark};
pub use stages::verification::{
    DIFFERING_MAX, FIELDS_NAMED_MAX, KeyDifference, KeyDifferenceKind, VerifyReport,
};
pub use state::events::{EVENTS_WAITING_MAX, RuntimeEvent};
pub use state::{
    AnswerPolicy, MIRROR_WRITE_TIMEOUT, MirrorPolicy, SHADOW_CONCURRENCY, SHADOW_TIMEOUT,
    SINGLE_WRITER_TIMEOUT, UNAWARE_WINDOW,
};
pub use transaction::Tx;
pub use transaction::build::BuildSide;
pub use transaction::shared::SharedTx;
pub use verify::repair::RepairReport;
pub use verify::run::{ASKED_KEYS, CHECKPOINT_KEYS, CHUNK_KEYS};

#[cfg(feature = "macros")]
#[doc = include_str!("docs/compare.md")]
pub use dualwrite_macros::Compare;
#[cfg(feature = "macros")]
#[doc = include_str!("docs/dual.md")]
pub use dualwrite_macros::Dual;
/// Makes a struct a key: one field is a key as that field is, and up to four are its columns, in order. A key that
/// borrows nothing is an [`OwnedKey`], too, and must be `Clone` for that.
///
/// ```
/// use dualwrite::{Key, KeyPart};
///
/// #[derive(Clone, Copy, Key)]
/// struct CustomerId(i64);
///
/// #[derive(Clone, Key)]
/// struct OrderKey {
///     customer: CustomerId,
///     number: i32,
/// }
///
/// let key = OrderKey { customer: CustomerId(7), number: 1 };
/// assert_eq!(key.parts(), [KeyPart::Integer(7), KeyPart::Integer(1)]);
/// ```
///
/// `#[key(crate = path)]` says where the library is, if not at `::dualwrite`.
#[cfg(feature = "macros")]
pub use dualwrite_macros::Key;
#[cfg(feature = "macros")]
pub use dualwrite_macros::repository;
