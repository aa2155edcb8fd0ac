-- The control tables of dualwrite. Times are microseconds since 1970 by the database's clock; keys are JSON.
CREATE TABLE IF NOT EXISTS dualwrite_migration (
    name                TEXT    NOT NULL PRIMARY KEY,
    -- The number of its fence, made from the name.
    fence               INTEGER NOT NULL UNIQUE,
    stage               INTEGER NOT NULL,
    ramp                INTEGER NOT NULL,
    epoch               INTEGER NOT NULL,
    -- Random, another one with each change of the position, and that of the position before: an epoch that was
    -- lost by a failover or a restore, and made again, is told from itself.
    token               INTEGER  NOT NULL DEFAULT 0,
    from_token          INTEGER  NOT NULL DEFAULT 0,
    generation          INTEGER NOT NULL,
    stage_epoch         INTEGER NOT NULL,
    stage_at            INTEGER NOT NULL,
    verified_generation INTEGER,
    old_generation      INTEGER NOT NULL DEFAULT 1,
    old_verified_generation INTEGER,
    watched             INTEGER NOT NULL DEFAULT 0,
    -- Since when writers of old are recorded.
    watched_at          INTEGER,
    -- What a flag said when it last moved the migration, or found it there, and the epoch since.
    flag_wanted         TEXT,
    flag_epoch          INTEGER,
    -- Which calls are closed for maintenance (1: writes, 2: all), by whom, why, and until when that is expected.
    closed              INTEGER NOT NULL DEFAULT 0,
    closed_by           TEXT,
    closed_because      TEXT,
    closed_until        INTEGER,
    created_at          INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS dualwrite_event (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    migration  TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    from_stage INTEGER NOT NULL,
    from_ramp  INTEGER NOT NULL,
    to_stage   INTEGER NOT NULL,
    to_ramp    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    from_token INTEGER  NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL,
    overridden TEXT    NOT NULL,
    UNIQUE (migration, epoch)
);
-- Processes of the service. Each heartbeat raises `beat`: one that finds a lower number than it left was forgotten.
CREATE TABLE IF NOT EXISTS dualwrite_instance (
    id            TEXT    NOT NULL PRIMARY KEY,
    release_name  TEXT    NOT NULL,
    min_stage     INTEGER  NOT NULL,
    max_stage     INTEGER  NOT NULL,
    lease         INTEGER  NOT NULL,
    expires_at    INTEGER  NOT NULL,
    beat          INTEGER  NOT NULL,
    -- The server that it went to: another one may not know what the instance has seen since.
    server        TEXT  NOT NULL DEFAULT ''
);
-- What each of them acknowledges of each migration, written when it changes; `trail` counts up for replicas.
CREATE TABLE IF NOT EXISTS dualwrite_acknowledgement (
    migration     TEXT    NOT NULL,
    instance      TEXT    NOT NULL,
    lazy          INTEGER  NOT NULL,
    new_only      INTEGER NOT NULL DEFAULT 0,
    wanted        TEXT,
    killed_by     TEXT,
    seen_epoch    INTEGER  NOT NULL,
    seen_token    INTEGER  NOT NULL,
    drained_epoch INTEGER  NOT NULL,
    beat          INTEGER  NOT NULL,
    trail         INTEGER  NOT NULL DEFAULT 0,
    -- What its release declares, which gates are judged by, as JSON.
    terms         TEXT,
    -- For how many seconds its oldest fenced transaction has been open, about.
    open_s        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, instance)
);
CREATE INDEX IF NOT EXISTS dualwrite_acknowledgement_of ON dualwrite_acknowledgement (instance);
CREATE TABLE IF NOT EXISTS dualwrite_backfill (
    migration   TEXT    NOT NULL,
    phase       TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    range_end   TEXT,
    claimed     TEXT,
    batches     INTEGER NOT NULL DEFAULT 0,
    total       INTEGER NOT NULL,
    migrated    INTEGER NOT NULL DEFAULT 0,
    skipped     INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    rate        INTEGER,
    throttled   TEXT   ,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    -- How long its workers were at work, in microseconds, and when that was counted last.
    worked_us   INTEGER NOT NULL DEFAULT 0,
    progressed_at INTEGER,
    -- Keys of the newest batch. And two looks at the keys that were done and at `worked_us`: the newer one is replaced
    -- after two minutes of work, and becomes the older one.
    batch_keys  INTEGER NOT NULL DEFAULT 0,
    recent_done INTEGER NOT NULL DEFAULT 0,
    recent_us   INTEGER NOT NULL DEFAULT 0,
    looked_done INTEGER NOT NULL DEFAULT 0,
    looked_us   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, phase, generation)
);
-- What operators set of a backfill while it runs, before what the service says; times in microseconds.
CREATE TABLE IF NOT EXISTS dualwrite_setting (
    migration  TEXT    NOT NULL,
    side       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    value      INTEGER,
    PRIMARY KEY (migration, side, generation, name)
);
CREATE TABLE IF NOT EXISTS dualwrite_batch (
    migration  TEXT    NOT NULL,
    phase       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    cursor_key TEXT,
    last_key   TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    done       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, phase, generation, number)
);
CREATE TABLE IF NOT EXISTS dualwrite_failure (
    migration       TEXT    NOT NULL,
    side            TEXT    NOT NULL,
    key_text        TEXT    NOT NULL,
    generation      INTEGER NOT NULL,
    error           TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    failed_at       INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    -- Who said that this key need not be copied, why, and when.
    waived_by       TEXT,
    waived_because  TEXT,
    waived_at       INTEGER,
    PRIMARY KEY (migration, side, key_text)
);
CREATE INDEX IF NOT EXISTS dualwrite_failure_due ON dualwrite_failure (migration, next_attempt_at);
CREATE TABLE IF NOT EXISTS dualwrite_dirty (
    migration TEXT    NOT NULL,
    side      TEXT    NOT NULL,
    key_text  TEXT    NOT NULL,
    marked_at INTEGER NOT NULL,
    PRIMARY KEY (migration, side, key_text)
);
-- Converging mode, where the two sides share no transaction. A mark is there before the first write of its key, and
-- until both sides have it.
CREATE TABLE IF NOT EXISTS dualwrite_mark (
    migration TEXT NOT NULL,
    id        TEXT NOT NULL,
    key_text  TEXT NOT NULL,
    instance  TEXT NOT NULL,
    since     INTEGER NOT NULL,
    PRIMARY KEY (migration, id)
);
CREATE INDEX IF NOT EXISTS dualwrite_mark_key ON dualwrite_mark (migration, key_text);
-- Keys whose sides may differ, to be copied again from the primary. The version is random, another one with each reason
-- to copy; who copies holds a claim.
CREATE TABLE IF NOT EXISTS dualwrite_unsettled (
    migration       TEXT NOT NULL,
    key_text        TEXT NOT NULL,
    version         INTEGER NOT NULL,
    since           INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    error           TEXT,
    claimed_by      TEXT,
    claimed_until   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, key_text)
);
CREATE INDEX IF NOT EXISTS dualwrite_unsettled_due ON dualwrite_unsettled (migration, next_attempt_at);
-- A move waits until no write is in flight; until then new writes wait.
CREATE TABLE IF NOT EXISTS dualwrite_draining (
    migration TEXT NOT NULL PRIMARY KEY,
    until     INTEGER NOT NULL
);
-- Exact mode: whether this database has the authority over a migration between two databases. The other one has a row of
-- its own. Writes hold the row, or a lock that stands for it, shared.
CREATE TABLE IF NOT EXISTS dualwrite_authority (
    migration  TEXT NOT NULL PRIMARY KEY,
    side       TEXT NOT NULL,
    is_primary INTEGER NOT NULL,
    is_open    INTEGER NOT NULL,
    recording  INTEGER NOT NULL,
    copied     INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    -- As those of `dualwrite_migration`; a close writes both databases.
    closed         INTEGER NOT NULL DEFAULT 0,
    closed_by      TEXT,
    closed_because TEXT,
    closed_until   INTEGER
);
-- One row a key, which outlives deletes: on the primary the counter of its versions, on the mirror the version that was
-- applied last. `gone`: it was a delete.
CREATE TABLE IF NOT EXISTS dualwrite_version (
    migration TEXT NOT NULL,
    key_text  TEXT NOT NULL,
    version   INTEGER NOT NULL,
    gone      INTEGER NOT NULL,
    PRIMARY KEY (migration, key_text)
);
-- What the mirror has not applied yet. Rows are inserted and deleted, never updated. The names that are not ours are those
-- that Debezium's outbox event router reads: `aggregatetype` is the migration, `aggregateid` the key.
CREATE TABLE IF NOT EXISTS dualwrite_outbox (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL,
    aggregatetype TEXT NOT NULL,
    aggregateid   TEXT NOT NULL,
    type          TEXT NOT NULL,
    payload       TEXT,
    version       INTEGER NOT NULL,
    since         INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS dualwrite_outbox_key ON dualwrite_outbox (aggregatetype, aggregateid);
CREATE INDEX IF NOT EXISTS dualwrite_outbox_order ON dualwrite_outbox (aggregatetype, seq);
-- Keys whose records could not be applied; they wait, and others go on.
CREATE TABLE IF NOT EXISTS dualwrite_outbox_failure (
    migration       TEXT NOT NULL,
    key_text        TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    error           TEXT NOT NULL,
    PRIMARY KEY (migration, key_text)
);
-- Which instance applies the outbox of this database, and where the copy of what was there before stands. `applied_epoch`:
-- that of the other database at which the latest page of a copy was read that was written here.
CREATE TABLE IF NOT EXISTS dualwrite_relay (
    migration    TEXT NOT NULL PRIMARY KEY,
    owner        TEXT,
    leased_until INTEGER NOT NULL DEFAULT 0,
    copy_part    INTEGER NOT NULL DEFAULT 0,
    copy_cursor  TEXT,
    copied_keys  INTEGER NOT NULL DEFAULT 0,
    applied_epoch INTEGER NOT NULL DEFAULT 0,
    -- What an instance says of the migration, and what the newest verification found, both as JSON.
    report       TEXT,
    reported_at  INTEGER NOT NULL DEFAULT 0,
    verified     TEXT
);
CREATE TABLE IF NOT EXISTS dualwrite_mismatch (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    migration TEXT    NOT NULL,
    method    TEXT    NOT NULL,
    field     TEXT    NOT NULL,
    key_text  TEXT,
    old_shown TEXT,
    new_shown TEXT,
    at        INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS dualwrite_approval (
    migration   TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    stage_epoch INTEGER NOT NULL,
    actor       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (migration, name, stage_epoch)
);
CREATE TABLE IF NOT EXISTS dualwrite_release (
    migration    TEXT    NOT NULL,
    release_name TEXT    NOT NULL,
    declared_at  INTEGER NOT NULL,
    gone_at      INTEGER,
    PRIMARY KEY (migration, release_name)
);
-- The rollout of a migration. A step and an order raise the version.
CREATE TABLE IF NOT EXISTS dualwrite_plan (
    migration    TEXT    NOT NULL PRIMARY KEY,
    version      INTEGER NOT NULL,
    plan         TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    step         INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    step_since   INTEGER NOT NULL,
    soak_skipped INTEGER NOT NULL,
    leader       TEXT   ,
    leader_until INTEGER NOT NULL,
    note         TEXT    NOT NULL,
    waiting      TEXT
);
-- What operators did that changed no position: who, what, and why.
CREATE TABLE IF NOT EXISTS dualwrite_command (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    migration TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    what      TEXT    NOT NULL,
    approval  TEXT,
    detail    TEXT,
    actor     TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    epoch     INTEGER NOT NULL,
    UNIQUE (migration, id)
);
-- What somebody started, for any instance to run: backfills by the side that is copied to, other jobs by name.
CREATE TABLE IF NOT EXISTS dualwrite_task (
    migration    TEXT    NOT NULL,
    side         TEXT    NOT NULL,
    -- Of a job, the key that it is about.
    subject      TEXT,
    workers      INTEGER NOT NULL,
    rate         INTEGER,
    failures_max INTEGER NOT NULL,
    actor        TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    runner       TEXT,
    runner_until INTEGER NOT NULL DEFAULT 0,
    waiting      TEXT,
    PRIMARY KEY (migration, side)
);
CREATE TABLE IF NOT EXISTS dualwrite_verification (
    migration      TEXT    NOT NULL PRIMARY KEY,
    owner          TEXT    NOT NULL,
    generation     INTEGER NOT NULL,
    old_generation INTEGER NOT NULL,
    phase          TEXT    NOT NULL,
    cursor_key     TEXT,
    state          TEXT    NOT NULL,
    compared       INTEGER NOT NULL,
    differing      INTEGER NOT NULL,
    transient      INTEGER NOT NULL,
    ordered        INTEGER NOT NULL DEFAULT 0,
    report         TEXT    NOT NULL,
    started_at     INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL
);
-- The kill switch of a migration: it goes back, and nothing goes forward.
CREATE TABLE IF NOT EXISTS dualwrite_kill (
    migration TEXT    NOT NULL PRIMARY KEY,
    actor     TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    at        INTEGER NOT NULL
);
-- The shares of reads and of dual writes that operators want compared, in basis points; -1 is as registered.
CREATE TABLE IF NOT EXISTS dualwrite_sample (
    migration   TEXT    NOT NULL PRIMARY KEY,
    read_share  INTEGER NOT NULL,
    write_share INTEGER NOT NULL
);
-- One row, with another random token after each change that every instance must see at once: what an idle instance polls.
CREATE TABLE IF NOT EXISTS dualwrite_change (
    id    INTEGER NOT NULL PRIMARY KEY,
    token INTEGER NOT NULL
);
-- The calls of each side, by the minute, of all instances together: each adds what it counted. How many took so long:
-- up to 32 microseconds, and from column to column 1.41 times as long.
CREATE TABLE IF NOT EXISTS dualwrite_traffic (
    migration TEXT NOT NULL,
    side      TEXT NOT NULL,
    minute    INTEGER NOT NULL,
    calls     INTEGER NOT NULL,
    errors    INTEGER NOT NULL,
    h00 INTEGER NOT NULL DEFAULT 0, h01 INTEGER NOT NULL DEFAULT 0, h02 INTEGER NOT NULL DEFAULT 0, h03 INTEGER NOT NULL DEFAULT 0, h04 INTEGER NOT NULL DEFAULT 0,
    h05 INTEGER NOT NULL DEFAULT 0, h06 INTEGER NOT NULL DEFAULT 0, h07 INTEGER NOT NULL DEFAULT 0, h08 INTEGER NOT NULL DEFAULT 0, h09 INTEGER NOT NULL DEFAULT 0,
    h10 INTEGER NOT NULL DEFAULT 0, h11 INTEGER NOT NULL DEFAULT 0, h12 INTEGER NOT NULL DEFAULT 0, h13 INTEGER NOT NULL DEFAULT 0, h14 INTEGER NOT NULL DEFAULT 0,
    h15 INTEGER NOT NULL DEFAULT 0, h16 INTEGER NOT NULL DEFAULT 0, h17 INTEGER NOT NULL DEFAULT 0, h18 INTEGER NOT NULL DEFAULT 0, h19 INTEGER NOT NULL DEFAULT 0,
    h20 INTEGER NOT NULL DEFAULT 0, h21 INTEGER NOT NULL DEFAULT 0, h22 INTEGER NOT NULL DEFAULT 0, h23 INTEGER NOT NULL DEFAULT 0, h24 INTEGER NOT NULL DEFAULT 0,
    h25 INTEGER NOT NULL DEFAULT 0, h26 INTEGER NOT NULL DEFAULT 0, h27 INTEGER NOT NULL DEFAULT 0, h28 INTEGER NOT NULL DEFAULT 0, h29 INTEGER NOT NULL DEFAULT 0,
    h30 INTEGER NOT NULL DEFAULT 0, h31 INTEGER NOT NULL DEFAULT 0, h32 INTEGER NOT NULL DEFAULT 0, h33 INTEGER NOT NULL DEFAULT 0, h34 INTEGER NOT NULL DEFAULT 0,
    h35 INTEGER NOT NULL DEFAULT 0, h36 INTEGER NOT NULL DEFAULT 0, h37 INTEGER NOT NULL DEFAULT 0, h38 INTEGER NOT NULL DEFAULT 0, h39 INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, side, minute)
);
-- Why the sides may differ: each row withdraws the proof of a verification. Bears the stamp of the verification
-- that found it at its beginning.
CREATE TABLE IF NOT EXISTS dualwrite_stale (
    migration TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    seen_by   TEXT,
    PRIMARY KEY (migration, kind, subject)
);
-- What the catalogue says that speaks against writing new alone, and who recorded that a writer is stopped; and what
-- changes when the old table is truncated or rebuilt.
CREATE TABLE IF NOT EXISTS dualwrite_hazard (
    migration       TEXT            NOT NULL,
    name            TEXT            NOT NULL,
    kind            TEXT            NOT NULL,
    detail          TEXT            NOT NULL,
    repair          TEXT,
    found_at        INTEGER NOT NULL,
    stopped_by      TEXT,
    stopped_because TEXT,
    stopped_at      INTEGER,
    PRIMARY KEY (migration, name)
);
CREATE TABLE IF NOT EXISTS dualwrite_shape (
    migration TEXT            NOT NULL PRIMARY KEY,
    shape     TEXT            NOT NULL
);
-- What the newest preflight found, for whoever cannot read the catalogue: names and levels as JSON, no values of rows.
CREATE TABLE IF NOT EXISTS dualwrite_preflight (
    migration    TEXT NOT NULL PRIMARY KEY,
    findings     TEXT NOT NULL,
    instance     TEXT NOT NULL,
    at           INTEGER NOT NULL
);
-- What each migration declares as new, as its newest release does.
CREATE TABLE IF NOT EXISTS dualwrite_expand (
    migration TEXT NOT NULL PRIMARY KEY,
    declared  TEXT NOT NULL
);
-- What each migration calls old, as its newest release declares it; and when somebody began to drop that, from
-- when on there is no way back.
CREATE TABLE IF NOT EXISTS dualwrite_contract (
    migration TEXT NOT NULL PRIMARY KEY,
    declared  TEXT NOT NULL,
    begun_at  INTEGER,
    ended_at  INTEGER
);
-- The audit of contracts: backups that were confirmed, and what was dropped on which evidence.
CREATE TABLE IF NOT EXISTS dualwrite_contract_event (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    migration   TEXT NOT NULL,
    at          INTEGER NOT NULL,
    what        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    stage_epoch INTEGER NOT NULL,
    UNIQUE (migration, id)
);
-- What is to be dropped without anything in its place, in which phase that is, and what the server had counted of scans
-- when reads were stopped; who used it although a phase forbids that, in a slot by the number of the connection; the audit.
CREATE TABLE IF NOT EXISTS dualwrite_removal (
    name     TEXT NOT NULL PRIMARY KEY,
    declared TEXT NOT NULL,
    phase    TEXT NOT NULL,
    phase_at INTEGER NOT NULL,
    reads_stopped_at INTEGER,
    scans    INTEGER
);
CREATE TABLE IF NOT EXISTS dualwrite_removal_use (
    removal TEXT NOT NULL,
    kind    TEXT NOT NULL,
    who     TEXT NOT NULL,
    slot    INTEGER NOT NULL,
    minute  INTEGER NOT NULL,
    PRIMARY KEY (removal, kind, who, slot)
);
CREATE TABLE IF NOT EXISTS dualwrite_removal_event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    removal TEXT NOT NULL,
    at      INTEGER NOT NULL,
    what    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    detail  TEXT NOT NULL,
    UNIQUE (removal, id)
);
-- The minute in which a wrapper last read old after all reads had gone to new.
CREATE TABLE IF NOT EXISTS dualwrite_old_read (
    migration TEXT NOT NULL PRIMARY KEY,
    minute    INTEGER NOT NULL
);
-- The minute in which somebody last wrote the old table without the library, in a slot by the number of the
-- connection, so that no transaction waits for another; and transactions that hold a fence.
CREATE TABLE IF NOT EXISTS dualwrite_unaware (
    migration  TEXT    NOT NULL,
    slot       INTEGER NOT NULL,
    minute     INTEGER NOT NULL,
    PRIMARY KEY (migration, slot)
);
CREATE TABLE IF NOT EXISTS dualwrite_fenced (
    connection INTEGER NOT NULL,
    fence      INTEGER NOT NULL,
    PRIMARY KEY (connection, fence)
);
-- BEGIN IMMEDIATE is the fence: there is one writer at a time. That the position is still the one a writer believes
-- in, it learns from one row, by the number of the fence, which is quicker to look for than the migration's. There
-- is none while the table is watched.
CREATE TABLE IF NOT EXISTS dualwrite_fence (
    id    INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    token INTEGER NOT NULL
);
CREATE TRIGGER IF NOT EXISTS dualwrite_fence_made AFTER INSERT ON dualwrite_migration BEGIN
    INSERT INTO dualwrite_fence SELECT NEW.fence, NEW.epoch, NEW.token WHERE NEW.watched = 0;
END;
-- Whoever changes the epoch by hand changes the token as well.
CREATE TRIGGER IF NOT EXISTS dualwrite_token AFTER UPDATE OF epoch ON dualwrite_migration
WHEN NEW.epoch <> OLD.epoch AND NEW.token = OLD.token BEGIN
    UPDATE dualwrite_migration SET token = random() & 9223372036854775807, from_token = OLD.token
    WHERE name = NEW.name;
END;
CREATE TRIGGER IF NOT EXISTS dualwrite_fence_moved AFTER UPDATE OF epoch, token, watched ON dualwrite_migration BEGIN
    DELETE FROM dualwrite_fence WHERE id = OLD.fence;
    INSERT INTO dualwrite_fence SELECT fence, epoch, token FROM dualwrite_migration
    WHERE name = NEW.name AND watched = 0;
END;
CREATE TRIGGER IF NOT EXISTS dualwrite_fence_gone AFTER DELETE ON dualwrite_migration BEGIN
    DELETE FROM dualwrite_fence WHERE id = OLD.fence;
END;
