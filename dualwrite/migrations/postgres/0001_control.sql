-- The control tables of dualwrite. Times are microseconds since 1970 by the database's clock; keys are JSON.
CREATE TABLE IF NOT EXISTS dualwrite_migration (
    name                TEXT    NOT NULL PRIMARY KEY,
    stage               BIGINT  NOT NULL,
    ramp                BIGINT  NOT NULL,
    epoch               BIGINT  NOT NULL,
    generation          BIGINT  NOT NULL,
    stage_epoch         BIGINT  NOT NULL,
    stage_at            BIGINT  NOT NULL,
    verified_generation BIGINT ,
    old_generation      BIGINT  NOT NULL DEFAULT 1,
    old_verified_generation BIGINT ,
    paused              BIGINT  NOT NULL DEFAULT 0,
    watched             BIGINT  NOT NULL DEFAULT 0,
    -- What a flag said when it last moved the migration, or found it there, and the epoch since.
    flag_wanted         TEXT,
    flag_epoch          BIGINT,
    contract_notes      TEXT    NOT NULL DEFAULT '',
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
    generation BIGINT  NOT NULL,
    overridden TEXT    NOT NULL,
    UNIQUE (migration, epoch)
);
CREATE TABLE IF NOT EXISTS dualwrite_instance (
    id            TEXT    NOT NULL,
    migration     TEXT    NOT NULL,
    release_name  TEXT    NOT NULL,
    min_stage     BIGINT  NOT NULL,
    max_stage     BIGINT  NOT NULL,
    lazy          BIGINT  NOT NULL,
    wanted        TEXT,
    killed_by     TEXT,
    seen_epoch    BIGINT  NOT NULL,
    drained_epoch BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    PRIMARY KEY (id, migration)
);
CREATE TABLE IF NOT EXISTS dualwrite_backfill (
    migration   TEXT    NOT NULL,
    part        TEXT    NOT NULL,
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
    PRIMARY KEY (migration, part, generation)
);
CREATE TABLE IF NOT EXISTS dualwrite_batch (
    migration  TEXT    NOT NULL,
    part        TEXT    NOT NULL,
    generation BIGINT  NOT NULL,
    number     BIGINT  NOT NULL,
    cursor_key TEXT,
    last_key   TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    expires_at BIGINT  NOT NULL,
    done       BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, part, generation, number)
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
CREATE TABLE IF NOT EXISTS dualwrite_dirty (
    migration TEXT    NOT NULL,
    side      TEXT    NOT NULL,
    key_text  TEXT    NOT NULL,
    marked_at BIGINT  NOT NULL,
    PRIMARY KEY (migration, side, key_text)
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
-- Orders to rollouts: who, what, and why.
CREATE TABLE IF NOT EXISTS dualwrite_order (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    migration TEXT    NOT NULL,
    at        BIGINT  NOT NULL,
    what      TEXT    NOT NULL,
    approval  TEXT,
    actor     TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    epoch     BIGINT  NOT NULL,
    UNIQUE (migration, id)
);
CREATE TABLE IF NOT EXISTS dualwrite_verification (
    migration      TEXT    NOT NULL PRIMARY KEY,
    owner          TEXT    NOT NULL,
    generation     BIGINT  NOT NULL,
    old_generation BIGINT  NOT NULL,
    part           TEXT    NOT NULL,
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
-- Minutes in which somebody wrote old without the library, and transactions that are its own.
CREATE TABLE IF NOT EXISTS dualwrite_unaware (
    migration TEXT    NOT NULL,
    minute    BIGINT  NOT NULL,
    PRIMARY KEY (migration, minute)
);
CREATE TABLE IF NOT EXISTS dualwrite_fenced (
    connection BIGINT  NOT NULL PRIMARY KEY
);
-- The fence of one migration, in one call: the lock, then, in a snapshot of its own as every statement of
-- a procedure under READ COMMITTED, the check that the epoch is the caller's. A procedure, because CALL is
-- not planned and sends no row; an assignment of a plain expression costs no query of its own.
CREATE OR REPLACE PROCEDURE dualwrite_fence(lock_key BIGINT, migration TEXT, expected BIGINT)
LANGUAGE plpgsql AS $dualwrite$
DECLARE
    is_watched BIGINT;
    ignored TEXT;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the default isolation level is another: begin at READ COMMITTED'
            USING ERRCODE = 'DW002';
    END IF;
    ignored := pg_advisory_xact_lock_shared(lock_key);
    SELECT m.watched INTO is_watched FROM dualwrite_migration m
        WHERE m.name = migration AND m.epoch = expected;
    IF is_watched IS NULL THEN
        RAISE EXCEPTION 'the position of migration % has changed: begin again', migration
            USING ERRCODE = 'DW001';
    END IF;
    IF is_watched <> 0 THEN
        ignored := set_config('dualwrite.fenced', '1', true);
    END IF;
END $dualwrite$;
