//! What a running database changes of a verdict: a rewrite of a small table is done at once.

use std::fmt::Write as _;

use super::level::{Level, Verdict};
use crate::preflight::live::{Live, LiveTable, SMALL_TABLE_BYTES, SMALL_TABLE_ROWS};

/// Refused by the server whatever the size is, or felt after it is done.
const WHATEVER_THE_SIZE: &[&str] = &["concurrently-in-transaction"];
const FELT_AFTERWARDS: &[&str] = &["alter-column-type", "alter-column-type-rewrite"];

/// The verdict on a statement over these tables.
pub(super) fn judged(verdict: Verdict, targets: &[String], live: &Live) -> Verdict {
    if verdict.level < Level::Blocking || verdict.level == Level::Unknown {
        return verdict;
    }
    let found: Vec<&LiveTable> = targets
        .iter()
        .filter_map(|name| live.tables.iter().find(|table| table.name == *name))
        .collect();
    if found.is_empty() {
        return verdict;
    }
    let said: Vec<String> = found.iter().map(|table| described(table, live)).collect();
    let said = said.join("; ");
    let all_small = found.len() == targets.len() && found.iter().all(|table| table.is_small());
    let by_size = verdict.level == Level::Blocking && !WHATEVER_THE_SIZE.contains(&verdict.rule);
    if !by_size || !all_small {
        return Verdict { reason: format!("{}: {said}", verdict.reason), ..verdict };
    }
    let limit = format!(
        "up to {} rows and {} that is done at once",
        counted(SMALL_TABLE_ROWS),
        size(SMALL_TABLE_BYTES)
    );
    match FELT_AFTERWARDS.contains(&verdict.rule) {
        true => Verdict {
            level: Level::Warn,
            reason: format!("{said}: {limit}; statements that running code has prepared may fail"),
            ..verdict
        },
        false => Verdict::safe(verdict.rule, format!("{said}: {limit}")),
    }
}

/// A table in plain words: its size, who points to it, who writes it.
fn described(table: &LiveTable, live: &Live) -> String {
    let rows = match (table.rows > SMALL_TABLE_ROWS, table.rows_estimated) {
        (true, Some(estimated)) if estimated > table.rows => {
            format!("about {}", counted(estimated))
        }
        (true, _) => format!("more than {}", counted(SMALL_TABLE_ROWS)),
        (false, _) => counted(table.rows),
    };
    let mut text = format!("{} has {rows} rows", table.name);
    if let Some(bytes) = table.bytes {
        let _ = write!(text, " ({})", size(bytes));
    }
    if !table.referenced_by.is_empty() {
        let _ = write!(text, ", foreign keys of {} point to it", table.referenced_by.join(", "));
    }
    if let Some(written) = table.written.filter(|written| *written > 0) {
        let _ = write!(text, ", {} rows were written since the server counts", counted(written));
    }
    if let Some(replicas) = live.replicas.filter(|replicas| *replicas > 0) {
        let _ = write!(text, ", {replicas} replicas have to do the same");
    }
    text
}

/// In groups of three.
fn counted(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenth, mut unit) = (bytes, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenth = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    match unit > 0 && whole < 10 && tenth > 0 {
        true => format!("{whole}.{tenth} {}", UNITS[unit]),
        false => format!("{whole} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u64, bytes: u64) -> LiveTable {
        LiveTable { name: "customer".into(), rows, bytes: Some(bytes), ..LiveTable::default() }
    }

    #[test]
    fn the_size_decides_what_blocks_and_nothing_else() {
        let blocking = || Verdict::blocking("add-fk", "all rows are read", "NOT VALID");
        let on = |verdict, table: LiveTable| {
            let live = Live { tables: vec![table], replicas: Some(2) };
            judged(verdict, &["customer".to_owned()], &live)
        };
        let small = on(blocking(), table(12, 8_192));
        assert_eq!(small.level, Level::Safe);
        assert!(small.reason.contains("12 rows (8 KiB)") && small.reason.contains("10,000 rows"));
        let large = LiveTable {
            rows_estimated: Some(120_000_000),
            referenced_by: vec!["invoice".into()],
            written: Some(7),
            ..table(SMALL_TABLE_ROWS + 1, 40 << 30)
        };
        let large = on(blocking(), large);
        assert_eq!(large.level, Level::Blocking);
        for told in
            ["about 120,000,000 rows (40 GiB)", "of invoice point", "7 rows were", "2 replicas"]
        {
            assert!(large.reason.contains(told), "{}", large.reason);
        }
        assert_eq!(on(blocking(), table(1, SMALL_TABLE_BYTES + 1)).level, Level::Blocking);
        let breaking = Verdict::breaking("drop-table", "data is lost", "");
        assert_eq!(on(breaking, table(0, 0)).level, Level::Breaking);
        let refused = Verdict::blocking("concurrently-in-transaction", "refused", "");
        assert_eq!(on(refused, table(0, 0)).level, Level::Blocking);
        let retyped = Verdict::blocking("alter-column-type", "rewrite", "");
        assert_eq!(on(retyped, table(0, 0)).level, Level::Warn);
        // Of another table nothing is known.
        let live = Live { tables: vec![table(0, 0)], replicas: None };
        assert_eq!(judged(blocking(), &["order".to_owned()], &live).level, Level::Blocking);
        let both = ["customer".to_owned(), "order".to_owned()];
        assert_eq!(judged(blocking(), &both, &live).level, Level::Blocking);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(40 << 30), "40 GiB");
        assert_eq!(size(1_600_000), "1.5 MiB");
    }
}
