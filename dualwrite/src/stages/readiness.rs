//! What must be true before a move is made. Pure; the control adapters call [`blockers`] while they
//! hold the fence exclusively, so nothing changes between the decision and the move.

use crate::error::{Error, ErrorKind};
use crate::gate::{Blocker, Gate};
use crate::stages::converging::changes_writes;
use crate::stages::facts::{Facts, LastVerification, Unsettled};
use crate::stages::hazard::{Hazard, HazardKind};
use crate::stages::moves::{Destination, Move};
use crate::stages::position::Generation;
use crate::stages::route::is_read;
use crate::stages::stage::{Side, Stage};
use crate::stages::stale::{StaleKind, reasons};
use crate::stages::terms::Terms;

/// Lists what stands between the present position and a destination; empty means go.
pub(crate) fn blockers(
    facts: &Facts,
    requested: Move,
    to: Destination,
    terms: &Terms,
) -> Vec<Blocker> {
    let mut found = Vec::new();
    let forward = to.goes_forward(facts.position);
    if requested != Move::Rollback && (forward || to.stage == Stage::Off) {
        found.extend(drained(facts));
    }
    if forward {
        admitted(facts, to, terms, &mut found);
    }
    clean(facts, to, &mut found);
    settled(facts, to, &mut found);
    match forward {
        true => prepared(facts, to, terms, &mut found),
        false => {
            copied_back(facts, to, terms, &mut found);
            old_is_there(facts, to, &mut found);
        }
    }
    found
}

/// What keeps a migration from going forward at all.
fn admitted(facts: &Facts, to: Destination, terms: &Terms, found: &mut Vec<Blocker>) {
    for reason in &terms.refused {
        block(found, Gate::Preflight, reason.clone());
    }
    if is_first_write(facts, to) {
        for reason in &terms.unexpanded {
            block(found, Gate::Expanded, reason.clone());
        }
    }
    killed(facts, found);
    supported(facts, to, found);
}

/// What each stage needs that is entered on the way forward.
fn prepared(facts: &Facts, to: Destination, terms: &Terms, found: &mut Vec<Blocker>) {
    let reaches = facts.position.with_stage(to.stage).with_ramp(to.ramp).reaches();
    if reaches >= Stage::Live && !is_read(facts.position, Side::New) {
        copied(facts, terms, found);
        mirrored(facts, terms, found);
    }
    if reaches == Stage::RampDown {
        // From there on no read falls back to old, in a lazy migration either.
        no_dead_letters(facts, found);
        backfilled(facts, found);
    }
    soaked(facts, terms, found);
    if reaches == Stage::Complete {
        backfilled(facts, found);
        verified(facts, found);
        released(facts, terms, found);
        left_out(terms, found);
        unhazarded(facts, found);
        for reason in &terms.rejecting {
            block(found, Gate::Relaxed, reason.clone());
        }
    }
    approved(facts, reaches, terms, found);
}

/// Who asks knows its own figures now; the others say theirs with their heartbeats.
fn mirrored(facts: &Facts, terms: &Terms, found: &mut Vec<Blocker>) {
    let others = facts.instances.iter().filter_map(|one| one.terms.as_ref());
    let mut failing =
        std::iter::once(terms).chain(others).filter_map(|one| one.mirror_failing.as_ref());
    if let Some(reason) = failing.next() {
        block(found, Gate::MirrorWrites, reason.clone());
    }
}

/// While calls are closed, time says nothing of them.
fn soaked(facts: &Facts, terms: &Terms, found: &mut Vec<Blocker>) {
    let soaks = facts.position.stage == Stage::Live && !facts.position.closed.is_closed();
    if soaks && facts.stage.age < terms.soak {
        let left = terms.soak - facts.stage.age;
        block(found, Gate::Soaked, format!("live has to last for {left:.0?} more"));
    }
}

/// Whether some keys are written to new then, and none is now.
fn is_first_write(facts: &Facts, to: Destination) -> bool {
    let then = facts.position.with_stage(to.stage).with_ramp(to.ramp);
    facts.position.reaches() == Stage::Off && then.reaches() > Stage::Off
}

/// Turns blockers that were not overridden into an error.
///
/// # Errors
/// `Blocked` listing every gate, `InvalidInput` for an override of a gate that protects data.
pub(crate) fn admit(blockers: &[Blocker], overridden: &[Gate]) -> Result<(), Error> {
    if let Some(gate) = overridden.iter().find(|gate| !gate.may_be_overridden()) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the gate `{gate}` protects data and cannot be overridden"),
        ));
    }
    let left: Vec<Blocker> =
        blockers.iter().filter(|blocker| !overridden.contains(&blocker.gate)).cloned().collect();
    if left.is_empty() { Ok(()) } else { Err(Error::blocked(left)) }
}

fn block(found: &mut Vec<Blocker>, gate: Gate, reason: String) {
    found.push(Blocker { gate, reason });
}

/// Instances that still have operations of an earlier stage in flight.
pub(crate) fn drained(facts: &Facts) -> Vec<Blocker> {
    let late = facts.instances.iter().filter(|instance| instance.drained < facts.stage.epoch);
    late.map(|instance| Blocker {
        gate: Gate::Drained,
        reason: format!(
            "instance {} (release {}) still has operations of a stage before {} in flight",
            instance.id, instance.release, facts.position.stage
        ),
    })
    .collect()
}

fn killed(facts: &Facts, found: &mut Vec<Blocker>) {
    if let Some(actor) = &facts.operated.killed {
        let reason = format!(
            "{actor} has set the kill switch of this migration; take it back before anything goes forward"
        );
        block(found, Gate::Killed, reason);
    }
    for instance in &facts.instances {
        if let Some(switch) = &instance.killed_by {
            let reason = format!(
                "the kill switch {switch} is set on instance {} (release {}); unset it there before \
                 anything goes forward",
                instance.id, instance.release
            );
            block(found, Gate::Killed, reason);
        }
    }
}

fn supported(facts: &Facts, to: Destination, found: &mut Vec<Blocker>) {
    let reaches = facts.position.with_stage(to.stage).with_ramp(to.ramp).reaches();
    for instance in &facts.instances {
        if to.stage < instance.min_stage || reaches > instance.max_stage {
            let reason = format!(
                "instance {} (release {}) can run {} to {}, not {reaches}; replace it first",
                instance.id, instance.release, instance.min_stage, instance.max_stage
            );
            block(found, Gate::Supported, reason);
        }
    }
}

/// Going forward, new starts to answer for more keys; going back, old does.
fn clean(facts: &Facts, to: Destination, found: &mut Vec<Blocker>) {
    let then = facts.position.with_stage(to.stage).with_ramp(to.ramp);
    let (side, dirty) = match to.goes_forward(facts.position) {
        true => (Side::New, facts.new.dirty),
        false => (Side::Old, facts.old.dirty),
    };
    if dirty > 0 && is_read(then, side) {
        let reason = format!("{dirty} keys wait to be copied to {side} again");
        block(found, Gate::Clean, reason);
    }
}

/// In converging mode, a copy of a key follows the side that was its primary, and a write in flight goes to the sides that
/// it has begun with.
fn settled(facts: &Facts, to: Destination, found: &mut Vec<Blocker>) {
    let then = facts.position.with_stage(to.stage).with_ramp(to.ramp);
    if !changes_writes(facts.position, then) {
        return;
    }
    let Unsettled { writes, instances, keys } = &facts.converging;
    if *writes > 0 {
        let reason = format!("{writes} writes are in flight, of {}", instances.join(", "));
        block(found, Gate::Drained, reason);
    }
    if *keys > 0 {
        let reason = format!(
            "{keys} keys wait to be copied again from the side that answers; see `dead_letters` for those that fail"
        );
        block(found, Gate::Clean, reason);
    }
}

fn no_dead_letters(facts: &Facts, found: &mut Vec<Blocker>) {
    no_letters(facts.new.dead_letters, facts.new.waived, "", found);
}

fn no_letters(letters: u64, waived: u64, back: &str, found: &mut Vec<Blocker>) {
    if letters > 0 {
        let waived =
            if waived > 0 { format!(" ({waived} more are waived)") } else { String::new() };
        let reason =
            format!("{letters} keys could not be copied{back}{waived}; retry or waive them");
        block(found, Gate::DeadLetters, reason);
    }
}

fn copied(facts: &Facts, terms: &Terms, found: &mut Vec<Blocker>) {
    no_dead_letters(facts, found);
    // A lazy migration copies a key that is missing in new; only in the first generation can a key
    // that is there not be stale.
    if terms.lazy && facts.new.generation == Generation::FIRST {
        let stale = facts.stale.iter().filter(|mark| !mark.kind.is_copied_lazily());
        if let Some(reasons) = reasons(&stale.copied().collect::<Vec<_>>()) {
            let reason =
                format!("{reasons}: repair what differs, and run a verification of all keys");
            block(found, Gate::Verified, reason);
        }
        for instance in facts.instances.iter().filter(|one| !facts.new.backfilled && !one.lazy) {
            let reason = format!(
                "instance {} (release {}) does not copy what it misses on the new side; replace it, or run the \
                 backfill first",
                instance.id, instance.release
            );
            block(found, Gate::Supported, reason);
        }
        return;
    }
    backfilled(facts, found);
    verified(facts, found);
    if facts.new.generation > Generation::FIRST && !terms.sees_new {
        let reason = "keys deleted from the old side at off may still be on the new side, where nobody finds them: give \
                      the copy function `new_source`";
        block(found, Gate::Verified, reason.to_owned());
    }
}

fn backfilled(facts: &Facts, found: &mut Vec<Blocker>) {
    if !facts.new.backfilled {
        let reason = format!("run the backfill of generation {}", facts.new.generation);
        block(found, Gate::Backfilled, reason);
    }
}

fn verified(facts: &Facts, found: &mut Vec<Blocker>) {
    if facts.new.verified != Some(facts.new.generation) {
        let reason = format!("run the verification of generation {}", facts.new.generation);
        let reason = unproven(facts, reason);
        block(found, Gate::Verified, reason);
    }
}

/// What the newest verification found, what has withdrawn a proof besides, and what to do. `advice` is for where nobody
/// has looked yet.
fn unproven(facts: &Facts, advice: String) -> String {
    let generations = [facts.new.generation.0, facts.old.generation.0];
    let last = facts.verification.as_ref().filter(|last| last.generations == generations);
    let found = last.and_then(|last| {
        let LastVerification { compared, differing, .. } = last;
        let differ = if *differing == 1 { "key that differs" } else { "keys that differ" };
        match last {
            _ if *differing > 0 && last.done => {
                Some(format!("the last verification found {differing} {differ}"))
            }
            _ if *differing > 0 => Some(format!(
                "the verification under way has found {differing} {differ} among {compared} so far"
            )),
            _ if !last.done => {
                Some(format!("a verification is under way: {compared} keys are compared"))
            }
            _ if last.is_sample => {
                Some("the last verification compared a sample of the keys".to_owned())
            }
            _ => None,
        }
    });
    let differs = last.is_some_and(|last| last.differing > 0);
    // What the verification found says the same with a number.
    let besides = facts.stale.iter().filter(|mark| {
        !differs || !matches!(mark.kind, StaleKind::Difference | StaleKind::Missing)
    });
    let besides = reasons(&besides.copied().collect::<Vec<_>>());
    let why = match (found, besides) {
        (None, None) => return advice,
        (Some(why), None) | (None, Some(why)) => why,
        (Some(found), Some(besides)) => format!("{found}; {besides}"),
    };
    match last {
        _ if differs => format!(
            "{why}: run `dualwrite repair` (`migration.verify().repair()`) unless somebody has since, then run the \
             verification again"
        ),
        Some(last) if !last.done && !last.is_sample => format!("{why}: wait for its end"),
        _ => format!(
            "{why}: {advice}, over all keys; where it finds differences, repair them and run it again"
        ),
    }
}

fn approved(facts: &Facts, reaches: Stage, terms: &Terms, found: &mut Vec<Blocker>) {
    for (stage, name) in &terms.approvals {
        let entered = facts.position.reaches() < *stage && reaches >= *stage;
        if entered && !facts.stage.approvals.contains(name) {
            let reason = format!("{stage} needs the approval `{name}`: `migration.approve(…)`");
            block(found, Gate::Approved, reason);
        }
    }
}

fn released(facts: &Facts, terms: &Terms, found: &mut Vec<Blocker>) {
    for release in &facts.unfenced.releases {
        let reason = format!(
            "release {release} still writes the old side; call `release_gone` when it is stopped"
        );
        block(found, Gate::Released, reason);
    }
    if let Some(age) = facts.unfenced.last_write
        && age < terms.unaware_window
    {
        let reason = format!(
            "the old table was written {age:.0?} ago without the fence of this migration: by another program, or in a \
             transaction that names other migrations alone; {:.0?} must pass without such a write",
            terms.unaware_window
        );
        block(found, Gate::Released, reason);
    }
}

/// Where old and new are columns of one row, an `INSERT` at `Complete` has no old columns.
fn left_out(terms: &Terms, found: &mut Vec<Blocker>) {
    if !terms.needed_columns.is_empty() {
        let reason = format!(
            "give the old columns a default, or drop their NOT NULL: at `complete` an INSERT leaves them \
             out, and the database would refuse it ({})",
            terms.needed_columns.join(", ")
        );
        block(found, Gate::OldMayBeLeftOut, reason);
    }
}

/// Writers that no trigger sees, and sequences of new that would give out what is taken.
fn unhazarded(facts: &Facts, found: &mut Vec<Blocker>) {
    for hazard in facts.hazards.iter().filter(|hazard| hazard.stopped.is_none()) {
        let Hazard { kind, name, detail, .. } = hazard;
        let (gate, advice) = match kind {
            HazardKind::Sequence => (Gate::Sequences, String::new()),
            kind if kind.is_writer() => (
                Gate::Released,
                format!(
                    "; stop it, and record that with `migration.writer_stopped({name:?}, …)` or `dualwrite writer-stopped`"
                ),
            ),
            _ => (Gate::Released, String::new()),
        };
        block(found, gate, format!("{name}: {detail}{advice}"));
    }
}

/// On the way back from `Complete` old is written again: it must be there, and every live build must know it.
fn old_is_there(facts: &Facts, to: Destination, found: &mut Vec<Blocker>) {
    if facts.position.reaches() < Stage::Complete || to.stage > Stage::RampDown {
        return;
    }
    if facts.operated.contract_begun {
        let reason = "somebody has begun to drop the old side: there is no way back; see `migration.contract().events()`";
        block(found, Gate::Contracted, reason.to_owned());
    }
    for instance in facts.instances.iter().filter(|one| one.new_only) {
        let reason = format!(
            "instance {} (release {}) has the new path alone; replace it by a release with both first",
            instance.id, instance.release
        );
        block(found, Gate::Supported, reason);
    }
}

/// What was written to new alone must be in old before old is compared, and before it answers.
fn copied_back(facts: &Facts, to: Destination, terms: &Terms, found: &mut Vec<Blocker>) {
    if facts.position.reaches() == Stage::Complete && !terms.can_copy_back {
        let reason = "the new side alone was written, and there is no way to copy that to the old side: implement \
                      `CopyBack` for the copy function and register it with `.backfill_both_ways(…)`; give a \
                      `CopySql` `.copying_back(…)`";
        block(found, Gate::CopiedBack, reason.to_owned());
    }
    let leaves = facts.position.stage >= Stage::RampDown && to.stage <= Stage::Live;
    if !leaves || facts.old.generation == Generation::FIRST {
        return;
    }
    if !facts.old.backfilled {
        let reason = "the old side lacks what was written to the new side alone: run `migration.backfill().reverse()`";
        block(found, Gate::CopiedBack, reason.to_owned());
    }
    no_letters(facts.old.dead_letters, facts.old.waived, " back", found);
    if facts.old.verified != Some(facts.old.generation) {
        let reason = "run the verification of what was copied back".to_owned();
        block(found, Gate::Verified, unproven(facts, reason));
    }
}

#[cfg(test)]
mod tests;
