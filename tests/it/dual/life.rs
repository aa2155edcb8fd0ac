//! A rename and a type change of Chinook's columns, through the whole life and back, with nothing but
//! attributes and the two repositories.

use std::num::ParseIntError;

use dualwrite::{DualTable, Percent, Runtime, Stage, Tx};

use crate::support::chinook;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(a_rename_and_a_type_change_of_chinook);

fn to_rep(id: i32) -> String {
    format!("rep-{id}")
}

fn to_id(rep: &str) -> Result<i32, ParseIntError> {
    rep.trim_start_matches("rep-").parse()
}

/// Names are as Chinook has them on each database.
macro_rules! customer {
    ($module:ident: $table:literal $id:literal $email:literal $rep:literal $new:literal $new_rep:literal) => {
        mod $module {
            use super::{to_id, to_rep};

            #[derive(sqlx::FromRow, dualwrite::Dual)]
            #[dual(table = $table, key = "id")]
            pub(super) struct Customer {
                #[sqlx(rename = $id)]
                id: i32,
                #[sqlx(rename = $email)]
                #[dual(new = email_address)]
                email: String,
                #[sqlx(rename = $new)]
                email_address: Option<String>,
                #[sqlx(rename = $rep)]
                #[dual(new = support_rep, forward = to_rep, backward = to_id)]
                support_rep_id: Option<i32>,
                #[sqlx(rename = $new_rep)]
                support_rep: Option<String>,
            }
        }
    };
}
customer!(pascal: "Customer" "CustomerId" "Email" "SupportRepId" "EmailAddress" "SupportRep");
customer!(snake: "customer" "customer_id" "email" "support_rep_id" "email_address" "support_rep");

#[dualwrite::repository]
trait Customers<DB: dualwrite::Backend> {
    #[read(key = id)]
    async fn email(&self, id: i32) -> Result<Option<String>, sqlx::Error>;
    #[write(key = id)]
    async fn change(
        &self,
        tx: &mut Tx<'_, DB>,
        id: i32,
        email: &str,
        rep: i32,
    ) -> Result<(), sqlx::Error>;
}

struct Store<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    /// The table, its key, and this side's columns.
    columns: [&'static str; 4],
    is_new: bool,
}

impl<D: Sql> Customers<D::Db> for Store<D> {
    async fn email(&self, id: i32) -> Result<Option<String>, sqlx::Error> {
        let [table, key, email, _] = self.columns;
        let sql = format!("SELECT {email} FROM {table} WHERE {key} = {id}");
        Ok(D::rows(&self.pool, &sql).await?.pop().and_then(|mut row| row.pop().flatten()))
    }

    async fn change(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i32,
        email: &str,
        rep: i32,
    ) -> Result<(), sqlx::Error> {
        let [table, key, email_column, rep_column] = self.columns;
        let rep = if self.is_new { format!("'{}'", to_rep(rep)) } else { rep.to_string() };
        let sql = format!(
            "UPDATE {table} SET {email_column} = '{email}', {rep_column} = {rep} WHERE {key} = {id}"
        );
        D::run(tx, &sql).await.map(drop)
    }
}

async fn a_rename_and_a_type_change_of_chinook<D: Sql>(db: Scratch<D>)
where
    snake::Customer: dualwrite::copy::ConvertColumns<D::Db>,
    pascal::Customer: dualwrite::copy::ConvertColumns<D::Db>,
{
    if chinook::load(&db).await.is_none() {
        return;
    }
    if D::NAME == "postgres" {
        live::<snake::Customer, D>(db).await;
    } else {
        live::<pascal::Customer, D>(db).await;
    }
}

async fn live<T, D>(db: Scratch<D>)
where
    T: DualTable + dualwrite::copy::ConvertColumns<D::Db>,
    D: Sql,
{
    let [key, email, new_email, rep, new_rep] = T::COLUMNS else { panic!("{:?}", T::COLUMNS) };
    let table = D::sql("Customer", "customer", "Customer");
    // At `Complete` an INSERT leaves the old column out, so it may be NULL from the start.
    let relaxed = D::sql(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_master SET sql = replace(sql, '[Email] NVARCHAR(60)  NOT NULL', '[Email] NVARCHAR(60)')
             WHERE name = 'Customer';
         PRAGMA writable_schema = RESET",
        "ALTER TABLE customer ALTER COLUMN email DROP NOT NULL",
        "ALTER TABLE Customer MODIFY Email VARCHAR(60) NULL",
    );
    db.execute(&format!(
        "{relaxed};
         ALTER TABLE {table} ADD COLUMN {new_email} VARCHAR(60);
         ALTER TABLE {table} ADD COLUMN {new_rep} VARCHAR(20)"
    ))
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration =
        runtime.migration("customer-columns").backfill(T::copy_columns()).two_statements();
    let migration = registration.register().await.unwrap();
    let store = |email, rep, is_new| Store::<D> {
        pool: db.pool().clone(),
        columns: [table, key, email, rep],
        is_new,
    };
    let customers =
        DualCustomers::new(&migration, store(email, rep, false), store(new_email, new_rep, true));
    let all = db.number(&format!("SELECT count(*) FROM {table}")).await;
    assert!(all > 50);

    let mut written = 0;
    let mut write = async || {
        written += 1;
        let mut tx = migration.begin(db.pool()).await.unwrap();
        let word = format!("write-{written}@example.org");
        customers.change(&mut tx, 1, &word, 3 + written % 3).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(customers.email(1).await.unwrap(), Some(word));
    };
    write().await;
    migration.advance(Stage::DualWrite).await.unwrap();
    write().await;
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated + done.skipped, done.failed), (all as u64, 0));
    assert!(migration.verify().run().await.unwrap().is_clean());
    migration.advance(Stage::Shadow).await.unwrap();
    write().await;
    migration.ramp_to(Percent::new(30).unwrap()).await.unwrap();
    write().await;
    for stage in [Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
        write().await;
    }
    let stale = format!("SELECT count(*) FROM {table} WHERE {email} <> {new_email}");
    assert_eq!(db.number(&stale).await, 1, "new alone was written");

    // And all the way back.
    migration.rollback("not yet").await.unwrap();
    assert!(!migration.verify().run().await.unwrap().is_clean());
    migration.backfill().reverse().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    assert_eq!(db.number(&stale).await, 0);
    migration.rollback("not yet").await.unwrap();
    write().await;
    migration.step_back(Stage::DualWrite).await.unwrap();
    migration.step_back(Stage::Off).await.unwrap();
    write().await;
    let rep_of_1 = format!("SELECT {rep} FROM {table} WHERE {key} = 1");
    assert_eq!(db.number(&rep_of_1).await, i64::from(3 + written % 3));
}
