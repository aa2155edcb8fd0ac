//! What SQLite's schema says of writers that the trigger does not see, and of the counter of the new table.

use sqlx::SqliteConnection;

use super::{SqliteAdapter, trigger};
use crate::database::sealed::Adapter as _;
use crate::database::{NewTable, SqlValue, Watched, sequence_behind};
use crate::stages::hazard::{Hazard, HazardKind, HazardScan, mentions, own_trigger};

pub(super) async fn find_hazards(
    conn: &mut SqliteConnection,
    watched: &Watched,
    new: Option<&NewTable>,
) -> sqlx::Result<HazardScan> {
    let mut hazards = missing(conn, watched).await?;
    hazards.extend(foreign_keys(conn, watched).await?);
    hazards.extend(triggers(conn, watched).await?);
    hazards.extend(expressions(conn, watched).await?);
    if let Some(new) = new {
        hazards.extend(counter(conn, watched, new).await?);
    }
    Ok(HazardScan { hazards, shape: None, notes: notes(conn, watched).await? })
}

async fn missing(conn: &mut SqliteConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let Watched { name, migration, .. } = watched;
    let sql = format!(
        "SELECT (SELECT watched FROM dualwrite_migration WHERE name = '{migration}'), \
         (SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) \
         AND name IN ('{name}_ins', '{name}_upd', '{name}_del'))"
    );
    let rows = SqliteAdapter::fetch(conn, &sql, &[SqlValue::from(&*watched.plain_name())]).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    if row.optional_integer(0)?.unwrap_or(0) == 0 {
        return Ok(Vec::new());
    }
    let detail = match row.integer(1)? < 3 {
        true => {
            "a trigger of this library is missing on the old table, as after the table was made anew, so that writes \
             of others are not seen: run `install_trigger` again"
        }
        false if is_outdated(conn, watched).await? => {
            "the unique indexes of the old table, or defaults of their columns, are others than the triggers of this \
             library go by, so that rows which INSERT OR REPLACE removes are not seen: run `install_trigger` again"
        }
        false => return Ok(Vec::new()),
    };
    Ok(vec![Hazard {
        repair: Some("migration.install_trigger()".to_owned()),
        ..Hazard::new(HazardKind::Watch, &format!("trigger {name}"), detail)
    }])
}

/// Whether the triggers that note replaced rows would be made otherwise now.
async fn is_outdated(conn: &mut SqliteConnection, watched: &Watched) -> sqlx::Result<bool> {
    let unique = trigger::Unique::read(conn, watched).await?;
    for (name, wanted) in trigger::before(watched, &unique) {
        let sql = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?";
        let rows = SqliteAdapter::fetch(conn, sql, &[SqlValue::from(&*name)]).await?;
        let there = rows.first().map(|row| row.text(0)).transpose()?;
        if there != wanted.as_deref() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes triggers of ours that went along with a table that was renamed: their names are taken.
pub(super) async fn left_behind(
    conn: &mut SqliteConnection,
    watched: &Watched,
) -> sqlx::Result<Vec<String>> {
    let name = &watched.name;
    let sql = format!(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) <> lower(?) \
         AND name IN ('{name}_ins', '{name}_upd', '{name}_del') ORDER BY 1"
    );
    let rows = SqliteAdapter::fetch(conn, &sql, &[SqlValue::from(&*watched.plain_name())]).await?;
    rows.iter().map(|row| Ok(format!("DROP TRIGGER IF EXISTS {}", row.text(0)?))).collect()
}

async fn foreign_keys(conn: &mut SqliteConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let table = watched.plain_name();
    let sql = "SELECT DISTINCT id, \"table\", \"from\", on_delete, on_update FROM pragma_foreign_key_list(?) \
               WHERE seq = 0 AND (on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT') \
               OR on_update IN ('CASCADE', 'SET NULL', 'SET DEFAULT')) ORDER BY id";
    let mut found = Vec::new();
    for row in SqliteAdapter::fetch(conn, sql, &[SqlValue::from(&*table)]).await? {
        let (parent, column) = (row.text(1)?, row.text(2)?);
        let (on_delete, on_update) = (row.text(3)?, row.text(4)?);
        let detail = format!(
            "deletes (ON DELETE {on_delete}) and updates (ON UPDATE {on_update}) of {parent} inside a fenced \
             transaction change rows of {table}, which is not seen, and nobody writes it to the new side"
        );
        let name = format!("foreign key {table}.{column} to {parent}");
        found.push(Hazard::new(HazardKind::ForeignKey, &name, detail));
    }
    Ok(found)
}

/// A trigger of the application that names the old table in its body: inside a fenced transaction it bears the mark.
async fn triggers(conn: &mut SqliteConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let table = watched.plain_name();
    let sql = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' \
               AND name NOT LIKE 'dualwrite\\_%' ESCAPE '\\' ORDER BY name";
    let mut found = Vec::new();
    for row in SqliteAdapter::fetch(conn, sql, &[]).await? {
        let text = row.optional_text(2)?.unwrap_or("");
        let begin = text.to_ascii_lowercase().find("begin").unwrap_or(0);
        if mentions(&text[begin..], &table) {
            let name = format!("trigger {} on {}", row.text(0)?, row.text(1)?);
            let detail = format!(
                "it names {table}; what it writes there inside a fenced transaction is not seen, and nobody \
                 writes it to the new side"
            );
            found.push(Hazard::new(HazardKind::Trigger, &name, detail));
        }
    }
    Ok(found)
}

/// What changes rows of old beside the statements of the application.
async fn notes(
    conn: &mut SqliteConnection,
    watched: &Watched,
) -> sqlx::Result<Vec<(&'static str, String, &'static str)>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) \
               AND name NOT LIKE 'dualwrite\\_%' ESCAPE '\\' ORDER BY name";
    let rows = SqliteAdapter::fetch(conn, sql, &[SqlValue::from(&*watched.plain_name())]).await?;
    let mut notes = Vec::new();
    for row in &rows {
        notes.push(own_trigger(row.text(0)?));
    }
    let off = SqliteAdapter::fetch(conn, "PRAGMA recursive_triggers", &[]).await?;
    if !notes.is_empty() && off.first().map_or(Ok(1), |row| row.integer(0))? == 0 {
        let why = "`recursive_triggers` is off, as usual: rows that INSERT OR REPLACE removes fire no delete \
                   trigger of the application";
        let action = "set it on every connection that uses REPLACE, or do without; the library's trigger notes \
                      such rows by itself";
        notes.push(("recursive_triggers", why.to_owned(), action));
    }
    Ok(notes)
}

/// A row that shares the value of an expression with the new one is removed by `INSERT OR REPLACE`.
async fn expressions(conn: &mut SqliteConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let sql = "SELECT DISTINCT l.name FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) x \
               WHERE l.\"unique\" = 1 AND x.key = 1 AND x.name IS NULL ORDER BY 1";
    let mut found = Vec::new();
    for row in SqliteAdapter::fetch(conn, sql, &[SqlValue::from(&*watched.plain_name())]).await? {
        let detail = "INSERT OR REPLACE removes a row that shares the value of this expression with the new one, \
                      which no trigger sees on a connection without `recursive_triggers`";
        let name = format!("unique index {}", row.text(0)?);
        found.push(Hazard::new(HazardKind::Replace, &name, detail));
    }
    Ok(found)
}

/// The counter of an AUTOINCREMENT column follows what is inserted. It is behind where old has given out more, to
/// rows that were not copied or are deleted.
async fn counter(
    conn: &mut SqliteConnection,
    watched: &Watched,
    new: &NewTable,
) -> sqlx::Result<Vec<Hazard>> {
    let known = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'";
    let rows = SqliteAdapter::fetch(conn, known, &[]).await?;
    if rows.first().map_or(Ok(0), |row| row.integer(0))? == 0 {
        return Ok(Vec::new());
    }
    let (old, table) = (watched.plain_name(), new.plain_name());
    let counts = "SELECT (SELECT seq FROM sqlite_sequence WHERE name = ?), \
                  coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0), \
                  (SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ? \
                  AND upper(sql) LIKE '%AUTOINCREMENT%')";
    let values = [SqlValue::from(&*old), SqlValue::from(&*table), SqlValue::from(&*table)];
    let rows = SqliteAdapter::fetch(conn, counts, &values).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let (Some(given), last) = (row.optional_integer(0)?, row.integer(1)?) else {
        return Ok(Vec::new());
    };
    if row.integer(2)? == 0 || last >= given || new.columns.len() != 1 {
        return Ok(Vec::new());
    }
    let repair = |value: i64| {
        format!(
            "DELETE FROM sqlite_sequence WHERE name = '{table}'; \
             INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}', {value})"
        )
    };
    let column = new.columns[0].trim_matches('"').to_owned();
    Ok(vec![sequence_behind(&format!("counter of {table}"), &column, [last + 1, given], repair)])
}
