//! The narrow waist to a SQL database: bind, fetch, begin with a fence. Everything that differs between
//! databases is in the adapters below; the statements above them are written once.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod altering;
pub(crate) mod authority;
pub(crate) mod canonical;
mod deferred;
mod dialect;
mod doctoring;
pub(crate) mod engine;
mod expanding;
mod fence;
mod holder;
mod identifier;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod install;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod removing;
pub(crate) mod sealed;
#[cfg(feature = "sqlite")]
mod sqlite;
mod text;
mod unsure;
mod values;
pub(crate) mod watch;

use std::time::Duration;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use sqlx::SqlSafeStr;
use sqlx::{AssertSqlSafe, Database};

pub(crate) use self::deferred::Deferred;
pub use self::dialect::Alike;
pub(crate) use self::dialect::Dialect;
pub(crate) use self::doctoring::{Examination, Upstream};
pub use self::engine::Engine;
pub use self::fence::Isolation;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use self::fence::read_pinned;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use self::fence::read_positions;
pub(crate) use self::fence::{Adoption, Begin, Fenced, Found, Pin, SAVEPOINT};
pub(crate) use self::holder::{Holder, Holders};
pub use self::identifier::Identifier;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) use self::install::{check_version, install_error, is_installed, migrator};
pub(crate) use self::removing::Watch as RemovalWatch;
pub(crate) use self::text::{Scanned, expression, verbatim};
pub(crate) use self::unsure::{Borrowed, on_unsure};
pub(crate) use self::values::{SqlRow, SqlValue};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) use self::values::{bind, typed_values};
pub(crate) use self::values::{position_of, unexpected};
use crate::key::KeyKind;
use crate::preflight::form::KeyForm;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use crate::stages::hazard::{Hazard, HazardKind};

/// A database that this library can fence: `sqlx::Sqlite`, `sqlx::Postgres`, `sqlx::MySql`.
///
/// Sealed: the fence is only correct if every adapter keeps DESIGN's promises.
///
/// ```
/// fn fenced<DB: dualwrite::Backend>() {}
/// # #[cfg(feature = "sqlite")]
/// fenced::<sqlx::Sqlite>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database that dualwrite can fence",
    note = "use sqlx::Sqlite, sqlx::Postgres or sqlx::MySql, and enable the feature `sqlite`, \
            `postgres` or `mysql` of dualwrite"
)]
pub trait Backend: Database {
    /// How this library speaks to it. Not among the methods of the database itself: those would be in
    /// the way of the names in code that is generic over it.
    #[doc(hidden)]
    type Adapter: sealed::Adapter<Db = Self>;
}
/// Slots for the minute of a foreign write. Connections whose numbers are the same in it may wait for each other.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) const UNAWARE_SLOTS: u32 = 512;

/// Raised when the text of a trigger changes.
const TRIGGER_VERSION: &str = "2";

/// A table of old whose writers are watched.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Watched {
    /// A validated name.
    pub(crate) migration: String,
    /// Quoted, as are the columns of the key.
    pub(crate) table: String,
    pub(crate) columns: Vec<(String, KeyKind)>,
    /// One for each column.
    pub(crate) forms: Vec<KeyForm>,
    /// Of the trigger, and of the function on PostgreSQL.
    pub(crate) name: String,
    /// The number of the migration's fence, from its row: the mark of a transaction that holds it.
    pub(crate) fence: u64,
}

impl Watched {
    pub(crate) fn new(
        migration: &str,
        table: String,
        columns: Vec<(String, KeyKind)>,
        forms: &[KeyForm],
    ) -> Self {
        // Of all that it depends on, so that one of this name is this one, and need not be replaced:
        // in between, writes would go by unseen.
        let parts = columns.iter().zip(forms).map(|((column, kind), form)| {
            format!("{column} {kind} {} {:?}", form.order, form.uuid)
        });
        let parts: Vec<String> = [TRIGGER_VERSION.to_owned(), migration.to_owned(), table.clone()]
            .into_iter()
            .chain(parts)
            .collect();
        let hash = xxhash_rust::xxh3::xxh3_64(parts.join("\0").as_bytes());
        let name = format!("dualwrite_watch_{hash:016x}");
        let forms = forms.to_vec();
        Self { migration: migration.to_owned(), table, columns, forms, name, fence: 0 }
    }

    /// The name of the table without its schema and quotes.
    pub(crate) fn plain_name(&self) -> String {
        plain(&self.table)
    }

    /// The name of the table, quoted, without its schema.
    #[cfg(feature = "sqlite")]
    pub(crate) fn table_name(&self) -> String {
        self.table.rsplit('.').next().unwrap_or(&self.table).to_owned()
    }
}

/// The new table and the columns of its key, quoted.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct NewTable {
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
}

impl NewTable {
    /// The name of the table without its schema and quotes.
    #[cfg(feature = "sqlite")]
    pub(crate) fn plain_name(&self) -> String {
        plain(&self.table)
    }
}

fn plain(table: &str) -> String {
    table.rsplit('.').next().unwrap_or(table).trim_matches(['"', '`']).to_owned()
}

/// How far a sequence is set beyond the greatest number that is taken: until new alone is written, old gives out
/// further ones.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
const SEQUENCE_HEADROOM: i64 = 10_000;

/// A sequence that would give out `next`, although numbers up to `most` are taken.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
fn sequence_behind(
    name: &str,
    column: &str,
    [next, most]: [i64; 2],
    repair: impl Fn(i64) -> String,
) -> Hazard {
    let repair = repair(most.saturating_add(SEQUENCE_HEADROOM));
    let detail = format!(
        "its next number, {next}, is taken: numbers up to {most} are in column {column} or were given out by \
         old; run `migration.advance_sequences()` or `dualwrite advance-sequences`, or: {repair}"
    );
    Hazard { repair: Some(repair), ..Hazard::new(HazardKind::Sequence, name, detail) }
}

/// What a database says of its own load; `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Pressure {
    pub(crate) lock_waits: Option<u64>,
    pub(crate) active: Option<u64>,
    pub(crate) lag: Option<Duration>,
}

/// At how many connections at once the control tables work.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
const CONNECTING_MAX: u32 = 16;

/// A pool that only connects, as the application's does, hooks included: what it lends is taken out of it.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
fn control_source<DB: Database>(pool: &sqlx::Pool<DB>, limit: Duration) -> sqlx::Pool<DB> {
    let options = pool.options().clone();
    options
        .min_connections(0)
        .max_connections(CONNECTING_MAX)
        .acquire_timeout(limit)
        .test_before_acquire(false)
        // Nothing stays in it: no task has to look after it.
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with((*pool.connect_options()).clone())
}

/// A pattern for `LIKE … ESCAPE '!'`: statements that begin like this, or any about the control tables where that is
/// empty. Not with a backslash, which escapes nothing under `NO_BACKSLASH_ESCAPES`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn control_statement(beginning: &str) -> String {
    match beginning {
        "" => "%dualwrite!_%".to_owned(),
        known => known.replace('!', "!!").replace('%', "!%").replace('_', "!_") + "%",
    }
}

/// The one place that declares a statement safe: texts of this crate, with validated identifiers.
pub(crate) fn safe(sql: impl Into<String>) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.into())
}
