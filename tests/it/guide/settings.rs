//! The page of settings has every constant of `dualwrite::defaults`, with the value that it has in the code.

use std::collections::BTreeMap;

use crate::tidy::source::{files, workspace};

/// Every constant of the library whose value is a number, a duration or a text.
fn constants() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in files(&workspace("dualwrite/src")) {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        for line in text.lines().filter_map(|line| line.strip_prefix("pub const ")) {
            if let Some((name, rest)) = line.split_once(": ")
                && let Some((_, value)) = rest.split_once(" = ")
            {
                found.insert(name.to_owned(), value.trim_end_matches(';').to_owned());
            }
        }
    }
    found
}

fn number(text: &str) -> u64 {
    let text = text.replace('_', "");
    if let Some((value, bits)) = text.split_once("<<") {
        return number(value.trim()) << number(bits.trim());
    }
    text.split('*').map(|factor| factor.trim().parse::<u64>().unwrap()).product()
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
    groups.collect::<Vec<_>>().join(",")
}

/// A value as the page shows it.
fn shown(name: &str, value: &str) -> String {
    let inside = |start: &str| value.strip_prefix(start)?.strip_suffix(')').map(number);
    if let Some(ms) = inside("Duration::from_millis(") {
        return format!("{ms} ms");
    }
    if let Some(seconds) = inside("Duration::from_secs(") {
        return match seconds {
            172_800.. if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
            3_600.. if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
            60.. if seconds % 60 == 0 => format!("{} min", seconds / 60),
            _ => format!("{seconds} s"),
        };
    }
    match value {
        "Percent::ONE" => "1 %".to_owned(),
        text if text.starts_with('"') => format!("`{}`", text.trim_matches('"')),
        float if float.contains('.') => float.to_owned(),
        value => match number(value) {
            bytes if name.contains("BYTES") && bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            bytes if name.contains("BYTES") && bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
            number => with_commas(number),
        },
    }
}

#[test]
fn the_page_of_settings_has_every_default_with_its_value() {
    let library = std::fs::read_to_string(workspace("dualwrite/src/lib.rs")).unwrap();
    let defaults =
        library.split("pub mod defaults {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let names = defaults.split(|c| !is_part(c)).filter(|name| name.len() > 3);
    let (constants, pages) = (constants(), super::pages());
    let (mut count, mut missing) = (0, Vec::new());
    for name in names {
        count += 1;
        let row = format!("| `{name}` | {} | ", shown(name, &constants[name]));
        if !pages["settings"].contains(&row) {
            missing.push(row);
        }
    }
    assert!(count > 60, "the defaults were not found");
    assert!(missing.is_empty(), "rows that settings.md lacks: {missing:#?}");
    let rows = pages["settings"]
        .lines()
        .filter(|line| line.starts_with("| `") && line[3..].starts_with(is_part));
    let rows = rows.filter(|row| !row.contains("DUALWRITE_") && !row.contains("DATABASE_URL"));
    assert_eq!(rows.count(), count, "settings.md has rows of constants that are gone");
}
