//! The same statement for three databases: names, upserts and comparisons differ.

use crate::support::db::TestDb;

/// A statement written with names as `[customer_id]`: PostgreSQL's Chinook says `customer_id`, the
/// others' `CustomerId`. Names without an underscore or a bracket stay as they are.
pub(super) fn sql<D: TestDb>(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    for (index, piece) in template.split(['[', ']']).enumerate() {
        match index % 2 {
            0 => text.push_str(piece),
            _ => text.push_str(&name::<D>(piece)),
        }
    }
    text
}

fn name<D: TestDb>(snake: &str) -> String {
    if D::NAME == "postgres" {
        return snake.to_owned();
    }
    let word = |word: &str| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    };
    snake.split('_').map(word).collect()
}

/// The end of an INSERT that overwrites these columns where the key is there already.
pub(super) fn upsert<D: TestDb>(key: &str, columns: &[&str]) -> String {
    let mysql = D::NAME == "mysql";
    let assign = |column: &&str| match mysql {
        true => format!("{column} = VALUES({column})"),
        false => format!("{column} = excluded.{column}"),
    };
    let list = columns.iter().map(assign).collect::<Vec<_>>().join(", ");
    match mysql {
        true => format!(" ON DUPLICATE KEY UPDATE {list}"),
        false => format!(" ON CONFLICT ({key}) DO UPDATE SET {list}"),
    }
}

/// Locks the rows of a SELECT; SQLite locks the whole database when a transaction begins.
pub(super) fn for_update<D: TestDb>() -> &'static str {
    D::sql("", " FOR UPDATE", " FOR UPDATE")
}

/// `a` and `b` differ, NULL being equal to NULL.
pub(super) fn differ<D: TestDb>(a: &str, b: &str) -> String {
    match D::NAME {
        "mysql" => format!("NOT ({a} <=> {b})"),
        _ => format!("{a} IS DISTINCT FROM {b}"),
    }
}

/// `1, 2, 3`, for `IN (…)`.
pub(super) fn list(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// A text, or NULL; only texts that the test made, so nothing needs an escape.
pub(super) fn text(text: Option<&str>) -> String {
    match text {
        Some(text) => {
            assert!(!text.contains(['\'', '\\']), "{text}");
            format!("'{text}'")
        }
        None => "NULL".to_owned(),
    }
}
