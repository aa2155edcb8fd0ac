//! What is asked of a running server before a migration: who is in the way, and what is broken.

use super::SqlRow;

/// A server that the one which is asked follows.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where it is.
    pub(crate) host: String,
    /// How old what was taken over last is, in seconds; `None` where nothing is taken over now.
    pub(crate) behind_s: Option<u64>,
}

impl Upstream {
    /// Of an answer to [`Examination::upstreams`].
    pub(crate) fn of(row: &SqlRow) -> sqlx::Result<Self> {
        let behind_s = row.optional_integer(1)?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self { host: row.text(0)?.to_owned(), behind_s })
    }
}

/// Queries about the whole database; `None` where it does not know such a thing.
#[derive(Clone, Copy, Debug)]
pub struct Examination {
    /// The table and the name of each index that is not valid and that nobody builds now.
    pub(crate) invalid_indexes: Option<&'static str>,
    /// Open transactions, in the columns of a holder, the oldest first.
    pub(crate) transactions: Option<&'static str>,
    /// Sessions that others wait for, in the columns of a holder, then how many wait, and for how many seconds the
    /// first of them.
    pub(crate) queues: &'static [&'static str],
    /// Transactions that have a table open, bound as [`Adapter::TABLE_SIZE`](super::sealed::Adapter::TABLE_SIZE), in the
    /// columns of a holder. Several ways to ask: a server knows one of them, or none.
    pub(crate) holders: &'static [&'static str],
    /// Who follows the server: the name, by how many milliseconds it is behind where it says so, and for one that has gone
    /// how many bytes are kept for it.
    pub(crate) replicas: Option<&'static str>,
    /// Whom the server follows itself, and by how many seconds it is behind: nothing where it follows nobody.
    pub(crate) upstreams: Option<&'static str>,
    /// Who answers with statements, and how they are asked for: what ran each, and its text.
    pub(crate) statements: &'static [(&'static str, &'static str)],
    /// Answers with a row where the sessions of other roles are not shown to this one.
    pub(crate) hidden: Option<&'static str>,
    /// How often a table was read, bound as [`Adapter::TABLE_SIZE`](super::sealed::Adapter::TABLE_SIZE).
    pub(crate) scans: Option<&'static str>,
}

#[cfg(feature = "postgres")]
pub(super) const POSTGRES: Examination = Examination {
    invalid_indexes: Some(
        "SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text FROM pg_index i \
         JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i' \
         JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'pg\\_%' \
         WHERE NOT (i.indisvalid AND i.indisready) AND NOT EXISTS \
         (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) ORDER BY 1, 2",
    ),
    transactions: Some(
        "SELECT a.pid::bigint, a.usename::text, nullif(a.application_name, ''), host(a.client_addr), a.state, \
         extract(epoch FROM clock_timestamp() - a.xact_start)::bigint FROM pg_stat_activity a \
         WHERE a.datname = current_database() AND a.backend_type = 'client backend' \
         AND a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid() \
         UNION ALL SELECT 0, p.owner::text, NULL, NULL, 'prepared transaction ' || p.gid, \
         extract(epoch FROM clock_timestamp() - p.prepared)::bigint FROM pg_prepared_xacts p \
         WHERE p.database = current_database() ORDER BY 6 DESC, 1 LIMIT 20",
    ),
    queues: &[
        "SELECT b.pid::bigint, b.usename::text, nullif(b.application_name, ''), host(b.client_addr), b.state, \
         extract(epoch FROM clock_timestamp() - b.xact_start)::bigint, count(*), \
         extract(epoch FROM max(clock_timestamp() - w.query_start))::bigint FROM pg_stat_activity w \
         CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS x (pid) JOIN pg_stat_activity b ON b.pid = x.pid \
         WHERE w.datname = current_database() AND w.wait_event_type = 'Lock' \
         GROUP BY 1, 2, 3, 4, 5, b.xact_start ORDER BY 8 DESC, 1 LIMIT 20",
    ],
    holders: &[
        "SELECT DISTINCT a.pid::bigint, a.usename::text, nullif(a.application_name, ''), host(a.client_addr), a.state, \
         extract(epoch FROM clock_timestamp() - a.xact_start)::bigint \
         FROM (SELECT CAST(? AS text) AS s, CAST(? AS text) AS n) w \
         JOIN pg_locks l ON l.locktype = 'relation' AND l.granted AND l.relation = to_regclass( \
         CASE WHEN w.s = '' THEN '' ELSE quote_ident(w.s) || '.' END || quote_ident(w.n))::oid \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         JOIN pg_stat_activity a ON a.pid = l.pid AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL \
         ORDER BY 6 DESC, 1 LIMIT 20",
    ],
    replicas: Some(
        "SELECT coalesce(nullif(application_name, ''), 'a replica') || coalesce(' at ' || host(client_addr), ''), \
         coalesce((extract(epoch FROM replay_lag) * 1000)::bigint, 0), NULL::bigint FROM pg_stat_replication \
         UNION ALL SELECT 'replication slot ' || slot_name, NULL, CASE WHEN pg_is_in_recovery() THEN 0 \
         ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END FROM pg_replication_slots \
         WHERE NOT active AND restart_lsn IS NOT NULL ORDER BY 1",
    ),
    // It is not behind where it has done all that it was sent.
    upstreams: Some(
        "SELECT coalesce((SELECT sender_host FROM pg_stat_wal_receiver LIMIT 1), 'its primary'), \
         CASE WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver) THEN NULL \
         WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
         ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::bigint END \
         WHERE pg_is_in_recovery()",
    ),
    statements: &[
        (
            "pg_stat_statements",
            "SELECT 'pg_stat_statements, queryid ' || queryid, query FROM pg_stat_statements \
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND query LIKE '%*%' ORDER BY 1 LIMIT 5000",
        ),
        (
            "pg_stat_activity",
            "SELECT 'session ' || pid || coalesce(' of ' || nullif(application_name, ''), ''), query \
             FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
             AND query LIKE '%*%' ORDER BY 1 LIMIT 5000",
        ),
    ],
    hidden: Some("SELECT 1 WHERE NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"),
    scans: Some(
        "SELECT coalesce(sum(s.seq_scan + coalesce(s.idx_scan, 0)), 0)::bigint \
         FROM (SELECT CAST(? AS text) AS s, CAST(? AS text) AS n) w JOIN pg_stat_all_tables s ON s.relid = to_regclass( \
         CASE WHEN w.s = '' THEN '' ELSE quote_ident(w.s) || '.' END || quote_ident(w.n))::oid",
    ),
};

#[cfg(feature = "mysql")]
pub(super) const MYSQL: Examination = Examination {
    invalid_indexes: None,
    transactions: Some(
        "SELECT CAST(t.trx_mysql_thread_id AS SIGNED), CAST(p.user AS CHAR), NULL, CAST(p.host AS CHAR), \
         CAST(IF(p.id IS NULL, 'prepared', LOWER(p.command)) AS CHAR), \
         CAST(TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS SIGNED) FROM information_schema.innodb_trx t \
         LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
         WHERE t.trx_mysql_thread_id <> CONNECTION_ID() AND (p.db IS NULL OR p.db = DATABASE()) \
         ORDER BY 6 DESC, 1 LIMIT 20",
    ),
    queues: &[
        "SELECT CAST(w.blocking_pid AS SIGNED), CAST(p.user AS CHAR), NULL, CAST(p.host AS CHAR), \
         CAST(LOWER(p.command) AS CHAR), CAST(MAX(TIME_TO_SEC(w.blocking_trx_age)) AS SIGNED), \
         CAST(COUNT(*) AS SIGNED), CAST(MAX(w.wait_age_secs) AS SIGNED) FROM sys.innodb_lock_waits w \
         LEFT JOIN information_schema.processlist p ON p.id = w.blocking_pid \
         WHERE p.db IS NULL OR p.db = DATABASE() GROUP BY w.blocking_pid, p.user, p.host, p.command \
         ORDER BY 8 DESC, 1 LIMIT 20",
        // Who holds the lock of a table's definition, the server says only with a plugin.
        "SELECT CAST(0 AS SIGNED), NULL, NULL, NULL, CAST('the holder of a metadata lock' AS CHAR), \
         CAST(NULL AS SIGNED), CAST(COUNT(*) AS SIGNED), CAST(MAX(time) AS SIGNED) \
         FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for table metadata lock%' \
         HAVING COUNT(*) > 0",
    ],
    // Both are known only where somebody has asked for that: a plugin of MariaDB, and the statistics of MySQL.
    holders: &[
        "SELECT DISTINCT CAST(l.thread_id AS SIGNED), CAST(p.user AS CHAR), NULL, CAST(p.host AS CHAR), \
         CAST(LOWER(p.command) AS CHAR), CAST(TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS SIGNED) \
         FROM (SELECT CAST(? AS CHAR) AS s, CAST(? AS CHAR) AS n) w \
         JOIN information_schema.metadata_lock_info l ON l.lock_type = 'Table metadata lock' \
         AND l.table_schema = COALESCE(NULLIF(w.s, ''), DATABASE()) AND l.table_name = w.n \
         JOIN information_schema.processlist p ON p.id = l.thread_id AND p.id <> CONNECTION_ID() \
         LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = l.thread_id ORDER BY 6 DESC, 1 LIMIT 20",
        "SELECT DISTINCT CAST(h.processlist_id AS SIGNED), CAST(h.processlist_user AS CHAR), NULL, \
         CAST(h.processlist_host AS CHAR), CAST(LOWER(h.processlist_command) AS CHAR), \
         CAST(TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS SIGNED) \
         FROM (SELECT CAST(? AS CHAR) AS s, CAST(? AS CHAR) AS n) w \
         JOIN performance_schema.metadata_locks l ON l.object_type = 'TABLE' AND l.lock_status = 'GRANTED' \
         AND l.object_schema = COALESCE(NULLIF(w.s, ''), DATABASE()) AND l.object_name = w.n \
         JOIN performance_schema.threads h ON h.thread_id = l.owner_thread_id \
         AND h.processlist_id <> CONNECTION_ID() \
         LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = h.processlist_id \
         ORDER BY 6 DESC, 1 LIMIT 20",
    ],
    // The primary knows who reads its log, and not how far they are.
    replicas: Some(
        "SELECT CONCAT('the replica of ', user, ' at ', host), CAST(NULL AS SIGNED), CAST(NULL AS SIGNED) \
         FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%' ORDER BY 1",
    ),
    // No table says that on all versions: `upstream.rs` of MySQL.
    upstreams: None,
    statements: &[],
    hidden: Some(
        "SELECT CAST(1 AS SIGNED) FROM (SELECT COUNT(*) AS found FROM information_schema.user_privileges \
         WHERE privilege_type = 'PROCESS' AND REPLACE(grantee, '''', '') = CURRENT_USER()) p WHERE p.found = 0",
    ),
    scans: None,
};

/// There is no server that could be asked.
#[cfg(feature = "sqlite")]
pub(super) const SQLITE: Examination = Examination {
    invalid_indexes: None,
    transactions: None,
    queues: &[],
    holders: &[],
    replicas: None,
    upstreams: None,
    statements: &[(
        "views and triggers",
        "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE type IN ('view', 'trigger') ORDER BY 1",
    )],
    hidden: None,
    scans: None,
};
