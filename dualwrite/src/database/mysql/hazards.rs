//! What the catalogue of MySQL and MariaDB says of writers that the trigger does not see. InnoDB fires no trigger for the action of a foreign key, nor for `TRUNCATE` or a change of partitions.

use sqlx::MySqlConnection;

use super::MySqlAdapter;
use crate::database::sealed::Adapter as _;
use crate::database::{SqlRow, SqlValue, Watched};
use crate::error::is_denied;
use crate::stages::hazard::{Hazard, HazardKind, HazardScan, mentions, own_trigger};

pub(super) async fn find_hazards(
    conn: &mut MySqlConnection,
    watched: &Watched,
) -> sqlx::Result<HazardScan> {
    let mut hazards = missing(conn, watched).await?;
    hazards.extend(foreign_keys(conn, watched).await?);
    hazards.extend(triggers(conn, watched).await?);
    hazards.extend(replication(conn).await?);
    let shape = shape(conn, watched).await;
    if shape.is_none() {
        let name = format!("truncate {}", watched.plain_name());
        let detail = "no trigger is told of TRUNCATE and of changes of partitions, and this role may not look for \
                      them: give it PROCESS, or make sure that nobody does that";
        hazards.push(Hazard::new(HazardKind::Truncate, &name, detail));
    }
    Ok(HazardScan { hazards, shape, notes: own_triggers(conn, watched).await? })
}

/// The schema of a quoted table, as an expression, and its name.
pub(super) fn place(table: &str) -> (String, String) {
    let plain = table.replace('`', "");
    match plain.split_once('.') {
        Some((schema, name)) => (format!("'{schema}'"), name.to_owned()),
        None => ("DATABASE()".to_owned(), plain),
    }
}

async fn missing(conn: &mut MySqlConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let Watched { name, migration, table, .. } = watched;
    let (schema, plain) = place(table);
    // By the table, too: a trigger goes along when its table is renamed.
    let sql = format!(
        "SELECT (SELECT watched FROM dualwrite_migration WHERE name = '{migration}'), \
         (SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = {schema} \
         AND event_object_table = '{plain}' AND trigger_name IN ('{name}_ins', '{name}_upd', '{name}_del'))"
    );
    let rows = MySqlAdapter::fetch(conn, &sql, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let gone = row.optional_integer(0)?.unwrap_or(0) != 0 && row.integer(1)? < 3;
    let detail = "a trigger of this library is missing on the old table, as after the table was made anew or renamed, so \
                  that writes of others are not seen: run `install_trigger` again";
    let hazard = || Hazard {
        repair: Some("migration.install_trigger()".to_owned()),
        ..Hazard::new(HazardKind::Watch, &format!("trigger {name}"), detail)
    };
    Ok(gone.then(hazard).into_iter().collect())
}

/// Removes triggers of ours that went along with a table that was renamed: their names are taken.
pub(super) async fn left_behind(
    conn: &mut MySqlConnection,
    watched: &Watched,
) -> sqlx::Result<Vec<String>> {
    let Watched { name, table, .. } = watched;
    let (schema, plain) = place(table);
    let sql = format!(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = {schema} \
         AND event_object_table <> '{plain}' AND trigger_name IN ('{name}_ins', '{name}_upd', '{name}_del') \
         ORDER BY 1"
    );
    let rows = MySqlAdapter::fetch(conn, &sql, &[]).await?;
    rows.iter().map(|row| Ok(format!("DROP TRIGGER IF EXISTS {}", row.text(0)?))).collect()
}

async fn foreign_keys(conn: &mut MySqlConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let (schema, table) = place(&watched.table);
    let sql = format!(
        "SELECT constraint_name, referenced_table_name, delete_rule, update_rule \
         FROM information_schema.referential_constraints WHERE constraint_schema = {schema} \
         AND table_name = ? AND (delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') \
         OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')) ORDER BY 1"
    );
    let rows = MySqlAdapter::fetch(conn, &sql, &[SqlValue::from(&*table)]).await?;
    let hazard = |row: &SqlRow| {
        let (name, parent) = (row.text(0)?, row.text(1)?);
        let (on_delete, on_update) = (row.text(2)?, row.text(3)?);
        let detail = format!(
            "deletes (ON DELETE {on_delete}) and updates (ON UPDATE {on_update}) of {parent} change rows of \
             {table}; InnoDB fires no trigger for that, and nobody writes it to the new side"
        );
        let name = format!("foreign key {name} of {table}");
        Ok(Hazard::new(HazardKind::ForeignKey, &name, detail))
    };
    rows.iter().map(hazard).collect()
}

/// A trigger of another table that names the old one: inside a fenced transaction it bears the mark.
async fn triggers(conn: &mut MySqlConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let (schema, table) = place(&watched.table);
    let sql = format!(
        "SELECT trigger_name, event_object_table, action_statement, \
         CASE WHEN event_object_schema = {schema} THEN '' ELSE {schema} END \
         FROM information_schema.triggers WHERE event_object_table <> ? \
         AND LEFT(trigger_name, 10) <> 'dualwrite_' ORDER BY 1, 2"
    );
    let rows = MySqlAdapter::fetch(conn, &sql, &[SqlValue::from(&*table)]).await?;
    let mut found = Vec::new();
    for row in rows {
        // From another schema, it has to name that of the table.
        let (text, schema) =
            (row.optional_text(2)?.unwrap_or(""), row.optional_text(3)?.unwrap_or(""));
        if mentions(text, &table) && (schema.is_empty() || mentions(text, schema)) {
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
async fn own_triggers(
    conn: &mut MySqlConnection,
    watched: &Watched,
) -> sqlx::Result<Vec<(&'static str, String, &'static str)>> {
    let (schema, table) = place(&watched.table);
    let sql = format!(
        "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = {schema} \
         AND event_object_table = ? AND LEFT(trigger_name, 10) <> 'dualwrite_' ORDER BY 1"
    );
    let rows = MySqlAdapter::fetch(conn, &sql, &[SqlValue::from(&*table)]).await?;
    rows.iter().map(|row| Ok(own_trigger(row.text(0)?))).collect()
}

/// Rows of a replication are written without triggers.
async fn replication(conn: &mut MySqlConnection) -> sqlx::Result<Vec<Hazard>> {
    // MariaDB's: a connection that has a name is not in the first, and neither is one that only replays what it has.
    let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_running', 'Slaves_running')";
    let rows = MySqlAdapter::fetch(conn, sql, &[]).await?;
    let mut runs = false;
    for row in &rows {
        let said = row.optional_text(1)?.unwrap_or_default();
        runs |= said.eq_ignore_ascii_case("on") || said.parse::<u64>().is_ok_and(|some| some > 0);
    }
    let mut detail = "this server is a replica; what it replays fires no trigger, and nobody writes it to the new side";
    if rows.is_empty() {
        // MySQL 8 has neither. Without the schema being kept its table is there, and empty.
        let sql = "SELECT IF(@@performance_schema, (SELECT count(*) FROM \
                   performance_schema.replication_applier_status WHERE SERVICE_STATE = 'ON'), NULL)";
        let seen = match MySqlAdapter::fetch(conn, sql, &[]).await {
            Ok(rows) => rows.first().map_or(Ok(None), |row| row.optional_integer(0))?,
            Err(error) if is_denied(&error) => None,
            Err(error) => return Err(error),
        };
        runs = seen.is_none_or(|some| some > 0);
        if seen.is_none() {
            detail = "what a replica replays fires no trigger, and whether this server is one cannot be seen: keep the \
                      performance schema, and let this role SELECT from performance_schema.replication_applier_status";
        }
    }
    let hazard = || Hazard::new(HazardKind::Replication, "replication to this server", detail);
    Ok(runs.then(hazard).into_iter().collect())
}

/// The number of the table in InnoDB, and those of its partitions: a truncated or exchanged one has another. `None`
/// where the role may not ask.
async fn shape(conn: &mut MySqlConnection, watched: &Watched) -> Option<String> {
    let (schema, table) = place(&watched.table);
    // Other characters than letters, digits and `_` are spelled by their numbers there.
    let spelled = |text: &str| -> String {
        let one = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => c.to_string(),
            other => format!("@{:04x}", u32::from(other)),
        };
        text.chars().map(one).collect()
    };
    let rows = MySqlAdapter::fetch(conn, &format!("SELECT {schema}"), &[]).await.ok()?;
    let schema = rows.first().and_then(|row| row.optional_text(0).ok().flatten())?.to_owned();
    let name = format!("{}/{}", spelled(&schema), spelled(&table)).to_lowercase();
    let parts = format!("{name}#p#");
    for catalogue in ["innodb_sys_tables", "innodb_tables"] {
        let sql = format!(
            "SELECT CAST(table_id AS CHAR) FROM information_schema.{catalogue} \
             WHERE LOWER(name) = ? OR LEFT(LOWER(name), {}) = ? ORDER BY name",
            parts.chars().count()
        );
        let values = [SqlValue::from(&*name), SqlValue::from(&*parts)];
        let Ok(rows) = MySqlAdapter::fetch(conn, &sql, &values).await else { continue };
        let numbers: Option<Vec<&str>> = rows.iter().map(|row| row.text(0).ok()).collect();
        return numbers.filter(|numbers| !numbers.is_empty()).map(|numbers| numbers.join(","));
    }
    None
}
