//! What pending files touch: the old side of a migration, or what a removal names.

use sqlx::migrate::Migration;

use crate::contract::decide::{ContractDecision, Evidence, EvidenceKind, MissingEvidence, decide};
use crate::contract::declared::{Contract, OldObject};
use crate::contract::facts::{ContractFacts, Progress};
use crate::contract::plan::unwatching;
use crate::control::Control;
use crate::control::contracts::{AlterLimits, ContractStep};
use crate::error::Error;
use crate::migration::altering::Altering;
use crate::migration::contracting::Contracting;
use crate::migration::removing::Removing;
use crate::schema::SqlDialect;
use crate::schema::guarded::touching;

/// The statements of pending files that touch something.
pub(super) struct Files {
    /// Version, line and rule of each.
    pub(super) statements: Vec<(i64, usize, &'static str)>,
    texts: Vec<String>,
}

impl Files {
    /// `None` where none of them does.
    pub(super) fn touching(
        pending: &[&Migration],
        dialect: SqlDialect,
        objects: &[OldObject],
    ) -> Option<Self> {
        let mut files = Self { statements: Vec::new(), texts: Vec::new() };
        for file in pending {
            let touching = touching(file.sql.as_str(), dialect, objects);
            if !touching.is_empty() {
                files.texts.push(file.sql.as_str().to_owned());
            }
            let own = touching.iter().map(|one| (file.version, one.line, one.rule));
            files.statements.extend(own);
        }
        (!files.statements.is_empty()).then_some(files)
    }
}

enum Subject {
    Contract { contract: Contract, facts: Box<ContractFacts> },
    Removal { objects: Vec<OldObject>, missing: Vec<String> },
}

/// A contract or a removal that pending files touch.
pub(super) struct Touched {
    pub(super) name: String,
    subject: Subject,
    files: Files,
}

impl Touched {
    pub(super) fn of_contract(
        name: String,
        contract: Contract,
        facts: ContractFacts,
        files: Files,
    ) -> Self {
        Self { name, subject: Subject::Contract { contract, facts: Box::new(facts) }, files }
    }

    pub(super) fn of_removal(
        name: String,
        objects: Vec<OldObject>,
        missing: Vec<String>,
        files: Files,
    ) -> Self {
        Self { name, subject: Subject::Removal { objects, missing }, files }
    }

    pub(super) fn statements(&self) -> &[(i64, usize, &'static str)] {
        &self.files.statements
    }

    /// What was begun before is not judged again.
    pub(super) fn is_begun(&self) -> bool {
        match &self.subject {
            Subject::Contract { facts, .. } => facts.progress != Progress::NotBegun,
            Subject::Removal { .. } => false,
        }
    }

    /// Whether they may be applied.
    pub(super) fn decision(&self) -> ContractDecision {
        let kind = EvidenceKind::Phase;
        match &self.subject {
            Subject::Contract { facts, .. } => decide(facts),
            Subject::Removal { missing, .. } if missing.is_empty() => {
                let found = "nothing stands against the drop of this removal".to_owned();
                ContractDecision::Allowed { evidence: vec![Evidence { kind, found }] }
            }
            Subject::Removal { missing, .. } => {
                let missing = missing.iter().cloned();
                let missing = missing.map(|reason| MissingEvidence { kind, reason }).collect();
                ContractDecision::Refused { missing }
            }
        }
    }

    /// From now on there may be no way back.
    pub(super) async fn begin(
        &self,
        control: &dyn Control,
        by: &str,
        because: &str,
    ) -> Result<(), Error> {
        match &self.subject {
            Subject::Contract { facts, .. } => {
                let contracting = Contracting::new(control, &self.name, None);
                contracting.begin(facts, &self.files.texts, by, because).await
            }
            Subject::Removal { .. } => {
                Removing::new(control, &self.name).before_a_drop(by, because).await
            }
        }
    }

    /// Records what has become of it.
    pub(super) async fn conclude(
        &self,
        control: &dyn Control,
        said: (&str, &str),
        error: Option<&Error>,
        limits: (AlterLimits, u32),
    ) -> Result<(), Error> {
        match &self.subject {
            Subject::Contract { contract, facts } => {
                self.conclude_contract(control, (contract, facts), said, error, limits).await
            }
            Subject::Removal { .. } => {
                let removing = Removing::new(control, &self.name);
                removing.after_a_drop(said, self.files.texts.join("\n"), error).await
            }
        }
    }

    async fn conclude_contract(
        &self,
        control: &dyn Control,
        (contract, facts): (&Contract, &ContractFacts),
        (by, because): (&str, &str),
        error: Option<&Error>,
        (limits, attempts): (AlterLimits, u32),
    ) -> Result<(), Error> {
        let shape = control.old_shape(contract).await?;
        let left = shape.left(contract).len();
        let untouched = left == contract.objects().len()
            && facts.progress == Progress::NotBegun
            && error.is_some();
        let (what, step) = match (left, untouched) {
            (0, _) => ("dropped", ContractStep::End),
            (_, true) => ("released", ContractStep::Release),
            _ if error.is_some() => ("failed", ContractStep::Stay),
            _ => ("altered", ContractStep::Stay),
        };
        let detail = error.map_or_else(|| self.files.texts.join("\n"), ToString::to_string);
        let contracting = Contracting::new(control, &self.name, None);
        contracting.record(what, by, because, detail, step).await?;
        let dialect = control.dialect().filter(|_| left == 0);
        for statement in dialect
            .map(|dialect| unwatching(&self.name, contract, &shape, dialect))
            .unwrap_or_default()
        {
            // What recorded writers of old has nothing left to record.
            let (tables, next) = (&[][..], "run it by hand");
            let altering = Altering { control, tables, limits, attempts, next };
            if let Err(error) = altering.run(&statement).await {
                let migration = &*self.name;
                tracing::warn!(migration, statement, %error, "a trigger on the old table is left");
            }
        }
        Ok(())
    }

    /// The tables that are to go, or that a column goes from.
    pub(super) fn tables(&self) -> Vec<String> {
        match &self.subject {
            Subject::Contract { contract, .. } => {
                contract.objects().iter().map(|object| object.table.clone()).collect()
            }
            Subject::Removal { objects, .. } => {
                objects.iter().map(|object| object.table.clone()).collect()
            }
        }
    }

    pub(super) fn refused(&self, error: &Error) -> Error {
        let places: Vec<String> = self
            .statements()
            .iter()
            .map(|(version, line, rule)| format!("file {version}, line {line} ({rule})"))
            .collect();
        let what = match self.subject {
            Subject::Contract { .. } => "this migration calls old",
            Subject::Removal { .. } => "this removal names",
        };
        let message = format!(
            "{} would drop, rename or rewrite what {what}, or may; nothing was applied: {error}",
            places.join(", ")
        );
        Error::new(error.kind(), message).of(&self.name)
    }
}
