//! A sample migration between two tables: customers become accounts. Right, or with one bug.

use std::marker::PhantomData;

use dualwrite::testing::MigrationTest;
use dualwrite::{
    Backend, BoxError, Copied, CopyBack, CopyKeys, Migration, Runtime, Tx, copy::KeySource,
};

use crate::support::db::{Rows, Scratch};
use crate::support::sql::Sql;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bug {
    None,
    InsertOnlyCopy,
    IncompleteCopy,
    /// The delete of the new side does nothing.
    NoDelete,
    /// The copy leaves what the old side has no more.
    NoDeleteInCopy,
    LossyCopy,
    LossyWrite,
    WrongKeyInCopy,
    WrongKeyInWrite,
    UpdateOnlyWrite,
    /// The copy compares the old table with itself.
    BlindCopy,
    /// Both sides read the old table.
    BlindRead,
    /// The new side's read answers something else.
    WrongAnswer,
    /// The service commits what failed.
    HiddenError,
    /// The service writes the old side past the transaction.
    OutsideTransaction,
}

/// The e-mail address, and a count.
pub(super) type Value = (Option<String>, i64);

#[dualwrite::repository]
pub(super) trait Accounts<DB: Backend> {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<Value>, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64, value: &Value) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn visit(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

pub(super) struct Table<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    is_new: bool,
    bug: Bug,
}

/// The name of a table, its key and its address.
pub(super) type Names = (&'static str, &'static str, &'static str);
pub(super) const OLD: Names = ("customer", "id", "email");
pub(super) const NEW: Names = ("account", "customer_id", "address");

impl<D: Sql> Table<D> {
    fn has(&self, bug: Bug) -> bool {
        self.is_new && self.bug == bug
    }

    fn names(&self) -> Names {
        if self.is_new { NEW } else { OLD }
    }

    async fn run(&self, tx: &mut Tx<'_, D::Db>, sql: &str) -> Result<(), sqlx::Error> {
        match self.bug == Bug::OutsideTransaction && !self.is_new && D::NAME != "sqlite" {
            true => D::execute(&self.pool, sql).await,
            false => D::run(tx, sql).await.map(drop),
        }
    }
}

pub(super) fn literal<D: Sql>(text: Option<&str>) -> String {
    let backslash = D::sql("\\", "\\", "\\\\");
    let escaped = |text: &str| text.replace('\\', backslash).replace('\'', "''");
    text.map_or("NULL".to_owned(), |text| format!("'{}'", escaped(text)))
}

pub(super) fn value(mut row: Vec<Option<String>>) -> (i64, Value) {
    let number = |text: Option<String>| text.unwrap().parse::<i64>().unwrap();
    let (visits, email) = (number(row.pop().unwrap()), row.pop().unwrap());
    (number(row.pop().unwrap()), (email, visits))
}

pub(super) fn values(rows: Rows) -> Vec<(i64, Value)> {
    rows.into_iter().map(value).collect()
}

pub(super) fn select((table, key, email): Names) -> String {
    format!("SELECT {key}, {email}, visits FROM {table}")
}

impl<D: Sql> Accounts<D::Db> for Table<D> {
    async fn find(&self, id: i64) -> Result<Option<Value>, sqlx::Error> {
        let names = if self.has(Bug::BlindRead) { OLD } else { self.names() };
        let sql = format!("{} WHERE {} = {id}", select(names), names.1);
        let found = values(D::rows(&self.pool, &sql).await?).pop().map(|(_, value)| value);
        let wrong = self.has(Bug::WrongAnswer);
        Ok(found.map(|(email, visits)| (email, visits + i64::from(wrong))))
    }

    async fn save(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        (email, visits): &Value,
    ) -> Result<(), sqlx::Error> {
        let ((table, key, column), id) =
            (self.names(), id + i64::from(self.has(Bug::WrongKeyInWrite)));
        let lower = email.as_ref().map(|email| email.to_lowercase());
        let email = if self.has(Bug::LossyWrite) { &lower } else { email };
        let email = literal::<D>(email.as_deref());
        if self.has(Bug::UpdateOnlyWrite) {
            let set = format!("SET {column} = {email}, visits = {visits}");
            return self.run(tx, &format!("UPDATE {table} {set} WHERE {key} = {id}")).await;
        }
        self.run(tx, &format!("DELETE FROM {table} WHERE {key} = {id}")).await?;
        let columns = format!("({key}, {column}, visits)");
        self.run(tx, &format!("INSERT INTO {table} {columns} VALUES ({id}, {email}, {visits})"))
            .await
    }

    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        let (table, key, _) = self.names();
        if self.has(Bug::NoDelete) {
            return Ok(());
        }
        self.run(tx, &format!("DELETE FROM {table} WHERE {key} = {id}")).await
    }

    async fn visit(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        let (table, key, _) = self.names();
        self.run(tx, &format!("UPDATE {table} SET visits = visits + 1 WHERE {key} = {id}")).await
    }
}

struct CopyAccounts<D> {
    bug: Bug,
    database: PhantomData<fn() -> D>,
}

impl<D: Sql> CopyKeys for CopyAccounts<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("customer").column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(KeySource::table("account").column("customer_id"))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let mut copied = Copied::default();
        let email = if self.bug == Bug::LossyCopy { "lower(email)" } else { "email" };
        let key = if self.bug == Bug::WrongKeyInCopy { "id + 1000" } else { "id" };
        let is_left = if self.bug == Bug::IncompleteCopy { "AND email IS NOT NULL" } else { "" };
        for id in keys {
            let is_there = !D::texts(tx, &format!("SELECT id FROM customer WHERE id = {id}"))
                .await?
                .is_empty();
            let keeps = match self.bug {
                Bug::InsertOnlyCopy => is_there,
                Bug::NoDeleteInCopy => !is_there,
                _ => false,
            };
            if !keeps {
                D::run(tx, &format!("DELETE FROM account WHERE customer_id = {id}")).await?;
            }
            let insert = format!(
                "INSERT INTO account (customer_id, address, visits) SELECT {key}, {email}, visits FROM customer \
                 WHERE id = {id} {is_left} AND NOT EXISTS (SELECT 1 FROM account WHERE customer_id = {key})"
            );
            copied.migrated += D::run(tx, &insert).await?;
        }
        Ok(copied)
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Vec<i64>, BoxError> {
        let new = if self.bug == Bug::BlindCopy { OLD } else { NEW };
        let mut differing = Vec::new();
        for id in keys {
            let mut rows = Vec::new();
            for names in [OLD, new] {
                rows.push(
                    D::read(tx, &format!("{} WHERE {} = {id}", select(names), names.1)).await?,
                );
            }
            if rows[0] != rows[1] {
                differing.push(*id);
            }
        }
        Ok(differing)
    }
}

impl<D: Sql> CopyBack for CopyAccounts<D> {
    async fn copy_back(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        for id in keys {
            D::run(tx, &format!("DELETE FROM customer WHERE id = {id}")).await?;
            let insert = "INSERT INTO customer (id, email, visits) SELECT customer_id, address, visits FROM account";
            D::run(tx, &format!("{insert} WHERE customer_id = {id}")).await?;
        }
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }
}

/// The service under test.
pub(super) struct Service<D: Sql> {
    pub(super) db: Scratch<D>,
    pub(super) runtime: Runtime<D::Db>,
    pub(super) migration: Migration,
    accounts: DualAccounts<Table<D>, Table<D>>,
    bug: Bug,
}

impl<D: Sql> Service<D> {
    pub(super) async fn start(db: Scratch<D>, bug: Bug) -> Self {
        db.execute(
            "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(100), visits BIGINT NOT NULL);
             CREATE TABLE account (customer_id BIGINT PRIMARY KEY, address VARCHAR(100), visits BIGINT NOT NULL);
             INSERT INTO customer (id, email, visits) VALUES (500, 'before@example.com', 7), (501, NULL, 0)",
        )
        .await;
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let copy = CopyAccounts::<D> { bug, database: PhantomData };
        let migration =
            runtime.migration("accounts").backfill_both_ways(copy).register().await.unwrap();
        let table = |is_new| Table { pool: db.pool().clone(), is_new, bug };
        let accounts = DualAccounts::new(&migration, table(false), table(true));
        Self { db, runtime, migration, accounts, bug }
    }

    async fn save(&self, id: i64, value: Value) -> sqlx::Result<()> {
        let mut tx = self.migration.begin(self.db.pool()).await?;
        let saved = self.accounts.save(&mut tx, id, &value).await;
        if self.bug == Bug::HiddenError && saved.is_err() {
            return Ok(());
        }
        saved?;
        Ok(tx.commit().await?)
    }

    async fn remove(&self, id: i64) -> sqlx::Result<()> {
        let mut tx = self.migration.begin(self.db.pool()).await?;
        self.accounts.remove(&mut tx, id).await?;
        Ok(tx.commit().await?)
    }

    async fn visit(&self, id: i64) -> sqlx::Result<()> {
        let mut tx = self.migration.begin(self.db.pool()).await?;
        self.accounts.visit(&mut tx, id).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn spoil(&self, id: i64) -> sqlx::Result<()> {
        let sql = format!("UPDATE account SET address = 'spoilt' WHERE customer_id = {id}");
        D::execute(self.db.pool(), &sql).await
    }

    /// The test, as a user writes it.
    pub(super) fn test(&self) -> MigrationTest<'_, i64, Value> {
        MigrationTest::new(&self.migration)
            .write(async |id, value| self.save(id, value).await)
            .change("visit", |(email, visits)| (email, visits + 1), async |id| self.visit(id).await)
            .delete(async |id| self.remove(id).await)
            .read(async |id| self.accounts.find(id).await)
            .old_rows(async || D::rows(self.db.pool(), &select(OLD)).await.map(values))
            .new_rows(async || D::rows(self.db.pool(), &select(NEW)).await.map(values))
            .spoil_new(async |id| self.spoil(id).await)
    }
}
