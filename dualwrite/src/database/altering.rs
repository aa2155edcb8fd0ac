//! What is asked of each catalogue before old is dropped, and the settings under which that is done.

use std::time::Duration;

/// Foreign keys of other tables that point to a table; bound are its schema, empty for the usual one, and its name.
/// Answers with the other table, the name of the key, and the column that it points to.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_FOREIGN_KEYS_TO: &str = "SELECT c.conrelid::regclass::text, c.conname::text, a.attname::text \
     FROM (SELECT CAST(? AS text) AS s, CAST(? AS text) AS n) w \
     JOIN pg_constraint c ON c.contype = 'f' AND c.conrelid <> c.confrelid AND c.confrelid = to_regclass( \
     CASE WHEN w.s = '' THEN '' ELSE quote_ident(w.s) || '.' END || quote_ident(w.n))::oid \
     JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = ANY (c.confkey) ORDER BY 1, 2, 3";
/// Those of the same database: the server opens every table of every database that is asked for. A key of another database
/// makes the server refuse the drop.
#[cfg(feature = "mysql")]
pub(super) const MYSQL_FOREIGN_KEYS_TO: &str = "SELECT CAST(k.table_name AS CHAR), \
     CAST(k.constraint_name AS CHAR), CAST(k.referenced_column_name AS CHAR) \
     FROM information_schema.key_column_usage k \
     WHERE k.table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND k.referenced_table_schema = k.table_schema \
     AND k.referenced_table_name = ? \
     AND k.table_name <> k.referenced_table_name ORDER BY 1, 2, 3";
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_FOREIGN_KEYS_TO: &str = "SELECT m.name, 'of column ' || f.\"from\", COALESCE(f.\"to\", '') \
     FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f \
     WHERE ? IS NOT NULL AND m.type = 'table' AND f.\"table\" = ? COLLATE NOCASE \
     AND m.name <> f.\"table\" COLLATE NOCASE ORDER BY 1, 2";

/// All views with their texts.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_VIEWS: &str = "SELECT schemaname || '.' || viewname, definition FROM pg_views \
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema') \
     UNION ALL SELECT schemaname || '.' || matviewname, definition FROM pg_matviews ORDER BY 1";
#[cfg(feature = "mysql")]
pub(super) const MYSQL_VIEWS: &str = "SELECT CAST(table_name AS CHAR), CAST(view_definition AS CHAR) \
     FROM information_schema.views WHERE table_schema = DATABASE() ORDER BY 1";
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_VIEWS: &str =
    "SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY 1";

/// The indexes of a table, bound as above, with their columns; without a name where a constraint made one.
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_INDEXED: &str = "SELECT CASE WHEN i.origin = 'c' THEN i.name ELSE '' END, \
     COALESCE(x.name, '') FROM (SELECT ? AS s, ? AS n) w JOIN pragma_index_list(w.n) i \
     JOIN pragma_index_info(i.name) x ORDER BY 1, 2";

/// All triggers: the name, the table, and the text with what it executes.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_TRIGGERS: &str = "SELECT t.tgname::text, n.nspname || '.' || c.relname, \
     pg_get_triggerdef(t.oid) || ' ' || p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
     JOIN pg_class c ON c.oid = t.tgrelid AND NOT c.relispartition JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT t.tgisinternal ORDER BY 2, 1";
#[cfg(feature = "mysql")]
pub(super) const MYSQL_TRIGGERS: &str = "SELECT CAST(trigger_name AS CHAR), CAST(event_object_table AS CHAR), \
     CAST(action_statement AS CHAR) FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 2, 1";
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_TRIGGERS: &str =
    "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY 2, 1";

#[cfg(feature = "postgres")]
pub(super) fn postgres_settings(lock: Duration, statement: Duration) -> Vec<String> {
    vec![
        format!("SET lock_timeout = '{}ms'", lock.as_millis().max(1)),
        format!("SET statement_timeout = '{}ms'", statement.as_millis().max(1)),
    ]
}

/// These are counted in seconds.
#[cfg(feature = "mysql")]
pub(super) fn mysql_settings(lock: Duration) -> Vec<String> {
    let seconds = lock.as_secs().max(1);
    vec![format!("SET SESSION lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}")]
}

#[cfg(feature = "sqlite")]
pub(super) fn sqlite_settings(lock: Duration) -> Vec<String> {
    vec![format!("PRAGMA busy_timeout = {}", lock.as_millis().max(1))]
}
