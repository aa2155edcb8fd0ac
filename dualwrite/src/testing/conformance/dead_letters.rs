//! What holds for dead letters, wherever they are kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::control::Control;
use crate::key::EncodedKey;
use crate::stages::moves::Move;
use crate::stages::position::Generation;
use crate::stages::stage::{Side, Stage};
use crate::testing::conformance::{NAME, advance, beat, change, join};

fn key(text: &str) -> EncodedKey {
    EncodedKey(text.to_owned())
}

async fn record_dead_letter(control: &dyn Control, side: Side, text: &str) {
    control
        .record_dead_letter(NAME, side, Generation(1), &key(text), "no such country")
        .await
        .unwrap();
}

async fn they_are_counted_and_can_be_taken_out(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    for text in ["1", "\"a\"", "1"] {
        record_dead_letter(control, Side::New, text).await;
    }
    let mut letters = control.dead_letters(NAME, false, 10).await.unwrap();
    letters.sort_by(|a, b| b.key.cmp(&a.key));
    let found: Vec<_> =
        letters.iter().map(|letter| (letter.key.as_str(), letter.attempts)).collect();
    assert_eq!(found, [("1", 2), ("\"a\"", 1)]);
    assert_eq!((letters[0].error.as_str(), letters[0].generation), ("no such country", 1));
    assert_eq!(control.facts(NAME).await.unwrap().new.dead_letters, 2);
    assert!(!control.remove_dead_letter(NAME, Side::Old, &key("1"), None).await.unwrap());
    assert!(
        !control.remove_dead_letter(NAME, Side::New, &key("1"), Some(1)).await.unwrap(),
        "tried since"
    );
    assert!(control.remove_dead_letter(NAME, Side::New, &key("1"), Some(2)).await.unwrap());
    assert_eq!(control.dead_letters(NAME, false, 10).await.unwrap().len(), 1);
    // What cannot be copied back is another matter, of the same key.
    record_dead_letter(control, Side::Old, "\"a\"").await;
    assert_eq!(control.dead_letters(NAME, false, 10).await.unwrap().len(), 2);
    let facts = control.facts(NAME).await.unwrap();
    assert_eq!((facts.new.dead_letters, facts.old.dead_letters), (1, 1));
    assert_eq!(control.dead_letters(NAME, false, 1).await.unwrap().len(), 1);
}

async fn of_several_instances_one_takes_a_letter_that_is_due(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    record_dead_letter(control, Side::New, "1").await;
    record_dead_letter(control, Side::Old, "2").await;
    let record = control.load().await.unwrap().remove(0);
    assert_eq!((record.letters, record.has_dead_letter, record.due), (true, true, false));
    assert_eq!(control.dead_letters(NAME, true, 10).await.unwrap(), [], "each waits at first");

    // Due at once, as a pause of no length leaves it.
    let all = control.dead_letters(NAME, false, 10).await.unwrap();
    let first = all.iter().find(|letter| letter.key == "1").unwrap();
    assert!(control.claim_dead_letter(NAME, first, Duration::ZERO).await.unwrap());
    assert!(control.load().await.unwrap()[0].due);
    let due = control.dead_letters(NAME, true, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    let hour = Duration::from_secs(3_600);
    assert!(control.claim_dead_letter(NAME, &due[0], hour).await.unwrap());
    assert!(!control.claim_dead_letter(NAME, &due[0], hour).await.unwrap(), "it is taken");
    assert!(!control.load().await.unwrap()[0].due);

    // That it failed once more does not bring it back sooner.
    record_dead_letter(control, Side::New, "1").await;
    assert_eq!(control.dead_letters(NAME, true, 10).await.unwrap(), []);
    let all = control.dead_letters(NAME, false, 10).await.unwrap();
    let again = all.iter().find(|letter| letter.key == "1").unwrap();
    assert_eq!(again.attempts, 2);
    assert!(again.next_attempt_at > again.failed_at + Duration::from_secs(3_000));
}

async fn a_waiver_is_kept_with_its_letter_until_the_generation_is_raised(control: &dyn Control) {
    join(control, &beat("a"), true).await.unwrap();
    assert!(!control.waive(NAME, Side::New, &key("1"), "ada", "x").await.unwrap(), "no letter");
    for text in ["1", "2"] {
        record_dead_letter(control, Side::New, text).await;
    }
    record_dead_letter(control, Side::Old, "1").await;
    assert!(control.waive(NAME, Side::New, &key("1"), "ada", "it is garbage").await.unwrap());
    assert!(control.waive(NAME, Side::Old, &key("1"), "eve", "so is this").await.unwrap());
    // A key that fails again stays waived.
    record_dead_letter(control, Side::New, "1").await;
    let facts = control.facts(NAME).await.unwrap();
    assert_eq!((facts.new.dead_letters, facts.new.waived), (1, 1));
    assert_eq!((facts.old.dead_letters, facts.old.waived), (0, 1));
    let record = control.load().await.unwrap().remove(0);
    assert!(record.has_dead_letter && record.letters, "the new side still lacks it");
    let asked = ["0", "1", "2"].map(key);
    assert_eq!(control.waived(NAME, &asked).await.unwrap(), [key("1")]);
    assert_eq!(control.waived(NAME, &[]).await.unwrap(), []);
    let letters = control.dead_letters(NAME, false, 10).await.unwrap();
    let new = letters.iter().find(|one| (one.side, one.key.as_str()) == (Side::New, "1")).unwrap();
    let waiver = new.waiver.clone().unwrap();
    assert_eq!((waiver.actor.as_str(), waiver.reason.as_str()), ("ada", "it is garbage"));
    assert!(waiver.at > SystemTime::UNIX_EPOCH && new.attempts == 2);

    advance(control, Stage::DualWrite).await.unwrap();
    control.change(NAME, &change(Move::StepBack(Stage::Off))).await.unwrap();
    let facts = control.facts(NAME).await.unwrap();
    assert_eq!((facts.new.dead_letters, facts.new.waived), (2, 0));
    assert_eq!(
        (facts.old.dead_letters, facts.old.waived),
        (0, 1),
        "the old side has its own generation"
    );
    let due = control.dead_letters(NAME, true, 10).await.unwrap();
    assert_eq!(due.len(), 2, "they are tried again at once");
}

pub(super) async fn suite<F: Future<Output = Arc<dyn Control>>>(fresh: impl Fn() -> F) {
    they_are_counted_and_can_be_taken_out(&*fresh().await).await;
    of_several_instances_one_takes_a_letter_that_is_due(&*fresh().await).await;
    a_waiver_is_kept_with_its_letter_until_the_generation_is_raised(&*fresh().await).await;
}
