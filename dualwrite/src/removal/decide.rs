//! What stands against the next phase of a removal. Pure.

use std::time::Duration;

use super::declared::Removal;
use super::phase::RemovalPhase;
use super::report::RemovalUse;
use crate::error::{Error, ErrorKind};

/// What is known.
#[derive(Clone, Debug)]
pub(crate) struct RemovalFacts {
    pub(crate) declared: Removal,
    pub(crate) phase: RemovalPhase,
    pub(crate) phase_age: Duration,
    pub(crate) uses: Vec<RemovalUse>,
    /// Somebody has confirmed a backup since reads were stopped.
    pub(crate) backed_up: bool,
    /// What the server had counted of scans when reads were stopped.
    pub(crate) scans: Option<u64>,
}

/// What the catalogue says.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemovalShape {
    /// Objects that are there by neither name.
    pub(crate) gone: Vec<String>,
    /// Why a row without it would be refused.
    pub(crate) demanded: Vec<String>,
    /// Views and foreign keys that need it.
    pub(crate) dependents: Vec<String>,
}

/// The phase after this one.
pub(crate) fn next(phase: RemovalPhase, declared: &Removal) -> Option<RemovalPhase> {
    match phase {
        RemovalPhase::InUse => Some(RemovalPhase::WritesStopped),
        RemovalPhase::WritesStopped => Some(RemovalPhase::ReadsStopped),
        RemovalPhase::ReadsStopped if declared.without_rename.is_some() => {
            Some(RemovalPhase::Dropped)
        }
        RemovalPhase::ReadsStopped => Some(RemovalPhase::Renamed),
        RemovalPhase::Renamed => Some(RemovalPhase::Dropped),
        RemovalPhase::Dropped => None,
    }
}

/// All that stands against it, each with what to do.
pub(crate) fn missing(facts: &RemovalFacts, shape: &RemovalShape) -> Vec<String> {
    let mut found = Vec::new();
    let Some(to) = next(facts.phase, &facts.declared) else { return found };
    for object in &shape.gone {
        found.push(format!(
            "there is no {object}; correct the declaration, or drop the rest by hand"
        ));
    }
    if to == RemovalPhase::WritesStopped {
        found.extend(shape.demanded.iter().cloned());
        return found;
    }
    let wait = facts.declared.wait;
    if let Some(left) = wait.checked_sub(facts.phase_age).filter(|left| !left.is_zero()) {
        found.push(format!(
            "the phase {} has lasted {:.0?}, and must last for {left:.0?} more",
            facts.phase, facts.phase_age
        ));
    }
    for one in &facts.uses {
        if u128::from(one.ago_s) < wait.as_secs().into() && matters(&one.kind, facts.phase) {
            found.push(format!("{one}; stop that, and wait for {wait:.0?}"));
        }
    }
    if to >= RemovalPhase::Renamed {
        found.extend(shape.dependents.iter().cloned());
    }
    if to == RemovalPhase::Dropped && facts.declared.without_backup.is_none() && !facts.backed_up {
        let reason = "no backup was confirmed since reads were stopped: `dualwrite removal backup`, or \
                      `confirm_backup`";
        found.push(reason.to_owned());
    }
    found
}

/// Reads are no harm before they are to be stopped.
fn matters(kind: &str, phase: RemovalPhase) -> bool {
    kind == "write" || phase >= RemovalPhase::ReadsStopped
}

/// Whether the step may be made.
pub(crate) fn admit(
    facts: &RemovalFacts,
    shape: &RemovalShape,
    to: RemovalPhase,
) -> Result<(), Error> {
    match next(facts.phase, &facts.declared) {
        Some(next) if next == to => {}
        Some(next) => {
            let message = format!(
                "the removal stands at {}, and its next phase is {next}, not {to}",
                facts.phase
            );
            return Err(Error::new(ErrorKind::IllegalMove, message));
        }
        None => {
            return Err(Error::new(ErrorKind::IllegalMove, "everything was dropped already"));
        }
    }
    let missing = missing(facts, shape);
    match missing.is_empty() {
        true => Ok(()),
        false => {
            let message = format!("the removal cannot go on to {to} yet: {}", missing.join("; "));
            Err(Error::new(ErrorKind::Blocked, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn facts(phase: RemovalPhase) -> RemovalFacts {
        RemovalFacts {
            declared: Removal::new().table("fax").wait(DAY),
            phase,
            phase_age: DAY,
            uses: Vec::new(),
            backed_up: true,
            scans: None,
        }
    }

    fn used(kind: &str, ago_s: u64) -> RemovalUse {
        RemovalUse { kind: kind.into(), who: "app".into(), ago_s }
    }

    #[test]
    fn every_phase_follows_the_one_before_it() {
        let shape = RemovalShape::default();
        for (at, phase) in RemovalPhase::ALL.into_iter().enumerate() {
            for to in RemovalPhase::ALL {
                let allowed = admit(&facts(phase), &shape, to).is_ok();
                assert_eq!(allowed, RemovalPhase::ALL.get(at + 1) == Some(&to), "{phase} {to}");
            }
        }
        let mut direct = facts(RemovalPhase::ReadsStopped);
        direct.declared = direct.declared.without_rename("a view needs its name");
        assert!(admit(&direct, &shape, RemovalPhase::Renamed).is_err());
        admit(&direct, &shape, RemovalPhase::Dropped).unwrap();
    }

    #[test]
    fn each_missing_piece_alone_refuses_the_step() {
        let refused = |facts: &RemovalFacts, shape: &RemovalShape| {
            let missing = missing(facts, shape);
            let [one] = missing.as_slice() else { panic!("{missing:?}") };
            one.clone()
        };
        let none = RemovalShape::default();
        let phases =
            [RemovalPhase::WritesStopped, RemovalPhase::ReadsStopped, RemovalPhase::Renamed];
        for phase in phases {
            let mut early = facts(phase);
            early.phase_age = DAY / 2;
            assert!(refused(&early, &none).contains("43200s more"), "{phase}");
            let mut written = facts(phase);
            written.uses = vec![used("write", 60)];
            assert!(refused(&written, &none).contains("write by app, 1 min ago"), "{phase}");
            written.uses = vec![used("write", 24 * 60 * 60)];
            assert!(missing(&written, &none).is_empty());
        }
        let mut read = facts(RemovalPhase::ReadsStopped);
        read.uses = vec![used("read", 0)];
        assert!(refused(&read, &none).contains("read by app"));
        read.phase = RemovalPhase::WritesStopped;
        assert!(missing(&read, &none).is_empty(), "reads go on in this phase");
        let mut lost = facts(RemovalPhase::Renamed);
        lost.backed_up = false;
        assert!(refused(&lost, &none).contains("backup"));
        lost.declared = lost.declared.without_backup("it is empty");
        assert!(missing(&lost, &none).is_empty());
        let of = |what: fn(&mut RemovalShape)| {
            let mut shape = RemovalShape::default();
            what(&mut shape);
            shape
        };
        let needed = of(|shape| shape.dependents.push("the view v reads it".into()));
        assert!(refused(&facts(RemovalPhase::ReadsStopped), &needed).contains("the view v"));
        assert!(missing(&facts(RemovalPhase::WritesStopped), &needed).is_empty());
        let demanded = of(|shape| shape.demanded.push("fax is NOT NULL".into()));
        assert!(refused(&facts(RemovalPhase::InUse), &demanded).contains("NOT NULL"));
        let gone = of(|shape| shape.gone.push("table fax".into()));
        assert!(refused(&facts(RemovalPhase::InUse), &gone).contains("no table fax"));
    }
}
