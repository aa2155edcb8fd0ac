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
mod moment;
mod needs;
mod printable;
// The rooms, of which each imports only from those before it: ARCHITECTURE.md has their order.
pub mod backfill;
pub mod call;
pub mod compare;
pub mod contract;
mod control;
pub mod converging;
mod copier;
pub mod copy;
mod database;
pub mod doctor;
pub mod exact;
pub mod expand;
pub mod flags;
pub mod guard;
pub mod migration;
pub mod observe;
pub mod operator;
mod pace;
pub mod preflight;
pub mod removal;
pub mod rollout;
pub mod runtime;
#[cfg(feature = "schema")]
pub mod schema;
pub mod shadow;
mod stages;
mod state;
mod store;
pub mod testing;
mod transaction;
pub mod verify;
/// Whether a service is well, for whoever asks from outside: probes, and a check for after a deployment.
pub mod health {
    pub use crate::migration::smoke::{Smoke, SmokeCheck, SmokeReport};
    pub use crate::runtime::health::{Probe, Probes};
}
/// Defaults and bounds: what holds unless something else is set, and what nothing goes beyond.
pub mod defaults {
    pub use crate::backfill::decide::{BATCH_KEYS, BATCH_TIME, FAILURES_MAX};
    pub use crate::backfill::walk::FAILURES_NAMED_MAX;
    pub use crate::compare::{DIFFERENCES_MAX, PATH_CHARS_MAX, SHOWN_CHARS_MAX};
    pub use crate::contract::declared::{COMPLETE_FOR, CONTRACT_APPROVAL, CONTRACT_OBJECTS_MAX};
    pub use crate::control::WORKERS_SHOWN_MAX;
    pub use crate::control::settings::WORKERS_MAX;
    pub use crate::control::traffic::TRAFFIC_MINUTES;
    pub use crate::converging::{
        COPY_ATTEMPTS_MAX, IN_FLIGHT_MAX, QUEUE_WAIT, SETTLE_AFTER, STORE_CALL_LIMIT,
    };
    pub use crate::copy::MAPPED_FIELDS_MAX;
    pub use crate::copy::exclusive::FENCE_REFUSALS_MAX;
    pub use crate::database::sealed::CONTROL_TURN_WAIT;
    pub use crate::exact::{
        BACKLOG_COUNTED, DRAIN_WAIT, EXACT_POLL, HAND_OVER_WAIT, OUTBOX_MAX, OUTBOX_PAGE,
        TAKE_OVER_AFTER,
    };
    pub use crate::expand::declared::EXPAND_OBJECTS_MAX;
    pub use crate::guard::rules::{
        GUARD_DEVIATION, GUARD_PERIOD, GUARD_SAMPLES_MIN, GUARD_WINDOW, GUARDS_MAX,
    };
    pub use crate::key::KEY_BYTES_MAX;
    pub use crate::migration::rollout::COMMANDS_SHOWN_MAX;
    pub use crate::migration::smoke::SMOKE_LIMIT;
    pub use crate::migration::transition::MOVE_TIMEOUT;
    pub use crate::observe::mirror::MIRROR_WARNING_PAUSE;
    pub use crate::observe::rarely::DIFFERENCE_WARNING_PAUSE;
    pub use crate::observe::tally::FIELDS_MAX;
    #[cfg(feature = "page")]
    pub use crate::operator::page::access::{PAGE_TOKEN_BYTES_MIN, PAGE_WRITES_PER_MINUTE};
    #[cfg(feature = "page")]
    pub use crate::operator::page::{PAGE_FORM_BYTES_MAX, PAGE_LIVE_MAX};
    pub use crate::pace::replicas::REPLICAS_MAX;
    pub use crate::pace::throttle::{WRITES_MIN, WRITES_WINDOW};
    pub use crate::preflight::live::{SMALL_TABLE_BYTES, SMALL_TABLE_ROWS};
    pub use crate::removal::declared::REMOVAL_WAIT;
    pub use crate::rollout::plan::STEPS_MAX;
    pub use crate::runtime::removal::{REMOVAL_CALLS_MAX, REMOVAL_PHASE_KNOWN_FOR};
    #[cfg(feature = "toml")]
    pub use crate::runtime::sources::file::FLAG_FILE_BYTES_MAX;
    pub use crate::runtime::steering::FLAG_TIMEOUT;
    pub use crate::runtime::{LEASE, POLL, SHUTDOWN};
    pub use crate::shadow::cohort::{COHORT_BYTES_MAX, COHORTS_MAX};
    pub use crate::shadow::noise::{
        NOISE_ABSOLUTE, NOISE_CHECKS_MIN, NOISE_RELATIVE, NOISE_SAMPLE,
    };
    pub use crate::shadow::report::SHADOW_REPORTS_MAX;
    pub use crate::shadow::samples::{SAMPLES_MAX, SAMPLES_PER_FIELD_MAX};
    pub use crate::stages::retry::{RETRY_AFTER, RETRY_AFTER_MAX};
    pub use crate::stages::verification::{DIFFERING_MAX, FIELDS_NAMED_MAX};
    pub use crate::state::events::EVENTS_WAITING_MAX;
    pub use crate::state::{
        MIRROR_WRITE_TIMEOUT, SHADOW_CONCURRENCY, SHADOW_TIMEOUT, SINGLE_WRITER_TIMEOUT,
        UNAWARE_WINDOW,
    };
    pub use crate::verify::run::{ASKED_KEYS, CHECKPOINT_KEYS, CHUNK_KEYS, CHUNK_ROWS};
}
#[doc = include_str!("docs/index.md")]
pub mod guide {
    #[doc = include_str!("docs/tutorial.md")]
    pub mod tutorial {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/rename_a_column.md")]
    pub mod rename_a_column {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/change_a_type.md")]
    pub mod change_a_type {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/split_a_table.md")]
    pub mod split_a_table {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/generated_ids.md")]
    pub mod generated_ids {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/several_migrations.md")]
    pub mod several_migrations {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/another_database.md")]
    pub mod another_database {}
    #[doc = include_str!("docs/blue_green.md")]
    pub mod blue_green {}
    #[doc = include_str!("docs/after_complete.md")]
    pub mod after_complete {}
    #[doc = include_str!("docs/alter_to_drop.md")]
    pub mod alter_to_drop {}
    #[doc = include_str!("docs/pipeline.md")]
    pub mod pipeline {}
    #[cfg(all(feature = "macros", feature = "sqlite", feature = "page"))]
    #[doc = include_str!("docs/runbook.md")]
    pub mod runbook {}
    #[cfg(all(feature = "macros", feature = "sqlite", feature = "page"))]
    #[doc = include_str!("docs/service.md")]
    pub mod service {}
    #[cfg(all(feature = "testing", feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/testing.md")]
    pub mod testing {}
    #[cfg(feature = "macros")]
    #[doc = include_str!("docs/recipes.md")]
    pub mod recipes {}
    #[cfg(all(feature = "macros", feature = "sqlite"))]
    #[doc = include_str!("docs/repository.md")]
    pub mod repository {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/backfill.md")]
    pub mod backfill {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/verify.md")]
    pub mod verify {}
    #[doc = include_str!("docs/shadow.md")]
    pub mod shadow {}
    #[doc = include_str!("docs/rollout.md")]
    pub mod rollout {}
    #[doc = include_str!("docs/flags.md")]
    pub mod flags {}
    #[doc = include_str!("docs/maintenance.md")]
    pub mod maintenance {}
    #[doc = include_str!("docs/contract.md")]
    pub mod contract {}
    #[doc = include_str!("docs/removal.md")]
    pub mod removal {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/exact.md")]
    pub mod exact {}
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("docs/converging.md")]
    pub mod converging {}
    #[cfg(feature = "schema")]
    #[doc = include_str!("docs/schema.md")]
    pub mod schema {}
    #[doc = include_str!("docs/doctor.md")]
    pub mod doctor {}
    #[doc = include_str!("docs/protocol.md")]
    pub mod protocol {}
    #[doc = include_str!("docs/limits.md")]
    pub mod limits {}
    #[doc = include_str!("docs/why.md")]
    pub mod why {}
    #[doc = include_str!("docs/settings.md")]
    pub mod settings {}
    #[doc = include_str!("docs/metrics.md")]
    pub mod metrics {}
    #[doc = include_str!("docs/control_tables.md")]
    pub mod control_tables {}
    #[doc = include_str!("docs/glossary.md")]
    pub mod glossary {}
}
// For generated code.
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
// The proof: every interleaving of a few rows, instances and transactions
#[cfg(test)]
mod model;

pub use compare::{Compare, Comparison};
pub use copy::bound::BindColumns;
pub use copy::conversion::ConversionError;
pub use copy::dual::Dual;
pub use copy::{Copied, CopyBack, CopyColumns, CopyKeys, CopySql, DualTable, Mapping};
pub use database::{Backend, Engine, Isolation};
pub use error::{BoxError, Closed, Error, ErrorKind, Maintenance};
pub use gate::{Blocker, Gate};
pub use key::{Key, KeyKind, KeyPart, OwnedKey};
pub use migration::Migration;
pub use migration::status::Status;
pub use migration::transition::Transition;
pub use printable::printable;
pub use runtime::{Registration, Runtime, RuntimeBuilder};
pub use stages::bucket::{Bucket, BucketRule, salt};
pub use stages::columns::Columns;
pub use stages::moves::Move;
pub use stages::position::{Epoch, Generation, Percent, Position};
pub use stages::route::{Operation, Route, route};
pub use stages::stage::{Side, Stage};
pub use state::{AnswerPolicy, MirrorPolicy};
pub use transaction::Tx;
pub use transaction::build::BuildSide;
pub use transaction::shared::SharedTx;

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
