//! [`Removing`]: takes a removal from phase to phase, and back.

use std::time::Duration;

use crate::contract::declared::{Contract, OldObject};
use crate::contract::plan::drops;
use crate::contract::relax;
use crate::contract::shape::OldShape;
use crate::control::Control;
use crate::control::contracts::{AlterLimits, ContractEvent, NewContractEvent};
use crate::control::removals::RemovalStep;
use crate::database::{Dialect, RemovalWatch};
use crate::error::{Error, ErrorKind};
use crate::migration::altering::Altering;
use crate::migration::transition::{check_named, check_reason};
use crate::removal::decide::{RemovalFacts, RemovalShape, admit, missing, next};
use crate::removal::phase::RemovalPhase;
use crate::removal::report::RemovalReport;
use crate::removal::statements::{all_renamed, fills_itself, rename, renamed};

const EVENTS: u32 = 100;
const LIMITS: AlterLimits =
    AlterLimits { lock: Duration::from_secs(2), statement: Duration::from_secs(600) };
const ATTEMPTS: u32 = 10;

/// A removal: tables or columns that nothing takes the place of, dropped in phases. From
/// [`Operator::removal`](crate::operator::Operator::removal).
///
/// Writes are stopped, then reads, each for as long as the declaration waits; then it gets another name, and after that
/// time once more it is dropped. Whoever writes it in between is recorded by a trigger, and named. Up to the drop
/// [`restore`](Self::restore) brings everything back.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, operator::Operator};
///
/// async fn go_on(operator: &Operator) -> Result<(), Error> {
///     let removal = operator.removal("customer-fax");
///     removal.stop_writes("ada", "release 1.4 writes no fax number").await?;
///     let report = removal.report().await?;
///     report.missing.iter().for_each(|one| println!("{one}"));
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use = "ask for its report, or take it to the next phase"]
pub struct Removing<'m> {
    control: &'m dyn Control,
    name: &'m str,
}

impl std::fmt::Debug for Removing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Removing").field("removal", &self.name).finish_non_exhaustive()
    }
}

/// All that is known.
struct Known {
    facts: RemovalFacts,
    shape: RemovalShape,
    /// By their own names, and by the other ones.
    own: OldShape,
    other: OldShape,
    dialect: &'static Dialect,
}

impl Known {
    fn contract(&self) -> &Contract {
        &self.facts.declared.contract
    }

    /// Whether the old name, or the other one, is there.
    fn has_own(&self, object: &OldObject) -> bool {
        self.own.has(object)
    }

    fn has_other(&self, object: &OldObject) -> bool {
        self.other.has(&renamed(object))
    }
}

/// Why a row without the object would be refused.
fn demanded(contract: &Contract, shape: &OldShape, dialect: &Dialect) -> Vec<String> {
    let columns = contract.objects().iter().filter_map(|object| {
        let column = shape.column(object)?;
        (!column.nullable && !fills_itself(column)).then_some((object, column))
    });
    let reason = |(object, column): (&OldObject, _)| {
        let next = match relax::statement(&object.table_name(), column, dialect) {
            Some(statement) => format!("run: {statement}"),
            None => "this database cannot change that in place: rebuild the table with the column nullable".to_owned(),
        };
        format!("{object} is NOT NULL without a default, so a row without it is refused; {next}")
    };
    columns.map(reason).collect()
}

impl<'m> Removing<'m> {
    pub(crate) fn new(control: &'m dyn Control, name: &'m str) -> Self {
        Self { control, name }
    }

    async fn known(&self) -> Result<Known, Error> {
        self.control.check_version().await?;
        let facts = self.control.removal(self.name).await?;
        let message = "control tables in memory have no schema beside them";
        let dialect = self.control.dialect();
        let dialect = dialect.ok_or_else(|| Error::new(ErrorKind::Unsupported, message))?;
        let contract = &facts.declared.contract;
        let other_contract = all_renamed(&facts.declared);
        let own = self.control.old_shape(contract).await?;
        let other = self.control.old_shape(&other_contract).await?;
        let mut shape = RemovalShape::default();
        if facts.phase < RemovalPhase::Dropped {
            let gone = |object: &&OldObject| !own.has(object) && !other.has(&renamed(object));
            let objects = contract.objects().iter();
            shape.gone = objects.filter(gone).map(ToString::to_string).collect();
            shape.demanded = demanded(contract, &own, dialect);
            shape.dependents = own.dependents(contract);
            shape.dependents.extend(other.dependents(&other_contract));
        }
        Ok(Known { facts, shape, own, other, dialect })
    }

    /// Where it stands, who used it, and what stands against the next phase.
    ///
    /// # Errors
    /// `UnknownMigration` where nobody has declared it, `Unsupported`, `Database`.
    pub async fn report(&self) -> Result<RemovalReport, Error> {
        let known = self.known().await?;
        let facts = &known.facts;
        let mut notes = Vec::new();
        if let (Some(then), true) = (facts.scans, facts.phase >= RemovalPhase::ReadsStopped)
            && facts.phase < RemovalPhase::Dropped
            && let Some(now) = self.control.scans(&self.whole_tables(&known)).await?
            && now > then
        {
            notes.push(format!(
                "the server has counted {} scans since reads were stopped: a backup reads it, too, so look who else does",
                now - then
            ));
        }
        for object in known.contract().objects() {
            let fills = known.own.column(object).is_some_and(fills_itself);
            if fills && facts.phase <= RemovalPhase::WritesStopped {
                notes.push(format!(
                    "{object} has a default, so only updates of it are seen, no inserts"
                ));
            }
        }
        Ok(RemovalReport {
            name: self.name.to_owned(),
            objects: known.contract().objects().iter().map(ToString::to_string).collect(),
            phase: facts.phase,
            phase_s: facts.phase_age.as_secs(),
            next: next(facts.phase, &facts.declared),
            missing: missing(facts, &known.shape),
            uses: facts.uses.clone(),
            notes,
        })
    }

    /// The tables that are to go, or that a column goes from, by the names that they have now: those that a backup has to
    /// have.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn tables(&self) -> Result<Vec<String>, Error> {
        Ok(self.tables_now(&self.known().await?))
    }

    fn tables_now(&self, known: &Known) -> Vec<String> {
        let mut tables = self.whole_tables(known);
        let objects = known.contract().objects().iter();
        for object in objects.filter(|object| object.column.is_some()) {
            if !tables.contains(&object.table) {
                tables.push(object.table.clone());
            }
        }
        tables
    }

    /// The tables that are removed, by the names that they have now.
    fn whole_tables(&self, known: &Known) -> Vec<String> {
        let mut tables: Vec<String> = Vec::new();
        for object in known.contract().objects().iter().filter(|object| object.column.is_none()) {
            tables.push(match known.has_own(object) {
                true => object.table.clone(),
                false => renamed(object).table,
            });
        }
        tables
    }

    fn watch(&self, known: &Known, object: &OldObject) -> RemovalWatch {
        let dialect = known.dialect;
        let (shape, now) = match known.has_own(object) {
            true => (&known.own, object.clone()),
            false => (&known.other, renamed(object)),
        };
        let column = shape.column(&now);
        RemovalWatch {
            removal: self.name.to_owned(),
            table: relax::quoted_table(&now.table_name(), dialect),
            column: now.column.as_ref().map(|name| relax::quoted(name, dialect)),
            fills_itself: column.is_some_and(fills_itself),
            object: object.to_string(),
        }
    }

    async fn run(&self, known: &Known, statement: &str) -> Result<(), Error> {
        self.run_on(&self.tables_now(known), statement).await
    }

    async fn run_on(&self, tables: &[String], statement: &str) -> Result<(), Error> {
        let (control, next) = (self.control, "give the command again");
        let altering = Altering { control, tables, limits: LIMITS, attempts: ATTEMPTS, next };
        altering.run(statement).await
    }

    async fn unwatch(&self, known: &Known, object: &OldObject) -> Result<(), Error> {
        for statement in self.watch(known, object).remove(known.dialect) {
            self.run(known, &statement).await?;
        }
        Ok(())
    }

    async fn step(
        &self,
        known: &Known,
        (to, what): (RemovalPhase, &'static str),
        (by, because): (&str, &str),
        detail: String,
    ) -> Result<(), Error> {
        let scans = match to {
            RemovalPhase::ReadsStopped => self.control.scans(&self.whole_tables(known)).await?,
            _ => None,
        };
        let (actor, reason) = (by.to_owned(), because.to_owned());
        let event = NewContractEvent { what, actor, reason, detail };
        let from = known.facts.phase;
        let step = RemovalStep { from, to, scans };
        match self.control.move_removal(self.name, step, &event).await? {
            true => {
                tracing::info!(removal = self.name, actor = by, reason = because, "{what}");
                Ok(())
            }
            false => {
                let message =
                    format!("the removal does not stand at {from} any more; look where it stands");
                Err(Error::new(ErrorKind::Conflict, message))
            }
        }
    }

    async fn admitted(&self, to: RemovalPhase, by: &str, because: &str) -> Result<Known, Error> {
        check_named("actor", by).and_then(|()| check_reason(because))?;
        let known = self.known().await?;
        admit(&known.facts, &known.shape, to)?;
        Ok(known)
    }

    /// From now on nobody is to write it: triggers record who does.
    ///
    /// # Errors
    /// `Blocked` that names what stands against it; `IllegalMove` in another phase; `InvalidInput` without a name or a
    /// reason; `Timeout` where a statement never got its lock; `Unsupported`, `Conflict`, `Database`.
    pub async fn stop_writes(&self, by: &str, because: &str) -> Result<(), Error> {
        let known = self.admitted(RemovalPhase::WritesStopped, by, because).await?;
        let schema =
            known.contract().objects().iter().find_map(|object| object.table_name().schema);
        if let Some(schema) = schema.filter(|_| !known.dialect.server) {
            let message = format!(
                "tables of the attached database `{schema}` cannot be watched; open that file by itself"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        // On PostgreSQL whoever reads a table does not keep a trigger from being made.
        let tables = if known.dialect.numbered { Vec::new() } else { self.tables_now(&known) };
        for object in known.contract().objects() {
            for statement in self.watch(&known, object).create(known.dialect) {
                self.run_on(&tables, &statement).await?;
            }
        }
        let to = (RemovalPhase::WritesStopped, "writes_stopped");
        self.step(&known, to, (by, because), String::new()).await
    }

    /// From now on nobody is to read it either.
    ///
    /// # Errors
    /// As [`stop_writes`](Self::stop_writes).
    pub async fn stop_reads(&self, by: &str, because: &str) -> Result<(), Error> {
        let known = self.admitted(RemovalPhase::ReadsStopped, by, because).await?;
        let to = (RemovalPhase::ReadsStopped, "reads_stopped");
        self.step(&known, to, (by, because), String::new()).await
    }

    /// Gives it another name: whoever uses it still, fails, and [`restore`](Self::restore) brings it back at once.
    ///
    /// # Errors
    /// As [`stop_writes`](Self::stop_writes).
    pub async fn rename(&self, by: &str, because: &str) -> Result<(), Error> {
        let known = self.admitted(RemovalPhase::Renamed, by, because).await?;
        let mut done = Vec::new();
        for object in known.contract().objects().iter().filter(|object| known.has_own(object)) {
            if object.column.is_some() {
                // A trigger that names the column would keep others from writing the table.
                self.unwatch(&known, object).await?;
            }
            let statement = rename(object, &renamed(object), known.dialect);
            self.run(&known, &statement).await?;
            done.push(statement);
        }
        let to = (RemovalPhase::Renamed, "renamed");
        self.step(&known, to, (by, because), done.join(";\n")).await
    }

    /// Drops it. There is no way back.
    ///
    /// # Errors
    /// As [`stop_writes`](Self::stop_writes).
    pub async fn drop_for_good(&self, by: &str, because: &str) -> Result<Vec<String>, Error> {
        let known = self.admitted(RemovalPhase::Dropped, by, because).await?;
        let other = all_renamed(&known.facts.declared);
        for object in known.contract().objects() {
            self.unwatch(&known, object).await?;
        }
        let mut found = drops(&other, &known.other, known.dialect);
        found.extend(drops(known.contract(), &known.own, known.dialect));
        let statements: Vec<String> = found.into_iter().map(|(statement, _)| statement).collect();
        for statement in &statements {
            if let Err(error) = self.run(&known, statement).await {
                let detail = format!("{statement}: {error}");
                self.record("failed", by, because, detail).await?;
                return Err(error);
            }
        }
        let to = (RemovalPhase::Dropped, "dropped");
        self.step(&known, to, (by, because), statements.join(";\n")).await?;
        Ok(statements)
    }

    /// Takes it back to use, from any phase but the last: its names are what they were, and nobody is recorded any more.
    ///
    /// # Errors
    /// `IllegalMove` where it was dropped; `InvalidInput`, `Timeout`, `Conflict`, `Database`.
    pub async fn restore(&self, by: &str, because: &str) -> Result<(), Error> {
        check_named("actor", by).and_then(|()| check_reason(because))?;
        let known = self.known().await?;
        if known.facts.phase == RemovalPhase::Dropped {
            let message = "everything was dropped; bring it back from the backup";
            return Err(Error::new(ErrorKind::IllegalMove, message));
        }
        let mut done = Vec::new();
        for object in known.contract().objects() {
            if known.has_own(object) || known.has_other(object) {
                self.unwatch(&known, object).await?;
            }
            if known.has_other(object) && !known.has_own(object) {
                let statement = rename(&renamed(object), object, known.dialect);
                self.run(&known, &statement).await?;
                done.push(statement);
            }
        }
        self.step(&known, (RemovalPhase::InUse, "restored"), (by, because), done.join(";\n")).await
    }

    /// Records that somebody has made a backup and restored it; `output` goes into the audit. It counts where reads were
    /// stopped before.
    ///
    /// # Errors
    /// `InvalidInput` without a name or a reason; `UnknownMigration`, `Database`.
    pub async fn confirm_backup(&self, by: &str, because: &str, output: &str) -> Result<(), Error> {
        check_named("actor", by).and_then(|()| check_reason(because))?;
        self.control.check_version().await?;
        self.control.removal(self.name).await?;
        self.record("backup", by, because, output.to_owned()).await
    }

    async fn record(
        &self,
        what: &'static str,
        by: &str,
        because: &str,
        detail: String,
    ) -> Result<(), Error> {
        let (actor, reason) = (by.to_owned(), because.to_owned());
        let event = NewContractEvent { what, actor, reason, detail };
        self.control.record_removal(self.name, &event).await
    }

    /// The audit, newest first.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn events(&self) -> Result<Vec<ContractEvent>, Error> {
        self.control.check_version().await?;
        self.control.removal(self.name).await?;
        self.control.removal_events(self.name, EVENTS).await
    }
}

/// What a file of migrations drops, by the guarded migrator.
#[cfg(feature = "schema")]
impl Removing<'_> {
    /// What stands against a statement of somebody else's that drops it; `None` where everything was dropped already.
    pub(crate) async fn against_a_drop(&self) -> Result<Option<Vec<String>>, Error> {
        let known = self.known().await?;
        let facts = &known.facts;
        Ok(match next(facts.phase, &facts.declared) {
            None => None,
            Some(RemovalPhase::Dropped) => Some(missing(facts, &known.shape)),
            Some(next) => Some(vec![format!(
                "it stands at {}, and its next phase is {next}: `dualwrite removal`",
                facts.phase
            )]),
        })
    }

    /// What is removed, by its own names and by those that it has out of the way.
    pub(crate) async fn all_objects(&self) -> Result<Vec<OldObject>, Error> {
        let declared = self.control.removal(self.name).await?.declared;
        let mut objects = declared.objects().to_vec();
        objects.extend_from_slice(all_renamed(&declared).objects());
        Ok(objects)
    }

    /// Before somebody else drops it: the triggers go, for a column cannot be dropped everywhere that they name.
    pub(crate) async fn before_a_drop(&self, by: &str, because: &str) -> Result<(), Error> {
        let known = self.admitted(RemovalPhase::Dropped, by, because).await?;
        for object in known.contract().objects() {
            self.unwatch(&known, object).await?;
        }
        Ok(())
    }

    /// After somebody else ran these statements: where all of it is gone, it is dropped.
    pub(crate) async fn after_a_drop(
        &self,
        (by, because): (&str, &str),
        detail: String,
        failed: Option<&Error>,
    ) -> Result<(), Error> {
        if let Some(error) = failed {
            return self.record("failed", by, because, error.to_string()).await;
        }
        let known = self.known().await?;
        let is_left = |object: &OldObject| known.has_own(object) || known.has_other(object);
        if known.contract().objects().iter().any(is_left) {
            return self.record("altered", by, because, detail).await;
        }
        self.step(&known, (RemovalPhase::Dropped, "dropped"), (by, because), detail).await
    }
}
