-- The control tables of dualwrite. Times are microseconds since 1970 by the database's clock; keys are JSON.
CREATE TABLE IF NOT EXISTS dualwrite_migration (
    name                TEXT    NOT NULL PRIMARY KEY,
    -- The number of its fence, made from the name.
    fence               BIGINT  NOT NULL UNIQUE,
    stage               BIGINT  NOT NULL,
    ramp                BIGINT  NOT NULL,
    epoch               BIGINT  NOT NULL,
    -- Random, another one with each change of the position, and that of the position before: an epoch that was
    -- lost by a failover or a restore, and made again, is told from itself.
    token               BIGINT  NOT NULL DEFAULT 0,
    from_token          BIGINT  NOT NULL DEFAULT 0,
    generation          BIGINT  NOT NULL,
    stage_epoch         BIGINT  NOT NULL,
    stage_at            BIGINT  NOT NULL,
    verified_generation BIGINT ,
    old_generation      BIGINT  NOT NULL DEFAULT 1,
    old_verified_generation BIGINT ,
    watched             BIGINT  NOT NULL DEFAULT 0,
    -- Since when writers of old are recorded.
    watched_at          BIGINT,
    -- What a flag said when it last moved the migration, or found it there, and the epoch since.
    flag_wanted         TEXT,
    flag_epoch          BIGINT,
    -- Which calls are closed for maintenance (1: writes, 2: all), by whom, why, and until when that is expected.
    closed              BIGINT  NOT NULL DEFAULT 0,
    closed_by           TEXT,
    closed_because      TEXT,
    closed_until        BIGINT,
    created_at          BIGINT  NOT NULL
);
CREATE TABLE IF NOT EXISTS dualwrite_event (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration  TEXT    NOT NULL,
    at         BIGINT  NOT NULL,
    actor      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    from_stage BIGINT  NOT NULL,
    from_ramp  BIGINT  NOT NULL,
    to_stage   BIGINT  NOT NULL,
    to_ramp    BIGINT  NOT NULL,
    epoch      BIGINT  NOT NULL,
    from_token BIGINT  NOT NULL DEFAULT 0,
    generation BIGINT  NOT NULL,
    overridden TEXT    NOT NULL,
    UNIQUE (migration, epoch)
);
-- Processes of the service. Each heartbeat raises `beat`: one that finds a lower number than it left was forgotten.
CREATE TABLE IF NOT EXISTS dualwrite_instance (
    id            TEXT    NOT NULL PRIMARY KEY,
    release_name  TEXT    NOT NULL,
    min_stage     BIGINT  NOT NULL,
    max_stage     BIGINT  NOT NULL,
    lease         BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    beat          BIGINT  NOT NULL,
    -- The server that it went to: another one may not know what the instance has seen since.
    server        TEXT  NOT NULL DEFAULT ''
);
-- What each of them acknowledges of each migration, written when it changes; `trail` counts up for replicas.
CREATE TABLE IF NOT EXISTS dualwrite_acknowledgement (
    migration     TEXT    NOT NULL,
    instance      TEXT    NOT NULL,
    lazy          BIGINT  NOT NULL,
    new_only      BIGINT NOT NULL DEFAULT 0,
    wanted        TEXT,
    killed_by     TEXT,
    seen_epoch    BIGINT  NOT NULL,
    seen_token    BIGINT  NOT NULL,
    drained_epoch BIGINT  NOT NULL,
    beat          BIGINT  NOT NULL,
    trail         BIGINT  NOT NULL DEFAULT 0,
    -- What its release declares, which gates are judged by, as JSON.
    terms         TEXT,
    -- For how many seconds its oldest fenced transaction has been open, about.
    open_s        BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, instance)
);
CREATE INDEX IF NOT EXISTS dualwrite_acknowledgement_of ON dualwrite_acknowledgement (instance);
CREATE TABLE IF NOT EXISTS dualwrite_backfill (
    migration   TEXT    NOT NULL,
    phase       TEXT    NOT NULL,
    generation  BIGINT  NOT NULL,
    state       TEXT    NOT NULL,
    range_end   TEXT,
    claimed     TEXT,
    batches     BIGINT  NOT NULL DEFAULT 0,
    total       BIGINT  NOT NULL,
    migrated    BIGINT  NOT NULL DEFAULT 0,
    skipped     BIGINT  NOT NULL DEFAULT 0,
    failed      BIGINT  NOT NULL DEFAULT 0,
    rate        BIGINT ,
    throttled   TEXT   ,
    started_at  BIGINT  NOT NULL,
    finished_at BIGINT ,
    -- How long its workers were at work, in microseconds, and when that was counted last.
    worked_us   BIGINT  NOT NULL DEFAULT 0,
    progressed_at BIGINT ,
    -- Keys of the newest batch. And two looks at the keys that were done and at `worked_us`: the newer one is replaced
    -- after two minutes of work, and becomes the older one.
    batch_keys  BIGINT NOT NULL DEFAULT 0,
    recent_done BIGINT NOT NULL DEFAULT 0,
    recent_us   BIGINT NOT NULL DEFAULT 0,
    looked_done BIGINT NOT NULL DEFAULT 0,
    looked_us   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, phase, generation)
);
-- What operators set of a backfill while it runs, before what the service says; times in microseconds.
CREATE TABLE IF NOT EXISTS dualwrite_setting (
    migration  TEXT    NOT NULL,
    side       TEXT    NOT NULL,
    generation BIGINT NOT NULL,
    name       TEXT    NOT NULL,
    value      BIGINT,
    PRIMARY KEY (migration, side, generation, name)
);
CREATE TABLE IF NOT EXISTS dualwrite_batch (
    migration  TEXT    NOT NULL,
    phase       TEXT    NOT NULL,
    generation BIGINT  NOT NULL,
    number     BIGINT  NOT NULL,
    cursor_key TEXT,
    last_key   TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    expires_at BIGINT  NOT NULL,
    done       BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, phase, generation, number)
);
CREATE TABLE IF NOT EXISTS dualwrite_failure (
    migration       TEXT    NOT NULL,
    side            TEXT    NOT NULL,
    key_text        TEXT    NOT NULL,
    generation      BIGINT  NOT NULL,
    error           TEXT    NOT NULL,
    attempts        BIGINT  NOT NULL,
    failed_at       BIGINT  NOT NULL,
    next_attempt_at BIGINT  NOT NULL,
    -- Who said that this key need not be copied, why, and when.
    waived_by       TEXT,
    waived_because  TEXT,
    waived_at       BIGINT,
    PRIMARY KEY (migration, side, key_text)
);
CREATE INDEX IF NOT EXISTS dualwrite_failure_due ON dualwrite_failure (migration, next_attempt_at);
CREATE TABLE IF NOT EXISTS dualwrite_dirty (
    migration TEXT    NOT NULL,
    side      TEXT    NOT NULL,
    key_text  TEXT    NOT NULL,
    marked_at BIGINT  NOT NULL,
    PRIMARY KEY (migration, side, key_text)
);
-- Converging mode, where the two sides share no transaction. A mark is there before the first write of its key, and
-- until both sides have it.
CREATE TABLE IF NOT EXISTS dualwrite_mark (
    migration TEXT NOT NULL,
    id        TEXT NOT NULL,
    key_text  TEXT NOT NULL,
    instance  TEXT NOT NULL,
    since     BIGINT NOT NULL,
    PRIMARY KEY (migration, id)
);
CREATE INDEX IF NOT EXISTS dualwrite_mark_key ON dualwrite_mark (migration, key_text);
-- Keys whose sides may differ, to be copied again from the primary. The version is random, another one with each reason
-- to copy; who copies holds a claim.
CREATE TABLE IF NOT EXISTS dualwrite_unsettled (
    migration       TEXT NOT NULL,
    key_text        TEXT NOT NULL,
    version         BIGINT NOT NULL,
    since           BIGINT NOT NULL,
    attempts        BIGINT NOT NULL DEFAULT 0,
    next_attempt_at BIGINT NOT NULL,
    error           TEXT,
    claimed_by      TEXT,
    claimed_until   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, key_text)
);
CREATE INDEX IF NOT EXISTS dualwrite_unsettled_due ON dualwrite_unsettled (migration, next_attempt_at);
-- A move waits until no write is in flight; until then new writes wait.
CREATE TABLE IF NOT EXISTS dualwrite_draining (
    migration TEXT NOT NULL PRIMARY KEY,
    until     BIGINT NOT NULL
);
-- Exact mode: whether this database has the authority over a migration between two databases. The other one has a row of
-- its own. Writes hold the row, or a lock that stands for it, shared.
CREATE TABLE IF NOT EXISTS dualwrite_authority (
    migration  TEXT NOT NULL PRIMARY KEY,
    side       TEXT NOT NULL,
    is_primary BIGINT NOT NULL,
    is_open    BIGINT NOT NULL,
    recording  BIGINT NOT NULL,
    copied     BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    token      BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    -- As those of `dualwrite_migration`; a close writes both databases.
    closed         BIGINT NOT NULL DEFAULT 0,
    closed_by      TEXT,
    closed_because TEXT,
    closed_until   BIGINT
);
-- One row a key, which outlives deletes: on the primary the counter of its versions, on the mirror the version that was
-- applied last. `gone`: it was a delete.
CREATE TABLE IF NOT EXISTS dualwrite_version (
    migration TEXT NOT NULL,
    key_text  TEXT NOT NULL,
    version   BIGINT NOT NULL,
    gone      BIGINT NOT NULL,
    PRIMARY KEY (migration, key_text)
);
-- What the mirror has not applied yet. Rows are inserted and deleted, never updated. The names that are not ours are those
-- that Debezium's outbox event router reads: `aggregatetype` is the migration, `aggregateid` the key.
CREATE TABLE IF NOT EXISTS dualwrite_outbox (
    seq           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            TEXT NOT NULL,
    aggregatetype TEXT NOT NULL,
    aggregateid   TEXT NOT NULL,
    type          TEXT NOT NULL,
    payload       TEXT,
    version       BIGINT NOT NULL,
    since         BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS dualwrite_outbox_key ON dualwrite_outbox (aggregatetype, aggregateid);
CREATE INDEX IF NOT EXISTS dualwrite_outbox_order ON dualwrite_outbox (aggregatetype, seq);
-- Keys whose records could not be applied; they wait, and others go on.
CREATE TABLE IF NOT EXISTS dualwrite_outbox_failure (
    migration       TEXT NOT NULL,
    key_text        TEXT NOT NULL,
    attempts        BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    error           TEXT NOT NULL,
    PRIMARY KEY (migration, key_text)
);
-- Which instance applies the outbox of this database, and where the copy of what was there before stands. `applied_epoch`:
-- that of the other database at which the latest page of a copy was read that was written here.
CREATE TABLE IF NOT EXISTS dualwrite_relay (
    migration    TEXT NOT NULL PRIMARY KEY,
    owner        TEXT,
    leased_until BIGINT NOT NULL DEFAULT 0,
    copy_part    BIGINT NOT NULL DEFAULT 0,
    copy_cursor  TEXT,
    copied_keys  BIGINT NOT NULL DEFAULT 0,
    applied_epoch BIGINT NOT NULL DEFAULT 0,
    -- What an instance says of the migration, and what the newest verification found, both as JSON.
    report       TEXT,
    reported_at  BIGINT NOT NULL DEFAULT 0,
    verified     TEXT
);
CREATE TABLE IF NOT EXISTS dualwrite_mismatch (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration TEXT    NOT NULL,
    method    TEXT    NOT NULL,
    field     TEXT    NOT NULL,
    key_text  TEXT,
    old_shown TEXT,
    new_shown TEXT,
    at        BIGINT  NOT NULL
);
CREATE TABLE IF NOT EXISTS dualwrite_approval (
    migration   TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    stage_epoch BIGINT  NOT NULL,
    actor       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    at          BIGINT  NOT NULL,
    PRIMARY KEY (migration, name, stage_epoch)
);
CREATE TABLE IF NOT EXISTS dualwrite_release (
    migration    TEXT    NOT NULL,
    release_name TEXT    NOT NULL,
    declared_at  BIGINT  NOT NULL,
    gone_at      BIGINT ,
    PRIMARY KEY (migration, release_name)
);
-- The rollout of a migration. A step and an order raise the version.
CREATE TABLE IF NOT EXISTS dualwrite_plan (
    migration    TEXT    NOT NULL PRIMARY KEY,
    version      BIGINT  NOT NULL,
    plan         TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    step         BIGINT  NOT NULL,
    epoch        BIGINT  NOT NULL,
    step_since   BIGINT  NOT NULL,
    soak_skipped BIGINT  NOT NULL,
    leader       TEXT   ,
    leader_until BIGINT  NOT NULL,
    note         TEXT    NOT NULL,
    waiting      TEXT
);
-- What operators did that changed no position: who, what, and why.
CREATE TABLE IF NOT EXISTS dualwrite_command (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration TEXT    NOT NULL,
    at        BIGINT  NOT NULL,
    what      TEXT    NOT NULL,
    approval  TEXT,
    detail    TEXT,
    actor     TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    epoch     BIGINT  NOT NULL,
    UNIQUE (migration, id)
);
-- What somebody started, for any instance to run: backfills by the side that is copied to, other jobs by name.
CREATE TABLE IF NOT EXISTS dualwrite_task (
    migration    TEXT    NOT NULL,
    side         TEXT    NOT NULL,
    -- Of a job, the key that it is about.
    subject      TEXT,
    workers      BIGINT  NOT NULL,
    rate         BIGINT,
    failures_max BIGINT  NOT NULL,
    actor        TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    at           BIGINT  NOT NULL,
    state        TEXT    NOT NULL,
    runner       TEXT,
    runner_until BIGINT  NOT NULL DEFAULT 0,
    waiting      TEXT,
    PRIMARY KEY (migration, side)
);
CREATE TABLE IF NOT EXISTS dualwrite_verification (
    migration      TEXT    NOT NULL PRIMARY KEY,
    owner          TEXT    NOT NULL,
    generation     BIGINT  NOT NULL,
    old_generation BIGINT  NOT NULL,
    phase          TEXT    NOT NULL,
    cursor_key     TEXT,
    state          TEXT    NOT NULL,
    compared       BIGINT  NOT NULL,
    differing      BIGINT  NOT NULL,
    transient      BIGINT  NOT NULL,
    ordered        BIGINT  NOT NULL DEFAULT 0,
    report         TEXT    NOT NULL,
    started_at     BIGINT  NOT NULL,
    recorded_at    BIGINT  NOT NULL
);
-- The kill switch of a migration: it goes back, and nothing goes forward.
CREATE TABLE IF NOT EXISTS dualwrite_kill (
    migration TEXT    NOT NULL PRIMARY KEY,
    actor     TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    at        BIGINT  NOT NULL
);
-- The shares of reads and of dual writes that operators want compared, in basis points; -1 is as registered.
CREATE TABLE IF NOT EXISTS dualwrite_sample (
    migration   TEXT    NOT NULL PRIMARY KEY,
    read_share  BIGINT  NOT NULL,
    write_share BIGINT  NOT NULL
);
-- One row, with another random token after each change that every instance must see at once: what an idle instance polls.
CREATE TABLE IF NOT EXISTS dualwrite_change (
    id    BIGINT NOT NULL PRIMARY KEY,
    token BIGINT NOT NULL
);
-- The calls of each side, by the minute, of all instances together: each adds what it counted. How many took so long:
-- up to 32 microseconds, and from column to column 1.41 times as long.
CREATE TABLE IF NOT EXISTS dualwrite_traffic (
    migration TEXT NOT NULL,
    side      TEXT NOT NULL,
    minute    BIGINT NOT NULL,
    calls     BIGINT NOT NULL,
    errors    BIGINT NOT NULL,
    h00 BIGINT NOT NULL DEFAULT 0, h01 BIGINT NOT NULL DEFAULT 0, h02 BIGINT NOT NULL DEFAULT 0, h03 BIGINT NOT NULL DEFAULT 0, h04 BIGINT NOT NULL DEFAULT 0,
    h05 BIGINT NOT NULL DEFAULT 0, h06 BIGINT NOT NULL DEFAULT 0, h07 BIGINT NOT NULL DEFAULT 0, h08 BIGINT NOT NULL DEFAULT 0, h09 BIGINT NOT NULL DEFAULT 0,
    h10 BIGINT NOT NULL DEFAULT 0, h11 BIGINT NOT NULL DEFAULT 0, h12 BIGINT NOT NULL DEFAULT 0, h13 BIGINT NOT NULL DEFAULT 0, h14 BIGINT NOT NULL DEFAULT 0,
    h15 BIGINT NOT NULL DEFAULT 0, h16 BIGINT NOT NULL DEFAULT 0, h17 BIGINT NOT NULL DEFAULT 0, h18 BIGINT NOT NULL DEFAULT 0, h19 BIGINT NOT NULL DEFAULT 0,
    h20 BIGINT NOT NULL DEFAULT 0, h21 BIGINT NOT NULL DEFAULT 0, h22 BIGINT NOT NULL DEFAULT 0, h23 BIGINT NOT NULL DEFAULT 0, h24 BIGINT NOT NULL DEFAULT 0,
    h25 BIGINT NOT NULL DEFAULT 0, h26 BIGINT NOT NULL DEFAULT 0, h27 BIGINT NOT NULL DEFAULT 0, h28 BIGINT NOT NULL DEFAULT 0, h29 BIGINT NOT NULL DEFAULT 0,
    h30 BIGINT NOT NULL DEFAULT 0, h31 BIGINT NOT NULL DEFAULT 0, h32 BIGINT NOT NULL DEFAULT 0, h33 BIGINT NOT NULL DEFAULT 0, h34 BIGINT NOT NULL DEFAULT 0,
    h35 BIGINT NOT NULL DEFAULT 0, h36 BIGINT NOT NULL DEFAULT 0, h37 BIGINT NOT NULL DEFAULT 0, h38 BIGINT NOT NULL DEFAULT 0, h39 BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, side, minute)
);
-- Why the sides may differ: each row withdraws the proof of a verification. Bears the stamp of the verification
-- that found it at its beginning.
CREATE TABLE IF NOT EXISTS dualwrite_stale (
    migration TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    at        BIGINT  NOT NULL,
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
    found_at        BIGINT  NOT NULL,
    stopped_by      TEXT,
    stopped_because TEXT,
    stopped_at      BIGINT,
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
    at           BIGINT NOT NULL
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
    begun_at  BIGINT,
    ended_at  BIGINT
);
-- The audit of contracts: backups that were confirmed, and what was dropped on which evidence.
CREATE TABLE IF NOT EXISTS dualwrite_contract_event (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration   TEXT NOT NULL,
    at          BIGINT NOT NULL,
    what        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    stage_epoch BIGINT NOT NULL,
    UNIQUE (migration, id)
);
-- What is to be dropped without anything in its place, in which phase that is, and what the server had counted of scans
-- when reads were stopped; who used it although a phase forbids that, in a slot by the number of the connection; the audit.
CREATE TABLE IF NOT EXISTS dualwrite_removal (
    name     TEXT NOT NULL PRIMARY KEY,
    declared TEXT NOT NULL,
    phase    TEXT NOT NULL,
    phase_at BIGINT NOT NULL,
    reads_stopped_at BIGINT,
    scans    BIGINT
);
CREATE TABLE IF NOT EXISTS dualwrite_removal_use (
    removal TEXT NOT NULL,
    kind    TEXT NOT NULL,
    who     TEXT NOT NULL,
    slot    BIGINT NOT NULL,
    minute  BIGINT NOT NULL,
    PRIMARY KEY (removal, kind, who, slot)
);
CREATE TABLE IF NOT EXISTS dualwrite_removal_event (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    removal TEXT NOT NULL,
    at      BIGINT NOT NULL,
    what    TEXT NOT NULL,
    actor   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    detail  TEXT NOT NULL,
    UNIQUE (removal, id)
);
-- The minute in which a wrapper last read old after all reads had gone to new.
CREATE TABLE IF NOT EXISTS dualwrite_old_read (
    migration TEXT NOT NULL PRIMARY KEY,
    minute    BIGINT NOT NULL
);
-- The minute in which somebody last wrote the old table without the library, in a slot by the number of the
-- connection, so that no transaction waits for another; and transactions that hold a fence.
CREATE TABLE IF NOT EXISTS dualwrite_unaware (
    migration  TEXT    NOT NULL,
    slot       BIGINT  NOT NULL,
    minute     BIGINT  NOT NULL,
    PRIMARY KEY (migration, slot)
);
CREATE TABLE IF NOT EXISTS dualwrite_fenced (
    connection BIGINT  NOT NULL,
    fence      BIGINT  NOT NULL,
    PRIMARY KEY (connection, fence)
);
-- The fence of a migration is a table without columns or rows, which writers lock, and a procedure whose name
-- bears the epoch and its token, which they call next: they go on if there is one. Neither statement is planned, reads a row
-- or answers with one, and the first snapshot is taken after the lock. Whatever touches the epoch or the token waits until no
-- writer holds the lock. The modes conflict with each other and not with what a dump takes.
CREATE OR REPLACE FUNCTION dualwrite_fence() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $dualwrite$
DECLARE
    migration RECORD := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    fence TEXT := format('%I.%I', TG_TABLE_SCHEMA, 'dualwrite_fence_' || migration.fence);
    entrances TEXT := 'dualwrite_fence_' || migration.fence || '_';
    passed TEXT;
    entrance TEXT := CASE WHEN TG_OP <> 'DELETE' THEN format('%I.%I()', TG_TABLE_SCHEMA, entrances || NEW.epoch || '_' || NEW.token) END;
    body TEXT := '';
BEGIN
    IF to_regclass(fence) IS NULL THEN
        EXECUTE format('CREATE TABLE %s (CHECK (false))', fence);
        EXECUTE format('GRANT INSERT ON %s TO PUBLIC', fence); -- the right to lock it as writers do
        EXECUTE format('COMMENT ON TABLE %s IS %L', fence, 'dualwrite: the fence of ' || migration.name);
    END IF;
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', fence);
    -- Every entrance but its own: a dump that was restored, or a subscriber, may have left some.
    FOR passed IN
        SELECT format('%I.%I()', TG_TABLE_SCHEMA, p.proname) FROM pg_proc p
        WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = TG_TABLE_SCHEMA) AND p.pronargs = 0
        AND p.proname >= entrances::name AND p.proname < (entrances || ':')::name -- ':' comes after '9'
    LOOP
        IF passed IS DISTINCT FROM entrance THEN
            EXECUTE format('DROP PROCEDURE %s', passed);
        END IF;
    END LOOP;
    IF entrance IS NULL THEN
        EXECUTE format('DROP TABLE %s', fence);
    ELSIF to_regprocedure(entrance) IS NULL OR OLD.watched <> NEW.watched THEN
        IF NEW.watched <> 0 THEN
            body := format('PERFORM set_config(%L, ''1'', true);', 'dualwrite.fenced_' || migration.fence);
        END IF;
        EXECUTE format('CREATE OR REPLACE PROCEDURE %s LANGUAGE plpgsql AS %L', entrance, 'BEGIN ' || body || ' END');
        EXECUTE format('GRANT EXECUTE ON PROCEDURE %s TO PUBLIC', entrance);
    END IF;
    RETURN NULL;
END $dualwrite$;
REVOKE ALL ON FUNCTION dualwrite_fence() FROM PUBLIC; -- nobody else makes a trigger of it
DROP TRIGGER IF EXISTS dualwrite_fence ON dualwrite_migration;
CREATE TRIGGER dualwrite_fence AFTER INSERT OR DELETE OR UPDATE OF epoch, token, watched ON dualwrite_migration
    FOR EACH ROW EXECUTE FUNCTION dualwrite_fence();
-- Also where rows come by logical replication, or with `session_replication_role`.
ALTER TABLE dualwrite_migration ENABLE ALWAYS TRIGGER dualwrite_fence;
-- Whoever changes the epoch by hand changes the token as well.
CREATE OR REPLACE FUNCTION dualwrite_token() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $dualwrite$
BEGIN
    NEW.token := hashtextextended(gen_random_uuid()::text, 0) & 9223372036854775807;
    NEW.from_token := OLD.token;
    RETURN NEW;
END $dualwrite$;
DROP TRIGGER IF EXISTS dualwrite_token ON dualwrite_migration;
CREATE TRIGGER dualwrite_token BEFORE UPDATE OF epoch ON dualwrite_migration
    FOR EACH ROW WHEN (NEW.epoch <> OLD.epoch AND NEW.token = OLD.token) EXECUTE FUNCTION dualwrite_token();
