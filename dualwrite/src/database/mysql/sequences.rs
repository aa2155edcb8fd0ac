//! Numbers that MySQL and MariaDB give to rows of the new table: whether the next one is taken. The counter of an
//! AUTO_INCREMENT column follows what is inserted, but not what is updated, and it is behind where old has given out more,
//! to rows that were not copied or are deleted. A SEQUENCE of MariaDB follows nothing.

use sqlx::MySqlConnection;

use super::MySqlAdapter;
use super::hazards::place;
use crate::database::sealed::Adapter as _;
use crate::database::{NewTable, SqlRow, SqlValue, Watched, sequence_behind};
use crate::error::is_denied;
use crate::key::KeyKind;
use crate::stages::hazard::{Hazard, HazardKind};

/// A column whose values the database gives.
struct Given {
    column: String,
    from: From,
}

#[derive(PartialEq)]
enum From {
    /// The counter of the table, which is here.
    Counter(i64),
    /// A sequence, as its name is written in a statement.
    Sequence(String),
}

pub(super) async fn behind(
    conn: &mut MySqlConnection,
    watched: &Watched,
    new: &NewTable,
) -> sqlx::Result<Vec<Hazard>> {
    let mut found = Vec::new();
    let of_new = given(conn, &new.table).await?;
    if of_new.is_empty() {
        return Ok(found);
    }
    let of_old = given(conn, &watched.table).await?;
    for Given { column, from } in of_new {
        let is_named = |name: &str| name.trim_matches('`').eq_ignore_ascii_case(&column);
        let place = new.columns.iter().position(|name| is_named(name));
        let old = place.and_then(|place| watched.columns.get(place));
        let of_old = old.and_then(|(name, _)| {
            of_old.iter().find(|one| name.trim_matches('`').eq_ignore_ascii_case(&one.column))
        });
        // One sequence for both gives no number twice.
        if of_old.is_some_and(|old| old.from == from && matches!(from, From::Sequence(_))) {
            continue;
        }
        let old = old.filter(|(_, kind)| *kind == KeyKind::INTEGER).map(|(name, _)| name);
        let mut most = taken(conn, (new, &column), (watched, old)).await?;
        if let Some(From::Counter(next)) = of_old.map(|one| &one.from) {
            most = most.max(next - 1);
        }
        found.extend(match from {
            From::Counter(next) if next > most => None,
            From::Counter(next) => {
                let table = &new.table;
                let repair =
                    |value: i64| format!("ALTER TABLE {table} AUTO_INCREMENT = {}", value + 1);
                let name = format!("counter of {}", table.replace('`', ""));
                Some(sequence_behind(&name, &column, [next, most], repair))
            }
            From::Sequence(name) => sequence(conn, &name, &column, most).await?,
        });
    }
    Ok(found)
}

/// Columns of the table whose values come from a counter or a sequence.
async fn given(conn: &mut MySqlConnection, table: &str) -> sqlx::Result<Vec<Given>> {
    let (schema, name) = place(table);
    // MySQL keeps a copy of these numbers for a day; MariaDB does not read comments of such versions.
    let fresh = "DO 0 /*!80000 ; SET SESSION information_schema_stats_expiry = 0 */";
    MySqlAdapter::run(conn, fresh).await?;
    let sql = format!(
        "SELECT c.column_name, CAST(t.auto_increment AS SIGNED), CAST(c.column_default AS CHAR) \
         FROM information_schema.tables t \
         JOIN information_schema.columns c ON c.table_schema = t.table_schema \
         AND c.table_name = t.table_name WHERE t.table_schema = {schema} AND t.table_name = ? \
         AND (c.extra LIKE '%auto_increment%' OR c.column_default LIKE 'nextval(%)') \
         ORDER BY c.ordinal_position"
    );
    let rows = MySqlAdapter::fetch(conn, &sql, &[SqlValue::from(&*name)]).await?;
    let given = |row: &SqlRow| {
        let default = row.optional_text(2)?.unwrap_or_default();
        let sequence = default.strip_prefix("nextval(").and_then(|rest| rest.strip_suffix(')'));
        let from = match sequence {
            Some(sequence) => From::Sequence(sequence.to_owned()),
            None => From::Counter(row.optional_integer(1)?.unwrap_or(1)),
        };
        Ok(Given { column: row.text(0)?.to_owned(), from })
    };
    rows.iter().map(given).collect()
}

/// The greatest number in the column of new, and in that of old which becomes it: also a row that is not copied has one.
async fn taken(
    conn: &mut MySqlConnection,
    (new, column): (&NewTable, &str),
    (watched, old): (&Watched, Option<&String>),
) -> sqlx::Result<i64> {
    let most = |column: &str, table: &str| {
        format!("COALESCE((SELECT CAST(MAX({column}) AS SIGNED) FROM {table}), 0)")
    };
    let mut sql = format!("SELECT GREATEST(0, {}", most(&format!("`{column}`"), &new.table));
    if let Some(old) = old {
        sql.push_str(&format!(", {}", most(old, &watched.table)));
    }
    sql.push(')');
    let rows = MySqlAdapter::fetch(conn, &sql, &[]).await?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

/// The server has given itself some numbers in advance, and says only which comes after those: it may give any of them.
async fn sequence(
    conn: &mut MySqlConnection,
    name: &str,
    column: &str,
    most: i64,
) -> sqlx::Result<Option<Hazard>> {
    let sql = format!(
        "SELECT CAST(next_not_cached_value AS SIGNED), CAST(increment AS SIGNED), \
         CAST(cache_size AS SIGNED) FROM {name}"
    );
    let shown = format!("sequence {}", name.replace('`', ""));
    let rows = match MySqlAdapter::fetch(conn, &sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if is_denied(&error) => {
            let detail = format!(
                "column {column} draws from it, and this role may not see whether its next number is taken: give it \
                 SELECT on the sequence"
            );
            return Ok(Some(Hazard::new(HazardKind::Sequence, &shown, detail)));
        }
        Err(error) => return Err(error),
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let (after, step) = (row.integer(0)?, row.integer(1)?);
    if step < 0 {
        return Ok(None);
    }
    let cached = row.integer(2)?.saturating_mul(step.max(1));
    let next = after.saturating_sub(cached);
    let repair = |value: i64| {
        let value = value.max(most.saturating_add(cached)).max(after);
        format!("SELECT SETVAL({name}, {value})")
    };
    Ok((next <= most).then(|| sequence_behind(&shown, column, [next.max(1), most], repair)))
}
