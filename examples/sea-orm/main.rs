//! sea-orm writes both sides of a migration, in transactions of the library and in one that somebody else began:
//! `cargo test -p sea-orm-example`.
//!
//! sea-orm 2 and the library share sqlx 0.9, and so one pool. A `DatabaseTransaction` of sea-orm hands its connection to
//! nobody, so the transaction is begun by sqlx, and sea-orm's statements are run in it: [`InTransaction`] is all that
//! takes.

#![allow(unreachable_pub, clippy::unwrap_used)] // sea-orm's derive wants public entities; the rest is a test

use std::sync::Arc;

use dualwrite::{Migration, Runtime, Stage, Tx};
use sea_orm::{
    ActiveModelTrait as _, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait as _,
    ExecResult, QueryResult, RuntimeErr, Set, SqlxSqliteConnector, Statement,
};
use sea_query_sqlx::SqlxValues;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

/// The old table.
mod customer {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "customer")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub name: String,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The new one.
mod client {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "client")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub full_name: String,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The connection of a transaction, lent to sea-orm.
struct InTransaction<'t>(Mutex<&'t mut SqliteConnection>);

impl<'t> InTransaction<'t> {
    fn of(connection: &'t mut SqliteConnection) -> Self {
        Self(Mutex::new(connection))
    }
}

fn bound(statement: &Statement) -> sqlx::query::Query<'_, Sqlite, SqlxValues> {
    let values = statement.values.clone().unwrap_or(sea_orm::Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql.as_str()), SqlxValues(values))
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}

#[async_trait::async_trait]
impl ConnectionTrait for InTransaction<'_> {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Sqlite
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut conn = self.0.lock().await;
        bound(&statement).execute(&mut **conn).await.map(Into::into).map_err(failed)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut conn = self.0.lock().await;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **conn).await;
        done.map(Into::into).map_err(failed)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut conn = self.0.lock().await;
        let row = bound(&statement).fetch_optional(&mut **conn).await.map_err(failed)?;
        Ok(row.map(Into::into))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut conn = self.0.lock().await;
        let rows = bound(&statement).fetch_all(&mut **conn).await.map_err(failed)?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "shown by `Debug` alone")]
enum Failed {
    Sea(DbErr),
    Migration(dualwrite::Error),
}

impl From<DbErr> for Failed {
    fn from(error: DbErr) -> Self {
        Self::Sea(error)
    }
}

impl From<dualwrite::Error> for Failed {
    fn from(error: dualwrite::Error) -> Self {
        Self::Migration(error)
    }
}

#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn name(&self, id: i64) -> Result<Option<String>, Failed>;
    #[write(key = id)]
    async fn add(&self, tx: &mut Tx<'_, Sqlite>, id: i64, name: &str) -> Result<(), Failed>;
}

struct Old(DatabaseConnection);

impl Customers for Old {
    async fn name(&self, id: i64) -> Result<Option<String>, Failed> {
        Ok(customer::Entity::find_by_id(id).one(&self.0).await?.map(|found| found.name))
    }

    async fn add(&self, tx: &mut Tx<'_, Sqlite>, id: i64, name: &str) -> Result<(), Failed> {
        let row = customer::ActiveModel { id: Set(id), name: Set(name.to_owned()) };
        row.insert(&InTransaction::of(tx)).await?;
        Ok(())
    }
}

struct New(DatabaseConnection);

impl Customers for New {
    async fn name(&self, id: i64) -> Result<Option<String>, Failed> {
        Ok(client::Entity::find_by_id(id).one(&self.0).await?.map(|found| found.full_name))
    }

    async fn add(&self, tx: &mut Tx<'_, Sqlite>, id: i64, name: &str) -> Result<(), Failed> {
        let row = client::ActiveModel { id: Set(id), full_name: Set(name.to_owned()) };
        row.insert(&InTransaction::of(tx)).await?;
        Ok(())
    }
}

/// Both sides, the pool, and sea-orm's view of it.
struct Service {
    pool: SqlitePool,
    sea: DatabaseConnection,
    runtime: Runtime<Sqlite>,
    migration: Migration,
    customers: DualCustomers<Old, New>,
}

impl Service {
    async fn new(folder: &std::path::Path) -> Self {
        let file = SqliteConnectOptions::new().filename(folder.join("shop.db"));
        let pool = SqlitePool::connect_with(file.create_if_missing(true)).await.unwrap();
        let tables = "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
                      CREATE TABLE client (id INTEGER PRIMARY KEY, full_name TEXT NOT NULL);
                      CREATE TABLE visit (id INTEGER PRIMARY KEY)";
        sqlx::raw_sql(tables).execute(&pool).await.unwrap();
        // A pool of sea-orm's own serves as well: `DatabaseConnection::get_sqlite_connection_pool`.
        let sea = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        let migration = runtime.migration("customer").register().await.unwrap();
        let customers = DualCustomers::new(&migration, Old(sea.clone()), New(sea.clone()));
        migration.advance(Stage::DualWrite).await.unwrap();
        Self { pool, sea, runtime, migration, customers }
    }

    /// The names in the old and in the new table.
    async fn names(&self) -> [Vec<String>; 2] {
        let old = customer::Entity::find().all(&self.sea).await.unwrap();
        let new = client::Entity::find().all(&self.sea).await.unwrap();
        [
            old.into_iter().map(|row| row.name).collect(),
            new.into_iter().map(|row| row.full_name).collect(),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sea_orm_writes_both_sides_in_a_fenced_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::new(folder.path()).await;
    let mut tx = service.migration.begin(&service.pool).await.unwrap();
    service.customers.add(&mut tx, 1, "Ada").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(service.names().await, [["Ada"], ["Ada"]]);
    assert_eq!(service.customers.name(1).await.unwrap().as_deref(), Some("Ada"));
    // What one side refuses, neither side has.
    let mut tx = service.migration.begin(&service.pool).await.unwrap();
    let twice = service.customers.add(&mut tx, 1, "Ada again").await;
    assert!(matches!(twice, Err(Failed::Sea(_))), "{twice:?}");
    drop(tx);
    assert_eq!(service.names().await, [["Ada"], ["Ada"]]);
    service.runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence_is_taken_in_a_transaction_that_somebody_else_began() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::new(folder.path()).await;
    for (id, keeps) in [(1, true), (2, false)] {
        // Whoever owns it begins and ends it; sea-orm writes a table in it that is not migrated.
        let mut owner = service.pool.begin().await.unwrap();
        let mut tx = Tx::adopt(&mut owner, &[&service.migration]).await.unwrap();
        service.customers.add(&mut tx, id, "Ada").await.unwrap();
        tx.commit().await.unwrap();
        let visit = format!("INSERT INTO visit (id) VALUES ({id})");
        InTransaction::of(&mut owner).execute_unprepared(&visit).await.unwrap();
        match keeps {
            true => owner.commit().await.unwrap(),
            false => owner.rollback().await.unwrap(),
        }
    }
    assert_eq!(service.names().await, [["Ada"], ["Ada"]]);
    let visits = "SELECT count(*) FROM visit";
    let visits: i64 = sqlx::query_scalar(visits).fetch_one(&service.pool).await.unwrap();
    assert_eq!(visits, 1, "the owner's end is the end of all");
    service.runtime.shutdown().await.unwrap();
}
