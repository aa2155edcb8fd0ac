//! Moves by somebody who is no instance: judged by what the live instances declare.

use std::time::Duration;

use crate::clock;
use crate::control::Change;
use crate::control::commands::{JobKind, RecordedChange};
use crate::error::{Error, ErrorKind};
use crate::flags::decide::killing;
use crate::gate::{Blocker, Gate};
use crate::operator::execution::{CommandOutcome, Execution, JOB_TIMEOUT, POLL};
use crate::rollout::command::RolloutCommandKind;
use crate::stages::facts::Facts;
use crate::stages::moves::{Destination, Move, destination};
use crate::stages::position::{Percent, Position};
use crate::stages::readiness::{admit, blockers};
use crate::stages::stage::Stage;
use crate::stages::terms::Terms;

/// How long a move waits for gates that open by themselves.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often the kill switch moves at the most: there are six stages.
const BACK_MAX: u32 = 8;

/// Makes a move, or says what stands against it.
pub(super) async fn run(
    execution: &Execution<'_>,
    requested: Move,
    gates: &[Gate],
) -> Result<CommandOutcome, Error> {
    let (control, name) = (execution.control, execution.name);
    // An override of a gate that protects data is refused whatever else holds.
    admit(&[], gates).map_err(|error| error.of(name))?;
    let facts = control.facts(name).await?;
    if requested != Move::Rollback {
        execution.expect(&facts)?;
    }
    if is_there(facts.position, requested) {
        let text = format!("it is {} already", facts.position);
        return Ok(CommandOutcome::of(name, &facts, execution.options.dry_run, text));
    }
    let to = destination(facts.position, facts.new.generation, requested)
        .map_err(|error| error.of(name))?;
    if execution.options.dry_run {
        return Ok(dry_run(name, &facts, requested, to, gates));
    }
    if to.goes_forward(facts.position)
        && declared(&facts, to).is_ok_and(|terms| terms.copies || !terms.unexpanded.is_empty())
    {
        read_catalogue(execution).await?;
    }
    attempt_until(execution, requested, gates).await?;
    let after = control.facts(name).await?;
    let text = format!("{requested}: it is {} now", after.position);
    let way_back = way_back(after.position, &after);
    Ok(CommandOutcome { way_back, ..CommandOutcome::of(name, &after, false, text) })
}

fn is_there(position: Position, requested: Move) -> bool {
    match requested {
        Move::Advance(to) | Move::StepBack(to) => {
            position.stage == to && position.ramp == Percent::ZERO
        }
        Move::Ramp(ramp) => position.ramp == ramp,
        Move::Rollback => false,
    }
}

fn reached(from: Position, to: Destination) -> Position {
    from.with_stage(to.stage).with_ramp(to.ramp)
}

fn dry_run(
    name: &str,
    facts: &Facts,
    requested: Move,
    to: Destination,
    gates: &[Gate],
) -> CommandOutcome {
    let found = match declared(facts, to) {
        Ok(terms) => blockers(facts, requested, to, &terms),
        Err(blocker) => vec![blocker],
    };
    let left: Vec<Blocker> =
        found.into_iter().filter(|blocker| !gates.contains(&blocker.gate)).collect();
    let then = reached(facts.position, to);
    let does = match requested {
        Move::Rollback => format!("would roll back to {}", then.stage),
        requested => format!("would {requested}"),
    };
    let text = match left.len() {
        0 => does,
        gates => format!("{does}, and {gates} gates stand against it"),
    };
    let way_back = way_back(then, facts);
    CommandOutcome { blockers: left, way_back, ..CommandOutcome::of(name, facts, true, text) }
}

fn way_back(from: Position, facts: &Facts) -> Option<String> {
    if let Ok(back) = destination(from, facts.new.generation, Move::Rollback) {
        return Some(format!("`rollback` leads to {}", back.stage));
    }
    let before = Stage::ALL.into_iter().rev().find(|stage| *stage < from.stage)?;
    destination(from, facts.new.generation, Move::StepBack(before)).ok()?;
    Some(format!("`step-back` leads to {before}"))
}

/// What the live instances declare together. Going back asks for little of it.
pub(super) fn declared(facts: &Facts, to: Destination) -> Result<Terms, Blocker> {
    let forward = to.goes_forward(facts.position);
    let blocker = |reason: String| Err(Blocker { gate: Gate::Supported, reason });
    let strange = facts.instances.iter().find(|one| one.terms.is_none());
    if let Some(one) = strange.filter(|_| forward) {
        return blocker(format!(
            "instance {} (release {}) declares what this release of dualwrite does not understand; use the release \
             that the service uses",
            one.id, one.release
        ));
    }
    match Terms::strictest(facts.instances.iter().filter_map(|one| one.terms.as_ref())) {
        Some(terms) => Ok(terms),
        None if forward => blocker(
            "no live instance says what this migration needs to go forward; start the service first".to_owned(),
        ),
        None => Ok(Terms::default()),
    }
}

/// Tries again while only gates are closed that open by themselves.
async fn attempt_until(
    execution: &Execution<'_>,
    requested: Move,
    gates: &[Gate],
) -> Result<(), Error> {
    let tries = TIMEOUT.as_millis() / POLL.as_millis();
    for _ in 0..tries {
        match attempt(execution, requested, gates).await {
            Err(error) if error.kind() == ErrorKind::Blocked && opens_by_itself(&error) => {}
            result => return result,
        }
        clock::sleep(POLL).await;
    }
    attempt(execution, requested, gates).await
}

fn opens_by_itself(error: &Error) -> bool {
    !error.blockers().is_empty()
        && error.blockers().iter().all(|blocker| blocker.gate.opens_by_itself())
}

async fn attempt(execution: &Execution<'_>, requested: Move, gates: &[Gate]) -> Result<(), Error> {
    let (control, name, options) = (execution.control, execution.name, execution.options);
    let facts = control.facts(name).await?;
    let of = |error: Error| error.of(name);
    let to = destination(facts.position, facts.new.generation, requested).map_err(of)?;
    let terms = match declared(&facts, to) {
        Ok(terms) => terms,
        Err(blocker) => return Err(of(Error::blocked(vec![blocker]))),
    };
    let expected = options.expected.filter(|_| requested != Move::Rollback);
    let change = Change {
        expected,
        token: expected.filter(|epoch| *epoch == facts.position.epoch).map(|_| facts.token),
        requested,
        actor: options.by.clone(),
        reason: options.because.clone(),
        overridden: gates.to_vec(),
        terms,
        plan: None,
        flag: None,
    };
    control.change(name, &change).await.map(drop)
}

/// A move forward goes by what the catalogue says now, which an instance has to read.
async fn read_catalogue(execution: &Execution<'_>) -> Result<(), Error> {
    let (control, name, options) = (execution.control, execution.name, execution.options);
    let audit = options.audit(RolloutCommandKind::Catalogue);
    control.command(name, &RecordedChange::ReadCatalogue, None, &audit).await?;
    if execution.answer_of(JobKind::Catalogue).await?.is_some() {
        return Ok(());
    }
    let seconds = JOB_TIMEOUT.as_secs();
    let message = format!(
        "no instance with a copy function has read the catalogue within {seconds} s, which a move forward goes by; see \
         that one is alive, and try again"
    );
    Err(Error::new(ErrorKind::Timeout, message).of(name))
}

/// Sets the kill switch, and goes back as far as loses nothing. What keeps that from being done now, the instances do
/// as soon as it can be done.
pub(super) async fn kill(execution: &Execution<'_>) -> Result<CommandOutcome, Error> {
    let (control, name) = (execution.control, execution.name);
    let before = control.facts(name).await?;
    if execution.options.dry_run {
        let text = match killing(before.position) {
            Some(_) => "would set the kill switch and roll back",
            None => "would set the kill switch; there is nothing to roll back",
        };
        let way_back = Some("`kill-off` takes the switch back".to_owned());
        return Ok(CommandOutcome { way_back, ..CommandOutcome::of(name, &before, true, text) });
    }
    let audit = execution.options.audit(RolloutCommandKind::KillOn);
    control.command(name, &RecordedChange::Kill, None, &audit).await?;
    let left = go_back(execution).await;
    let after = control.facts(name).await?;
    let text = match left {
        None => format!("the kill switch is set: it is {} now", after.position),
        Some(why) => {
            format!("the kill switch is set; the instances go back as soon as they can: {why}")
        }
    };
    let way_back = Some("`kill-off` takes the switch back".to_owned());
    Ok(CommandOutcome { way_back, ..CommandOutcome::of(name, &after, false, text) })
}

/// Answers with what keeps it from being done now.
async fn go_back(execution: &Execution<'_>) -> Option<String> {
    for _ in 0..BACK_MAX {
        let facts = match execution.control.facts(execution.name).await {
            Ok(facts) => facts,
            Err(error) => return Some(error.to_string()),
        };
        let requested = killing(facts.position)?;
        if let Err(error) = attempt(execution, requested, &[]).await {
            return Some(error.to_string());
        }
    }
    None
}
