//! What the control tables know of a migration: the short [`Record`] that every instance reads, and the
//! [`Facts`] that gates are judged by.

use std::time::Duration;

use crate::clock;
use crate::control::Record;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlRow};
use crate::error::Error;
use crate::stages::facts::{
    Facts, InstanceReport, Operated, SideFacts, StageFacts, Unfenced, Unsettled,
};
use crate::stages::hazard::Hazard;
use crate::stages::position::{Epoch, Generation};
use crate::stages::stale::{StaleKind, StaleMark};
use crate::stages::terms::Terms;
use crate::stages::verification::VerifyState;
use crate::state::unknown_migration;
use crate::store::sql::hazards::{READ, hazard_of};
use crate::store::sql::record::{Conn, record_of, record_sql};
use crate::store::sql::tables::SqlControl;
use crate::store::sql::verification;

impl<DB: Backend> SqlControl<DB> {
    /// With the newest verification.
    pub(super) async fn facts_in(&self, name: &str) -> Result<(Facts, Option<VerifyState>), Error> {
        let doing = "reading what the gates need";
        let _turn = self.working.turn(doing).await?;
        let reading = async {
            loop {
                let lent = self.working.lend().await;
                let mut lent = lent.map_err(|error| self.working.failed(doing, error))?;
                lent.busy();
                let facts = facts_and_verification::<DB>(&mut lent, name, self.slack()).await;
                if !lent.was_closed(&facts) {
                    return lent.all_ended(facts);
                }
            }
        };
        let limit = self.working.limit();
        clock::limit(limit, reading).await.unwrap_or_else(|()| Err(self.working.too_late(doing)))
    }
}

/// `slack`: by how much the database's clock has lately gone ahead, in microseconds; instances that expired by that
/// count as live.
pub(super) async fn facts<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    slack: i64,
) -> Result<Facts, Error> {
    facts_and_verification::<DB>(conn, name, slack).await.map(|(facts, _)| facts)
}

async fn facts_and_verification<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    slack: i64,
) -> Result<(Facts, Option<VerifyState>), Error> {
    let failed = |error| Error::database("reading what the gates need", error).of(name);
    let sql = record_sql("WHERE m.name = ?");
    let rows = DB::Adapter::fetch(conn, &sql, &[name.into()]).await.map_err(failed)?;
    let row = rows.first().ok_or_else(|| unknown_migration(name))?;
    let record = record_of(row).map_err(failed)?;
    gathered::<DB>(conn, record, slack).await.map_err(failed)
}

/// What is counted of a migration besides its record.
struct Counted {
    stage_age: Duration,
    new: Copying,
    old: Copying,
    old_backfilled: bool,
    old_verified: Option<Generation>,
    unaware: Option<Duration>,
    contract_begun: bool,
    /// Writes under way in converging mode, and keys to be copied: by one statement, because a mark becomes a key to be
    /// copied in one transaction and must not be missed in between.
    unsettled: [u64; 2],
}

/// What is counted of the copies to one side.
struct Copying {
    dirty: u64,
    dead_letters: u64,
    waived: u64,
}

impl Copying {
    fn of(
        self,
        generation: Generation,
        backfilled: bool,
        verified: Option<Generation>,
    ) -> SideFacts {
        let Self { dirty, dead_letters, waived } = self;
        SideFacts { generation, backfilled, verified, dirty, dead_letters, waived }
    }
}

const COUNTS: &str = "SELECT {now} - stage_at, \
     (SELECT count(*) FROM dualwrite_dirty d WHERE d.migration = name AND d.side = 'old'), \
     (SELECT count(*) FROM dualwrite_dirty d WHERE d.migration = name AND d.side = 'new'), \
     (SELECT count(*) - count(f.waived_at) FROM dualwrite_failure f \
     WHERE f.migration = name AND f.side = 'new'), \
     (SELECT count(*) - count(f.waived_at) FROM dualwrite_failure f \
     WHERE f.migration = name AND f.side = 'old'), \
     (SELECT count(f.waived_at) FROM dualwrite_failure f \
     WHERE f.migration = name AND f.side = 'new'), \
     (SELECT count(f.waived_at) FROM dualwrite_failure f \
     WHERE f.migration = name AND f.side = 'old'), \
     (SELECT b.state FROM dualwrite_backfill b WHERE b.migration = name \
     AND b.phase = 'old' AND b.generation = old_generation), \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_stale s WHERE s.migration = name) THEN NULL \
     ELSE old_verified_generation END, \
     {now} - (SELECT (max(u.minute) + 1) * 60000000 FROM dualwrite_unaware u \
     WHERE u.migration = name AND u.minute > 0), \
     (SELECT count(c.begun_at) FROM dualwrite_contract c WHERE c.migration = name), \
     (SELECT count(*) FROM dualwrite_mark k WHERE k.migration = name), \
     (SELECT count(*) FROM dualwrite_unsettled u WHERE u.migration = name \
     AND NOT EXISTS (SELECT 1 FROM dualwrite_failure f WHERE f.migration = u.migration \
     AND f.key_text = u.key_text AND f.waived_at IS NOT NULL)) \
     FROM dualwrite_migration WHERE name = ?";

/// Of a row of [`COUNTS`], in the order of its columns.
fn counted(row: &SqlRow) -> sqlx::Result<Counted> {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let count = |column| row.integer(column).map(unsigned);
    Ok(Counted {
        stage_age: Duration::from_micros(count(0)?),
        old: Copying { dirty: count(1)?, dead_letters: count(4)?, waived: count(6)? },
        new: Copying { dirty: count(2)?, dead_letters: count(3)?, waived: count(5)? },
        old_backfilled: row.optional_text(7)? == Some("complete"),
        old_verified: row.optional_integer(8)?.map(unsigned).map(Generation),
        unaware: row.optional_integer(9)?.map(unsigned).map(Duration::from_micros),
        contract_begun: count(10)? > 0,
        unsettled: [count(11)?, count(12)?],
    })
}

async fn gathered<DB: Backend>(
    conn: &mut Conn<DB>,
    record: Record,
    slack: i64,
) -> sqlx::Result<(Facts, Option<VerifyState>)> {
    let name = &*record.name;
    let rows = DB::Adapter::fetch(conn, COUNTS, &[name.into()]).await?;
    let counted = rows.first().map(counted).transpose()?.ok_or(sqlx::Error::RowNotFound)?;
    let instances = reports::<DB>(conn, name, slack).await?;
    let converging = converging::<DB>(conn, name, counted.unsettled).await?;
    let Lists { approvals, releases, stale } = lists::<DB>(conn, name, record.stage_epoch).await?;
    let verification = verification::<DB>(conn, name).await?;
    let hazards = hazards::<DB>(conn, name).await?;
    let facts = Facts {
        position: record.position,
        token: record.token,
        stage: StageFacts { epoch: record.stage_epoch, age: counted.stage_age, approvals },
        new: counted.new.of(record.generation, record.backfilled, record.verified),
        old: counted.old.of(record.old_generation, counted.old_backfilled, counted.old_verified),
        stale,
        verification: verification.as_ref().map(VerifyState::summary),
        hazards,
        unfenced: Unfenced { releases, last_write: counted.unaware },
        operated: Operated {
            killed: record.killed,
            sample: record.sample,
            maintenance: record.maintenance,
            contract_begun: counted.contract_begun,
        },
        converging,
        instances,
    };
    Ok((facts, verification))
}

async fn reports<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    slack: i64,
) -> sqlx::Result<Vec<InstanceReport>> {
    let sql = format!("SELECT {} AND m.name = ? ORDER BY i.id", instances(&DB::Adapter::DIALECT));
    let rows = DB::Adapter::fetch(conn, &sql, &[slack.into(), name.into()]).await?;
    rows.iter().map(|row| instance_of(row, 0)).collect()
}

/// What is under way in converging mode.
async fn converging<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    [writes, keys]: [u64; 2],
) -> sqlx::Result<Unsettled> {
    if writes == 0 {
        return Ok(Unsettled { keys, ..Unsettled::default() });
    }
    let sql = "SELECT DISTINCT instance FROM dualwrite_mark WHERE migration = ? ORDER BY instance LIMIT 5";
    let instances = texts(DB::Adapter::fetch(conn, sql, &[name.into()]).await)?;
    Ok(Unsettled { writes, instances, keys })
}

/// What a migration has some of, or nothing.
#[derive(Default)]
struct Lists {
    approvals: Vec<String>,
    releases: Vec<String>,
    stale: Vec<StaleMark>,
}

/// All three by one statement: on a server that is far away each costs a round trip, within one limit.
async fn lists<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    stage_epoch: Epoch,
) -> sqlx::Result<Lists> {
    let sql = "SELECT 'approval', name, 0 FROM dualwrite_approval WHERE migration = ? AND stage_epoch = ? \
               UNION ALL SELECT 'release', release_name, 0 FROM dualwrite_release \
               WHERE migration = ? AND gone_at IS NULL \
               UNION ALL SELECT 'stale', kind, max(at) FROM dualwrite_stale WHERE migration = ? \
               GROUP BY kind ORDER BY 2";
    let values = [name.into(), stage_epoch.0.into(), name.into(), name.into()];
    let mut found = Lists::default();
    for row in &DB::Adapter::fetch(conn, sql, &values).await? {
        let text = row.text(1)?;
        match row.text(0)? {
            "approval" => found.approvals.push(text.to_owned()),
            "release" => found.releases.push(text.to_owned()),
            _ => found.stale.push(StaleMark { kind: StaleKind::named(text), at: row.moment(2)? }),
        }
    }
    Ok(found)
}

async fn verification<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
) -> sqlx::Result<Option<VerifyState>> {
    let rows = DB::Adapter::fetch(conn, &verification::read(), &[name.into()]).await?;
    rows.first().map(|row| verification::owned(row).map(|(_, state)| state)).transpose()
}

async fn hazards<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> sqlx::Result<Vec<Hazard>> {
    let rows = DB::Adapter::fetch(conn, READ, &[name.into()]).await?;
    rows.iter().map(hazard_of).collect()
}

fn texts(rows: sqlx::Result<Vec<SqlRow>>) -> sqlx::Result<Vec<String>> {
    rows?.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Of a live instance. Whether what it has seen is in the history of this migration, and not of one that was lost, and it
/// said so to this server: one that has taken over may lack what the instance has seen since.
const REPORT: &str = "i.id, i.release_name, a.seen_epoch, a.drained_epoch, i.min_stage, \
     i.max_stage, a.lazy, a.wanted, a.killed_by, \
     CASE WHEN i.server = {server} AND ((a.seen_token = m.token AND a.seen_epoch <= m.epoch) \
     OR (a.seen_token = m.from_token AND a.seen_epoch = m.epoch - 1) \
     OR EXISTS (SELECT 1 FROM dualwrite_event e WHERE e.migration = a.migration \
     AND e.epoch = a.seen_epoch + 1 AND e.from_token = a.seen_token)) THEN 1 ELSE 0 END AS in_history, \
     a.new_only";
const LIVE: &str = "FROM dualwrite_migration m JOIN dualwrite_acknowledgement a ON a.migration = m.name \
     JOIN dualwrite_instance i ON i.id = a.instance WHERE i.expires_at > {now} - ?";
/// The columns of [`REPORT`] after the first.
const REPORTED: &str = "release_name, seen_epoch, drained_epoch, min_stage, max_stage, lazy, wanted, killed_by, \
     in_history, new_only";

fn instances(dialect: &Dialect) -> String {
    format!("{REPORT}, a.terms, 1 {LIVE}").replace("{server}", dialect.identity)
}

/// The name of the migration, one instance of each group that reports the same, and how many these are: a fleet runs one
/// release, or two, so that the answer is short however large it is.
pub(super) fn instance_groups(dialect: &Dialect, condition: &str) -> String {
    // By a digest of the terms, because MariaDB groups long texts on disk.
    let digest = dialect.terms_digest;
    let of_group = format!("g.{}", REPORTED.replace(", ", ", g."));
    format!(
        "SELECT g.name, g.one, {of_group}, t.terms, g.alike FROM \
         (SELECT name, min(id) AS one, {REPORTED}, count(*) AS alike FROM \
         (SELECT m.name AS name, {REPORT}, {digest} AS digest {LIVE} AND {condition}) r \
         GROUP BY name, {REPORTED}, digest) g \
         JOIN dualwrite_acknowledgement t ON t.migration = g.name AND t.instance = g.one ORDER BY g.one"
    )
    .replace("{server}", dialect.identity)
}

/// From this column on.
pub(super) fn instance_of(row: &SqlRow, first: usize) -> sqlx::Result<InstanceReport> {
    let of_this_history = row.integer(first + 9)? != 0;
    let epoch = |column| {
        row.unsigned(first + column).map(|epoch| Epoch(epoch * u64::from(of_this_history)))
    };
    let terms = row.optional_text(first + 11)?.and_then(Terms::of_text);
    Ok(InstanceReport {
        id: row.text(first)?.to_owned(),
        release: row.text(first + 1)?.to_owned(),
        seen: epoch(2)?,
        drained: epoch(3)?,
        min_stage: row.stage(first + 4)?,
        max_stage: row.stage(first + 5)?,
        lazy: row.integer(first + 6)? != 0,
        new_only: row.integer(first + 10)? != 0,
        wanted: row.optional_text(first + 7)?.map(str::to_owned),
        killed_by: row.optional_text(first + 8)?.map(str::to_owned),
        mirror: terms.as_ref().and_then(|terms| terms.mirror.clone()),
        terms,
        alike: row.unsigned(first + 12)?,
    })
}
