//! Contracts in tables: what is declared, what is known, and the audit.

use futures_util::future::BoxFuture;

use super::alter::read_shape;
use super::{Conn, SqlControl};
use crate::clock;
use crate::contract::decide::ago;
use crate::contract::declared::Contract;
use crate::contract::facts::{ContractFacts, Progress, Said};
use crate::contract::shape::OldShape;
use crate::control::contracts::{
    AlterLimits, ContractEvent, ContractStep, Contracts, Judge, NewContractEvent,
};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlRow};
use crate::error::{Error, ErrorKind};
use crate::state::unknown_migration;
use crate::store::sql::facts::facts;

const READING: &str = "reading what is known of a contract";
const BEGINNING: &str = "beginning a contract";
/// What fits everywhere.
const DETAIL_CHARS_MAX: usize = 1_000_000;

fn contract_of(text: &str, name: &str) -> Result<Contract, Error> {
    serde_json::from_str(text).map_err(|_| {
        let message =
            "what is declared as old cannot be read; use the release of dualwrite that declared it";
        Error::new(ErrorKind::NewerControlTables, message).of(name)
    })
}

const KNOWN: &str = "SELECT c.declared, c.begun_at, c.ended_at, e.overridden, m.watched, \
     {now} - m.watched_at, {now} - (r.minute + 1) * 60000000, \
     (SELECT count(*) FROM dualwrite_backfill b WHERE b.migration = m.name AND b.phase LIKE 'old%' \
     AND b.generation = m.old_generation AND b.state <> 'cancelled') + \
     (SELECT count(*) FROM dualwrite_task t WHERE t.migration = m.name AND t.side = 'old') \
     FROM dualwrite_migration m LEFT JOIN dualwrite_contract c ON c.migration = m.name \
     LEFT JOIN dualwrite_event e ON e.migration = m.name AND e.epoch = m.stage_epoch \
     LEFT JOIN dualwrite_old_read r ON r.migration = m.name WHERE m.name = ?";

async fn known<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    slack: i64,
) -> Result<ContractFacts, Error> {
    let failed = |error| Error::database(READING, error).of(name);
    let facts = facts::<DB>(conn, name, slack).await?;
    let rows = DB::Adapter::fetch(conn, KNOWN, &[name.into()]).await.map_err(failed)?;
    let row = rows.first().ok_or_else(|| unknown_migration(name))?;
    let declared = row.optional_text(0).map_err(failed)?;
    let contract = declared.map(|text| contract_of(text, name)).transpose()?;
    let at = |column| row.optional_integer(column).map_err(failed);
    let progress = match (at(1)?, at(2)?) {
        (_, Some(_)) => Progress::Ended,
        (Some(_), None) => Progress::Begun,
        (None, None) => Progress::NotBegun,
    };
    let overridden = row.optional_text(3).map_err(failed)?.unwrap_or_default();
    let overridden = overridden.split(',').filter(|gate| !gate.is_empty());
    let is_watched = at(4)? == Some(1);
    let epoch = facts.stage.epoch.0;
    let approved = match &contract {
        None => None,
        Some(contract) => {
            let sql = "SELECT actor, reason, at, '' FROM dualwrite_approval \
                       WHERE migration = ? AND name = ? AND stage_epoch = ?";
            let values = [name.into(), contract.approval.as_str().into(), epoch.into()];
            said(DB::Adapter::fetch(conn, sql, &values).await).map_err(failed)?
        }
    };
    let sql = "SELECT actor, reason, at, detail FROM dualwrite_contract_event \
               WHERE migration = ? AND what = 'backup' AND stage_epoch = ? ORDER BY id DESC LIMIT 1";
    let backup = DB::Adapter::fetch(conn, sql, &[name.into(), epoch.into()]).await;
    Ok(ContractFacts {
        contract,
        progress,
        overridden: overridden.map(str::to_owned).collect(),
        watched_for: at(5)?.filter(|_| is_watched).map(ago),
        read_ago: at(6)?.map(ago),
        copies_back: at(7)?.is_some_and(|count| count > 0),
        approved,
        backup: said(backup).map_err(failed)?,
        dependents: Vec::new(),
        facts,
    })
}

fn said(rows: sqlx::Result<Vec<SqlRow>>) -> sqlx::Result<Option<Said>> {
    let said = |row: &SqlRow| {
        Ok(Said {
            actor: row.text(0)?.to_owned(),
            reason: row.text(1)?.to_owned(),
            at_us: row.integer(2)?,
            detail: row.text(3)?.to_owned(),
        })
    };
    rows?.first().map(said).transpose()
}

async fn record<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    event: &NewContractEvent,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO dualwrite_contract_event \
               (migration, at, what, actor, reason, detail, stage_epoch) \
               SELECT m.name, {now}, ?, ?, ?, ?, m.stage_epoch FROM dualwrite_migration m WHERE m.name = ?";
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
    async fn contract_facts_in(&self, name: &str) -> Result<ContractFacts, Error> {
        let _turn = self.working.turn(READING).await?;
        let reading = async {
            let lent = self.working.lend().await;
            let mut lent = lent.map_err(|error| self.working.failed(READING, error))?;
            lent.busy();
            let found = known::<DB>(&mut lent, name, self.slack()).await;
            lent.all_ended(found)
        };
        let limit = self.working.limit();
        clock::limit(limit, reading).await.unwrap_or_else(|()| Err(self.working.too_late(READING)))
    }

    async fn begin_contract_in(
        &self,
        name: &str,
        judge: &Judge<'_>,
        event: &NewContractEvent,
    ) -> Result<(), Error> {
        let mut lent = self.exclusive(name).await?;
        let beginning = clock::limit(self.moves.limit() * 4, async {
            let failed = |error| Error::database(BEGINNING, error).of(name);
            let found = known::<DB>(&mut lent, name, self.slack()).await?;
            if found.progress == Progress::NotBegun {
                let detail = judge(&found)?;
                let sql = "UPDATE dualwrite_contract SET begun_at = {now} WHERE migration = ?";
                DB::Adapter::execute(&mut lent, sql, &[name.into()]).await.map_err(failed)?;
                let event = NewContractEvent { detail, ..event.clone() };
                record::<DB>(&mut lent, name, &event).await.map_err(failed)?;
            }
            Ok(())
        });
        match beginning.await.unwrap_or_else(|()| Err(self.moves.too_late(BEGINNING))) {
            Ok(()) => lent.commit().await.map_err(|error| Error::database("committing", error)),
            Err(error) => {
                // What cannot be rolled back is closed.
                let _ = lent.rollback().await;
                Err(error.of(name))
            }
        }
    }

    async fn record_contract_in(
        &self,
        name: &str,
        event: &NewContractEvent,
        step: ContractStep,
    ) -> Result<(), Error> {
        let recording = self.working.within("recording what was done with a contract", async {
            let mut lent = self.working.begin().await?;
            record::<DB>(&mut lent, name, event).await?;
            let sql = match step {
                ContractStep::Stay => None,
                ContractStep::Release => {
                    Some("UPDATE dualwrite_contract SET begun_at = NULL WHERE migration = ?")
                }
                ContractStep::End => {
                    Some("UPDATE dualwrite_contract SET ended_at = {now} WHERE migration = ?")
                }
            };
            if let Some(sql) = sql {
                DB::Adapter::execute(&mut lent, sql, &[name.into()]).await?;
            }
            lent.commit().await
        });
        recording.await.map_err(|error| error.of(name))
    }

    async fn contract_events_in(
        &self,
        name: &str,
        limit: u32,
    ) -> Result<Vec<ContractEvent>, Error> {
        let doing = "reading the audit of a contract";
        let sql = format!(
            "SELECT at, what, actor, reason, detail FROM dualwrite_contract_event \
             WHERE migration = ? ORDER BY id DESC LIMIT {limit}"
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
        events.map_err(|error| Error::database(doing, error).of(name))
    }

    async fn contracts_in(&self) -> Result<Vec<(String, Contract)>, Error> {
        let doing = "reading what is declared as old";
        let sql = "SELECT migration, declared FROM dualwrite_contract ORDER BY migration";
        let failed = |error| Error::database(doing, error);
        let mut found = Vec::new();
        for row in &self.fetch(doing, sql, &[]).await? {
            let (name, declared) = (row.text(0).map_err(failed)?, row.text(1).map_err(failed)?);
            found.push((name.to_owned(), contract_of(declared, name)?));
        }
        Ok(found)
    }
}

impl<DB: Backend> Contracts for SqlControl<DB> {
    fn declare_contract<'a>(
        &'a self,
        name: &'a str,
        contract: &'a Contract,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let declared = serde_json::to_string(contract).map_err(|_| {
                Error::new(ErrorKind::InvalidInput, "the contract is no JSON").of(name)
            })?;
            let doing = "declaring what is old";
            let sql = "UPDATE dualwrite_contract SET declared = ? \
                       WHERE migration = ? AND begun_at IS NULL";
            let values = [declared.as_str().into(), name.into()];
            self.execute(doing, sql, &values).await?;
            let sql = format!(
                "INSERT INTO dualwrite_contract (migration, declared) VALUES (?, ?){}",
                DB::Adapter::DIALECT.upsert("migration", &[])
            );
            self.execute(doing, &sql, &[name.into(), declared.as_str().into()]).await.map(drop)
        })
    }

    fn contracts(&self) -> BoxFuture<'_, Result<Vec<(String, Contract)>, Error>> {
        Box::pin(self.contracts_in())
    }

    fn contract_facts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<ContractFacts, Error>> {
        Box::pin(self.contract_facts_in(name))
    }

    fn begin_contract<'a>(
        &'a self,
        name: &'a str,
        judge: &'a Judge<'a>,
        event: &'a NewContractEvent,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.begin_contract_in(name, judge, event))
    }

    fn record_contract<'a>(
        &'a self,
        name: &'a str,
        event: &'a NewContractEvent,
        step: ContractStep,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.record_contract_in(name, event, step))
    }

    fn contract_events<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<ContractEvent>, Error>> {
        Box::pin(self.contract_events_in(name, limit))
    }

    fn old_was_read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = format!(
                "INSERT INTO dualwrite_old_read (migration, minute) VALUES (?, {{now}} / 60000000){}",
                DB::Adapter::DIALECT.upsert("migration", &["minute"])
            );
            self.execute("recording a read of old", &sql, &[name.into()]).await.map(drop)
        })
    }

    fn old_shape<'a>(&'a self, contract: &'a Contract) -> BoxFuture<'a, Result<OldShape, Error>> {
        Box::pin(self.catalogue.within("reading what the old tables are", async {
            let mut lent = self.catalogue.lend().await?;
            lent.busy();
            let shape = read_shape::<DB>(&mut lent, contract).await;
            lent.ended(shape)
        }))
    }

    fn alter<'a>(
        &'a self,
        sql: &'a str,
        limits: AlterLimits,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.alter_in(sql, limits))
    }

    fn dialect(&self) -> Option<&'static Dialect> {
        Some(&DB::Adapter::DIALECT)
    }
}
