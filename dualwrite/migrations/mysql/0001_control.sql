-- The control tables of dualwrite. Times are microseconds since 1970 by the database's clock; keys are JSON.
CREATE TABLE IF NOT EXISTS dualwrite_migration (
    name                VARCHAR(100)    NOT NULL PRIMARY KEY,
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
    flag_wanted         VARCHAR(100),
    flag_epoch          BIGINT,
    -- Which calls are closed for maintenance (1: writes, 2: all), by whom, why, and until when that is expected.
    closed              BIGINT  NOT NULL DEFAULT 0,
    closed_by           VARCHAR(100),
    closed_because      TEXT,
    closed_until        BIGINT,
    created_at          BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_event (
    id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    migration  VARCHAR(100)    NOT NULL,
    at         BIGINT  NOT NULL,
    actor      VARCHAR(100)    NOT NULL,
    reason     TEXT    NOT NULL,
    from_stage BIGINT  NOT NULL,
    from_ramp  BIGINT  NOT NULL,
    to_stage   BIGINT  NOT NULL,
    to_ramp    BIGINT  NOT NULL,
    epoch      BIGINT  NOT NULL,
    from_token BIGINT  NOT NULL DEFAULT 0,
    generation BIGINT  NOT NULL,
    overridden VARCHAR(100)    NOT NULL,
    UNIQUE (migration, epoch)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- Processes of the service. Each heartbeat raises `beat`: one that finds a lower number than it left was forgotten.
CREATE TABLE IF NOT EXISTS dualwrite_instance (
    id            VARCHAR(100)    NOT NULL PRIMARY KEY,
    release_name  VARCHAR(100)    NOT NULL,
    min_stage     BIGINT  NOT NULL,
    max_stage     BIGINT  NOT NULL,
    lease         BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    beat          BIGINT  NOT NULL,
    -- The server that it went to: another one may not know what the instance has seen since.
    server        VARCHAR(200)  NOT NULL DEFAULT ''
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What each of them acknowledges of each migration, written when it changes; `trail` counts up for replicas.
CREATE TABLE IF NOT EXISTS dualwrite_acknowledgement (
    migration     VARCHAR(100)    NOT NULL,
    instance      VARCHAR(100)    NOT NULL,
    lazy          BIGINT  NOT NULL,
    new_only      BIGINT NOT NULL DEFAULT 0,
    wanted        VARCHAR(100),
    killed_by     VARCHAR(100),
    seen_epoch    BIGINT  NOT NULL,
    seen_token    BIGINT  NOT NULL,
    drained_epoch BIGINT  NOT NULL,
    beat          BIGINT  NOT NULL,
    trail         BIGINT  NOT NULL DEFAULT 0,
    -- What its release declares, which gates are judged by, as JSON.
    terms         MEDIUMTEXT,
    -- For how many seconds its oldest fenced transaction has been open, about.
    open_s        BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, instance),
    INDEX dualwrite_acknowledgement_of (instance)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_backfill (
    migration   VARCHAR(100)    NOT NULL,
    phase       VARCHAR(16)     NOT NULL,
    generation  BIGINT  NOT NULL,
    state       VARCHAR(16)    NOT NULL,
    range_end   VARCHAR(512),
    claimed     VARCHAR(512),
    batches     BIGINT  NOT NULL DEFAULT 0,
    total       BIGINT  NOT NULL,
    migrated    BIGINT  NOT NULL DEFAULT 0,
    skipped     BIGINT  NOT NULL DEFAULT 0,
    failed      BIGINT  NOT NULL DEFAULT 0,
    rate        BIGINT ,
    throttled   VARCHAR(200)   ,
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
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What operators set of a backfill while it runs, before what the service says; times in microseconds.
CREATE TABLE IF NOT EXISTS dualwrite_setting (
    migration  VARCHAR(100) NOT NULL,
    side       VARCHAR(100) NOT NULL,
    generation BIGINT NOT NULL,
    name       VARCHAR(100) NOT NULL,
    value      BIGINT,
    PRIMARY KEY (migration, side, generation, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_batch (
    migration  VARCHAR(100)    NOT NULL,
    phase       VARCHAR(16)     NOT NULL,
    generation BIGINT  NOT NULL,
    number     BIGINT  NOT NULL,
    cursor_key VARCHAR(512),
    last_key   VARCHAR(512)    NOT NULL,
    owner      VARCHAR(100)    NOT NULL,
    expires_at BIGINT  NOT NULL,
    done       BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, phase, generation, number)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_failure (
    migration       VARCHAR(100)    NOT NULL,
    side            VARCHAR(16)     NOT NULL,
    key_text        VARCHAR(512)    NOT NULL,
    generation      BIGINT  NOT NULL,
    error           TEXT    NOT NULL,
    attempts        BIGINT  NOT NULL,
    failed_at       BIGINT  NOT NULL,
    next_attempt_at BIGINT  NOT NULL,
    -- Who said that this key need not be copied, why, and when.
    waived_by       VARCHAR(100),
    waived_because  TEXT,
    waived_at       BIGINT,
    PRIMARY KEY (migration, side, key_text),
    KEY dualwrite_failure_due (migration, next_attempt_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_dirty (
    migration VARCHAR(100)    NOT NULL,
    side      VARCHAR(8)    NOT NULL,
    key_text  VARCHAR(512)    NOT NULL,
    marked_at BIGINT  NOT NULL,
    PRIMARY KEY (migration, side, key_text)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- Converging mode, where the two sides share no transaction. A mark is there before the first write of its key, and
-- until both sides have it.
CREATE TABLE IF NOT EXISTS dualwrite_mark (
    migration VARCHAR(100) NOT NULL,
    id        VARCHAR(100) NOT NULL,
    key_text  VARCHAR(512) NOT NULL,
    instance  VARCHAR(100) NOT NULL,
    since     BIGINT NOT NULL,
    PRIMARY KEY (migration, id),
    INDEX dualwrite_mark_key (migration, key_text)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- Keys whose sides may differ, to be copied again from the primary. The version is random, another one with each reason
-- to copy; who copies holds a claim.
CREATE TABLE IF NOT EXISTS dualwrite_unsettled (
    migration       VARCHAR(100) NOT NULL,
    key_text        VARCHAR(512) NOT NULL,
    version         BIGINT NOT NULL,
    since           BIGINT NOT NULL,
    attempts        BIGINT NOT NULL DEFAULT 0,
    next_attempt_at BIGINT NOT NULL,
    error           VARCHAR(1000),
    claimed_by      VARCHAR(100),
    claimed_until   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (migration, key_text),
    INDEX dualwrite_unsettled_due (migration, next_attempt_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- A move waits until no write is in flight; until then new writes wait.
CREATE TABLE IF NOT EXISTS dualwrite_draining (
    migration VARCHAR(100) NOT NULL PRIMARY KEY,
    until     BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- Exact mode: whether this database has the authority over a migration between two databases. The other one has a row of
-- its own. Writes hold the row, or a lock that stands for it, shared.
CREATE TABLE IF NOT EXISTS dualwrite_authority (
    migration  VARCHAR(100) NOT NULL PRIMARY KEY,
    side       VARCHAR(100) NOT NULL,
    is_primary BIGINT NOT NULL,
    is_open    BIGINT NOT NULL,
    recording  BIGINT NOT NULL,
    copied     BIGINT NOT NULL,
    epoch      BIGINT NOT NULL,
    token      BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    -- As those of `dualwrite_migration`; a close writes both databases.
    closed         BIGINT NOT NULL DEFAULT 0,
    closed_by      VARCHAR(100),
    closed_because TEXT,
    closed_until   BIGINT
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- One row a key, which outlives deletes: on the primary the counter of its versions, on the mirror the version that was
-- applied last. `gone`: it was a delete.
CREATE TABLE IF NOT EXISTS dualwrite_version (
    migration VARCHAR(100) NOT NULL,
    key_text  VARCHAR(512) NOT NULL,
    version   BIGINT NOT NULL,
    gone      BIGINT NOT NULL,
    PRIMARY KEY (migration, key_text)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What the mirror has not applied yet. Rows are inserted and deleted, never updated. The names that are not ours are those
-- that Debezium's outbox event router reads: `aggregatetype` is the migration, `aggregateid` the key.
CREATE TABLE IF NOT EXISTS dualwrite_outbox (
    seq           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id            VARCHAR(36) NOT NULL,
    aggregatetype VARCHAR(100) NOT NULL,
    aggregateid   VARCHAR(512) NOT NULL,
    type          VARCHAR(100) NOT NULL,
    payload       LONGTEXT,
    version       BIGINT NOT NULL,
    since         BIGINT NOT NULL,
    INDEX dualwrite_outbox_key (aggregatetype, aggregateid),
    INDEX dualwrite_outbox_order (aggregatetype, seq)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- Keys whose records could not be applied; they wait, and others go on.
CREATE TABLE IF NOT EXISTS dualwrite_outbox_failure (
    migration       VARCHAR(100) NOT NULL,
    key_text        VARCHAR(512) NOT NULL,
    attempts        BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    error           VARCHAR(1000) NOT NULL,
    PRIMARY KEY (migration, key_text)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- Which instance applies the outbox of this database, and where the copy of what was there before stands. `applied_epoch`:
-- that of the other database at which the latest page of a copy was read that was written here.
CREATE TABLE IF NOT EXISTS dualwrite_relay (
    migration    VARCHAR(100) NOT NULL PRIMARY KEY,
    owner        VARCHAR(100),
    leased_until BIGINT NOT NULL DEFAULT 0,
    copy_part    BIGINT NOT NULL DEFAULT 0,
    copy_cursor  VARCHAR(512),
    copied_keys  BIGINT NOT NULL DEFAULT 0,
    applied_epoch BIGINT NOT NULL DEFAULT 0,
    -- What an instance says of the migration, and what the newest verification found, both as JSON.
    report       MEDIUMTEXT,
    reported_at  BIGINT NOT NULL DEFAULT 0,
    verified     MEDIUMTEXT
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_mismatch (
    id        BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    migration VARCHAR(100)    NOT NULL,
    method    VARCHAR(100)    NOT NULL,
    field     VARCHAR(500)    NOT NULL,
    key_text  VARCHAR(512),
    old_shown VARCHAR(300),
    new_shown VARCHAR(300),
    at        BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_approval (
    migration   VARCHAR(100)    NOT NULL,
    name        VARCHAR(100)    NOT NULL,
    stage_epoch BIGINT  NOT NULL,
    actor       VARCHAR(100)    NOT NULL,
    reason      TEXT    NOT NULL,
    at          BIGINT  NOT NULL,
    PRIMARY KEY (migration, name, stage_epoch)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_release (
    migration    VARCHAR(100)    NOT NULL,
    release_name VARCHAR(100)    NOT NULL,
    declared_at  BIGINT  NOT NULL,
    gone_at      BIGINT ,
    PRIMARY KEY (migration, release_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- The rollout of a migration. A step and an order raise the version.
CREATE TABLE IF NOT EXISTS dualwrite_plan (
    migration    VARCHAR(100) NOT NULL PRIMARY KEY,
    version      BIGINT  NOT NULL,
    plan         TEXT    NOT NULL,
    state        VARCHAR(16) NOT NULL,
    step         BIGINT  NOT NULL,
    epoch        BIGINT  NOT NULL,
    step_since   BIGINT  NOT NULL,
    soak_skipped BIGINT  NOT NULL,
    leader       VARCHAR(100),
    leader_until BIGINT  NOT NULL,
    note         TEXT    NOT NULL,
    waiting      TEXT
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What operators did that changed no position: who, what, and why.
CREATE TABLE IF NOT EXISTS dualwrite_command (
    id        BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    migration VARCHAR(100)    NOT NULL,
    at        BIGINT  NOT NULL,
    what      VARCHAR(100)    NOT NULL,
    approval  VARCHAR(100),
    detail    TEXT,
    actor     VARCHAR(100)    NOT NULL,
    reason    TEXT    NOT NULL,
    epoch     BIGINT  NOT NULL,
    UNIQUE (migration, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What somebody started, for any instance to run: backfills by the side that is copied to, other jobs by name.
CREATE TABLE IF NOT EXISTS dualwrite_task (
    migration    VARCHAR(100)    NOT NULL,
    side         VARCHAR(16)     NOT NULL,
    -- Of a job, the key that it is about.
    subject      TEXT,
    workers      BIGINT  NOT NULL,
    rate         BIGINT,
    failures_max BIGINT  NOT NULL,
    actor        VARCHAR(100)    NOT NULL,
    reason       TEXT    NOT NULL,
    at           BIGINT  NOT NULL,
    state        VARCHAR(16)     NOT NULL,
    runner       VARCHAR(100),
    runner_until BIGINT  NOT NULL DEFAULT 0,
    waiting      TEXT,
    PRIMARY KEY (migration, side)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_verification (
    migration      VARCHAR(100)    NOT NULL PRIMARY KEY,
    owner          VARCHAR(100)    NOT NULL,
    generation     BIGINT  NOT NULL,
    old_generation BIGINT  NOT NULL,
    phase          VARCHAR(100)    NOT NULL,
    cursor_key     VARCHAR(512),
    state          VARCHAR(100)    NOT NULL,
    compared       BIGINT  NOT NULL,
    differing      BIGINT  NOT NULL,
    transient      BIGINT  NOT NULL,
    ordered        BIGINT  NOT NULL DEFAULT 0,
    report         MEDIUMTEXT    NOT NULL,
    started_at     BIGINT  NOT NULL,
    recorded_at    BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- The kill switch of a migration: it goes back, and nothing goes forward.
CREATE TABLE IF NOT EXISTS dualwrite_kill (
    migration VARCHAR(100)    NOT NULL PRIMARY KEY,
    actor     VARCHAR(100)    NOT NULL,
    reason    TEXT    NOT NULL,
    at        BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- The shares of reads and of dual writes that operators want compared, in basis points; -1 is as registered.
CREATE TABLE IF NOT EXISTS dualwrite_sample (
    migration   VARCHAR(100) NOT NULL PRIMARY KEY,
    read_share  BIGINT  NOT NULL,
    write_share BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- One row, with another random token after each change that every instance must see at once: what an idle instance polls.
CREATE TABLE IF NOT EXISTS dualwrite_change (
    id    BIGINT NOT NULL PRIMARY KEY,
    token BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- The calls of each side, by the minute, of all instances together: each adds what it counted. How many took so long:
-- up to 32 microseconds, and from column to column 1.41 times as long.
CREATE TABLE IF NOT EXISTS dualwrite_traffic (
    migration VARCHAR(100) NOT NULL,
    side      VARCHAR(10) NOT NULL,
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
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- Why the sides may differ: each row withdraws the proof of a verification. Bears the stamp of the verification
-- that found it at its beginning.
CREATE TABLE IF NOT EXISTS dualwrite_stale (
    migration VARCHAR(100)    NOT NULL,
    kind      VARCHAR(16)     NOT NULL,
    subject   VARCHAR(64)     NOT NULL,
    at        BIGINT  NOT NULL,
    seen_by   VARCHAR(100),
    PRIMARY KEY (migration, kind, subject)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What the catalogue says that speaks against writing new alone, and who recorded that a writer is stopped; and what
-- changes when the old table is truncated or rebuilt.
CREATE TABLE IF NOT EXISTS dualwrite_hazard (
    migration       VARCHAR(100)    NOT NULL,
    name            VARCHAR(200)    NOT NULL,
    kind            VARCHAR(16)     NOT NULL,
    detail          TEXT            NOT NULL,
    repair          TEXT,
    found_at        BIGINT  NOT NULL,
    stopped_by      VARCHAR(100),
    stopped_because TEXT,
    stopped_at      BIGINT,
    PRIMARY KEY (migration, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_shape (
    migration VARCHAR(100)    NOT NULL PRIMARY KEY,
    shape     TEXT            NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What the newest preflight found, for whoever cannot read the catalogue: names and levels as JSON, no values of rows.
CREATE TABLE IF NOT EXISTS dualwrite_preflight (
    migration    VARCHAR(100) NOT NULL PRIMARY KEY,
    findings     TEXT         NOT NULL,
    instance     VARCHAR(100) NOT NULL,
    at           BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What each migration declares as new, as its newest release does.
CREATE TABLE IF NOT EXISTS dualwrite_expand (
    migration VARCHAR(100) NOT NULL PRIMARY KEY,
    declared  MEDIUMTEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What each migration calls old, as its newest release declares it; and when somebody began to drop that, from
-- when on there is no way back.
CREATE TABLE IF NOT EXISTS dualwrite_contract (
    migration VARCHAR(100) NOT NULL PRIMARY KEY,
    declared  MEDIUMTEXT NOT NULL,
    begun_at  BIGINT,
    ended_at  BIGINT
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- The audit of contracts: backups that were confirmed, and what was dropped on which evidence.
CREATE TABLE IF NOT EXISTS dualwrite_contract_event (
    id          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    migration   VARCHAR(100) NOT NULL,
    at          BIGINT NOT NULL,
    what        VARCHAR(16) NOT NULL,
    actor       VARCHAR(100) NOT NULL,
    reason      MEDIUMTEXT NOT NULL,
    detail      MEDIUMTEXT NOT NULL,
    stage_epoch BIGINT NOT NULL,
    UNIQUE (migration, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- What is to be dropped without anything in its place, in which phase that is, and what the server had counted of scans
-- when reads were stopped; who used it although a phase forbids that, in a slot by the number of the connection; the audit.
CREATE TABLE IF NOT EXISTS dualwrite_removal (
    name     VARCHAR(100) NOT NULL PRIMARY KEY,
    declared MEDIUMTEXT NOT NULL,
    phase    VARCHAR(16) NOT NULL,
    phase_at BIGINT NOT NULL,
    reads_stopped_at BIGINT,
    scans    BIGINT
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_removal_use (
    removal VARCHAR(100) NOT NULL,
    kind    VARCHAR(16) NOT NULL,
    who     VARCHAR(100) NOT NULL,
    slot    BIGINT NOT NULL,
    minute  BIGINT NOT NULL,
    PRIMARY KEY (removal, kind, who, slot)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_removal_event (
    id      BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    removal VARCHAR(100) NOT NULL,
    at      BIGINT NOT NULL,
    what    VARCHAR(16) NOT NULL,
    actor   VARCHAR(100) NOT NULL,
    reason  MEDIUMTEXT NOT NULL,
    detail  MEDIUMTEXT NOT NULL,
    UNIQUE (removal, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- The minute in which a wrapper last read old after all reads had gone to new.
CREATE TABLE IF NOT EXISTS dualwrite_old_read (
    migration VARCHAR(100) NOT NULL PRIMARY KEY,
    minute    BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
-- The minute in which somebody last wrote the old table without the library, in a slot by the number of the
-- connection, so that no transaction waits for another; and transactions that hold a fence.
CREATE TABLE IF NOT EXISTS dualwrite_unaware (
    migration  VARCHAR(100)    NOT NULL,
    slot       BIGINT  NOT NULL,
    minute     BIGINT  NOT NULL,
    PRIMARY KEY (migration, slot)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
CREATE TABLE IF NOT EXISTS dualwrite_fenced (
    connection BIGINT  NOT NULL,
    fence      BIGINT  NOT NULL,
    PRIMARY KEY (connection, fence)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
