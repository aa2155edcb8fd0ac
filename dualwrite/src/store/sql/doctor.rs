//! What a doctor asks of the running database. It only reads.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Conn, SqlControl};
use crate::clock;
use crate::contract::relax::quoted;
use crate::control::doctor::Examines;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Holder, NewTable, SqlRow, Watched};
use crate::doctor::facts::{Concerned, Examined, Follower, Queue, Seen};
use crate::doctor::in_the_way::{Holding, InUse};
use crate::error::{Error, is_lost};
use crate::expand::names::table_name;
use crate::expand::spell::table as quoted_table;
use crate::key::KeyKind;
use crate::preflight::rows::TableNotes;
use crate::stages::hazard::HazardKind;

const EXAMINING: &str = "looking for what hurts migrations";

/// What a query answers; where the role may not ask, or there is no such view, that is noted. A connection that is lost
/// is an error.
async fn ask<DB: Backend>(
    conn: &mut Conn<DB>,
    (what, sql): (&str, Option<&'static str>),
    not_seen: &mut Vec<String>,
) -> sqlx::Result<Vec<SqlRow>> {
    let Some(sql) = sql else {
        not_seen.push(format!("{what}: this database does not say"));
        return Ok(Vec::new());
    };
    match DB::Adapter::fetch(conn, sql, &[]).await {
        Err(error) if is_lost(&error) => Err(error),
        Err(error) => {
            not_seen.push(format!("{what}: {}", Error::without_values(&error)));
            Ok(Vec::new())
        }
        rows => rows,
    }
}

fn unsigned(row: &SqlRow, column: usize) -> sqlx::Result<Option<u64>> {
    Ok(row.optional_integer(column)?.and_then(|number| u64::try_from(number).ok()))
}

async fn server<DB: Backend>(conn: &mut Conn<DB>) -> sqlx::Result<Examined> {
    let asked = DB::Adapter::EXAMINATION;
    let (mut seen, mut hidden) = (Examined::default(), Vec::new());
    for row in ask::<DB>(conn, ("invalid indexes", asked.invalid_indexes), &mut hidden).await? {
        seen.invalid_indexes.push((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
    }
    for row in ask::<DB>(conn, ("open transactions", asked.transactions), &mut hidden).await? {
        seen.transactions.push(Holder::of(&row)?);
    }
    for sql in asked.queues {
        for row in ask::<DB>(conn, ("queues for locks", Some(sql)), &mut hidden).await? {
            let (waiting, waited_s) = (unsigned(&row, 6)?, unsigned(&row, 7)?);
            let [waiting, waited_s] = [waiting, waited_s].map(Option::unwrap_or_default);
            seen.queues.push(Queue { holder: Holder::of(&row)?, waiting, waited_s });
        }
    }
    seen.followers = followers::<DB>(conn, &mut hidden).await?;
    match DB::Adapter::upstreams(conn).await {
        Err(error) if is_lost(&error) => return Err(error),
        Err(error) => {
            hidden.push(format!("whom this server follows: {}", Error::without_values(&error)))
        }
        Ok(found) => {
            seen.upstreams = found.into_iter().map(|one| (one.host, one.behind_s)).collect();
        }
    }
    if !asked.statements.iter().any(|(source, _)| source.starts_with("pg_")) {
        hidden
            .push("statements that services have prepared: this database keeps no list".to_owned());
    }
    for (source, sql) in asked.statements {
        for row in ask::<DB>(conn, (source, Some(sql)), &mut hidden).await? {
            if let (Some(who), Some(text)) = (row.optional_text(0)?, row.optional_text(1)?) {
                seen.statements.push((who.to_owned(), text.to_owned()));
            }
        }
    }
    if let Some(sql) = asked.hidden
        && DB::Adapter::fetch(conn, sql, &[]).await.is_ok_and(|rows| !rows.is_empty())
    {
        hidden.push(
            "sessions of other roles: the server shows them to whoever may look at statistics"
                .into(),
        );
    }
    seen.not_seen = hidden;
    Ok(seen)
}

async fn followers<DB: Backend>(
    conn: &mut Conn<DB>,
    not_seen: &mut Vec<String>,
) -> sqlx::Result<Vec<Follower>> {
    let sql = DB::Adapter::EXAMINATION.replicas;
    let mut found = Vec::new();
    for row in ask::<DB>(conn, ("how far replicas are behind", sql), not_seen).await? {
        let name = row.text(0)?.to_owned();
        let (behind_ms, kept_bytes) = (unsigned(&row, 1)?, unsigned(&row, 2)?);
        if behind_ms.is_none() && kept_bytes.is_none() {
            let what = "this server does not say; ask the replica with `dualwrite doctor`, or give the runtime a \
                        connection to it (`Replica`)";
            not_seen.push(format!("how far {name} is behind: {what}"));
        }
        found.push(Follower { name, behind_ms, kept_bytes });
    }
    Ok(found)
}

/// Of several ways to ask, the first that the server knows.
async fn holding<DB: Backend>(conn: &mut Conn<DB>, table: &str) -> sqlx::Result<Vec<Holding>> {
    let name = table_name(table);
    let values = [name.schema.as_deref().unwrap_or_default().into(), name.name.as_str().into()];
    for sql in DB::Adapter::EXAMINATION.holders {
        match DB::Adapter::fetch(conn, sql, &values).await {
            Ok(rows) => {
                let one = |row: &SqlRow| {
                    Ok(Holding { table: table.to_owned(), holder: Holder::of(row)? })
                };
                return rows.iter().map(one).collect();
            }
            Err(error) if is_lost(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(Vec::new())
}

async fn table<DB: Backend>(conn: &mut Conn<DB>, concerned: &Concerned) -> sqlx::Result<Seen> {
    let dialect = &DB::Adapter::DIALECT;
    let name = table_name(&concerned.table);
    let found = DB::Adapter::catalogue(conn, std::slice::from_ref(&name)).await?;
    let mut seen = Seen {
        concerned: concerned.clone(),
        table: found.into_iter().next().flatten(),
        notes: TableNotes::default(),
        sequences: Vec::new(),
    };
    if seen.table.as_ref().is_none_or(|table| table.is_view) {
        return Ok(seen);
    }
    let own = quoted_table(&concerned.table, dialect);
    seen.notes = DB::Adapter::table_notes(conn, &own).await?;
    let key = |columns: &[String]| -> Vec<String> {
        columns.iter().map(|column| quoted(column, dialect)).collect()
    };
    let (of, old_key, new_key) = match &concerned.moved {
        Some((key_new, old, key_old)) => (quoted_table(old, dialect), key(key_old), key(key_new)),
        None => (own.clone(), Vec::new(), Vec::new()),
    };
    let columns = old_key.into_iter().map(|column| (column, KeyKind::INTEGER)).collect();
    let watched = Watched::new(&concerned.migration, of, columns, &[]);
    let new = NewTable { table: own, columns: new_key };
    let scan = DB::Adapter::hazards(conn, &watched, Some(&new)).await?;
    let sequences = scan.hazards.into_iter().filter(|one| one.kind == HazardKind::Sequence);
    seen.sequences = sequences.collect();
    Ok(seen)
}

impl<DB: Backend> SqlControl<DB> {
    /// Whether a lock for writing could not be had for so long, where one lock guards everything.
    async fn is_locked(&self, wait: Duration) -> Result<bool, Error> {
        let Some(source) = DB::Adapter::control_source(&self.pool, wait * 2) else {
            return Ok(false);
        };
        if DB::Adapter::DIALECT.server {
            return Ok(false);
        }
        let trying = clock::limit(wait * 4, async {
            let mut conn = source.acquire().await?.detach();
            for setting in DB::Adapter::alter_settings(wait, wait) {
                DB::Adapter::run_text(&mut conn, setting).await?;
            }
            DB::Adapter::run_text(&mut conn, "BEGIN IMMEDIATE".to_owned()).await?;
            DB::Adapter::run_text(&mut conn, "ROLLBACK".to_owned()).await
        });
        match trying.await {
            Ok(Ok(())) => Ok(false),
            Ok(Err(error)) if DB::Adapter::is_lock_timeout(&error) => Ok(true),
            Ok(Err(error)) => Err(Error::database(EXAMINING, error)),
            Err(()) => Ok(true),
        }
    }
}

impl<DB: Backend> Examines for SqlControl<DB> {
    fn examine<'a>(
        &'a self,
        tables: &'a [Concerned],
        wait: Duration,
    ) -> BoxFuture<'a, Result<Examined, Error>> {
        Box::pin(async move {
            let is_locked = self.is_locked(wait).await?;
            let looking = self.catalogue.within(EXAMINING, async {
                let mut lent = self.catalogue.lend().await?;
                lent.busy();
                let seen = async {
                    let mut seen = server::<DB>(&mut lent).await?;
                    for concerned in tables {
                        seen.tables.push(table::<DB>(&mut lent, concerned).await?);
                    }
                    Ok(seen)
                };
                let seen = seen.await;
                lent.ended(seen)
            });
            Ok(Examined { is_locked, ..looking.await? })
        })
    }

    fn in_use<'a>(&'a self, tables: &'a [String]) -> BoxFuture<'a, Result<InUse, Error>> {
        Box::pin(self.catalogue.within("looking who uses a table", async move {
            let mut lent = self.catalogue.lend().await?;
            lent.busy();
            let seen = async {
                let mut found = InUse::default();
                for table in tables {
                    found.holding.extend(holding::<DB>(&mut lent, table).await?);
                }
                found.followers = followers::<DB>(&mut lent, &mut Vec::new()).await?;
                Ok(found)
            };
            let seen = seen.await;
            lent.ended(seen)
        }))
    }
}
