//! Where flags take a migration next. Pure.

use super::desired::DesiredState;
use crate::stages::facts::InstanceReport;
use crate::stages::moves::{Move, destination};
use crate::stages::position::{Epoch, Generation, Percent, Position};
use crate::stages::stage::Stage;

/// What follows from the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// Nobody wants anything, or everything is as wanted and known to be.
    Stay,
    /// It is as wanted; to be remembered.
    Arrived(String),
    /// One move nearer to this.
    Go(Move, String),
    /// Somebody else moved the migration since. The flags wait until they say something else.
    Overruled(String),
    /// Not now; why.
    Wait(String),
}

/// Decides. All instances answer the same for the same reports: the least that any live instance wants is
/// what the flags want together, so that a release which is rolled out slowly does not pull against
/// the one before.
pub(crate) fn decide(
    position: Position,
    instances: &[InstanceReport],
    flagged: Option<&(String, Epoch)>,
) -> Heading {
    let mut least: Option<(Stage, Percent)> = None;
    for instance in instances {
        let Some(text) = &instance.wanted else { continue };
        match text.parse() {
            Ok(DesiredState::Position { stage, ramp }) => {
                let wanted = (stage, ramp);
                least = Some(least.map_or(wanted, |least| least.min(wanted)));
            }
            Ok(DesiredState::Kill) | Err(_) => {
                let reason = format!(
                    "instance {} (release {}) wants `{text}`, which this release does not understand",
                    instance.id, instance.release
                );
                return Heading::Wait(reason);
            }
        }
    }
    let Some((stage, ramp)) = least else { return Heading::Stay };
    let text = DesiredState::Position { stage, ramp }.to_string();
    let ours = flagged.filter(|(before, _)| *before == text);
    if ours.is_some_and(|(_, epoch)| *epoch != position.epoch) {
        let reason = format!(
            "the migration was moved to {position} although flags want {text}; they take it on when \
             they say something else"
        );
        return Heading::Overruled(reason);
    }
    match step(position, (stage, ramp)) {
        None if ours.is_some() => Heading::Stay,
        None => Heading::Arrived(text),
        Some(requested) => Heading::Go(requested, text),
    }
}

/// One move from a position toward another one.
fn step(position: Position, wanted: (Stage, Percent)) -> Option<Move> {
    let (stage, ramp) = wanted;
    if (position.stage, position.ramp) == wanted {
        return None;
    }
    if position.stage == stage {
        return Some(Move::Ramp(ramp));
    }
    if position.stage < stage {
        return position.stage.next().map(Move::Advance);
    }
    // A rollback copies dirty keys back first, so it is the better way where it does not go too far.
    let back = destination(position, Generation::FIRST, Move::Rollback);
    if back.is_ok_and(|to| to.stage >= stage && to.stage < position.stage) {
        return Some(Move::Rollback);
    }
    match position.ramp > Percent::ZERO {
        true => Some(Move::Ramp(Percent::ZERO)),
        false => position.stage.previous().map(Move::StepBack),
    }
}

/// The rollback that a kill switch makes next; `None` where the migration stands as far back as loses
/// nothing.
pub(crate) fn killing(position: Position) -> Option<Move> {
    let to = destination(position, Generation::FIRST, Move::Rollback).ok()?;
    ((to.stage, to.ramp) != (position.stage, position.ramp)).then_some(Move::Rollback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(stage: u8, ramp: u16) -> Position {
        let ramp = Percent::from_basis_points(if stage == 5 { 0 } else { ramp }).unwrap();
        Position {
            epoch: Epoch(7),
            ..Position::start().with_stage(Stage::from_code(stage).unwrap()).with_ramp(ramp)
        }
    }

    fn instance(wanted: &str) -> InstanceReport {
        InstanceReport {
            id: "a".to_owned(),
            release: "1".to_owned(),
            seen: Epoch(7),
            drained: Epoch(7),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            new_only: false,
            lazy: false,
            wanted: (!wanted.is_empty()).then(|| wanted.to_owned()),
            killed_by: None,
            mirror: None,
            terms: None,
            alike: 1,
        }
    }

    #[test]
    fn the_least_that_any_instance_wants_counts() {
        let instances =
            [instance("live"), instance(""), instance("shadow 5%"), instance("ramp_down")];
        let go = decide(position(2, 0), &instances, None);
        let ramp = Move::Ramp(Percent::new(5).unwrap());
        assert_eq!(go, Heading::Go(ramp, "shadow 5 %".to_owned()));
        assert_eq!(decide(position(2, 0), &[instance("")], None), Heading::Stay);
        let unknown = [instance("live"), instance("sideways")];
        assert!(matches!(decide(position(2, 0), &unknown, None), Heading::Wait(_)));
    }

    #[test]
    fn who_moves_the_migration_by_hand_is_right_until_the_flags_change() {
        let wants = [instance("live")];
        let live = ("live".to_owned(), Epoch(7));
        assert_eq!(decide(position(3, 0), &wants, Some(&live)), Heading::Stay);
        assert_eq!(decide(position(3, 0), &wants, None), Heading::Arrived("live".to_owned()));
        let before = ("live".to_owned(), Epoch(6));
        assert!(matches!(decide(position(2, 0), &wants, Some(&before)), Heading::Overruled(_)));
        assert!(matches!(decide(position(3, 0), &wants, Some(&before)), Heading::Overruled(_)));
        let changed = ("shadow".to_owned(), Epoch(6));
        let go = Heading::Go(Move::Advance(Stage::Live), "live".to_owned());
        assert_eq!(decide(position(2, 0), &wants, Some(&changed)), go);
    }

    #[test]
    fn a_kill_switch_ends_where_only_a_costly_step_is_left() {
        let mut at = position(4, 0);
        let mut seen = Vec::new();
        while let Some(requested) = killing(at) {
            at.stage = destination(at, Generation::FIRST, requested).unwrap().stage;
            at.ramp = Percent::ZERO;
            seen.push(at.stage);
        }
        assert_eq!(seen, [Stage::Shadow, Stage::DualWrite]);
        assert_eq!(killing(position(0, 0)), None);
        assert_eq!(killing(position(0, 10)), Some(Move::Rollback));
    }

    proptest! {
        #[test]
        fn moves_arrive_and_are_legal(
            from in 0_u8..6, at in 0_u16..=10_000, to in 0_u8..6, ramp in 0_u16..=10_000,
        ) {
            let mut here = position(from, at);
            let there = position(to, ramp);
            let target = (there.stage, there.ramp);
            let forward = target > (here.stage, here.ramp);
            for _ in 0..16 {
                let Some(requested) = step(here, target) else { break };
                let next = destination(here, Generation::FIRST, requested).unwrap();
                prop_assert_eq!(next.goes_forward(here), forward || requested == Move::Ramp(there.ramp) && there.ramp > here.ramp);
                here.stage = next.stage;
                here.ramp = next.ramp;
            }
            prop_assert_eq!((here.stage, here.ramp), target);
        }
    }

    #[test]
    fn a_rollback_is_made_where_it_does_not_go_too_far() {
        let shadow = position(2, 0);
        let live = |ramp| position(3, ramp);
        let to = |stage, ramp| (stage, Percent::from_basis_points(ramp).unwrap());
        assert_eq!(step(live(0), to(Stage::Shadow, 0)), Some(Move::Rollback));
        assert_eq!(step(live(500), to(Stage::DualWrite, 0)), Some(Move::Rollback));
        assert_eq!(step(live(0), to(Stage::Live, 0)), None);
        assert_eq!(
            step(live(500), to(Stage::Live, 200)),
            Some(Move::Ramp(Percent::new(2).unwrap()))
        );
        assert_eq!(step(shadow, to(Stage::Live, 0)), Some(Move::Advance(Stage::Live)));
        // A rollback from there goes further, or stays.
        let ramp_down = position(4, 100);
        let back = destination(ramp_down, Generation::FIRST, Move::Rollback).unwrap();
        let wanted = step(ramp_down, to(Stage::Live, 0));
        assert_eq!(wanted == Some(Move::Rollback), back.stage == Stage::Live, "{wanted:?}");
        let nearest = step(position(1, 100), to(Stage::Off, 0));
        assert_eq!(nearest, Some(Move::Ramp(Percent::ZERO)));
        assert_eq!(step(position(1, 0), to(Stage::Off, 0)), Some(Move::StepBack(Stage::Off)));
    }
}
