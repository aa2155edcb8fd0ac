//! Customers in two tables: a repository with a wrapper, its two sides, and its copy function. Tests that
//! work with several processes use it in all of them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use dualwrite::{
    Backend, BoxError, Copied, CopyBack, CopyKeys, Error, Migration, Runtime, Side, Tx,
    copy::KeySource, defaults::POLL,
};
use sqlx::Pool;
use tokio::sync::{Semaphore, watch};

use super::db::{Rows, TestDb};
use super::process::say;
use super::sql::Sql;

pub(crate) const MIGRATION: &str = "customers";

/// `handled` is what the copy function did for the backfill, written in the transaction of the copy: a
/// key that was handled twice stands there twice.
pub(crate) const TABLES: &str = "\
    CREATE TABLE customer (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL, visits BIGINT NOT NULL);
    CREATE TABLE customer_new \
        (id BIGINT PRIMARY KEY, full_name VARCHAR(40) NOT NULL, visits BIGINT NOT NULL);
    CREATE TABLE handled (id BIGINT NOT NULL, migrated BIGINT NOT NULL)";

/// Customers of this name cannot be copied.
pub(crate) const POISON: &str = "poison";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) visits: i64,
}

#[dualwrite::repository]
pub(crate) trait Customers<DB: Backend> {
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[read(key = id, lazy)]
    async fn find_in(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[write(key = customer.id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, customer: &Customer) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
    /// Counts a visit of a customer who is there.
    #[write(key = id)]
    async fn visit(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

pub(crate) type Both<D> = DualCustomers<Store<D>, Store<D>>;

/// Both sides under one wrapper.
pub(crate) fn both<D: Sql>(
    migration: &Migration,
    pool: &Pool<D::Db>,
    places: &Arc<Places>,
) -> Both<D> {
    let store = |side| Store { side, pool: pool.clone(), places: Arc::clone(places) };
    DualCustomers::new(migration, store(Side::Old), store(Side::New))
}

/// A runtime with the migration registered.
pub(crate) async fn join<D: Sql>(
    pool: &Pool<D::Db>,
    lease: Duration,
    lazy: bool,
    copy: CopyCustomers<D>,
) -> Result<(Runtime<D::Db>, Migration), Error> {
    let poll = POLL.min(lease / 4);
    let runtime = Runtime::builder(pool.clone()).lease(lease).poll(poll).start().await?;
    let registration = runtime.migration(MIGRATION).backfill_both_ways(copy);
    let registration = if lazy { registration.lazy() } else { registration };
    let migration = registration.register().await?;
    Ok((runtime, migration))
}

/// Places in the code of a child where its parent can hold it: whoever comes there says `at <place>` and
/// waits for the order to go on.
#[derive(Debug)]
pub(crate) struct Places {
    held: watch::Sender<String>,
    permits: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self { held: watch::channel(String::new()).0, permits: Semaphore::new(0) }
    }
}

impl Places {
    /// From now on, holds whoever comes to this place, and lets all the others go.
    pub(crate) fn hold(&self, place: String) {
        self.held.send_replace(place);
    }

    /// Lets one go on that is held.
    pub(crate) fn let_one_go(&self) {
        self.permits.add_permits(1);
    }

    async fn pass(&self, place: &str) {
        let mut held = self.held.subscribe();
        if *held.borrow() != place {
            return;
        }
        say(format_args!("at {place}"));
        tokio::select! {
            permit = self.permits.acquire() => permit.expect("never closed").forget(),
            _ = held.wait_for(|held| held != place) => {}
        }
    }
}

tokio::task_local! {
    /// The side whose writes fail in this task.
    pub(crate) static FAILING: Side;
    /// Set in the task of a backfill.
    pub(crate) static BACKFILL: ();
}

/// One side.
#[derive(Debug)]
pub(crate) struct Store<D: Sql> {
    side: Side,
    pool: Pool<D::Db>,
    places: Arc<Places>,
}

impl<D: Sql> Store<D> {
    fn select(&self, id: i64) -> String {
        let (table, name) = table(self.side);
        format!("SELECT id, {name}, visits FROM {table} WHERE id = {id}")
    }

    /// Before a write: may be held here, or fail as a database does.
    async fn pass(&self, what: &str, tx: &mut Tx<'_, D::Db>) -> Result<(), sqlx::Error> {
        self.places.pass(&format!("{what} {}", self.side)).await;
        if FAILING.try_with(|failing| *failing == self.side).unwrap_or(false) {
            D::run(tx, "DELETE FROM nowhere").await?;
        }
        Ok(())
    }
}

impl<D: Sql> Customers<D::Db> for Store<D> {
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        self.places.pass(&format!("find {}", self.side)).await;
        Ok(customers(D::rows(&self.pool, &self.select(id)).await?).pop())
    }

    async fn find_in(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
    ) -> Result<Option<Customer>, sqlx::Error> {
        Ok(customers(D::read(tx, &self.select(id)).await?).pop())
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, customer: &Customer) -> Result<(), sqlx::Error> {
        self.pass("save", tx).await?;
        let (table, column) = table(self.side);
        let Customer { id, name, visits } = customer;
        let insert = format!("INSERT INTO {table} (id, {column}, visits)");
        let sql =
            format!("{insert} VALUES ({id}, '{name}', {visits}){}", overwrite::<D>(self.side));
        D::run(tx, &sql).await.map(drop)
    }

    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        self.pass("remove", tx).await?;
        let (table, _) = table(self.side);
        D::run(tx, &format!("DELETE FROM {table} WHERE id = {id}")).await.map(drop)
    }

    async fn visit(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        let sql = match self.side {
            Side::Old => format!("UPDATE customer SET visits = visits + 1 WHERE id = {id}"),
            // The row may not be here yet, so all of it is written. Old is written first and is locked.
            Side::New => copy_rows::<D>(Side::New, &id.to_string()),
        };
        D::run(tx, &sql).await.map(drop)
    }
}

/// The copy function.
#[derive(Debug)]
pub(crate) struct CopyCustomers<D> {
    places: Arc<Places>,
    /// Says `copy` for every page of a backfill.
    tells: bool,
    /// Also copies what is poison.
    immune: bool,
    database: PhantomData<D>,
}

impl<D> CopyCustomers<D> {
    pub(crate) fn new(places: &Arc<Places>) -> Self {
        Self { places: Arc::clone(places), tells: false, immune: false, database: PhantomData }
    }

    pub(crate) fn telling(self) -> Self {
        Self { tells: true, ..self }
    }

    pub(crate) fn immune(self) -> Self {
        Self { immune: true, ..self }
    }
}

impl<D: Sql> CopyKeys for CopyCustomers<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("customer").column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(KeySource::table("customer_new").column("id"))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let ids = list(keys);
        let sql = format!("SELECT id FROM customer WHERE id IN ({ids}) AND name = '{POISON}'");
        if !self.immune && !D::read(tx, &sql).await?.is_empty() {
            return Err("it is poison".into());
        }
        let found = differences::<D>(tx, Side::Old, &ids).await?;
        if BACKFILL.try_with(|()| ()).is_ok() {
            // All are there, for they are locked; or none is, where what only new has is removed.
            assert!(found.len() == keys.len() || found.is_empty());
            let row = |(id, differs): &(i64, bool)| format!("({id}, {})", i64::from(*differs));
            let rows: Vec<String> = found.iter().map(row).collect();
            if !rows.is_empty() {
                D::run(tx, &format!("INSERT INTO handled VALUES {}", rows.join(", "))).await?;
            }
            if self.tells {
                say("copy");
            }
        }
        let copied = carry::<D>(tx, Side::New, keys, &found).await?;
        self.places.pass("copy").await;
        Ok(copied)
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Vec<i64>, BoxError> {
        let mut differing = Vec::new();
        for side in [Side::Old, Side::New] {
            let found = differences::<D>(tx, side, &list(keys)).await?;
            differing.extend(found.into_iter().filter_map(|(id, differs)| differs.then_some(id)));
        }
        differing.sort_unstable();
        differing.dedup();
        Ok(differing)
    }
}

impl<D: Sql> CopyBack for CopyCustomers<D> {
    async fn copy_back(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let found = differences::<D>(tx, Side::New, &list(keys)).await?;
        carry::<D>(tx, Side::Old, keys, &found).await
    }
}

/// Makes `to` say what the other side says; `found` are the rows of the other side.
async fn carry<D: Sql>(
    tx: &mut Tx<'_, D::Db>,
    to: Side,
    keys: &[i64],
    found: &[(i64, bool)],
) -> Result<Copied, BoxError> {
    let (ids, (table, _), (other, _)) = (list(keys), table(to), table(to.other()));
    D::run(tx, &copy_rows::<D>(to, &ids)).await?;
    let removed = match (to, D::NAME) {
        // Within a DELETE, InnoDB locks what it reads, and old must not be locked after the mark and new. A
        // row that is born meanwhile is seen by the library, which begins again.
        (Side::New, "mysql") => {
            let old = format!("SELECT id FROM {other} WHERE id IN ({ids})");
            let there = D::read(tx, &old).await?;
            let there: Vec<i64> = there.iter().map(|row| number(row[0].as_deref())).collect();
            let gone: Vec<i64> = keys.iter().copied().filter(|key| !there.contains(key)).collect();
            match gone.is_empty() {
                true => 0,
                false => {
                    let gone = format!("DELETE FROM {table} WHERE id IN ({})", list(&gone));
                    D::run(tx, &gone).await?
                }
            }
        }
        _ => {
            let gone = format!(
                "DELETE FROM {table} WHERE id IN ({ids}) \
                 AND NOT EXISTS (SELECT 1 FROM {other} WHERE {other}.id = {table}.id)"
            );
            D::run(tx, &gone).await?
        }
    };
    let migrated = removed + found.iter().filter(|(_, differs)| *differs).count() as u64;
    Ok(Copied { migrated, skipped: keys.len() as u64 - migrated })
}

/// The keys that `side` has, and whether the other side says something else.
async fn differences<D: Sql>(
    tx: &mut Tx<'_, D::Db>,
    side: Side,
    ids: &str,
) -> Result<Vec<(i64, bool)>, sqlx::Error> {
    let ((a, a_name), (b, b_name)) = (table(side), table(side.other()));
    let sql = format!(
        "SELECT a.id, \
         CASE WHEN b.id IS NULL OR b.{b_name} <> a.{a_name} OR b.visits <> a.visits THEN 1 ELSE 0 END \
         FROM {a} a LEFT JOIN {b} b ON b.id = a.id WHERE a.id IN ({ids}) ORDER BY a.id"
    );
    let rows = D::read(tx, &sql).await?.into_iter();
    Ok(rows.map(|row| (number(row[0].as_deref()), row[1].as_deref() == Some("1"))).collect())
}

fn table(side: Side) -> (&'static str, &'static str) {
    match side {
        Side::Old => ("customer", "name"),
        Side::New => ("customer_new", "full_name"),
    }
}

/// Overwrites rows of `to` by those of the other side.
fn copy_rows<D: TestDb>(to: Side, ids: &str) -> String {
    let ((table, column), (other, other_column)) = (table(to), table(to.other()));
    format!(
        "INSERT INTO {table} (id, {column}, visits) \
         SELECT id, {other_column}, visits FROM {other} WHERE id IN ({ids}){}",
        overwrite::<D>(to)
    )
}

fn overwrite<D: TestDb>(side: Side) -> String {
    let (_, column) = table(side);
    let conflict = "ON CONFLICT (id) DO UPDATE SET";
    match D::sql("", "", "mysql") {
        "" => format!(" {conflict} {column} = excluded.{column}, visits = excluded.visits"),
        _ => {
            format!(" ON DUPLICATE KEY UPDATE {column} = VALUES({column}), visits = VALUES(visits)")
        }
    }
}

fn list(keys: &[i64]) -> String {
    keys.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// The customers in rows of `id`, name, `visits`.
pub(crate) fn customers(rows: Rows) -> Vec<Customer> {
    let customer = |row: Vec<Option<String>>| Customer {
        id: number(row[0].as_deref()),
        name: row[1].clone().expect("a name"),
        visits: number(row[2].as_deref()),
    };
    rows.into_iter().map(customer).collect()
}

fn number(text: Option<&str>) -> i64 {
    text.and_then(|text| text.parse().ok()).expect("a number")
}
