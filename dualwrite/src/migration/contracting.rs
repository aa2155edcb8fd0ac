//! [`Contracting`]: checks, plans and runs the contract of a migration.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::contract::decide::{ContractDecision, decide};
use crate::contract::declared::Contract;
use crate::contract::facts::{ContractFacts, Progress};
use crate::contract::plan::{ContractPlan, plan};
use crate::contract::relax::rejecting;
use crate::contract::shape::OldShape;
use crate::control::Control;
use crate::control::contracts::{AlterLimits, ContractEvent, ContractStep, NewContractEvent};
use crate::copier::joined::Joined;
use crate::database::Dialect;
use crate::error::{Error, ErrorKind};
use crate::migration::altering::{Altering, set_trigger};
use crate::migration::transition::{check_named, check_reason};

const EVENTS: u32 = 100;
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const STATEMENT_WITHIN: Duration = Duration::from_secs(600);
const ATTEMPTS: u32 = 10;

/// The contract of a migration: old is dropped, when the evidence says that nobody needs it any more. From
/// [`Migration::contract`](crate::Migration::contract) or [`Operator::contract`](crate::operator::Operator::contract).
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{contract::ContractDecision, Error, Migration};
///
/// async fn end(migration: &Migration) -> Result<(), Error> {
///     let contract = migration.contract();
///     contract.confirm_backup("ada", "restored into a scratch database", "1200 rows").await?;
///     contract.approve("grace", "no release reads the old column").await?;
///     match contract.check().await? {
///         ContractDecision::Refused { missing } => missing.iter().for_each(|one| println!("{one}")),
///         ContractDecision::Allowed { .. } => {
///             contract.run().by("ada").because("the migration is over").await?;
///         }
///     }
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use = "check it, plan it or run it"]
pub struct Contracting<'m> {
    control: &'m dyn Control,
    name: &'m str,
    /// Where this process runs the migration.
    shared: Option<&'m Joined>,
}

impl std::fmt::Debug for Contracting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contracting").field("migration", &self.name).finish_non_exhaustive()
    }
}

/// What is known of a contract that is declared.
struct Known {
    facts: ContractFacts,
    contract: Contract,
    plan: ContractPlan,
    /// The tables that are to go, or that a column goes from, as far as they are there.
    tables: Vec<String>,
}

impl<'m> Contracting<'m> {
    pub(crate) fn new(control: &'m dyn Control, name: &'m str, shared: Option<&'m Joined>) -> Self {
        Self { control, name, shared }
    }

    fn refused(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, message).of(self.name)
    }

    fn undeclared(&self) -> Error {
        let message =
            "no release has declared what is old: `registration.contract(Contract::new()…)`";
        self.refused(ErrorKind::InvalidInput, message)
    }

    fn dialect(&self) -> Result<&'static Dialect, Error> {
        let message = "control tables in memory have no schema beside them";
        self.control.dialect().ok_or_else(|| self.refused(ErrorKind::Unsupported, message))
    }

    /// An instance of the service has made the tables of its release; beside it they may be those of another one.
    async fn check_version(&self) -> Result<(), Error> {
        match self.shared {
            Some(_) => Ok(()),
            None => self.control.check_version().await,
        }
    }

    /// The facts, with what the catalogue says now.
    pub(crate) async fn facts(&self) -> Result<ContractFacts, Error> {
        Ok(self.seen().await?.0)
    }

    /// The facts, and what the catalogue says of the old tables.
    async fn seen(&self) -> Result<(ContractFacts, OldShape), Error> {
        if let Some(shared) = self.shared
            && let Some(copier) = &shared.copier
            && let Err(error) = copier.find_hazards(shared).await
        {
            // Old may be gone already.
            tracing::debug!(migration = self.name, %error, "the catalogue was not looked at");
        }
        self.check_version().await?;
        let mut facts = self.control.contract_facts(self.name).await?;
        let mut shape = OldShape::default();
        if let Some(contract) = &facts.contract {
            shape = self.control.old_shape(contract).await?;
            facts.dependents = shape.dependents(contract);
        }
        Ok((facts, shape))
    }

    async fn known(&self, lock_timeout: Duration) -> Result<Known, Error> {
        let dialect = self.dialect()?;
        let (facts, shape) = self.seen().await?;
        let Some(contract) = facts.contract.clone() else {
            return Err(self.undeclared());
        };
        let plan = plan(self.name, &contract, &shape, dialect, lock_timeout);
        let mut tables: Vec<String> =
            shape.left(&contract).iter().map(|object| object.table.clone()).collect();
        tables.dedup();
        Ok(Known { facts, contract, plan, tables })
    }

    /// Judges all pieces of evidence now.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn check(&self) -> Result<ContractDecision, Error> {
        Ok(decide(&self.facts().await?))
    }

    /// What the evidence says now, the statements that are left, and whether all of old is gone.
    pub(crate) async fn overview(&self) -> Result<(ContractDecision, Vec<String>, bool), Error> {
        let (facts, shape) = self.seen().await?;
        let Some(contract) = &facts.contract else {
            return Ok((decide(&facts), Vec::new(), false));
        };
        let plan = plan(self.name, contract, &shape, self.dialect()?, LOCK_TIMEOUT);
        Ok((decide(&facts), plan.statements, facts.progress == Progress::Ended))
    }

    /// The statements that would drop what is left of old, whether or not the evidence is there.
    ///
    /// # Errors
    /// `InvalidInput` where nothing is declared as old, `UnknownMigration`, `Database`.
    pub async fn plan(&self) -> Result<ContractPlan, Error> {
        Ok(self.known(LOCK_TIMEOUT).await?.plan)
    }

    /// The tables that are to go, or that a column goes from, as far as they are there: those that a backup has to have.
    ///
    /// # Errors
    /// `InvalidInput` where nothing is declared as old, `UnknownMigration`, `Database`.
    pub async fn tables(&self) -> Result<Vec<String>, Error> {
        Ok(self.known(LOCK_TIMEOUT).await?.tables)
    }

    /// Statements that relax the constraints of old columns which would reject a row that new alone writes. Run them
    /// before `Complete`, which waits for that ([`Gate::Relaxed`](crate::Gate::Relaxed)); and before the last
    /// verification, for MySQL and MariaDB rebuild the table, which withdraws the proof.
    ///
    /// # Errors
    /// `InvalidInput` where nothing is declared as old; `Unsupported` where the database has no such statement;
    /// `Database`.
    pub async fn relaxing(&self) -> Result<Vec<String>, Error> {
        let dialect = self.dialect()?;
        let contract = self.known(LOCK_TIMEOUT).await?.contract;
        let shape = self.control.old_shape(&contract).await?;
        let found = rejecting(&contract, &shape, dialect).into_iter();
        let statement = |one: crate::contract::relax::Constraint| {
            one.statement.ok_or_else(|| self.refused(ErrorKind::Unsupported, one.reason))
        };
        found.map(statement).collect()
    }

    /// Gives the approval that the contract asks for. It holds while the migration stays at its stage.
    ///
    /// # Errors
    /// `InvalidInput` where nothing is declared as old, for an actor's name that is empty or too long, and without a
    /// reason; `Database`.
    pub async fn approve(&self, by: &str, because: &str) -> Result<(), Error> {
        self.check_said(by, because)?;
        self.check_version().await?;
        let contract = self.control.contract_facts(self.name).await?.contract;
        let contract = contract.ok_or_else(|| self.undeclared())?;
        self.control.approve(self.name, &contract.approval, by, because).await
    }

    /// Records that somebody has made a backup and restored it; `output` is what the command that did so printed,
    /// and goes into the audit. It holds while the migration stays at its stage.
    ///
    /// # Errors
    /// `InvalidInput` for an actor's name that is empty or too long, and without a reason; `Database`.
    pub async fn confirm_backup(&self, by: &str, because: &str, output: &str) -> Result<(), Error> {
        self.check_said(by, because)?;
        self.check_version().await?;
        // Unknown names are told.
        self.control.contract_facts(self.name).await?;
        self.record("backup", by, because, output.to_owned(), ContractStep::Stay).await
    }

    /// The audit, newest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn events(&self) -> Result<Vec<ContractEvent>, Error> {
        self.check_version().await?;
        self.control.contract_events(self.name, EVENTS).await
    }

    /// Drops old, if all evidence is there; see [`RunContract`].
    pub fn run(self) -> RunContract<'m> {
        RunContract {
            contracting: self,
            actor: self.shared.map(|shared| shared.actor.to_string()).unwrap_or_default(),
            reason: String::new(),
            dry: false,
            limits: AlterLimits { lock: LOCK_TIMEOUT, statement: STATEMENT_WITHIN },
            attempts: ATTEMPTS,
        }
    }

    fn check_said(&self, by: &str, because: &str) -> Result<(), Error> {
        let checked = check_named("actor", by).and_then(|()| check_reason(because));
        checked.map_err(|error| error.of(self.name))
    }

    pub(crate) async fn record(
        &self,
        what: &'static str,
        by: &str,
        because: &str,
        detail: String,
        step: ContractStep,
    ) -> Result<(), Error> {
        let event =
            NewContractEvent { what, actor: by.to_owned(), reason: because.to_owned(), detail };
        self.control.record_contract(self.name, &event, step).await
    }

    /// Judges under the fence, and closes the way back. What was begun before is not judged again.
    pub(crate) async fn begin(
        &self,
        facts: &ContractFacts,
        statements: &[String],
        by: &str,
        because: &str,
    ) -> Result<(), Error> {
        let dependents = facts.dependents.clone();
        let judge = |known: &ContractFacts| {
            let known = ContractFacts { dependents: dependents.clone(), ..known.clone() };
            let evidence = decide(&known).admit()?;
            let detail = serde_json::json!({ "evidence": evidence, "statements": statements });
            Ok(detail.to_string())
        };
        let event = NewContractEvent {
            what: "begun",
            actor: by.to_owned(),
            reason: because.to_owned(),
            detail: String::new(),
        };
        self.control.begin_contract(self.name, &judge, &event).await
    }
}

/// What a run of a contract did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContractRun {
    /// Whether it only looked.
    pub dry_run: bool,
    /// What the evidence says; of a contract that was begun before, what it says by now.
    pub decision: ContractDecision,
    /// The statements that were run, or would be.
    pub statements: Vec<String>,
    /// All of old is gone.
    pub ended: bool,
}

/// A contract about to be run; `.await` drops old.
///
/// The evidence is judged once more under the exclusive fence, and written into the audit in the transaction that
/// closes the way back from `Complete`. Then each statement waits for its lock for a short time only, so that no
/// queue builds up behind it, and is tried again at growing intervals. Where none of them was run in the end, the way
/// back is open again. A run that ended in the middle goes on when it is run again.
///
/// # Errors
/// `Blocked` that names all evidence that is missing: nothing was dropped. `InvalidInput` without a reason or an
/// actor, or where nothing is declared as old. `Timeout` where a statement never got its lock, or did not end in
/// time. `Database`.
#[must_use = "a contract is run when it is awaited"]
#[derive(Debug)]
pub struct RunContract<'m> {
    contracting: Contracting<'m>,
    actor: String,
    reason: String,
    dry: bool,
    limits: AlterLimits,
    attempts: u32,
}

impl<'m> RunContract<'m> {
    /// Who drops, for the audit; at most 100 bytes.
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Why, for the audit.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Looks only: what the evidence says, and which statements would be run. Nothing is written.
    pub fn dry_run(mut self) -> Self {
        self.dry = true;
        self
    }

    /// How long a statement waits for its lock; two seconds by default. MySQL and MariaDB count in whole seconds.
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.limits.lock = limit;
        self
    }

    /// How long a statement may take; ten minutes by default.
    pub fn statement_within(mut self, limit: Duration) -> Self {
        self.limits.statement = limit;
        self
    }

    /// How often a statement is tried that does not get its lock; 10 times by default, 1 at the least.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    async fn drop_old(self) -> Result<ContractRun, Error> {
        let contracting = self.contracting;
        let known = contracting.known(self.limits.lock).await?;
        let run = ContractRun {
            dry_run: self.dry,
            decision: decide(&known.facts),
            statements: known.plan.statements.clone(),
            ended: known.facts.progress == Progress::Ended,
        };
        if self.dry || run.ended {
            return Ok(run);
        }
        contracting.check_said(&self.actor, &self.reason)?;
        let (by, because) = (&*self.actor, &*self.reason);
        contracting.begin(&known.facts, &known.plan.statements, by, because).await?;
        for (done, statement) in known.plan.statements.iter().enumerate() {
            if let Err(error) = self.one(statement, &known.tables).await {
                // Somebody else may have dropped it meanwhile.
                if contracting.known(self.limits.lock).await?.plan.statements.is_empty() {
                    break;
                }
                let untouched = done == 0 && known.facts.progress == Progress::NotBegun;
                return Err(self.failed(statement, error, untouched).await);
            }
        }
        let detail = known.plan.statements.join(";\n");
        contracting.record("dropped", by, because, detail, ContractStep::End).await?;
        self.remove_trigger().await;
        tracing::info!(
            migration = contracting.name,
            actor = by,
            reason = because,
            "the old side was dropped"
        );
        Ok(ContractRun { ended: true, ..run })
    }

    async fn one(&self, statement: &str, tables: &[String]) -> Result<(), Error> {
        let control = self.contracting.control;
        let (limits, attempts, next) = (self.limits, self.attempts, "run the contract again");
        Altering { control, tables, limits, attempts, next }.run(statement).await
    }

    /// Records what failed; answers with the error.
    async fn failed(&self, statement: &str, error: Error, untouched: bool) -> Error {
        let (what, step) = match untouched {
            true => ("released", ContractStep::Release),
            false => ("failed", ContractStep::Stay),
        };
        let detail = format!("{statement}: {error}");
        let recorded = self.contracting.record(what, &self.actor, &self.reason, detail, step).await;
        if let Err(error) = recorded {
            tracing::warn!(migration = self.contracting.name, %error, "a failure was not recorded");
        }
        error.of(self.contracting.name)
    }

    /// There is nothing left that it could record.
    async fn remove_trigger(&self) {
        let Some(shared) = self.contracting.shared else { return };
        if shared.copier.is_none() {
            return;
        }
        if let Err(error) = set_trigger(shared, false).await {
            tracing::debug!(migration = &*shared.name, %error, "the trigger on the old side was not removed");
        }
    }
}

impl<'m> IntoFuture for RunContract<'m> {
    type Output = Result<ContractRun, Error>;
    type IntoFuture = BoxFuture<'m, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.drop_old())
    }
}
