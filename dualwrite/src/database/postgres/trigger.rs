//! The trigger that records writes of those who do not know this library, for PostgreSQL.

use crate::database::Watched;
use crate::key::KeyKind;

/// What a fenced transaction sets for its own life; the trigger looks at it. The fence of a watched
/// migration sets it, too.
pub(super) const MARK: &str = "SET LOCAL dualwrite.fenced='1'";

pub(super) fn create(watched: &Watched) -> Vec<String> {
    let Watched { migration, table, name, .. } = watched;
    let (old, new) = (key(watched, "OLD"), key(watched, "NEW"));
    let dirty = |key: &str| {
        format!(
            "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
             VALUES ('{migration}', 'new', {key}, \
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) \
             ON CONFLICT (migration, side, key_text) DO UPDATE SET marked_at = excluded.marked_at"
        )
    };
    // It runs with the rights of whoever installs it: those who write the table need not be allowed to
    // write the control tables. So it must find these and no table of the writer's: a path that does not
    // name `pg_temp` would begin with it.
    let function = format!(
        "DO $install$ BEGIN EXECUTE $create$\
         CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path FROM CURRENT AS $dualwrite$ BEGIN \
         IF current_setting('dualwrite.fenced', true) = '1' THEN RETURN NULL; END IF; \
         INSERT INTO dualwrite_unaware (migration, minute) \
         VALUES ('{migration}', floor(extract(epoch FROM clock_timestamp()) / 60)::bigint) \
         ON CONFLICT DO NOTHING; \
         IF TG_OP <> 'INSERT' THEN {}; END IF; \
         IF TG_OP <> 'DELETE' THEN {}; END IF; \
         RETURN NULL; END $dualwrite$ $create$; \
         EXECUTE (SELECT format('ALTER FUNCTION {name}() SET search_path = pg_catalog, %s, pg_temp', \
         relnamespace::regnamespace) FROM pg_class WHERE oid = 'dualwrite_unaware'::regclass); \
         REVOKE ALL ON FUNCTION {name}() FROM PUBLIC; END $install$",
        dirty(&old),
        dirty(&new),
    );
    let trigger = format!(
        "CREATE OR REPLACE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {table} \
         FOR EACH ROW EXECUTE FUNCTION {name}()"
    );
    vec![function, trigger]
}

pub(super) fn drop(Watched { table, name, .. }: &Watched) -> Vec<String> {
    vec![
        format!("DROP TRIGGER IF EXISTS {name} ON {table}"),
        format!("DROP FUNCTION IF EXISTS {name}()"),
    ]
}

/// The key of a row, as the library encodes it: JSON.
fn key(watched: &Watched, row: &str) -> String {
    let part = |(column, kind): &(String, KeyKind)| match *kind {
        KeyKind::INTEGER => format!("{row}.{column}::text"),
        _ => format!("to_json({row}.{column}::text)::text"),
    };
    let parts: Vec<String> = watched.columns.iter().map(part).collect();
    match parts.as_slice() {
        [only] => only.clone(),
        _ => format!("'[' || {} || ']'", parts.join(" || ',' || ")),
    }
}
