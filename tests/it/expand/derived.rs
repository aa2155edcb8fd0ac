//! What a derived struct says of its table.

use std::num::ParseIntError;

use dualwrite::{Dual, DualTable, ErrorKind, Runtime, Stage, expand::Expand};
use sqlx::migrate::Migrate;

use super::world::{migrate, refused, write};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(a_derived_struct_is_expanded_and_backfilled);

#[derive(Dual)]
#[dual(table = "customers", key = "id")]
struct Customer {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
    #[dual(new = age_years, forward = years, backward = text)]
    age: String,
    age_years: Option<i64>,
}

fn years(age: &str) -> Result<i64, ParseIntError> {
    age.parse()
}

fn text(age: i64) -> String {
    age.to_string()
}

async fn a_derived_struct_is_expanded_and_backfilled<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
    Customer: dualwrite::copy::ConvertColumns<D::Db>,
{
    db.execute(
        "CREATE TABLE customers (id BIGINT PRIMARY KEY, email VARCHAR(60) NOT NULL, age VARCHAR(10) NOT NULL);
         CREATE INDEX by_age ON customers (age);
         INSERT INTO customers VALUES (1, 'a@example.com', '41'), (2, 'b@example.com', '12')",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = |expand| runtime.migration("customers").expand(expand);
    let untold = registration(Expand::of::<Customer>()).register().await.unwrap_err();
    assert_eq!(untold.kind(), ErrorKind::InvalidInput);
    assert!(untold.to_string().contains(".typed(\"age_years\", \"…\")"), "{untold}");

    // The type of the field that the conversion answers with.
    let expand = Expand::of_columns::<Customer, D::Db>();
    let migration = registration(expand).backfill(Customer::copy_columns()).register().await;
    let migration = migration.unwrap();
    assert_eq!(refused(&migration).await.len(), 3, "two columns and an index");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &migration.expand().plan().await.unwrap().files(1));
    migrate(&db, folder.path(), false).await;
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM customers WHERE email_address = email").await, 2);
    assert_eq!(db.number("SELECT sum(age_years) FROM customers").await, 53);
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}
