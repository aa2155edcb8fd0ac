//! Instances: what they acknowledge counts in one history, and as long as they live.

use std::time::Duration;

use crate::control::{Acknowledgement, Change, Control, Heartbeat, Pulse};
use crate::error::ErrorKind;
use crate::key::EncodedKey;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use crate::stages::facts::{Facts, InstanceReport};
use crate::stages::lineage::{Mark, Token};
use crate::stages::moves::Move;
use crate::stages::position::{Epoch, Generation};
use crate::stages::stage::{Side, Stage};
use crate::testing::conformance::{NAME, advance, beat, change, heartbeat, join, number, seen};

pub(super) async fn tokens_are_renewed_and_what_was_seen_elsewhere_is_nothing(
    control: &dyn Control,
) {
    let first = join(control, &beat("a"), true).await.unwrap();
    join(control, &beat("b"), true).await.unwrap();
    let second = advance(control, Stage::DualWrite).await.unwrap();
    assert_ne!(second.token, first.token);
    assert_eq!(second.from_token, first.token);
    let third = advance(control, Stage::Shadow).await.unwrap_err();
    assert_eq!(third.kind(), ErrorKind::Blocked, "b has not seen the second");
    let instances = control.facts(NAME).await.unwrap().instances;
    assert_eq!(instances[1].seen, Epoch(1), "of the same history");
    assert!(control.descends(NAME, first.mark()).await.unwrap());

    // The second epoch of another history, which was lost.
    let lost = Mark { token: Token(1), ..second.mark() };
    heartbeat(control, &beat("b"), &[Acknowledgement::joining(NAME, lost, true)]).await.unwrap();
    let instances = control.facts(NAME).await.unwrap().instances;
    assert_eq!((instances[1].seen, instances[1].drained), (Epoch(0), Epoch(0)));
    assert!(advance(control, Stage::Shadow).await.is_err());
    assert!(!control.descends(NAME, Mark { token: Token(1), ..first.mark() }).await.unwrap());
    let expecting = Change {
        expected: Some(Epoch(2)),
        token: Some(lost.token),
        ..change(Move::StepBack(Stage::Off))
    };
    let refused = control.change(NAME, &expecting).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);

    heartbeat(control, &beat("b"), &[seen(control, 2).await]).await.unwrap();
    advance(control, Stage::Shadow).await.unwrap();
}

pub(super) async fn an_instance_that_was_forgotten_must_join_again(control: &dyn Control) {
    let record = join(control, &beat("a"), true).await.unwrap();
    let first = Pulse { number: number(), confirmed: 0 };
    assert!(control.heartbeat(&beat("a"), first, &[]).await.unwrap());
    let second = Pulse { number: number(), confirmed: first.number };
    assert!(control.heartbeat(&beat("a"), second, &[]).await.unwrap());
    assert!(!control.heartbeat(&beat("a"), first, &[]).await.unwrap(), "it is late");
    let lost = Pulse { number: second.number + 100, confirmed: second.number + 99 };
    assert!(!control.heartbeat(&beat("a"), lost, &[]).await.unwrap(), "one was lost");
    assert!(!control.heartbeat(&beat("b"), second, &[]).await.unwrap(), "it never joined");
    let seen = Acknowledgement::joining(NAME, record.mark(), true);
    control.join(&beat("a"), lost.number, &[seen]).await.unwrap();
    let third = Pulse { number: lost.number + 1, confirmed: lost.number };
    assert!(control.heartbeat(&beat("a"), third, &[]).await.unwrap());
}

/// In tables alone: in memory there is one clock.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) async fn a_clock_that_steps_neither_forgets_nor_keeps_instances(control: &dyn Control) {
    let second = Duration::from_secs(1);
    let silent = Heartbeat { lease: Duration::ZERO, ..beat("silent") };
    join(control, &silent, true).await.unwrap();
    assert_eq!(control.facts(NAME).await.unwrap().instances.len(), 0);
    control.clock_stepped(3_600_000_000, second * 60).await.unwrap();
    assert_eq!(control.facts(NAME).await.unwrap().instances.len(), 1, "it expired by the step");
    let summary = control.summaries(&[NAME]).await.unwrap().remove(0).1;
    assert_eq!(summary.instances.len(), 1);
    control.clock_stepped(1, Duration::ZERO).await.unwrap();
    assert_eq!(control.facts(NAME).await.unwrap().instances.len(), 0, "a lease later");
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) async fn summaries_say_what_facts_say(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    advance(control, Stage::DualWrite).await.unwrap();
    control.approve(NAME, "dba", "ada", "looked at it").await.unwrap();
    control.declare(NAME, "0.9", false).await.unwrap();
    let key = EncodedKey("7".to_owned());
    control.record_dead_letter(NAME, Side::New, Generation(1), &key, "refused").await.unwrap();
    let facts = control.facts(NAME).await.unwrap();
    let (name, summary) = control.summaries(&[NAME]).await.unwrap().remove(0);
    assert_eq!(
        (name.as_str(), summary.position, summary.token),
        (NAME, facts.position, facts.token)
    );
    assert_eq!(summary.instances, facts.instances);
    assert_eq!(
        (&summary.stage.approvals, &summary.unfenced.releases),
        (&facts.stage.approvals, &facts.unfenced.releases)
    );
    assert_eq!((summary.new.dead_letters, facts.new.dead_letters), (1, 1));
}

/// A fleet's reports are read in groups, so that the answer is short.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) async fn summaries_count_those_that_report_the_same(control: &dyn Control) {
    for instance in ["a", "b", "c"] {
        join(control, &beat(instance), true).await.unwrap();
    }
    join(control, &beat("lazy no more"), false).await.unwrap();
    let dead = Heartbeat { lease: Duration::ZERO, ..beat("dead") };
    join(control, &dead, true).await.unwrap();
    let facts = control.facts(NAME).await.unwrap();
    let summary = control.summaries(&[NAME]).await.unwrap().remove(0).1;
    assert_eq!((facts.live(), summary.live()), (4, 4));
    assert_eq!(control.live_instances().await.unwrap(), 4);
    let groups = summary.instances.iter().map(|one| (one.lazy, one.alike)).collect::<Vec<_>>();
    assert_eq!(groups, [(true, 3), (false, 1)]);
    let one = |facts: &Facts, at: usize| InstanceReport { alike: 1, ..facts.instances[at].clone() };
    assert_eq!([one(&summary, 0), one(&summary, 1)], [one(&facts, 0), one(&facts, 3)]);
}

pub(super) async fn migrations_are_enlisted_together(control: &dyn Control) {
    let names: Vec<String> = (0..50).map(|number| format!("m-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(control.enlist(&names[..5]).await.unwrap().len(), 5);
    let all = control.enlist(&names).await.unwrap();
    assert_eq!(all.len(), 50);
    assert!(names.iter().all(|name| all.iter().any(|record| record.name == *name)));
}
