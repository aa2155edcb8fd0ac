//! What withdraws a proof, and the hazards that are kept.

use std::sync::Arc;

use super::{NAME, advance, beat, change, join};
use crate::control::Control;
use crate::control::commands::{RecordedChange, Taken};
use crate::preflight::finding::{Finding, FindingLevel, Preflight};
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind};
use crate::stages::hazard::{Hazard, HazardKind, HazardScan};
use crate::stages::moves::Move;
use crate::stages::position::Generation;
use crate::stages::stage::{Side, Stage};
use crate::stages::stale::StaleKind;
use crate::stages::verification::VerifyState;

async fn a_finding_withdraws_the_proof_until_a_later_verification(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    let generations = [Generation(1), Generation(1)];
    let proven = || async {
        let facts = control.facts(NAME).await.unwrap();
        let new = control.load().await.unwrap()[0].verified;
        assert_eq!((facts.new.verified, facts.old.verified), (new, new));
        (new.is_some(), facts.stale.into_iter().map(|mark| mark.kind).collect::<Vec<_>>())
    };
    let fresh = VerifyState::new(generations, None);
    control.begin_verification(NAME, "one", &fresh, false).await.unwrap();
    assert!(control.verified(NAME, "one", generations).await.unwrap());
    assert_eq!(proven().await, (true, Vec::new()));

    for kind in [StaleKind::Missing, StaleKind::Difference, StaleKind::Difference] {
        control.mark_stale(NAME, kind).await.unwrap();
    }
    let both = vec![StaleKind::Difference, StaleKind::Missing];
    assert_eq!(proven().await, (false, both.clone()));
    // One that began before the finding may have passed the key.
    assert!(!control.verified(NAME, "one", generations).await.unwrap());
    assert_eq!(proven().await, (false, both));
    control.begin_verification(NAME, "two", &fresh, true).await.unwrap();
    control.mark_stale(NAME, StaleKind::Difference).await.unwrap();
    assert!(!control.verified(NAME, "two", generations).await.unwrap(), "found meanwhile");
    assert_eq!(proven().await, (false, vec![StaleKind::Difference]));
    control.begin_verification(NAME, "three", &fresh, true).await.unwrap();
    assert!(!control.verified(NAME, "three", [Generation(2), Generation(1)]).await.unwrap());
    assert!(control.verified(NAME, "three", generations).await.unwrap());
    assert_eq!(proven().await, (true, Vec::new()));
}

async fn a_clean_run_goes_on_only_while_nothing_is_found(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    let generations = [Generation(1), Generation(1)];
    let fresh = VerifyState::new(generations, None);
    control.mark_stale(NAME, StaleKind::Difference).await.unwrap();
    let mut state = control.begin_verification(NAME, "one", &fresh, false).await.unwrap();
    state.cursor = Some("7".to_owned());
    control.record_verification(NAME, "one", &state).await.unwrap();
    let goes_on = control.begin_verification(NAME, "two", &fresh, false).await.unwrap();
    assert_eq!(goes_on.cursor, state.cursor, "nothing was found since it began");
    assert!(control.verified(NAME, "two", generations).await.unwrap());
    control.mark_stale(NAME, StaleKind::Truncated).await.unwrap();
    let anew = control.begin_verification(NAME, "three", &fresh, false).await.unwrap();
    assert_eq!(anew, fresh);
    assert!(control.verified(NAME, "three", generations).await.unwrap());
}

async fn stop_writer(control: &dyn Control, writer: &str) -> Taken {
    let change = RecordedChange::StopWriter(writer.to_owned());
    let audit =
        NewRolloutCommand::new(RolloutCommandKind::WriterStopped, "ada", "dropped").about(writer);
    let before = control.recorded_commands(NAME, 100).await.unwrap().len();
    let taken = control.command(NAME, &change, None, &audit).await.unwrap();
    let recorded = control.recorded_commands(NAME, 100).await.unwrap().len() - before;
    assert_eq!(recorded, usize::from(taken == Taken::Done));
    taken
}

async fn what_a_preflight_found_is_kept(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    assert_eq!(control.preflight(NAME).await.unwrap(), None);
    for why in ["odd", "even odder"] {
        let place = (Side::Old, "t", Some("id"));
        let finding = Finding::new("key_type", FindingLevel::Warn, place, why, "change it");
        let found = Preflight::new(vec![finding], true);
        control.record_preflight(NAME, "a", &found).await.unwrap();
        let kept = control.preflight(NAME).await.unwrap().unwrap();
        assert_eq!((kept.findings, kept.complete, kept.left_out), (found.findings, true, 0));
        assert_eq!(kept.instance, "a");
    }
}

async fn hazards_are_kept_and_writers_recorded_as_stopped(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    let writer = Hazard::new(HazardKind::ForeignKey, "foreign key a of t", "why");
    let sequence = Hazard {
        repair: Some("SELECT 1".to_owned()),
        ..Hazard::new(HazardKind::Sequence, "sequence s", "behind")
    };
    let scan = |hazards: &[&Hazard], shape: &str| HazardScan {
        hazards: hazards.iter().map(|hazard| (*hazard).clone()).collect(),
        shape: Some(shape.to_owned()),
        ..HazardScan::default()
    };
    let both = scan(&[&writer, &sequence], "1");
    for _ in 0..2 {
        control.record_hazards(NAME, &both).await.unwrap();
        assert_eq!(control.hazards(NAME).await.unwrap(), [writer.clone(), sequence.clone()]);
        assert_eq!(control.facts(NAME).await.unwrap().hazards, [writer.clone(), sequence.clone()]);
        assert_eq!(control.facts(NAME).await.unwrap().stale, []);
    }
    for nobody in ["sequence s", "nobody"] {
        assert_eq!(stop_writer(control, nobody).await, Taken::Nothing);
    }
    assert_eq!(stop_writer(control, &writer.name).await, Taken::Done);
    assert_eq!(stop_writer(control, &writer.name).await, Taken::Already);
    let kinds = async || {
        let stale = control.facts(NAME).await.unwrap().stale;
        stale.into_iter().map(|mark| mark.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, [StaleKind::Writer]);
    // The record stays with it, whatever it is said to be.
    let other = Hazard { detail: "why not".to_owned(), ..writer.clone() };
    control.record_hazards(NAME, &scan(&[&other], "1")).await.unwrap();
    let found = control.hazards(NAME).await.unwrap();
    let stopped = found[0].stopped.as_ref().unwrap();
    assert_eq!((found.len(), &*found[0].detail), (1, "why not"));
    assert_eq!((&*stopped.actor, &*stopped.reason), ("ada", "dropped"));

    let generations = [Generation(1), Generation(1)];
    let fresh = VerifyState::new(generations, None);
    control.begin_verification(NAME, "one", &fresh, true).await.unwrap();
    assert!(control.verified(NAME, "one", generations).await.unwrap());
    control.record_hazards(NAME, &scan(&[], "1")).await.unwrap();
    assert_eq!(kinds().await, [], "it was stopped before it went");
    control.record_hazards(NAME, &scan(&[], "2")).await.unwrap();
    assert_eq!(kinds().await, [StaleKind::Reshaped]);
    control.record_hazards(NAME, &scan(&[&writer], "2")).await.unwrap();
    control.record_hazards(NAME, &HazardScan::default()).await.unwrap();
    assert_eq!(kinds().await, [StaleKind::Reshaped, StaleKind::Writer]);
}

async fn a_stopped_writer_may_be_at_work_again_after_off(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    advance(control, Stage::DualWrite).await.unwrap();
    let hazards = vec![Hazard::new(HazardKind::Trigger, "trigger a on t", "why")];
    let scan = HazardScan { hazards, ..HazardScan::default() };
    control.record_hazards(NAME, &scan).await.unwrap();
    assert_eq!(stop_writer(control, "trigger a on t").await, Taken::Done);
    control.change(NAME, &change(Move::StepBack(Stage::Off))).await.unwrap();
    assert_eq!(control.hazards(NAME).await.unwrap()[0].stopped, None);
}

pub(super) async fn suite<F: Future<Output = Arc<dyn Control>>>(fresh: &impl Fn() -> F) {
    a_finding_withdraws_the_proof_until_a_later_verification(&*fresh().await).await;
    a_clean_run_goes_on_only_while_nothing_is_found(&*fresh().await).await;
    what_a_preflight_found_is_kept(&*fresh().await).await;
    hazards_are_kept_and_writers_recorded_as_stopped(&*fresh().await).await;
    a_stopped_writer_may_be_at_work_again_after_off(&*fresh().await).await;
}
