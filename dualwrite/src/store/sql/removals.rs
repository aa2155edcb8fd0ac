//! Removals in tables: what is declared, where it stands, who used it, and the audit.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Conn, SqlControl};
use crate::contract::decide::ago;
use crate::control::contracts::{ContractEvent, NewContractEvent};
use crate::control::removals::{RemovalStep, Removals};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow};
use crate::error::{Error, ErrorKind};
use crate::expand::names::table_name;
use crate::removal::decide::RemovalFacts;
use crate::removal::declared::Removal;
use crate::removal::phase::RemovalPhase;
use crate::removal::report::RemovalUse;

const READING: &str = "reading what is known of a removal";
/// How many users of a removal are named.
const USES_MAX: u32 = 100;
/// What fits everywhere.
const DETAIL_CHARS_MAX: usize = 1_000_000;
const WHO_CHARS_MAX: usize = 100;

/// The answer for a name that nobody has declared.
pub(crate) fn unknown(name: &str) -> Error {
    let message =
        format!("there is no removal `{name}`; a release declares it with `Runtime::removal`");
    Error::new(ErrorKind::UnknownMigration, message)
}

async fn read<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> sqlx::Result<Option<[SqlRow; 1]>> {
    let sql = "SELECT declared, phase, {now} - phase_at, scans, (SELECT count(*) FROM dualwrite_removal_event e \
               WHERE e.removal = r.name AND e.what = 'backup' AND e.at >= r.reads_stopped_at) \
               FROM dualwrite_removal r WHERE name = ?";
    let rows = DB::Adapter::fetch(conn, sql, &[name.into()]).await?;
    Ok(rows.into_iter().next().map(|row| [row]))
}

async fn uses<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> sqlx::Result<Vec<RemovalUse>> {
    let sql = format!(
        "SELECT kind, who, {{now}} - (max(minute) + 1) * 60000000 FROM dualwrite_removal_use WHERE removal = ? \
         GROUP BY kind, who ORDER BY 3, 1, 2 LIMIT {USES_MAX}"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &[name.into()]).await?;
    let found = rows.iter().map(|row| {
        let (kind, who) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
        Ok(RemovalUse { kind, who, ago_s: ago(row.integer(2)?).as_secs() })
    });
    found.collect()
}

fn facts(row: &SqlRow, uses: Vec<RemovalUse>, name: &str) -> Result<RemovalFacts, Error> {
    let failed = |error| Error::database(READING, error);
    let newer = || {
        let message = format!(
            "what is declared of the removal `{name}` cannot be read; use the release of dualwrite that declared it"
        );
        Error::new(ErrorKind::NewerControlTables, message)
    };
    let declared = serde_json::from_str(row.text(0).map_err(failed)?).map_err(|_| newer())?;
    let phase = RemovalPhase::named(row.text(1).map_err(failed)?).ok_or_else(newer)?;
    let age = u64::try_from(row.integer(2).map_err(failed)?).unwrap_or(0);
    let scans = row.optional_integer(3).map_err(failed)?;
    Ok(RemovalFacts {
        declared,
        phase,
        phase_age: Duration::from_micros(age),
        uses,
        backed_up: row.integer(4).map_err(failed)? > 0,
        scans: scans.and_then(|scans| u64::try_from(scans).ok()),
    })
}

async fn record<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    event: &NewContractEvent,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO dualwrite_removal_event (removal, at, what, actor, reason, detail) \
               SELECT name, {now}, ?, ?, ?, ? FROM dualwrite_removal WHERE name = ?";
    let detail: String = event.detail.chars().take(DETAIL_CHARS_MAX).collect();
    let values = [
        event.what.into(),
        event.actor.as_str().into(),
        event.reason.as_str().into(),
        detail.as_str().into(),
        name.into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

impl<DB: Backend> SqlControl<DB> {
    async fn move_in(
        &self,
        name: &str,
        step: RemovalStep,
        event: &NewContractEvent,
    ) -> Result<bool, Error> {
        let moving = self.working.within("moving a removal", async {
            let mut lent = self.working.begin().await?;
            let stops_reads = step.to == RemovalPhase::ReadsStopped;
            let scans = step.scans.and_then(|scans| i64::try_from(scans).ok());
            let sql = match stops_reads {
                true => {
                    "UPDATE dualwrite_removal SET phase = ?, phase_at = {now}, reads_stopped_at = {now}, scans = ? \
                     WHERE name = ? AND phase = ?"
                }
                false => {
                    "UPDATE dualwrite_removal SET phase = ?, phase_at = {now}, scans = coalesce(?, scans) \
                     WHERE name = ? AND phase = ?"
                }
            };
            let values = [
                step.to.as_str().into(),
                crate::database::SqlValue::Integer(scans),
                name.into(),
                step.from.as_str().into(),
            ];
            if DB::Adapter::execute(&mut lent, sql, &values).await? == 0 {
                lent.rollback().await?;
                return Ok(false);
            }
            record::<DB>(&mut lent, name, event).await?;
            if step.to == RemovalPhase::InUse {
                let sql = "DELETE FROM dualwrite_removal_use WHERE removal = ?";
                DB::Adapter::execute(&mut lent, sql, &[name.into()]).await?;
            }
            lent.commit().await?;
            Ok(true)
        });
        moving.await
    }
}

impl<DB: Backend> Removals for SqlControl<DB> {
    fn declare_removal<'a>(
        &'a self,
        name: &'a str,
        removal: &'a Removal,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let declared = serde_json::to_string(removal)
                .map_err(|_| Error::new(ErrorKind::InvalidInput, "the removal is no JSON"))?;
            let doing = "declaring what is to be removed";
            let sql =
                "UPDATE dualwrite_removal SET declared = ? WHERE name = ? AND phase = 'in_use'";
            self.execute(doing, sql, &[declared.as_str().into(), name.into()]).await?;
            let sql = format!(
                "INSERT INTO dualwrite_removal (name, declared, phase, phase_at) \
                 VALUES (?, ?, 'in_use', {{now}}){}",
                DB::Adapter::DIALECT.upsert("name", &[])
            );
            self.execute(doing, &sql, &[name.into(), declared.as_str().into()]).await.map(drop)
        })
    }

    fn removals(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(async move {
            let sql = "SELECT name FROM dualwrite_removal ORDER BY name";
            let rows = self.fetch(READING, sql, &[]).await?;
            let names = rows.iter().map(|row| row.text(0).map(str::to_owned));
            names.collect::<sqlx::Result<_>>().map_err(|error| Error::database(READING, error))
        })
    }

    fn removal<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<RemovalFacts, Error>> {
        Box::pin(async move {
            let reading = self.working.within(READING, async {
                let mut lent = self.working.lend().await?;
                lent.busy();
                let found = async {
                    let row = read::<DB>(&mut lent, name).await?;
                    Ok((row, uses::<DB>(&mut lent, name).await?))
                };
                let found = found.await;
                lent.ended(found)
            });
            let (row, uses) = reading.await?;
            let [row] = row.ok_or_else(|| unknown(name))?;
            facts(&row, uses, name)
        })
    }

    fn removal_used<'a>(
        &'a self,
        name: &'a str,
        kind: &'a str,
        who: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let who: String = who.chars().take(WHO_CHARS_MAX).collect();
            let sql = format!(
                "INSERT INTO dualwrite_removal_use (removal, kind, who, slot, minute) \
                 VALUES (?, ?, ?, 0, {{now}} / 60000000){}",
                DB::Adapter::DIALECT.upsert("removal, kind, who, slot", &["minute"])
            );
            let values = [name.into(), kind.into(), who.as_str().into()];
            self.execute("recording a use", &sql, &values).await.map(drop)
        })
    }

    fn move_removal<'a>(
        &'a self,
        name: &'a str,
        step: RemovalStep,
        event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.move_in(name, step, event))
    }

    fn record_removal<'a>(
        &'a self,
        name: &'a str,
        event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.working.within("recording what was done with a removal", async move {
            let mut lent = self.working.begin().await?;
            record::<DB>(&mut lent, name, event).await?;
            lent.commit().await
        }))
    }

    fn removal_events<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<ContractEvent>, Error>> {
        Box::pin(async move {
            let doing = "reading the audit of a removal";
            let sql = format!(
                "SELECT at, what, actor, reason, detail FROM dualwrite_removal_event WHERE removal = ? \
                 ORDER BY id DESC LIMIT {limit}"
            );
            let rows = self.fetch(doing, &sql, &[name.into()]).await?;
            let event = |row: &SqlRow| {
                Ok(ContractEvent {
                    at: row.moment(0)?,
                    what: row.text(1)?.to_owned(),
                    actor: row.text(2)?.to_owned(),
                    reason: row.text(3)?.to_owned(),
                    detail: row.text(4)?.to_owned(),
                })
            };
            let events = rows.iter().map(event).collect::<sqlx::Result<_>>();
            events.map_err(|error| Error::database(doing, error))
        })
    }

    fn scans<'a>(&'a self, tables: &'a [String]) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        Box::pin(async move {
            let Some(sql) = DB::Adapter::EXAMINATION.scans else { return Ok(None) };
            let doing = "reading how often tables are read";
            let mut all = 0;
            for table in tables {
                let name = table_name(table);
                let schema = name.schema.as_deref().unwrap_or_default();
                let values = [schema.into(), name.name.as_str().into()];
                let rows = self.catalogue.fetch(doing, sql, &values).await?;
                let scans = rows.first().map(|row| row.integer(0)).transpose();
                let scans = scans.map_err(|error| Error::database(doing, error))?;
                all += u64::try_from(scans.unwrap_or_default()).unwrap_or_default();
            }
            Ok(Some(all))
        })
    }
}
