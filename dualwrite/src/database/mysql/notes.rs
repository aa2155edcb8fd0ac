//! What is worth knowing of a table before its rows are copied.

use sqlx::MySqlConnection;

use super::MySqlAdapter;
use crate::database::SqlValue;
use crate::database::sealed::Adapter as _;
use crate::error::is_denied;
use crate::preflight::rows::TableNotes;

pub(super) async fn of(conn: &mut MySqlConnection, table: &str) -> sqlx::Result<TableNotes> {
    let plain = table.replace(MySqlAdapter::DIALECT.quote, "");
    let (schema, name) = match plain.split_once('.') {
        Some((schema, name)) => (Some(schema.to_owned()), name),
        None => (None, &*plain),
    };
    let sql = "SELECT CAST(trigger_name AS CHAR) FROM information_schema.triggers \
                   WHERE event_object_schema = COALESCE(?, DATABASE()) AND event_object_table = ? \
                   AND event_manipulation <> 'DELETE' AND trigger_name NOT LIKE 'dualwrite%' ORDER BY 1";
    let values = [SqlValue::Text(schema), SqlValue::from(name)];
    let engine = "SELECT CAST(t.engine AS CHAR) FROM information_schema.tables t \
                  JOIN information_schema.engines e ON e.engine = t.engine AND e.transactions = 'NO' \
                  WHERE t.table_schema = COALESCE(?, DATABASE()) AND t.table_name = ?";
    let rows = MySqlAdapter::fetch(conn, engine, &values).await?;
    let cannot_roll_back = rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()?;
    let rows = MySqlAdapter::fetch(conn, sql, &values).await?;
    let triggers = rows.iter().map(|row| row.text(0).map(str::to_owned));
    let triggers = triggers.collect::<sqlx::Result<_>>()?;
    let rows = MySqlAdapter::fetch(conn, "SELECT CAST(@@SESSION.sql_mode AS CHAR)", &[]).await?;
    let mode = rows.first().map_or(Ok(""), |row| row.text(0))?;
    let cuts_values = !mode.contains("STRICT_TRANS_TABLES") && !mode.contains("STRICT_ALL_TABLES");
    let pads_values = mode.contains("PAD_CHAR_TO_FULL_LENGTH");
    let renumbers_zero = match mode.contains("NO_AUTO_VALUE_ON_ZERO") {
        true => None,
        false => numbered(conn, &values).await?,
    };
    let missing_rights = missing_rights(conn, table, &values).await?;
    Ok(TableNotes {
        triggers,
        missing_rights,
        cuts_values,
        pads_values,
        cannot_roll_back,
        renumbers_zero,
        ..TableNotes::default()
    })
}

/// The server looks at the rights of the role for a statement that it explains, and does not run it. Without a right to read
/// the table, the catalogue does not show it.
async fn missing_rights(
    conn: &mut MySqlConnection,
    table: &str,
    place: &[SqlValue],
) -> sqlx::Result<Vec<String>> {
    let sql = "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
               WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? \
               AND extra NOT LIKE '%GENERATED%' ORDER BY ordinal_position LIMIT 1";
    let rows = MySqlAdapter::fetch(conn, sql, place).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let column = format!("`{}`", row.text(0)?.replace('`', "``"));
    let mut missing = Vec::new();
    for (right, sql) in [
        ("INSERT", format!("EXPLAIN INSERT INTO {table} ({column}) VALUES (DEFAULT)")),
        ("UPDATE", format!("EXPLAIN UPDATE {table} SET {column} = {column} WHERE 1 = 0")),
        ("DELETE", format!("EXPLAIN DELETE FROM {table} WHERE 1 = 0")),
    ] {
        let explained = MySqlAdapter::fetch(conn, &sql, &[]).await;
        if explained.is_err_and(|error| is_denied(&error)) {
            missing.push(right.to_owned());
        }
    }
    Ok(missing)
}

/// The column that the server gives numbers to: there is one at the most.
async fn numbered(conn: &mut MySqlConnection, table: &[SqlValue]) -> sqlx::Result<Option<String>> {
    let sql = "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
               WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? \
               AND LOWER(extra) LIKE '%auto_increment%'";
    let rows = MySqlAdapter::fetch(conn, sql, table).await?;
    rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
}

pub(super) async fn self_updating(
    conn: &mut MySqlConnection,
    table: &str,
) -> sqlx::Result<Vec<String>> {
    let plain = table.replace(MySqlAdapter::DIALECT.quote, "");
    let (schema, name) = match plain.split_once('.') {
        Some((schema, name)) => (Some(schema.to_owned()), name),
        None => (None, &*plain),
    };
    // EXTRA names it also where the server added it by itself, to the first TIMESTAMP of a table.
    let sql = "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
                   WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? \
                   AND LOWER(extra) LIKE '%on update%' ORDER BY ordinal_position";
    let values = [SqlValue::Text(schema), SqlValue::from(name)];
    let rows = MySqlAdapter::fetch(conn, sql, &values).await?;
    rows.iter().map(|row| Ok(format!("`{}`", row.text(0)?.replace('`', "``")))).collect()
}
