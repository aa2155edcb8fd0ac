//! Columns that the database updates by itself (`ON UPDATE CURRENT_TIMESTAMP`): a copy is no change of the row, so they
//! keep their value.

use dualwrite::{CopyBack as _, Dual, DualTable, Runtime, Side, Stage, copy::ConvertColumns};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(copies_leave_columns_that_update_themselves_alone);

#[derive(Dual)]
#[dual(table = "accounts", key = "id")]
#[allow(dead_code, reason = "the columns are read by the database alone")]
struct Account {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

#[derive(Dual)]
#[dual(table = "accounts", key = "id")]
struct Aged {
    id: i64,
    #[dual(new = years, forward = parse, backward = show)]
    age: String,
    years: Option<i64>,
}

fn parse(age: &str) -> Result<i64, std::num::ParseIntError> {
    age.parse()
}

fn show(years: i64) -> String {
    years.to_string()
}

const STAMPS: &str = "SELECT CONCAT(at, ' ', exact, ' ', first) FROM accounts ORDER BY id";

async fn accounts<D: Sql>(db: &Scratch<D>) {
    // `first` is one that the server makes update itself, where it is set up as old servers were.
    db.execute(
        "SET SESSION explicit_defaults_for_timestamp = 0;
         CREATE TABLE accounts (id BIGINT PRIMARY KEY, first TIMESTAMP NOT NULL, \
         email VARCHAR(40) NOT NULL, email_address VARCHAR(40), age VARCHAR(40) NOT NULL, years BIGINT, \
         at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
         exact TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))",
    )
    .await;
    for id in 1..=40 {
        db.execute(&format!(
            "INSERT INTO accounts VALUES ({id}, '2001-01-02 03:04:05', 'm{id}', NULL, '{id}', NULL, \
             '2001-01-02 03:04:05', '2001-01-02 03:04:05.678')"
        ))
        .await;
    }
}

async fn copied<T, D: Sql>(db: &Scratch<D>, name: &str, damage: &str)
where
    T: ConvertColumns<D::Db> + DualTable<Key = i64>,
{
    let before = db.rows(STAMPS).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration(name).backfill(T::copy_columns());
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(16).run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (40, 0));
    assert_eq!(db.rows(STAMPS).await, before, "a backfill");
    let stamped = format!("{damage}, first = first, at = at, exact = exact");
    db.execute(&format!("{stamped} WHERE id IN (3, 4)")).await;
    assert!(migration.copy(&3_i64).await.unwrap());
    assert_eq!(migration.verify().repair().run().await.unwrap().copied, 1);
    assert_eq!(db.rows(STAMPS).await, before, "a lazy copy and a repair");
    db.execute(&format!("{stamped} WHERE id < 20")).await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    let keys: Vec<i64> = (1..=40).collect();
    T::copy_columns().copy_back(&mut tx, &keys).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.rows(STAMPS).await, before, "a reverse copy");
    assert_eq!(Side::New.other(), Side::Old);
    runtime.shutdown().await.unwrap();
}

async fn copies_leave_columns_that_update_themselves_alone<D: Sql>(db: Scratch<D>)
where
    Account: ConvertColumns<D::Db>,
    Aged: ConvertColumns<D::Db>,
{
    if D::NAME != "mysql" {
        return; // elsewhere only a trigger of the application does so
    }
    accounts(&db).await;
    copied::<Account, D>(&db, "emails", "UPDATE accounts SET email_address = 'other'").await;
    copied::<Aged, D>(&db, "ages", "UPDATE accounts SET years = 7000").await;
}
