//! [`GuardedMigrator`]: applies schema migrations, and asks for the evidence before a statement that touches old.

mod touched;

use std::time::Duration;

use serde::Serialize;
use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};

use self::touched::{Files, Touched};
use crate::clock;
use crate::contract::decide::ContractDecision;
use crate::contract::declared::OldObject;
use crate::contract::facts::Progress;
use crate::control::Control as _;
use crate::control::contracts::{AlterLimits, Contracts as _};
use crate::control::removals::Removals as _;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::error::{Error, ErrorKind, is_undefined_table};
use crate::migration::altering::stands_in_the_way;
use crate::migration::contracting::Contracting;
use crate::migration::removing::Removing;
use crate::migration::transition::check_named;
use crate::schema::SqlDialect;
use crate::store::sql::SqlControl;

const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// A migration may build an index.
const STATEMENT_WITHIN: Duration = Duration::from_secs(6 * 60 * 60);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 10;
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A statement that is not applied yet, and drops, renames or rewrites what a migration calls old, or may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuardedStatement {
    /// The version of its file.
    pub version: i64,
    /// The line of its first word in that file.
    pub line: usize,
    /// The rule of [`schema`](crate::schema) that speaks against it.
    pub rule: String,
    /// The migration that calls that old, or the [removal](crate::removal::Removal) that names it.
    pub migration: String,
    /// Whether it may be applied now; of a removal with [`EvidenceKind::Phase`](crate::contract::EvidenceKind::Phase) alone.
    pub decision: ContractDecision,
}

/// A [`Migrator`] that refuses to apply a statement which drops, renames or rewrites what a migration calls
/// [old](crate::contract::Contract), unless all evidence is there. Use it wherever the migrations of the application are
/// applied. What a [removal](crate::removal::Removal) names is guarded as well: a statement that drops it is applied when
/// the phases before the drop are over.
///
/// Where one statement is refused, none of the pending files is applied. What no parser here reads is refused as long
/// as there is a contract, unless the file waives that: see [`guide::schema`](crate::guide::schema).
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, migration::GuardedMigrator};
/// use sqlx::migrate::Migrator;
///
/// async fn migrate(pool: &sqlx::SqlitePool, migrator: &Migrator) -> Result<(), Error> {
///     GuardedMigrator::new(migrator).by("pipeline").because("release 1.5").run(pool).await
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `run`"]
pub struct GuardedMigrator<'m> {
    migrator: &'m Migrator,
    actor: String,
    reason: String,
    lock: Duration,
    attempts: u32,
}

impl<'m> GuardedMigrator<'m> {
    /// Around the migrator of the application.
    pub fn new(migrator: &'m Migrator) -> Self {
        Self {
            migrator,
            actor: String::new(),
            reason: String::new(),
            lock: LOCK_TIMEOUT,
            attempts: ATTEMPTS,
        }
    }

    /// Who applies, for the audit of a contract; at most 100 bytes.
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Why, for that audit.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// How long a statement waits for its lock where one touches old; two seconds by default.
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock = limit;
        self
    }

    /// How often that is tried; 10 times by default, 1 at the least.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The pending statements that touch old, each with what the evidence says now. Writes nothing.
    ///
    /// # Errors
    /// `Database`.
    pub async fn check<DB: Backend>(
        &self,
        pool: &sqlx::Pool<DB>,
    ) -> Result<Vec<GuardedStatement>, Error>
    where
        DB::Connection: Migrate,
    {
        let control = SqlControl::new(pool.clone(), ANSWER_WITHIN);
        let mut found = Vec::new();
        for touched in self.touched(pool, &control).await? {
            let decision = touched.decision();
            found.extend(touched.statements().iter().map(|(version, line, rule)| {
                GuardedStatement {
                    version: *version,
                    line: *line,
                    rule: (*rule).to_owned(),
                    migration: touched.name.clone(),
                    decision: decision.clone(),
                }
            }));
        }
        control.close();
        Ok(found)
    }

    /// Applies what is pending, as [`Migrator::run`] does.
    ///
    /// # Errors
    /// `Blocked` that names the file, the line, and all evidence that is missing: nothing was applied. `InvalidInput`
    /// where a statement touches old and no actor or no reason is given; `Timeout` where it never got its lock;
    /// `Database` where the migrator fails.
    pub async fn run<DB: Backend>(&self, pool: &sqlx::Pool<DB>) -> Result<(), Error>
    where
        DB::Connection: Migrate,
    {
        let control = SqlControl::new(pool.clone(), ANSWER_WITHIN);
        let touched = self.touched(pool, &control).await?;
        if touched.is_empty() {
            control.close();
            return self.migrator.run(pool).await.map_err(failed);
        }
        let applied = self.apply_guarded(pool, &control, &touched).await;
        control.close();
        applied
    }

    /// The contracts that pending files touch. One that has ended guards nothing any more.
    async fn touched<DB: Backend>(
        &self,
        pool: &sqlx::Pool<DB>,
        control: &SqlControl<DB>,
    ) -> Result<Vec<Touched>, Error>
    where
        DB::Connection: Migrate,
    {
        if !has_contracts(pool).await? {
            return Ok(Vec::new());
        }
        let pending = self.pending(pool).await?;
        let dialect = match (DB::Adapter::DIALECT.numbered, DB::Adapter::DIALECT.on_duplicate_key) {
            (true, _) => SqlDialect::Postgres,
            (_, true) => SqlDialect::Mysql,
            _ => SqlDialect::Sqlite,
        };
        let all = |objects: &[OldObject]| Files::touching(&pending, dialect, objects);
        let mut found = Vec::new();
        for (name, contract) in control.contracts().await? {
            let Some(files) = all(contract.objects()) else { continue };
            let facts = Contracting::new(control, &name, None).facts().await?;
            if facts.progress != Progress::Ended {
                found.push(Touched::of_contract(name, contract, facts, files));
            }
        }
        for name in control.removals().await? {
            let removing = Removing::new(control, &name);
            let objects = removing.all_objects().await?;
            let Some(files) = all(&objects) else { continue };
            if let Some(missing) = removing.against_a_drop().await? {
                found.push(Touched::of_removal(name, objects, missing, files));
            }
        }
        Ok(found)
    }

    async fn pending<DB: Backend>(&self, pool: &sqlx::Pool<DB>) -> Result<Vec<&Migration>, Error>
    where
        DB::Connection: Migrate,
    {
        let doing = "reading which schema migrations are applied";
        let mut conn = pool.acquire().await.map_err(|error| Error::database(doing, error))?;
        let table = &self.migrator.table_name;
        let applied = match conn.list_applied_migrations(table).await {
            Ok(applied) => applied,
            // Where there is no such table yet, none is applied.
            Err(MigrateError::Execute(error)) if is_undefined_table(&error) => Vec::new(),
            Err(error) => return Err(Error::database(doing, error.into())),
        };
        let pending = self.migrator.iter().filter(|file| {
            !file.migration_type.is_down_migration()
                && !applied.iter().any(|known| known.version == file.version)
        });
        Ok(pending.collect())
    }

    async fn apply_guarded<DB: Backend>(
        &self,
        pool: &sqlx::Pool<DB>,
        control: &SqlControl<DB>,
        touched: &[Touched],
    ) -> Result<(), Error>
    where
        DB::Connection: Migrate,
    {
        // All are judged before one is begun.
        for one in touched.iter().filter(|one| !one.is_begun()) {
            one.decision().admit().map_err(|error| one.refused(&error))?;
        }
        check_named("actor", &self.actor)?;
        if self.reason.trim().is_empty() {
            let message = "a pending statement drops the old side: give the reason with `because`";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        for one in touched {
            let begun = one.begin(control, &self.actor, &self.reason).await;
            begun.map_err(|error| one.refused(&error))?;
        }
        let applied = self.apply(pool, control, touched).await;
        for one in touched {
            let limits = AlterLimits { lock: self.lock, statement: STATEMENT_WITHIN };
            let said = (&*self.actor, &*self.reason);
            one.conclude(control, said, applied.as_ref().err(), (limits, self.attempts)).await?;
        }
        applied
    }

    /// Under a lock timeout, tried again while others hold the lock or a replica is behind.
    async fn apply<DB: Backend>(
        &self,
        pool: &sqlx::Pool<DB>,
        control: &SqlControl<DB>,
        touched: &[Touched],
    ) -> Result<(), Error>
    where
        DB::Connection: Migrate,
    {
        let tables: Vec<String> = touched.iter().flat_map(Touched::tables).collect();
        let (mut pause, mut seen) = (BACKOFF, Vec::new());
        for attempt in 1..=self.attempts {
            seen = stands_in_the_way(control, &tables, self.lock).await;
            if seen.is_empty() && self.apply_once::<DB>(pool).await? {
                return Ok(());
            }
            if attempt < self.attempts {
                clock::sleep(clock::jittered(pause, u64::from(attempt) * 7_919)).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
        let found = match seen.is_empty() {
            true => "look for a transaction that is held open".to_owned(),
            false => format!("it was not begun, for it would have waited: {}", seen.join(", ")),
        };
        let message = format!(
            "a schema migration did not get its lock within {:?}, {} times; {found}; apply it again then",
            self.lock, self.attempts
        );
        Err(Error::new(ErrorKind::Timeout, message))
    }

    /// Returns whether it was applied; `false` where it waited for a lock in vain.
    async fn apply_once<DB: Backend>(&self, pool: &sqlx::Pool<DB>) -> Result<bool, Error>
    where
        DB::Connection: Migrate,
    {
        let lost = |error| Error::database("applying schema migrations", error);
        // Taken out of the pool, for its settings, and closed at the end.
        let mut conn = pool.acquire().await.map_err(lost)?.detach();
        for setting in DB::Adapter::alter_settings(self.lock, STATEMENT_WITHIN) {
            DB::Adapter::run_text(&mut conn, setting).await.map_err(lost)?;
        }
        let error = match self.migrator.run_direct(None, &mut conn, false).await {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        let waited = match &error {
            MigrateError::ExecuteMigration(error, version)
                if DB::Adapter::is_lock_timeout(error) =>
            {
                self.forget_unapplied::<DB>(&mut conn, *version).await.map_err(lost)?
            }
            MigrateError::Execute(error) => DB::Adapter::is_lock_timeout(error),
            _ => false,
        };
        // The connection ends here, which gives the migrator's lock back.
        if waited { Ok(false) } else { Err(failed(error)) }
    }

    /// On MySQL and MariaDB, the record that sqlx leaves of a file that failed: where the file is one statement, which
    /// waited for a lock in vain, nothing of it was applied. Returns whether the file can be tried again.
    async fn forget_unapplied<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        version: i64,
    ) -> sqlx::Result<bool> {
        if !DB::Adapter::DIALECT.on_duplicate_key {
            return Ok(true);
        }
        let file = self.migrator.iter().find(|file| file.version == version);
        let single = file.is_some_and(|file| {
            crate::schema::classify(file.sql.as_str(), SqlDialect::Mysql).len() == 1
        });
        if single {
            let table = &self.migrator.table_name;
            let sql = format!("DELETE FROM {table} WHERE version = ? AND success = FALSE");
            DB::Adapter::execute(conn, &sql, &[SqlValue::from(version)]).await?;
        }
        Ok(single)
    }
}

/// Whether there are control tables that know contracts: on a new database the application's migrations may be applied
/// before the service starts.
async fn has_contracts<DB: Backend>(pool: &sqlx::Pool<DB>) -> Result<bool, Error> {
    let doing = "looking for contracts";
    let failed = |error| Error::database(doing, error);
    let mut conn = pool.acquire().await.map_err(failed)?;
    let sql = "SELECT count(*) FROM dualwrite_contract";
    match DB::Adapter::fetch(&mut conn, sql, &[]).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing_table(&error) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn is_missing_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    matches!(error.code().as_deref(), Some("42P01" | "42S02"))
        || error.message().starts_with("no such table")
}

fn failed(error: MigrateError) -> Error {
    let doing = "applying schema migrations";
    match error {
        MigrateError::Execute(error) => Error::database(doing, error),
        MigrateError::ExecuteMigration(error, version) => {
            Error::database(&format!("{doing}, version {version}"), error)
        }
        error => Error::new(ErrorKind::Database, format!("{doing} failed: {error}")),
    }
}
