//! The [`Facts`] of many migrations in a few statements, for what is published. Counts stop at [`COUNTED_MAX`], so that
//! it costs the same however many keys there are; a gate and a status count exactly.

use std::collections::HashMap;
use std::time::Duration;

use crate::control::Record;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::stages::facts::{
    Facts, InstanceReport, Operated, SideFacts, StageFacts, Unfenced, Unsettled,
};
use crate::stages::hazard::Hazard;
use crate::stages::position::Generation;
use crate::stages::stale::{StaleKind, StaleMark};
use crate::store::sql::Conn;
use crate::store::sql::facts::{instance_groups, instance_of};
use crate::store::sql::hazards::{HAZARD_COLUMNS, hazard_of};
use crate::store::sql::record::{READ_AT, RECORD_COLUMNS, RECORD_FROM, record_of};

/// How many keys are counted.
pub(crate) const COUNTED_MAX: u64 = 1_000;

/// What is counted, in the order of [`Counts`].
const COUNTED: [&str; 8] = [
    "dualwrite_dirty WHERE side = 'old'",
    "dualwrite_dirty WHERE side = 'new'",
    "dualwrite_failure WHERE side = 'old' AND waived_at IS NULL",
    "dualwrite_failure WHERE side = 'new' AND waived_at IS NULL",
    "dualwrite_failure WHERE side = 'old' AND waived_at IS NOT NULL",
    "dualwrite_failure WHERE side = 'new' AND waived_at IS NOT NULL",
    "dualwrite_mark WHERE since > 0",
    "dualwrite_unsettled WHERE since > 0",
];
type Counts = [u64; COUNTED.len()];

pub(super) async fn summaries<DB: Backend>(
    conn: &mut Conn<DB>,
    names: &[&str],
    slack: i64,
) -> sqlx::Result<Vec<(String, Facts)>> {
    let list = format!("IN ({})", vec!["?"; names.len()].join(", "));
    let own: Vec<SqlValue> = names.iter().map(|name| (*name).into()).collect();
    let sql = format!(
        "SELECT {RECORD_COLUMNS}, {{now}} - m.stage_at, \
         (SELECT o.state FROM dualwrite_backfill o WHERE o.migration = m.name AND o.phase = 'old' \
         AND o.generation = m.old_generation), \
         CASE WHEN EXISTS (SELECT 1 FROM dualwrite_stale s WHERE s.migration = m.name) THEN NULL \
         ELSE m.old_verified_generation END, \
         {{now}} - (SELECT (max(u.minute) + 1) * 60000000 FROM dualwrite_unaware u \
         WHERE u.migration = m.name AND u.minute > 0) {RECORD_FROM} WHERE m.name {list}"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &own).await?;

    let mut reports = reports::<DB>(conn, &list, &own, slack).await?;
    let mut lists = lists::<DB>(conn, &list, &own).await?;
    let records = rows.iter().map(record_of).collect::<sqlx::Result<Vec<_>>>()?;
    let counts = counts::<DB>(conn, &records).await?;
    let mut found = Vec::with_capacity(records.len());
    for ((record, row), counts) in records.into_iter().zip(&rows).zip(counts) {
        let name = record.name.clone();
        let reports = reports.remove(&name).unwrap_or_default();
        let facts = summary(record, row, counts, lists.remove(&name).unwrap_or_default(), reports)?;
        found.push((name, facts));
    }
    Ok(found)
}

async fn reports<DB: Backend>(
    conn: &mut Conn<DB>,
    list: &str,
    own: &[SqlValue],
    slack: i64,
) -> sqlx::Result<HashMap<String, Vec<InstanceReport>>> {
    let sql = instance_groups(&DB::Adapter::DIALECT, &format!("m.name {list}"));
    let values: Vec<SqlValue> = std::iter::once(slack.into()).chain(own.iter().cloned()).collect();
    let mut reports: HashMap<String, Vec<InstanceReport>> = HashMap::new();
    for row in &DB::Adapter::fetch(conn, &sql, &values).await? {
        reports.entry(row.text(0)?.to_owned()).or_default().push(instance_of(row, 1)?);
    }
    Ok(reports)
}

/// What a migration has some of, or nothing.
#[derive(Default)]
struct Lists {
    approvals: Vec<String>,
    releases: Vec<String>,
    stale: Vec<StaleMark>,
    hazards: Vec<Hazard>,
}

async fn lists<DB: Backend>(
    conn: &mut Conn<DB>,
    list: &str,
    own: &[SqlValue],
) -> sqlx::Result<HashMap<String, Lists>> {
    let mut found: HashMap<String, Lists> = HashMap::new();
    let sql = format!(
        "SELECT 'approval', a.migration, a.name, 0 FROM dualwrite_approval a JOIN dualwrite_migration m \
         ON m.name = a.migration AND m.stage_epoch = a.stage_epoch WHERE a.migration {list} \
         UNION ALL SELECT 'release', migration, release_name, 0 FROM dualwrite_release \
         WHERE gone_at IS NULL AND migration {list} \
         UNION ALL SELECT 'stale', migration, kind, max(at) FROM dualwrite_stale \
         WHERE migration {list} GROUP BY migration, kind ORDER BY 3"
    );
    let thrice: Vec<SqlValue> = own.iter().chain(own).chain(own).cloned().collect();
    for row in &DB::Adapter::fetch(conn, &sql, &thrice).await? {
        let of = found.entry(row.text(1)?.to_owned()).or_default();
        let text = row.text(2)?;
        match row.text(0)? {
            "approval" => of.approvals.push(text.to_owned()),
            "release" => of.releases.push(text.to_owned()),
            _ => of.stale.push(StaleMark { kind: StaleKind::named(text), at: row.moment(3)? }),
        }
    }
    let sql = format!(
        "SELECT {HAZARD_COLUMNS}, migration FROM dualwrite_hazard WHERE migration {list} ORDER BY name"
    );
    for row in &DB::Adapter::fetch(conn, &sql, own).await? {
        found.entry(row.text(7)?.to_owned()).or_default().hazards.push(hazard_of(row)?);
    }
    Ok(found)
}

/// One statement, for those migrations that have any such key.
async fn counts<DB: Backend>(conn: &mut Conn<DB>, records: &[Record]) -> sqlx::Result<Vec<Counts>> {
    let mut counts = vec![Counts::default(); records.len()];
    let (mut parts, mut values) = (Vec::new(), Vec::new());
    for (number, record) in records.iter().enumerate() {
        for (kind, counted) in COUNTED.iter().enumerate() {
            let any = if counted.starts_with("dualwrite_failure") {
                record.letters
            } else {
                record.dirty
            };
            if any {
                parts.push(format!(
                    "SELECT {number}, {kind}, count(*) FROM \
                     (SELECT 1 AS one FROM {counted} AND migration = ? LIMIT {COUNTED_MAX}) c{number}_{kind}"
                ));
                values.push(SqlValue::from(record.name.as_str()));
            }
        }
    }
    if parts.is_empty() {
        return Ok(counts);
    }
    for row in &DB::Adapter::fetch(conn, &parts.join(" UNION ALL "), &values).await? {
        let place = |column| row.unsigned(column).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        if let Some(count) = counts.get_mut(place(0)?).and_then(|all| all.get_mut(place(1).ok()?)) {
            *count = row.unsigned(2)?;
        }
    }
    Ok(counts)
}

fn summary(
    record: Record,
    row: &SqlRow,
    [dirty_old, dirty_new, old_dead_letters, dead_letters, old_waived, waived, writes, keys]: Counts,
    Lists { approvals, releases, stale, hazards }: Lists,
    instances: Vec<InstanceReport>,
) -> sqlx::Result<Facts> {
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let optional = |column| row.optional_integer(READ_AT + column);
    let age = Duration::from_micros(unsigned(row.integer(READ_AT + 1)?));
    Ok(Facts {
        position: record.position,
        token: record.token,
        stage: StageFacts { epoch: record.stage_epoch, age, approvals },
        new: SideFacts {
            generation: record.generation,
            backfilled: record.backfilled,
            verified: record.verified,
            dirty: dirty_new,
            dead_letters,
            waived,
        },
        old: SideFacts {
            generation: record.old_generation,
            backfilled: row.optional_text(READ_AT + 2)? == Some("complete"),
            verified: optional(3)?.map(unsigned).map(Generation),
            dirty: dirty_old,
            dead_letters: old_dead_letters,
            waived: old_waived,
        },
        stale,
        verification: None, // a reason shows it, a figure does not
        hazards,
        unfenced: Unfenced {
            releases,
            last_write: optional(4)?.map(unsigned).map(Duration::from_micros),
        },
        operated: Operated {
            killed: record.killed,
            sample: record.sample,
            maintenance: record.maintenance,
            contract_begun: false, // no gate of a published figure asks for it
        },
        converging: Unsettled { writes, instances: Vec::new(), keys },
        instances,
    })
}
