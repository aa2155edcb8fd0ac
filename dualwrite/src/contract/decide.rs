//! Whether old may be dropped. Pure: every piece of evidence is there, or is named as missing.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::declared::Contract;
use super::facts::{ContractFacts, Said};
use crate::error::{Error, ErrorKind};
use crate::gate::Gate;
use crate::stages::stage::Stage;
use crate::stages::stale::reasons;

/// One piece of the evidence that old is not needed any more.
///
/// ```
/// assert_eq!(dualwrite::contract::EvidenceKind::Backup.to_string(), "backup");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvidenceKind {
    /// A release has declared what is old.
    Declared,
    /// The migration has been at `Complete` for the declared time.
    Complete,
    /// The rollback window is over, and nobody copies back to old.
    RollbackWindow,
    /// No live instance can still run the old path.
    Instances,
    /// No release runs that writes old without this library.
    Releases,
    /// No writer of old that nobody records, as far as the catalogue says.
    Writers,
    /// No write of old was recorded since the step to `Complete`.
    Writes,
    /// No wrapper read old in the declared time.
    Reads,
    /// Every key is in new: none waits to be copied, none failed.
    Copied,
    /// The last full verification before `Complete` was clean, and holds.
    Verified,
    /// No view, no foreign key of another table and no trigger of the application names old.
    Dependents,
    /// A backup was confirmed at `Complete`.
    Backup,
    /// Somebody has given the named approval at `Complete`.
    Approval,
    /// The phases of a removal that come before its drop are over. It is no evidence of a contract.
    Phase,
}

impl EvidenceKind {
    /// All kinds that a contract asks for, in the order in which they are judged.
    pub const ALL: [Self; 13] = [
        Self::Declared,
        Self::Complete,
        Self::RollbackWindow,
        Self::Instances,
        Self::Releases,
        Self::Writers,
        Self::Writes,
        Self::Reads,
        Self::Copied,
        Self::Verified,
        Self::Dependents,
        Self::Backup,
        Self::Approval,
    ];

    /// The name in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Complete => "complete",
            Self::RollbackWindow => "rollback_window",
            Self::Instances => "instances",
            Self::Releases => "releases",
            Self::Writers => "writers",
            Self::Writes => "writes",
            Self::Reads => "reads",
            Self::Copied => "copied",
            Self::Verified => "verified",
            Self::Dependents => "dependents",
            Self::Backup => "backup",
            Self::Approval => "approval",
            Self::Phase => "phase",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A piece of evidence, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Which piece.
    pub kind: EvidenceKind,
    /// What was found, in plain words.
    pub found: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.kind, self.found)
    }
}

/// A piece of evidence that is missing, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingEvidence {
    /// Which piece.
    pub kind: EvidenceKind,
    /// What is missing, and what to do.
    pub reason: String,
}

impl fmt::Display for MissingEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.kind, self.reason)
    }
}

/// Whether old may be dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractDecision {
    /// Something is missing.
    Refused {
        /// All that is.
        missing: Vec<MissingEvidence>,
    },
    /// All is there.
    Allowed {
        /// What was found, piece by piece.
        evidence: Vec<Evidence>,
    },
}

impl ContractDecision {
    /// Whether old may be dropped.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// The evidence, or an error that names all that is missing.
    pub(crate) fn admit(self) -> Result<Vec<Evidence>, Error> {
        match self {
            Self::Allowed { evidence } => Ok(evidence),
            Self::Refused { missing } => {
                let reasons: Vec<String> = missing.iter().map(ToString::to_string).collect();
                let message = format!("the old side cannot be dropped yet: {}", reasons.join("; "));
                Err(Error::new(ErrorKind::Blocked, message))
            }
        }
    }
}

/// Found, or missing.
type Judged = Result<String, String>;

/// Judges all pieces of evidence.
pub(crate) fn decide(facts: &ContractFacts) -> ContractDecision {
    let Some(contract) = &facts.contract else {
        let reason =
            "no release has declared what is old: `registration.contract(Contract::new()…)`";
        let missing = MissingEvidence { kind: EvidenceKind::Declared, reason: reason.to_owned() };
        return ContractDecision::Refused { missing: vec![missing] };
    };
    let (mut evidence, mut missing) = (Vec::new(), Vec::new());
    for kind in EvidenceKind::ALL {
        match judge(kind, contract, facts) {
            Ok(found) => evidence.push(Evidence { kind, found }),
            Err(reason) => missing.push(MissingEvidence { kind, reason }),
        }
    }
    match missing.is_empty() {
        true => ContractDecision::Allowed { evidence },
        false => ContractDecision::Refused { missing },
    }
}

fn judge(kind: EvidenceKind, contract: &Contract, facts: &ContractFacts) -> Judged {
    match kind {
        EvidenceKind::Declared => {
            let objects: Vec<String> = contract.objects().iter().map(ToString::to_string).collect();
            Ok(format!("old is {}", objects.join(", ")))
        }
        EvidenceKind::Complete => complete(contract, facts),
        EvidenceKind::RollbackWindow => rollback_window(contract, facts),
        EvidenceKind::Instances => instances(facts),
        EvidenceKind::Releases => match facts.facts.unfenced.releases.as_slice() {
            [] => Ok("no release without this library is declared to run".to_owned()),
            running => Err(format!(
                "release {} still writes the old side; call `release_gone` when it is stopped",
                running.join(", ")
            )),
        },
        EvidenceKind::Writers => writers(facts),
        EvidenceKind::Writes => writes(contract, facts),
        EvidenceKind::Reads => reads(contract, facts),
        EvidenceKind::Copied => copied(facts),
        EvidenceKind::Verified => verified(facts),
        EvidenceKind::Dependents => match facts.dependents.as_slice() {
            [] => {
                let said = "no view, no foreign key of another table and no trigger of yours names the old side";
                Ok(said.to_owned())
            }
            found => Err(found.join("; ")),
        },
        EvidenceKind::Backup => backup(contract, facts),
        EvidenceKind::Approval => approval(contract, facts.approved.as_ref()),
        EvidenceKind::Phase => Ok("a contract has no phases".to_owned()),
    }
}

fn complete(contract: &Contract, facts: &ContractFacts) -> Judged {
    let (position, age) = (facts.facts.position, facts.facts.stage.age);
    if position.stage != Stage::Complete {
        return Err(format!(
            "the migration stands at {position}; the old side is dropped at complete"
        ));
    }
    match contract.complete_for.checked_sub(age) {
        Some(left) if !left.is_zero() => {
            Err(format!("complete has lasted {age:.0?}, and must last for {left:.0?} more"))
        }
        _ => Ok(format!("complete for {age:.0?}")),
    }
}

fn rollback_window(contract: &Contract, facts: &ContractFacts) -> Judged {
    if facts.copies_back {
        let reason = "somebody has begun to copy back from the new side to the old one; go back with it, or cancel the reverse \
                      backfill";
        return Err(reason.to_owned());
    }
    match contract.rollback_window.checked_sub(facts.facts.stage.age) {
        Some(left) if !left.is_zero() => {
            Err(format!("the way back is promised for {left:.0?} more"))
        }
        _ => Ok(format!("the window of {:.0?} is over", contract.rollback_window)),
    }
}

fn instances(facts: &ContractFacts) -> Judged {
    let able = |one: &&crate::stages::facts::InstanceReport| {
        !one.new_only && one.min_stage < Stage::Complete
    };
    let found: Vec<String> = facts
        .facts
        .instances
        .iter()
        .filter(able)
        .map(|one| format!("{} (release {})", one.id, one.release))
        .collect();
    match found.is_empty() {
        true => Ok(format!(
            "{} live instances, none of which can run the old path",
            facts.facts.instances.len()
        )),
        false => Err(format!(
            "live instances can still run the old path: {}; deploy a release that registers with `new_only()`, or \
             does not register any more",
            found.join(", ")
        )),
    }
}

fn writers(facts: &ContractFacts) -> Judged {
    let open = facts.facts.hazards.iter().filter(|one| one.stopped.is_none());
    let open: Vec<String> = open.map(|one| format!("{}: {}", one.name, one.detail)).collect();
    match open.is_empty() {
        true => Ok("the catalogue shows no writer of the old side that is not recorded".to_owned()),
        false => Err(open.join("; ")),
    }
}

fn writes(contract: &Contract, facts: &ContractFacts) -> Judged {
    if let Some(because) = &contract.unwatched {
        return Ok(format!("writers of the old side are not recorded: {because}"));
    }
    let age = facts.facts.stage.age;
    if let Some(ago) = facts.facts.unfenced.last_write.filter(|ago| *ago < age) {
        return Err(format!(
            "the old side was written without this library {ago:.0?} ago, after the step to complete; stop that writer, and \
             bring the migration back to `RampDown` and to `Complete` again"
        ));
    }
    match facts.watched_for {
        None => {
            Err("no trigger records writers of the old side: `migration.install_trigger()`"
                .to_owned())
        }
        Some(watched) => match contract.complete_for.checked_sub(watched) {
            Some(left) if !left.is_zero() => Err(format!(
                "writers of the old side have been recorded for {watched:.0?}; that must last for {left:.0?} more"
            )),
            _ => Ok(format!("no write of the old side was recorded in {:.0?}", age.min(watched))),
        },
    }
}

fn reads(contract: &Contract, facts: &ContractFacts) -> Judged {
    match facts.read_ago {
        Some(ago) if ago < contract.complete_for => Err(format!(
            "a wrapper read old {ago:.0?} ago; {:.0?} must pass without",
            contract.complete_for
        )),
        _ => Ok(format!("no wrapper read the old side in {:.0?}", contract.complete_for)),
    }
}

fn copied(facts: &ContractFacts) -> Judged {
    let known = &facts.facts;
    if known.new.dirty > 0 {
        return Err(format!("{} keys wait to be copied to the new side again", known.new.dirty));
    }
    if known.new.dead_letters > 0 {
        return Err(format!(
            "{} keys could not be copied to the new side; retry or waive them",
            known.new.dead_letters
        ));
    }
    if !known.new.backfilled {
        return Err(format!("the backfill of generation {} is not complete", known.new.generation));
    }
    let waived = match known.new.waived {
        0 => String::new(),
        waived => format!(
            "; {waived} keys that could not be copied were waived, and go with the old side"
        ),
    };
    Ok(format!("the backfill of generation {} is complete{waived}", known.new.generation))
}

fn verified(facts: &ContractFacts) -> Judged {
    let known = &facts.facts;
    if let Some(why) = reasons(&known.stale) {
        return Err(format!("the verification does not hold any more: {why}"));
    }
    if facts.overridden.iter().any(|gate| gate == Gate::Verified.as_str()) {
        let reason = "the step to complete was made without a clean verification: the gate `verified` was \
                      overridden; go back to `RampDown`, verify, and go on";
        return Err(reason.to_owned());
    }
    match known.new.verified == Some(known.new.generation) {
        true => Ok(format!(
            "a verification of all keys was clean in generation {}",
            known.new.generation
        )),
        false => Err(format!(
            "no verification of all keys was clean in generation {}",
            known.new.generation
        )),
    }
}

fn backup(contract: &Contract, facts: &ContractFacts) -> Judged {
    if let Some(because) = &contract.without_backup {
        return Ok(format!("no backup: {because}"));
    }
    let missing = "no backup was confirmed since the step to complete: `migration.contract().confirm_backup(…)`, or \
                   `dualwrite contract backup`";
    facts.backup.as_ref().map_or_else(
        || Err(missing.to_owned()),
        |said| Ok(format!("confirmed by {}: {}", said.actor, said.reason)),
    )
}

fn approval(contract: &Contract, given: Option<&Said>) -> Judged {
    let name = &contract.approval;
    given.map_or_else(
        || {
            Err(format!(
                "nobody has given the approval `{name}` since the step to complete: \
                 `migration.contract().approve(…)`, or `dualwrite contract approve`"
            ))
        },
        |said| Ok(format!("`{name}` was given by {}: {}", said.actor, said.reason)),
    )
}

/// How long a moment that is `age_us` microseconds ago lies back; one that is yet to come, not at all.
pub(crate) fn ago(age_us: i64) -> Duration {
    Duration::from_micros(u64::try_from(age_us).unwrap_or(0))
}
