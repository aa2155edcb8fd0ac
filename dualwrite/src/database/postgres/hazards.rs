//! What PostgreSQL's catalogue says of writers that the trigger does not see, and of sequences of the new table.

use sqlx::PgConnection;

use super::PostgresAdapter;
use super::trigger;
use crate::database::sealed::Adapter as _;
use crate::database::{NewTable, SqlRow, Watched, sequence_behind};
use crate::stages::hazard::{Hazard, HazardKind, HazardScan, mentions, own_trigger};

/// Cascades, and triggers and rules of the application, are seen by the trigger in whatever transaction; rules
/// only outside of fenced ones.
pub(super) async fn find_hazards(
    conn: &mut PgConnection,
    watched: &Watched,
    new: Option<&NewTable>,
) -> sqlx::Result<HazardScan> {
    let named = |table: &str| format!("to_regclass('{table}')::text");
    let here = format!(
        "SELECT {}, {}",
        named(&watched.table),
        new.map_or_else(|| "NULL::text".to_owned(), |new| named(&new.table))
    );
    let here = PostgresAdapter::fetch(conn, &here, &[]).await?;
    if here.first().is_none_or(|row| row.is_null(0)) {
        return Ok(HazardScan::default());
    }
    let new = new.filter(|_| here.first().is_some_and(|row| !row.is_null(1)));
    let is = installed(conn, watched).await?;
    let mut hazards = Vec::new();
    hazards.extend(missing(watched, &is));
    if !is.fires {
        hazards.extend(foreign_keys(conn, watched).await?);
        hazards.extend(triggers(conn, watched).await?);
    }
    hazards.extend(rules(conn, watched).await?);
    if !is.fires_always {
        hazards.extend(subscriptions(conn, watched).await?);
    }
    hazards.extend(foreign_tables(conn, watched).await?);
    if let Some(new) = new {
        hazards.extend(sequences(conn, watched, new).await?);
    }
    Ok(HazardScan {
        hazards,
        shape: shape(conn, watched).await?,
        notes: own_triggers(conn, watched).await?,
    })
}

/// The old table, its partitions, the tables that inherit from it, and those that it is a partition of.
fn family(Watched { table, .. }: &Watched) -> String {
    format!(
        "(SELECT oid FROM {} below UNION SELECT relid::oid FROM pg_partition_ancestors('{table}'))",
        trigger::family(table)
    )
}

/// How the trigger of the library stands.
struct Installed {
    wanted: bool,
    fires: bool,
    fires_always: bool,
}

async fn installed(conn: &mut PgConnection, watched: &Watched) -> sqlx::Result<Installed> {
    let Watched { table, name, migration, .. } = watched;
    let family = trigger::family(table);
    let counts = |which: &str| {
        format!(
            "(SELECT count(*) FROM pg_trigger t WHERE t.tgname IN ('{name}', '{name}_t') AND {which} \
             AND t.tgrelid IN {family})"
        )
    };
    let sql = format!(
        "SELECT {}, {}, (SELECT count(*) * 2 FROM {family} x), \
         (SELECT watched FROM dualwrite_migration WHERE name = '{migration}')",
        counts("t.tgenabled IN ('O', 'A')"),
        counts("t.tgenabled = 'A'"),
    );
    let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
    let number = |column: usize| -> sqlx::Result<i64> {
        rows.first().map_or(Ok(None), |row| row.optional_integer(column)).map(|n| n.unwrap_or(0))
    };
    let all = number(2)?;
    Ok(Installed {
        wanted: number(3)? != 0,
        fires: number(0)? == all,
        fires_always: number(1)? == all,
    })
}

fn missing(watched: &Watched, is: &Installed) -> Option<Hazard> {
    let detail = "the trigger of this library is missing or disabled on the old table, on one of its partitions or \
                  on a table that inherits from it, so that writes of others are not seen: run `install_trigger` again";
    (is.wanted && !is.fires).then(|| {
        let name = format!("trigger {}", watched.name);
        Hazard {
            repair: Some("migration.install_trigger()".to_owned()),
            ..Hazard::new(HazardKind::Watch, &name, detail)
        }
    })
}

async fn foreign_keys(conn: &mut PgConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let sql = format!(
        "SELECT c.conname::text, c.conrelid::regclass::text, c.confrelid::regclass::text \
         FROM pg_constraint c WHERE c.contype = 'f' AND c.conparentid = 0 AND c.conrelid IN {} \
         AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd')) ORDER BY 1",
        family(watched)
    );
    let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
    let hazard = |row: &SqlRow| {
        let (name, table, parent) = (row.text(0)?, row.text(1)?, row.text(2)?);
        let detail = format!(
            "deletes and updates of {parent} change rows of {table}, and nobody writes them to the new side; \
             `install_trigger` makes them seen"
        );
        let name = format!("foreign key {name} of {table}");
        Ok(Hazard::new(HazardKind::ForeignKey, &name, detail))
    };
    rows.iter().map(hazard).collect()
}

/// Triggers whose function names the old table.
async fn triggers(conn: &mut PgConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let sql = "SELECT t.tgname::text, t.tgrelid::regclass::text, p.prosrc FROM pg_trigger t \
               JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal AND t.tgparentid = 0 \
               AND t.tgenabled <> 'D' AND t.tgname NOT LIKE 'dualwrite\\_%' ORDER BY 1, 2";
    let rows = PostgresAdapter::fetch(conn, sql, &[]).await?;
    let table = watched.plain_name();
    let mut found = Vec::new();
    for row in rows {
        if mentions(row.optional_text(2)?.unwrap_or(""), &table) {
            let name = format!("trigger {} on {}", row.text(0)?, row.text(1)?);
            let detail = format!(
                "its function names {table}; what it writes there nobody writes to the new side; \
                 `install_trigger` makes it seen"
            );
            found.push(Hazard::new(HazardKind::Trigger, &name, detail));
        }
    }
    Ok(found)
}

/// What changes rows of old beside the statements of the application.
async fn own_triggers(
    conn: &mut PgConnection,
    watched: &Watched,
) -> sqlx::Result<Vec<(&'static str, String, &'static str)>> {
    let sql = format!(
        "SELECT t.tgname::text FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgparentid = 0 \
         AND t.tgenabled <> 'D' AND t.tgname NOT LIKE 'dualwrite\\_%' AND t.tgrelid IN {} ORDER BY 1",
        family(watched)
    );
    let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
    rows.iter().map(|row| Ok(own_trigger(row.text(0)?))).collect()
}

/// What a rule writes looks like a statement of the application.
async fn rules(conn: &mut PgConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let family = family(watched);
    let sql = format!(
        "SELECT DISTINCT r.rulename::text, r.ev_class::regclass::text FROM pg_rewrite r \
         JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid \
         AND d.refclassid = 'pg_class'::regclass WHERE d.refobjid IN {family} \
         AND r.ev_class NOT IN {family} AND r.ev_type <> '1' ORDER BY 1, 2"
    );
    let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
    let hazard = |row: &SqlRow| {
        let name = format!("rule {} on {}", row.text(0)?, row.text(1)?);
        let detail =
            "it names the old table; what it writes there inside a fenced transaction is not seen";
        Ok(Hazard::new(HazardKind::Rule, &name, detail))
    };
    rows.iter().map(hazard).collect()
}

async fn subscriptions(conn: &mut PgConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let sql = format!(
        "SELECT DISTINCT s.srsubid::bigint, s.srrelid::regclass::text FROM pg_subscription_rel s \
         WHERE s.srrelid IN {} ORDER BY 1, 2",
        family(watched)
    );
    let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
    let hazard = |row: &SqlRow| {
        let name =
            format!("logical replication into {} (subscription {})", row.text(1)?, row.integer(0)?);
        let detail = "the worker fires only triggers that are ENABLE ALWAYS: run `install_trigger` as the \
                      owner of the table";
        Ok(Hazard::new(HazardKind::Replication, &name, detail))
    };
    rows.iter().map(hazard).collect()
}

/// They have no trigger of ours, and whoever writes on their own server would not fire one.
async fn foreign_tables(conn: &mut PgConnection, watched: &Watched) -> sqlx::Result<Vec<Hazard>> {
    let sql = format!(
        "SELECT f.oid::regclass::text FROM {} f (oid) ORDER BY 1",
        trigger::foreign_family(&watched.table)
    );
    let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
    let hazard = |row: &SqlRow| {
        let name = format!("foreign table {}", row.text(0)?);
        let detail = "its rows belong to the old table and are written on another server, where no trigger of the library \
                      is: move them into a table of this server, or take it out of the old table (DETACH PARTITION, \
                      NO INHERIT)";
        Ok(Hazard::new(HazardKind::Replication, &name, detail))
    };
    rows.iter().map(hazard).collect()
}

/// Changes when the table or a partition is truncated or rebuilt, when a partition or a table that inherits from it
/// comes or goes, and when a trigger of ours was disabled: one that is enabled again fires no longer always.
async fn shape(conn: &mut PgConnection, watched: &Watched) -> sqlx::Result<Option<String>> {
    let Watched { table, name, .. } = watched;
    let sql = format!(
        "SELECT md5(string_agg(c.oid || ':' || c.relfilenode || COALESCE((SELECT string_agg(':' || t.tgname, '' \
         ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled <> 'A' \
         AND t.tgname IN ('{name}', '{name}_b', '{name}_t')), ''), ',' ORDER BY c.oid)) \
         FROM pg_class c WHERE c.oid IN {}",
        trigger::family(table)
    );
    let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
    let shape = rows.first().map_or(Ok(None), |row| row.optional_text(0))?;
    Ok(shape.map(str::to_owned))
}

/// Sequences that columns of new draw from, and that are behind what is in the column.
async fn sequences(
    conn: &mut PgConnection,
    watched: &Watched,
    new: &NewTable,
) -> sqlx::Result<Vec<Hazard>> {
    let table = &new.table;
    let sql = format!(
        "SELECT DISTINCT a.attname::text, format('%I.%I', n.nspname, c.relname), \
         coalesce(pg_sequence_last_value(s.seqrelid) + s.seqincrement, s.seqstart) \
         FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute a ON a.attrelid = '{table}'::regclass AND a.atttypid IN \
         ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) WHERE s.seqincrement > 0 AND (\
         EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid \
         AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum \
         AND d.deptype IN ('a', 'i')) OR EXISTS (SELECT FROM pg_attrdef f JOIN pg_depend d \
         ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass \
         AND d.refobjid = s.seqrelid WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum)) ORDER BY 1, 2"
    );
    let mut found = Vec::new();
    for row in PostgresAdapter::fetch(conn, &sql, &[]).await? {
        let (column, sequence, next) = (row.text(0)?, row.text(1)?, row.integer(2)?);
        let quoted = format!("\"{}\"", column.replace('"', "\"\""));
        // A key that old alone has, waived or not yet copied, is taken as well.
        let of_old = match new.columns.iter().position(|name| *name == quoted) {
            Some(at) => {
                let (old, _) = &watched.columns[at.min(watched.columns.len() - 1)];
                format!(", (SELECT max({old}) FROM {})", watched.table)
            }
            None => String::new(),
        };
        let sql = format!("SELECT greatest((SELECT max({quoted}) FROM {table}){of_old})::bigint");
        let rows = PostgresAdapter::fetch(conn, &sql, &[]).await?;
        let most = rows.first().map_or(Ok(None), |row| row.optional_integer(0))?;
        if let Some(most) = most.filter(|most| next <= *most) {
            let literal = sequence.replace('\'', "''");
            let repair = |value: i64| format!("SELECT setval('{literal}', {value})");
            found.push(sequence_behind(
                &format!("sequence {sequence}"),
                column,
                [next, most],
                repair,
            ));
        }
    }
    Ok(found)
}
