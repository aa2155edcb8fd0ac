//! Statements that are written another way: several actions, blocks, comments, quotes, options, scripts. Each has the level
//! that it must get; a statement of the labelled ones beside the project is not among them.

use super::{MYSQL, POSTGRES, SQLITE, worst};
use dualwrite::schema::Level;

/// Dialect, level, and the statement.
const VARIANTS: &str = include_str!("variants.txt");

/// Likewise: statements that hide what they do from whoever reads their first words, and harmless ones that look like them.
const HOSTILE: &str = include_str!("hostile.txt");

#[test]
fn statements_that_are_written_another_way_get_their_levels() {
    get_their_levels(VARIANTS, 100);
}

#[test]
fn statements_that_hide_what_they_do_get_their_levels() {
    get_their_levels(HOSTILE, 400);
}

fn get_their_levels(statements: &str, at_least: usize) {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for line in statements.lines().filter(|line| !line.is_empty()) {
        let mut parts = line.splitn(3, '|');
        let [dialect, level, sql] = [0; 3].map(|_| parts.next().unwrap());
        let dialect = match dialect {
            "postgres" => POSTGRES,
            "mysql" => MYSQL,
            _ => SQLITE,
        };
        let (found, rule) = worst(sql, dialect);
        if found != level.parse::<Level>().unwrap() {
            wrong.push(format!("{found} ({rule}): {line}"));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > at_least, "{compared}");
}
