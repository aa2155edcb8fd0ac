//! The triggers that record writes of those who do not know this library, for PostgreSQL: two for rows, one for
//! `TRUNCATE`. They fire for what comes by logical replication, too, where the role owns the table.
//!
//! None of them fails the statement that fires it for a key: what cannot be recorded leaves a mark that the old
//! table may be stale. No row of theirs is shared by two transactions that write different keys, so that nobody waits.

use crate::database::{Pin, UNAWARE_SLOTS, Watched};
use crate::key::{KEY_BYTES_MAX, KeyKind};
use crate::preflight::form::KeyForm;

/// What a transaction that is fenced for a migration has set for its own life; its trigger looks at it. The fence
/// of a watched migration sets it, too.
pub(super) fn mark(fence: u64) -> String {
    format!("SET LOCAL dualwrite.fenced_{fence}='1'")
}

/// For what follows in the same transaction and is not ours.
pub(super) fn unmark(pins: &[Pin]) -> String {
    let unmark = |pin: &Pin| format!("SET LOCAL dualwrite.fenced_{}=''", pin.fence);
    pins.iter().map(unmark).collect::<Vec<_>>().join(";")
}

const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

pub(super) fn create(watched: &Watched) -> Vec<String> {
    let Watched { table, name, .. } = watched;
    let family = family(table);
    // Partitions get the triggers for rows of the table, tables that inherit from it do not.
    let rows = format!(
        "DO $install$ DECLARE part regclass; BEGIN \
         FOR part IN SELECT c.oid::regclass FROM pg_class c WHERE c.oid IN {family} \
         AND (NOT c.relispartition OR c.oid = '{table}'::regclass) ORDER BY c.oid LOOP \
         EXECUTE format('CREATE OR REPLACE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON %s \
         FOR EACH ROW EXECUTE FUNCTION {name}()', part); \
         EXECUTE format('CREATE OR REPLACE TRIGGER {name}_b BEFORE INSERT OR UPDATE OR DELETE ON %s \
         FOR EACH ROW WHEN (pg_trigger_depth() > 0) EXECUTE FUNCTION {name}()', part); \
         END LOOP; END $install$"
    );
    // A trigger for statements is not copied to partitions, which can be truncated by themselves; that for rows
    // is. Only the owner of a table says that a trigger fires always.
    let always = format!(
        "DO $install$ DECLARE part regclass; what text; BEGIN \
         FOR part IN SELECT c.oid::regclass FROM pg_class c WHERE c.oid IN {family} ORDER BY c.oid LOOP \
         EXECUTE format('CREATE OR REPLACE TRIGGER {name}_t AFTER TRUNCATE ON %s \
         FOR EACH STATEMENT EXECUTE FUNCTION {name}()', part); \
         BEGIN FOREACH what IN ARRAY ARRAY['{name}', '{name}_b', '{name}_t'] LOOP \
         EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', part, what); END LOOP; \
         EXCEPTION WHEN insufficient_privilege THEN NULL; END; \
         END LOOP; END $install$"
    );
    vec![function(watched), rows, always]
}

/// The table, its partitions, and the tables that inherit from it: their rows are read with its own. Those of another
/// server have no triggers of ours.
pub(super) fn family(table: &str) -> String {
    kin(table, "<> 'f'")
}

/// Those of another server.
pub(super) fn foreign_family(table: &str) -> String {
    kin(table, "= 'f'")
}

fn kin(table: &str, relkind: &str) -> String {
    format!(
        "(WITH RECURSIVE kin AS (SELECT '{table}'::regclass::oid AS oid UNION \
         SELECT i.inhrelid FROM pg_inherits i JOIN kin ON i.inhparent = kin.oid) \
         SELECT k.oid FROM kin k JOIN pg_class f ON f.oid = k.oid AND f.relkind {relkind})"
    )
}

/// It runs with the rights of whoever installs it: those who write the table need not be allowed to write the
/// control tables. So it must find these and no table of the writer's: a path that does not name `pg_temp` would
/// begin with it.
///
/// A write inside a fenced transaction that comes from another trigger, or from a foreign key's action, is none of
/// the application's own statements: nobody has written it to new. Before the row is written, the depth of triggers
/// says so; afterwards, a foreign key's action looks like the statement that caused it.
fn function(watched: &Watched) -> String {
    let Watched { migration, name, fence, .. } = watched;
    let (old, new) = (key(watched, "OLD"), key(watched, "NEW"));
    format!(
        "DO $install$ BEGIN EXECUTE $create$\
         CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path FROM CURRENT AS $dualwrite$ \
         DECLARE fenced boolean := coalesce(current_setting('dualwrite.fenced_{fence}', true) = '1', false); \
         row_of record; was text; is_now text; BEGIN \
         IF TG_WHEN = 'BEFORE' THEN row_of := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END IF; \
         IF fenced <> (TG_WHEN = 'BEFORE') AND TG_OP <> 'TRUNCATE' THEN RETURN row_of; END IF; \
         IF to_regclass('dualwrite_unaware') IS NULL OR to_regclass('dualwrite_dirty') IS NULL \
         OR to_regclass('dualwrite_stale') IS NULL THEN RETURN row_of; END IF; \
         IF NOT fenced THEN INSERT INTO dualwrite_unaware AS u (migration, slot, minute) \
         VALUES ('{migration}', pg_backend_pid() % {UNAWARE_SLOTS}, \
         floor(extract(epoch FROM clock_timestamp()) / 60)::bigint) ON CONFLICT (migration, slot) \
         DO UPDATE SET minute = excluded.minute WHERE u.minute < excluded.minute; END IF; \
         IF TG_OP = 'TRUNCATE' THEN {truncated}; RETURN NULL; END IF; \
         IF TG_OP <> 'INSERT' THEN was := {old}; {note_was} END IF; \
         IF TG_OP = 'DELETE' THEN RETURN row_of; END IF; \
         is_now := {new}; \
         IF TG_OP = 'INSERT' OR was IS DISTINCT FROM is_now THEN {note_is} END IF; \
         RETURN row_of; END $dualwrite$ $create$; \
         EXECUTE (SELECT format('ALTER FUNCTION {name}() SET search_path = pg_catalog, %s, pg_temp', \
         relnamespace::regnamespace) FROM pg_class WHERE oid = 'dualwrite_unaware'::regclass); \
         REVOKE ALL ON FUNCTION {name}() FROM PUBLIC; END $install$",
        truncated = stale(watched, "truncated"),
        note_was = note(watched, "was"),
        note_is = note(watched, "is_now"),
    )
}

/// Marks the whole table, in a row of this connection.
fn stale(Watched { migration, .. }: &Watched, kind: &str) -> String {
    format!(
        "INSERT INTO dualwrite_stale AS s (migration, kind, subject, at, seen_by) \
         VALUES ('{migration}', '{kind}', pg_backend_pid()::text, {NOW}, NULL) \
         ON CONFLICT (migration, kind, subject) DO UPDATE SET at = excluded.at, seen_by = NULL"
    )
}

/// Marks a key.
fn note(watched: &Watched, key: &str) -> String {
    let Watched { migration, .. } = watched;
    format!(
        "IF {key} IS NULL OR octet_length({key}) > {KEY_BYTES_MAX} THEN {}; ELSE \
         INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
         VALUES ('{migration}', 'new', {key}, {NOW}) \
         ON CONFLICT (migration, side, key_text) DO UPDATE SET marked_at = excluded.marked_at; END IF;",
        stale(watched, "key")
    )
}

pub(super) fn drop(Watched { name, .. }: &Watched) -> Vec<String> {
    let triggers = format!(
        "DO $remove$ DECLARE one record; BEGIN \
         FOR one IN SELECT t.tgrelid::regclass AS part, t.tgname FROM pg_trigger t \
         WHERE t.tgname IN ('{name}', '{name}_b', '{name}_t') AND t.tgparentid = 0 LOOP \
         EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, one.part); END LOOP; END $remove$"
    );
    vec![triggers, format!("DROP FUNCTION IF EXISTS {name}()")]
}

/// The key of a row, as the library encodes it: JSON. NULL where a part is.
fn key(watched: &Watched, row: &str) -> String {
    let part = |((column, kind), form): (&(String, KeyKind), &KeyForm)| {
        let text = form.text.around(&format!("{row}.{column}"));
        match *kind {
            KeyKind::INTEGER => format!("({text})::text"),
            _ => format!("to_json(({text})::text)::text"),
        }
    };
    let parts: Vec<String> = watched.columns.iter().zip(&watched.forms).map(part).collect();
    match parts.as_slice() {
        [only] => only.clone(),
        _ => format!("'[' || {} || ']'", parts.join(" || ',' || ")),
    }
}
