//! What is asked of each catalogue for an expand: indexes and rules of a table as they are written. Bound are its
//! schema, empty for the usual one, and its name.

#[cfg(any(feature = "mysql", feature = "sqlite"))]
use crate::preflight::schema::TableName;

/// Each index with its name, whether it is unique and valid, and what stands behind the table in `CREATE INDEX`.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_INDEXES: &str = "SELECT d.name, d.uniq, d.valid, substr(d.def, strpos(d.def, ' USING ') + 1) \
     FROM (SELECT ic.relname::text AS name, i.indisunique::int::bigint AS uniq, i.indisvalid::int::bigint AS valid, \
     pg_get_indexdef(i.indexrelid) AS def FROM (SELECT CAST(? AS text) AS s, CAST(? AS text) AS n) w \
     JOIN pg_index i ON NOT i.indisexclusion AND i.indrelid = to_regclass( \
     CASE WHEN w.s = '' THEN '' ELSE quote_ident(w.s) || '.' END || quote_ident(w.n))::oid \
     JOIN pg_class ic ON ic.oid = i.indexrelid) d ORDER BY 1";
#[cfg(feature = "mysql")]
pub(super) const MYSQL_INDEXES: &str = "SELECT CAST(index_name AS CHAR), CAST(1 - MIN(non_unique) AS SIGNED), \
     CAST(1 AS SIGNED), CAST(CONCAT('(', GROUP_CONCAT(CONCAT('`', REPLACE(column_name, '`', '``'), '`', \
     IF(sub_part IS NULL, '', CONCAT('(', sub_part, ')')), IF(collation = 'D', ' DESC', '')) \
     ORDER BY seq_in_index SEPARATOR ', '), ')') AS CHAR) FROM information_schema.statistics \
     WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND table_name = ? AND index_type = 'BTREE' \
     GROUP BY index_name HAVING COUNT(*) = COUNT(column_name) ORDER BY 1";
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_INDEXES: &str = "SELECT i.name, i.\"unique\", 1, COALESCE(substr(m.sql, instr(m.sql, '(')), \
     (SELECT '(' || group_concat('\"' || x.name || '\"', ', ') || ')' FROM pragma_index_info(i.name) x)) \
     FROM (SELECT ? AS s, ? AS n) w JOIN pragma_index_list(w.n) i \
     LEFT JOIN sqlite_schema m ON m.type = 'index' AND m.name = i.name \
     WHERE NOT EXISTS (SELECT 1 FROM pragma_index_info(i.name) x WHERE x.name IS NULL AND m.sql IS NULL) ORDER BY 1";

/// Each foreign key, and where the catalogue has them each check: name, whether it is valid, and its text.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_RULES: &str = "SELECT c.conname::text, c.convalidated::int::bigint, pg_get_constraintdef(c.oid) \
     FROM (SELECT CAST(? AS text) AS s, CAST(? AS text) AS n) w \
     JOIN pg_constraint c ON c.contype IN ('c', 'f') AND c.conrelid = to_regclass( \
     CASE WHEN w.s = '' THEN '' ELSE quote_ident(w.s) || '.' END || quote_ident(w.n))::oid ORDER BY 1";
#[cfg(feature = "mysql")]
pub(super) const MYSQL_RULES: &str = "SELECT CAST(constraint_name AS CHAR), CAST(1 AS SIGNED), \
     CAST(CONCAT('FOREIGN KEY (', GROUP_CONCAT(CONCAT('`', column_name, '`') ORDER BY ordinal_position SEPARATOR ', '), \
     ') REFERENCES `', MIN(referenced_table_name), '` (', \
     GROUP_CONCAT(CONCAT('`', referenced_column_name, '`') ORDER BY ordinal_position SEPARATOR ', '), ')') AS CHAR) \
     FROM information_schema.key_column_usage WHERE table_schema = COALESCE(NULLIF(?, ''), DATABASE()) \
     AND table_name = ? AND referenced_table_name IS NOT NULL GROUP BY constraint_name ORDER BY 1";
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_RULES: &str = "SELECT '', 1, 'FOREIGN KEY (' || group_concat('\"' || f.\"from\" || '\"', ', ') \
     || ') REFERENCES \"' || f.\"table\" || '\"' FROM (SELECT ? AS s, ? AS n) w JOIN pragma_foreign_key_list(w.n) f \
     GROUP BY f.id ORDER BY f.id";

/// Asks for the text that made a table, in the second column: its checks stand there alone.
#[cfg(feature = "mysql")]
pub(super) fn mysql_create(table: &TableName) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let schema = table.schema.as_deref().map(|schema| quoted(schema) + ".").unwrap_or_default();
    format!("SHOW CREATE TABLE {schema}{}", quoted(&table.name))
}

#[cfg(feature = "sqlite")]
pub(super) fn sqlite_create(table: &TableName) -> String {
    let name = table.name.replace('\'', "''");
    format!(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name = '{name}' COLLATE NOCASE"
    )
}

/// The size of a table with its indexes and partitions, and what was written to it.
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_SIZE: &str = "SELECT GREATEST(c.reltuples::bigint, s.n_live_tup, 0), \
     GREATEST(pg_total_relation_size(c.oid), (SELECT sum(pg_total_relation_size(p.relid))::bigint \
     FROM pg_partition_tree(c.oid) p)), s.n_tup_ins + s.n_tup_upd + s.n_tup_del \
     FROM (SELECT CAST(? AS text) AS s, CAST(? AS text) AS n) w \
     JOIN pg_class c ON c.relkind IN ('r', 'p', 'm') AND c.oid = to_regclass( \
     CASE WHEN w.s = '' THEN '' ELSE quote_ident(w.s) || '.' END || quote_ident(w.n))::oid \
     LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid";
#[cfg(feature = "postgres")]
pub(super) const POSTGRES_REPLICAS: &str = "SELECT count(*) FROM pg_stat_replication";
#[cfg(feature = "mysql")]
pub(super) const MYSQL_SIZE: &str = "SELECT CAST(t.table_rows AS SIGNED), \
     CAST(t.data_length + t.index_length AS SIGNED), CAST(NULL AS SIGNED) FROM information_schema.tables t \
     WHERE t.table_schema = COALESCE(NULLIF(?, ''), DATABASE()) AND t.table_name = ? AND t.table_type = 'BASE TABLE'";
#[cfg(feature = "mysql")]
pub(super) const MYSQL_REPLICAS: &str = "SELECT CAST(count(*) AS SIGNED) FROM information_schema.processlist \
     WHERE command LIKE 'Binlog Dump%'";
#[cfg(feature = "sqlite")]
pub(super) const SQLITE_SIZE: &str = "SELECT NULL, NULL, NULL FROM (SELECT ? AS s, ? AS n) w \
     JOIN sqlite_schema m ON m.type = 'table' AND m.name = w.n COLLATE NOCASE";
