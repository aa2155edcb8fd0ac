//! Who may read and write, the steps of a hand-over, and the stages of two rows.

use super::*;

fn rows() -> [Authority; 2] {
    [Side::Old, Side::New].map(|side| Authority::first(side, 7))
}

fn go(rows: &mut [Authority; 2], to: Side) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = next_step(rows[0], rows[1], to, true);
        steps.push(step);
        assert!(steps.len() < 20, "it goes round in circles: {steps:?}");
        let (Step::Close(side) | Step::GiveUp(side) | Step::Open(side) | Step::Reopen(side)) = step
        else {
            return steps;
        };
        let other = rows[side.other() as usize];
        rows[side as usize] = rows[side as usize].after(step, other, 8);
    }
}

#[test]
fn the_way_over_and_back_is_three_steps_each() {
    let mut rows = rows();
    rows[0] = rows[0].with_recording(true, 1);
    assert_eq!(go(&mut rows, Side::New), [Step::NotCopied]);
    rows[0].copied = true;
    let there =
        [Step::Close(Side::Old), Step::GiveUp(Side::Old), Step::Open(Side::New), Step::Done];
    assert_eq!(go(&mut rows, Side::New), there);
    assert_eq!(stage_of(rows[0], rows[1]), Stage::Live);
    let back = [Step::Close(Side::New), Step::GiveUp(Side::New), Step::Open(Side::Old), Step::Done];
    assert_eq!(go(&mut rows, Side::Old), back);
    assert_eq!(stage_of(rows[0], rows[1]), Stage::DualWrite);
    assert!(rows[0].epoch > rows[1].epoch, "the primary has the highest epoch");
}

#[test]
fn a_closed_side_that_is_wanted_is_opened_again() {
    let mut rows = rows();
    rows[0] = rows[0].after(Step::Close(Side::Old), rows[1], 2);
    assert_eq!(go(&mut rows, Side::Old), [Step::Reopen(Side::Old), Step::Done]);
}

#[test]
fn where_nobody_has_it_the_other_one_is_opened_whatever_is_wanted() {
    let mut rows = rows();
    rows[0].copied = true;
    rows[0] = rows[0].after(Step::Close(Side::Old), rows[1], 2);
    rows[0] = rows[0].after(Step::GiveUp(Side::Old), rows[1], 3);
    for to in [Side::Old, Side::New] {
        assert_eq!(next_step(rows[0], rows[1], to, true), Step::Open(Side::New));
    }
    assert_eq!(side_of_record(rows[0], rows[1]), Side::New);
}

#[test]
fn nothing_is_given_up_before_the_outbox_is_empty() {
    let [old, new] = rows();
    let old = Authority { copied: true, ..old };
    let closed = old.after(Step::Close(Side::Old), new, 2);
    assert_eq!(next_step(closed, new, Side::New, false), Step::Drain(Side::Old));
}

#[test]
fn a_row_that_is_older_than_what_was_seen_answers_nothing() {
    let [old, new] = rows();
    let seen = Seen::default().with(Authority { epoch: 4, token: 40, ..new });
    assert_eq!(may_read(old, seen), Found::Behind);
    assert_eq!(may_write(old, seen), Found::Behind);
    let made_again = Authority { epoch: 4, token: 41, ..old };
    assert_eq!(may_write(made_again, seen), Found::Behind, "the same epoch of another history");
    assert_eq!(may_write(Authority { epoch: 4, token: 40, ..old }, seen), Found::Here);
    assert_eq!(may_write(new, Seen::default()), Found::Elsewhere);
}
#[test]
fn stages_are_reached_one_by_one_and_only_where_all_was_copied() {
    let [old, new] = rows();
    assert_eq!(change_to(old, new, Stage::Live), Err(Refused::NotNext));
    assert_eq!(change_to(old, new, Stage::Shadow), Err(Refused::NoSuchStage));
    assert_eq!(change_to(old, new, Stage::DualWrite), Ok(Some(StageChange::Record(Side::Old))));
    let recording = old.with_recording(true, 1);
    assert_eq!(change_to(recording, new, Stage::Live), Err(Refused::NotCopied));
    let copied = Authority { copied: true, ..recording };
    let over = Ok(Some(StageChange::HandOver(Side::New)));
    assert_eq!(change_to(copied, new, Stage::Live), over);
    assert_eq!(change_to(copied, new, Stage::DualWrite), Ok(None));
    let again = copied.with_recording(false, 2).with_recording(true, 3);
    assert_eq!(change_to(again, new, Stage::Live), Err(Refused::NotCopied));
}

#[test]
fn only_a_newer_record_is_applied() {
    for (applied, version, expected) in [(0, 1, true), (4, 4, false), (5, 4, false), (4, 6, true)] {
        assert_eq!(takes(applied, version), expected, "{version} after {applied}");
    }
}

#[test]
fn a_closed_authority_is_read_and_not_written() {
    let [old, new] = rows();
    let seen = Seen::default();
    let closed = Authority { open: false, ..old };
    assert_eq!((may_read(old, seen), may_write(old, seen)), (Found::Here, Found::Here));
    assert_eq!((may_read(closed, seen), may_write(closed, seen)), (Found::Here, Found::Closed));
    assert_eq!((may_read(new, seen), may_write(new, seen)), (Found::Elsewhere, Found::Elsewhere));
}

#[test]
fn what_was_seen_is_the_highest_epoch_with_the_token_that_came_first() {
    let [row, _] = rows();
    let at = |epoch, token| Authority { epoch, token, ..row };
    let seen = Seen::default().with(at(3, 7));
    assert_eq!(seen, Seen { epoch: 3, token: 7 });
    assert_eq!(seen.with(at(3, 8)), seen, "made again as something else");
    assert_eq!(seen.with(at(2, 9)), seen);
    assert_eq!(seen.with(at(4, 9)), Seen { epoch: 4, token: 9 });
    for (epoch, token, expected) in
        [(3, 7, Found::Here), (3, 8, Found::Behind), (2, 7, Found::Behind), (4, 9, Found::Here)]
    {
        assert_eq!(may_read(at(epoch, token), seen), expected, "{epoch} {token}");
    }
}

#[test]
fn what_a_snapshot_had_is_copied_at_the_same_version_too() {
    for (applied, version, expected) in [(0, 0, true), (4, 4, true), (5, 4, false), (4, 5, true)] {
        assert_eq!(copies(applied, version), expected, "{version} after {applied}");
    }
}

#[test]
fn a_page_of_an_earlier_epoch_is_late() {
    assert_eq!([3, 4, 5].map(|epoch| is_late(4, epoch)), [true, false, false]);
}

#[test]
fn a_step_changes_the_row_and_raises_its_epoch() {
    let [old, new] = rows();
    assert_eq!((old.epoch, new.epoch, old.open, new.open), (1, 0, true, false));
    let row = Authority { epoch: 5, token: 7, recording: true, copied: true, ..old };
    let other = Authority { epoch: 9, ..new };
    let after = |step| row.after(step, other, 8);
    let changed = Authority { epoch: 6, token: 8, ..row };
    assert_eq!(after(Step::Close(Side::Old)), Authority { open: false, ..changed });
    assert_eq!(after(Step::Reopen(Side::Old)), changed);
    let given = Authority { primary: false, open: false, ..changed };
    assert_eq!(after(Step::GiveUp(Side::Old)), given);
    for step in [Step::Drain(Side::Old), Step::Done, Step::NotCopied, Step::Broken] {
        assert_eq!(after(step), row, "{step:?}");
    }
    let bare = Authority { primary: false, open: false, recording: false, copied: false, ..row };
    let opened = Authority { epoch: 10, token: 8, ..row };
    assert_eq!(bare.after(Step::Open(Side::Old), other, 8), opened, "above both rows");
    let closed = Authority { open: false, ..row };
    assert!(closed.after(Step::Reopen(Side::Old), other, 8).open);
}

#[test]
fn recording_that_begins_or_ends_forgets_what_was_copied() {
    let copied = Authority { epoch: 5, copied: true, ..rows()[0] };
    for recording in [true, false] {
        let expected = Authority { recording, copied: false, epoch: 6, token: 9, ..copied };
        assert_eq!(copied.with_recording(recording, 9), expected);
    }
}

#[test]
fn the_side_that_gave_it_up_last_has_the_higher_epoch() {
    let [old, new] = rows().map(|row| Authority { primary: false, ..row });
    let at = |row: Authority, epoch| Authority { epoch, ..row };
    let of = |a, b| side_of_record(at(old, a), at(new, b));
    assert_eq!((of(5, 4), of(4, 5)), (Side::New, Side::Old));
    assert_eq!(of(5, 5), Side::Old, "of two equal ones the new side is taken for the giver");
    let primary = |row: Authority| Authority { primary: true, ..row };
    assert_eq!(side_of_record(primary(old), new), Side::Old);
    assert_eq!(side_of_record(old, primary(new)), Side::New);
}

#[test]
fn two_primaries_are_broken_and_an_open_outbox_is_drained_before_it_is_given_up() {
    let [old, new] = rows();
    let both = Authority { primary: true, ..new };
    assert_eq!(next_step(old, both, Side::New, true), Step::Broken);
    assert_eq!(next_step(old, new, Side::Old, true), Step::Done);
    let copied = Authority { copied: true, ..old };
    assert_eq!(next_step(copied, new, Side::New, true), Step::Close(Side::Old));
    let closed = Authority { open: false, ..copied };
    assert_eq!(next_step(closed, new, Side::New, true), Step::GiveUp(Side::Old));
    assert_eq!(next_step(closed, new, Side::New, false), Step::Drain(Side::Old));
    assert_eq!(next_step(closed, new, Side::Old, true), Step::Reopen(Side::Old));
}

/// Rows that amount to each stage that exact mode has.
fn at(stage: Stage) -> [Authority; 2] {
    let [old, new] = rows();
    let recording = |row| Authority { recording: true, copied: true, ..row };
    let over = [Authority { primary: false, ..old }, Authority { primary: true, ..new }];
    match stage {
        Stage::Off => [old, new],
        Stage::DualWrite => [recording(old), new],
        Stage::Live => [over[0], recording(over[1])],
        _ => over,
    }
}

#[test]
fn each_stage_is_known_by_its_rows_and_each_neighbour_is_reached() {
    use Stage::{Complete, DualWrite, Live, Off, RampDown, Shadow};
    let stages = [Off, DualWrite, Live, Complete];
    let expected = |from, to| match (from, to) {
        (_, Shadow | RampDown) => Err(Refused::NoSuchStage),
        (from, to) if from == to => Ok(None),
        (Off, DualWrite) => Ok(Some(StageChange::Record(Side::Old))),
        (DualWrite, Off) => Ok(Some(StageChange::Alone(Side::Old))),
        (DualWrite, Live) => Ok(Some(StageChange::HandOver(Side::New))),
        (Live, DualWrite) => Ok(Some(StageChange::HandOver(Side::Old))),
        (Live, Complete) => Ok(Some(StageChange::Alone(Side::New))),
        (Complete, Live) => Ok(Some(StageChange::Record(Side::New))),
        _ => Err(Refused::NotNext),
    };
    for from in stages {
        let [old, new] = at(from);
        assert_eq!(stage_of(old, new), from);
        for to in Stage::ALL {
            assert_eq!(change_to(old, new, to), expected(from, to), "{from} to {to}");
        }
    }
    let [old, new] = at(Live);
    let lacking = Authority { copied: false, ..new };
    assert_eq!(change_to(old, lacking, DualWrite), Err(Refused::NotCopied));
    let nobody = at(DualWrite).map(|row| Authority { primary: false, ..row });
    assert_eq!(stage_of(nobody[0], nobody[1]), Live, "the old side has given it up");
    let nobody = at(Complete).map(|row| Authority { primary: false, epoch: 3, ..row });
    assert_eq!(stage_of(nobody[0], nobody[1]), DualWrite, "the new side has given it up");
}

#[test]
fn a_rollback_leads_to_the_stage_before_of_those_that_there_are() {
    let before = Stage::ALL.map(stage_before);
    let expected = [None, Some(Stage::Off), None, Some(Stage::DualWrite), None, Some(Stage::Live)];
    assert_eq!(before, expected);
}
