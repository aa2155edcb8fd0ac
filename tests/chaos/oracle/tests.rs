//! The oracle finds what is planted.

use super::*;
use crate::log::Seen;

fn line(at: u64, event: Event) -> Line {
    Line { at, event }
}

fn write(at: u64, op: &str, version: i64) -> Vec<Line> {
    vec![
        line(at, Event::Write { op: op.into(), keys: 1 }),
        line(at + 1, drawn(op, version, None)),
        line(at + 2, Event::Acknowledged { op: op.into() }),
    ]
}

fn drawn(op: &str, version: i64, saw: Option<Seen>) -> Event {
    Event::Drawn { op: op.into(), migration: "notes".into(), key: 2, version, saw }
}

fn read(since: u64, at: u64, saw: Option<(i64, &str)>) -> Line {
    let saw = Seen(saw.map(|(version, word)| (version, word.to_owned())));
    let (client, migration) = ("reader".to_owned(), "notes".to_owned());
    line(at, Event::Read { client, since, migration, key: 2, saw })
}

fn applied(op: &str, version: i64, word: Option<&str>) -> Applied {
    let word = word.map(str::to_owned);
    Applied { op: op.into(), migration: "notes".into(), key: 2, version, word }
}

fn row(version: i64, word: &str) -> Row {
    Row { version, word: word.into(), n: 0 }
}

fn first() -> Table {
    Table::from([(2, row(0, "first")), (9, row(0, "counter"))])
}

/// Two writes, and then a delete.
fn history() -> (Vec<Line>, Vec<Applied>) {
    let lines = [write(10, "a", 1), write(20, "b", 2), write(30, "c", 3)].concat();
    (lines, vec![applied("a", 1, Some("a")), applied("b", 2, Some("b")), applied("c", 3, None)])
}

fn judged(more: Line) -> Vec<String> {
    let (mut lines, applied) = history();
    lines.push(more);
    lines.sort_by_key(|line| line.at);
    texts(&reads(&lines, &applied, &first(), &[]))
}

fn texts(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(Violation::to_string).collect()
}

#[test]
fn reads_that_may_be_are_no_violations() {
    for fine in [
        read(1, 5, Some((0, "first"))),
        read(11, 25, Some((0, "first"))), // it began before the first write was acknowledged
        read(13, 15, Some((1, "a"))),
        read(13, 25, Some((2, "b"))),
        read(21, 31, None),
        read(40, 41, None),
    ] {
        assert_eq!(judged(fine), [""; 0]);
    }
}

#[test]
fn a_read_of_what_was_replaced_is_found() {
    let found = judged(read(13, 15, Some((0, "first"))));
    assert!(found[0].contains("although version 1 had been acknowledged"), "{found:?}");
    assert_eq!(judged(read(40, 41, Some((2, "b")))).len(), 1, "a deleted row rises again");
    assert_eq!(judged(read(13, 15, None)).len(), 1, "a row that is there is missed");
    assert_eq!(judged(read(23, 29, None)).len(), 1, "its deletion has not begun");
}

#[test]
fn a_read_that_goes_back_behind_another_one_is_found() {
    let (mut lines, applied) = history();
    lines.retain(|line| line.at < 22 || line.at >= 30); // nobody was told of the second write
    lines.extend([read(23, 24, Some((2, "b"))), read(25, 26, Some((1, "a")))]);
    lines.sort_by_key(|line| line.at);
    let found = texts(&reads(&lines, &applied, &first(), &[]));
    assert!(found.len() == 1 && found[0].contains("read `1 a`"), "{found:?}");
}

#[test]
fn a_read_of_what_nobody_committed_is_found_except_in_a_crash() {
    let ghost = read(23, 25, Some((3, "ghost")));
    assert!(judged(ghost.clone())[0].contains("nobody committed"));
    let (mut lines, applied) = history();
    lines.push(ghost);
    assert_eq!(reads(&lines, &applied, &first(), &[(24, 28)]), []);
}

#[test]
fn a_write_that_sees_another_version_under_its_lock_is_found() {
    let (mut lines, applied) = history();
    lines[4] = line(21, drawn("b", 2, Some(Seen(Some((1, "a".into()))))));
    assert_eq!(reads(&lines, &applied, &first(), &[]), []);
    lines[4] = line(21, drawn("b", 2, Some(Seen(Some((0, "first".into()))))));
    assert_eq!(reads(&lines, &applied, &first(), &[]).len(), 1);
}

#[test]
fn an_acknowledged_write_that_is_lost_and_one_that_is_half_are_found() {
    let (mut lines, mut rows) = history();
    assert_eq!(writes(&lines, &rows), []);
    rows.remove(0);
    assert!(texts(&writes(&lines, &rows))[0].contains("write a was acknowledged"));
    lines[3] = line(20, Event::Write { op: "b".into(), keys: 2 });
    rows.insert(0, applied("a", 1, Some("a")));
    assert!(texts(&writes(&lines, &rows))[0].contains("of write b, 1 keys"));
}

fn found(stage: Stage) -> Found {
    let mut table = first();
    table.remove(&2);
    Found {
        migration: "notes".into(),
        stage,
        ramp: 0,
        lazy: false,
        first_generation: true,
        copied: true,
        old_is_whole: true,
        marks: Vec::new(),
        old: table.clone(),
        new: table,
        drawn: BTreeMap::from([(2, 3)]),
    }
}

#[test]
fn sides_that_hold_what_their_stage_promises_are_no_violations() {
    let (_, applied) = history();
    let truth = truth("notes", &first(), &applied);
    for stage in Stage::ALL {
        assert_eq!(sides(&found(stage), &truth), []);
    }
    assert_eq!(versions(&found(Stage::Off), &applied), []);
    let mut off = found(Stage::Off);
    off.new.clear();
    let mut complete = found(Stage::Complete);
    complete.old.clear();
    let mut early = Found { copied: false, ..found(Stage::DualWrite) };
    early.new.clear();
    for fine in [off, complete, early] {
        assert_eq!(sides(&fine, &truth), []);
    }
}

#[test]
fn a_side_that_lacks_a_row_or_holds_another_one_is_found() {
    let (_, mut applied) = history();
    let truth_now = truth("notes", &first(), &applied);
    let mut risen = found(Stage::Live);
    risen.new.insert(2, row(2, "b"));
    assert!(texts(&sides(&risen, &truth_now))[0].contains("new at live"));
    let mut lost = found(Stage::Shadow);
    lost.old.remove(&9);
    assert_eq!(sides(&lost, &truth_now).len(), 1);
    let mut half = Found { copied: false, ..found(Stage::DualWrite) };
    half.new.insert(2, row(1, "a"));
    assert_eq!(sides(&half, &truth_now).len(), 1);
    let marked = Found { marks: vec![(Side::New, "2".into())], ..found(Stage::Live) };
    assert_eq!(sides(&marked, &truth_now).len(), 1);
    let blind = Found { copied: false, ..found(Stage::Live) };
    assert_eq!(sides(&blind, &truth_now).len(), 1);
    assert_eq!(both(&found(Stage::Complete), &truth_now), []);
    assert_eq!(both(&lost, &truth_now).len(), 1);

    let twice = found(Stage::Live);
    applied.push(Applied { key: 9, version: 0, ..applied[0].clone() });
    let mut doubled = twice.clone();
    for table in [&mut doubled.old, &mut doubled.new] {
        table.get_mut(&9).unwrap().n = 2;
    }
    let counted = truth("notes", &first(), &applied);
    assert_eq!(sides(&doubled, &counted).len(), 2, "a count of one that was made twice");
}

#[test]
fn a_version_that_is_missing_or_there_twice_is_found() {
    let (_, mut rows) = history();
    rows.remove(1);
    assert_eq!(versions(&found(Stage::Live), &rows).len(), 1);
    let (_, mut rows) = history();
    rows.push(applied("d", 3, None));
    assert_eq!(versions(&found(Stage::Live), &rows).len(), 1);
}
