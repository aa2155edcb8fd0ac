//! NULL that is a value, told from "not copied yet" by a field of the user's choice.

use dualwrite::{
    Backend, BindColumns, Columns, Dual, DualTable, Operation, Route, Runtime, Side, Stage, Tx,
    copy::ConvertColumns,
};
use sqlx::AssertSqlSafe;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    a_lazy_read_finds_null_and_copies_it_once,
    a_backfill_marks_rows_and_a_verification_names_those_that_are_not,
);

#[derive(Clone, Debug, Default, PartialEq, sqlx::FromRow, Dual)]
#[dual(table = "customer", key = "id")]
struct Customer {
    id: i64,
    #[dual(new = email_address, copied = email_copied)]
    email: Option<String>,
    email_address: Option<String>,
    email_copied: bool,
    #[dual(new = years, forward = to_years, backward = to_age, copied = age_copied)]
    age: Option<String>,
    years: Option<i64>,
    age_copied: bool,
    #[dual(new_column = "phone_number", copied = phone_copied)]
    phone: Option<String>,
    phone_copied: bool,
}

fn to_years(age: &str) -> Result<i64, std::num::ParseIntError> {
    age.parse()
}

fn to_age(years: i64) -> String {
    years.to_string()
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_getter_answers_null_of_new_where_it_was_written() {
    let mut customer = Customer { email: text("a@b.c"), age: text("36"), ..Customer::default() };
    assert_eq!(customer.email_address(), Some("a@b.c"), "not copied yet");
    assert_eq!(customer.email_address_source(), Side::Old);
    assert_eq!(customer.years().unwrap(), Some(36));
    assert!(!customer.is_migrated());
    assert_eq!(customer.divergence(), [""; 0], "what is not copied cannot differ");
    customer.email_copied = true;
    assert_eq!(customer.email_address(), None, "a value of new");
    assert_eq!(customer.email_address_source(), Side::New);
    assert_eq!(customer.divergence(), ["email_address"]);
    customer.set_years(37).unwrap();
    assert_eq!(
        (customer.age.as_deref(), customer.years, customer.age_copied),
        (Some("37"), Some(37), true)
    );
    customer.clear_years();
    assert_eq!((customer.years().unwrap(), customer.age_copied), (None, true));
    assert!(customer.is_migrated());
}

#[test]
fn migrate_copies_null_too_and_plans_say_what_new_has() {
    let mut customer = Customer { age: text("36"), years: Some(1), ..Customer::default() };
    customer.email_address = text("left over");
    customer.migrate().unwrap();
    assert_eq!((customer.email_address(), customer.email_address.as_deref()), (None, None));
    assert_eq!(
        (customer.years, customer.age_copied, customer.email_copied),
        (Some(36), true, true)
    );
    let at = |stage| Route::of(stage, Operation::Write);
    customer.set_email_address_by(&at(Stage::Off), "old alone");
    assert_eq!((customer.email_address(), customer.email_copied), (Some("old alone"), false));
    customer.set_email_address_by(&at(Stage::Complete), "new alone");
    assert_eq!((customer.email_address(), customer.email_copied), (Some("new alone"), true));
    customer.clear_email_address_by(&at(Stage::Off));
    assert_eq!((customer.email_address(), customer.email_copied), (None, false));
    let mut unreadable = Customer { age: text("many"), ..Customer::default() };
    assert!(unreadable.migrate().is_err());
    assert!(!unreadable.age_copied, "nothing was written");
}

#[test]
fn a_marker_is_a_column_of_new_alone() {
    assert!(!Customer::OLD_COLUMNS.contains(&"email_copied"));
    assert!(Customer::NEW_COLUMNS.contains(&"phone_copied"));
}

#[dualwrite::repository]
trait Customers<DB: Backend> {
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[write(key = customer.id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, customer: &Customer) -> Result<(), sqlx::Error>;
}

struct SqlCustomers<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    columns: Columns,
}

/// What tests of a row in any database need.
trait Row<D: Sql>: BindColumns<D::Db> + ConvertColumns<D::Db> {
    fn find(
        pool: &sqlx::Pool<D::Db>,
        sql: String,
    ) -> impl Future<Output = Result<Option<Customer>, sqlx::Error>> + Send;
}

macro_rules! rows {
    ($($kind:ty),*) => {$(
        impl Row<$kind> for Customer {
            async fn find(
                pool: &sqlx::Pool<<$kind as crate::support::db::TestDb>::Db>,
                sql: String,
            ) -> Result<Option<Customer>, sqlx::Error> {
                sqlx::query_as(AssertSqlSafe(sql)).fetch_optional(pool).await
            }
        }
    )*};
}

rows!(crate::support::db::PostgresDb, crate::support::db::MySqlDb, crate::support::db::SqliteDb);

impl<D: Sql> Customers<D::Db> for SqlCustomers<D>
where
    Customer: Row<D>,
{
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        let columns = self.columns.select::<Customer, D::Db>();
        let copied = self.columns.copied::<Customer, D::Db>();
        let sql = format!("SELECT {columns} FROM customer WHERE id = {id} AND {copied}");
        <Customer as Row<D>>::find(&self.pool, sql).await
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, customer: &Customer) -> Result<(), sqlx::Error> {
        self.columns.save(customer, tx).await
    }
}

async fn table<D: Sql>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, \
             email VARCHAR(40), email_address VARCHAR(40), email_copied BOOLEAN NOT NULL DEFAULT FALSE, \
             age VARCHAR(9), years BIGINT, age_copied BOOLEAN NOT NULL DEFAULT FALSE, \
             phone VARCHAR(40), phone_number VARCHAR(40), phone_copied BOOLEAN NOT NULL DEFAULT FALSE)",
    )
    .await;
    db.execute(
        "INSERT INTO customer (id, email, age, phone) VALUES (1, 'a@b.c', '36', '1'), (2, NULL, NULL, NULL)",
    )
    .await;
}

async fn marked<D: Sql>(db: &Scratch<D>) -> i64 {
    db.number("SELECT count(*) FROM customer WHERE email_copied = TRUE AND age_copied = TRUE AND phone_copied = TRUE")
        .await
}

async fn a_lazy_read_finds_null_and_copies_it_once<D: Sql>(db: Scratch<D>)
where
    Customer: Row<D>,
{
    table(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = Customer::copy_columns();
    let migration = runtime.migration("customers").backfill(copy).lazy().register().await.unwrap();
    let customers = DualCustomers::one_row(&migration, |columns| SqlCustomers::<D> {
        pool: db.pool().clone(),
        columns,
    });
    for stage in [Stage::DualWrite, Stage::Shadow] {
        migration.advance(stage).await.unwrap();
        let found = Customers::<D::Db>::find(&customers, 2).await.unwrap().unwrap();
        assert_eq!((found.email_address(), found.phone.as_deref()), (None, None), "{stage}");
        let found = Customers::<D::Db>::find(&customers, 1).await.unwrap().unwrap();
        assert_eq!(
            (found.email_address(), found.years().unwrap()),
            (Some("a@b.c"), Some(36)),
            "{stage}"
        );
    }
    migration.advance(Stage::Live).await.unwrap();
    assert_eq!(marked(&db).await, 0, "nothing is copied yet");
    for round in 0..2 {
        let found = Customers::<D::Db>::find(&customers, 2).await.unwrap();
        let found =
            found.unwrap_or_else(|| panic!("a customer without an address is a customer: {round}"));
        assert_eq!(
            (found.email_address(), found.years().unwrap(), found.phone.as_deref()),
            (None, None, None)
        );
    }
    assert_eq!(marked(&db).await, 1, "it is copied, and is NULL");
    let mut found = Customers::<D::Db>::find(&customers, 1).await.unwrap().unwrap();
    assert_eq!((found.email_address(), found.years().unwrap()), (Some("a@b.c"), Some(36)));
    // The address is removed: no later copy and no getter brings it back.
    found.clear_email_address();
    let mut tx = migration.begin(db.pool()).await.unwrap();
    customers.save(&mut tx, &found).await.unwrap();
    customers.save(&mut tx, &Customer { id: 3, ..Customer::default() }).await.unwrap();
    tx.commit().await.unwrap();
    let sql = "SELECT * FROM customer WHERE id = 1".to_owned();
    let row = <Customer as Row<D>>::find(db.pool(), sql).await.unwrap().unwrap();
    assert_eq!((row.email_address(), row.email_copied), (None, true));
    let sql = "SELECT count(*) FROM customer WHERE email_address IS NOT NULL OR email IS NOT NULL";
    assert_eq!(db.number(sql).await, 0);
    assert_eq!(marked(&db).await, 3, "what is written to new is marked");
    runtime.shutdown().await.unwrap();
}

async fn a_backfill_marks_rows_and_a_verification_names_those_that_are_not<D: Sql>(db: Scratch<D>)
where
    Customer: Row<D>,
{
    table(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = Customer::copy_columns();
    let migration = runtime.migration("customers").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().run().await.unwrap();
    assert_eq!((done.complete, done.failed), (true, 0));
    assert_eq!(marked(&db).await, 2);
    let again = migration.verify().run().await.unwrap();
    assert!(again.is_clean(), "{again:?}");
    db.execute("UPDATE customer SET phone_copied = FALSE WHERE id = 2").await;
    assert_eq!(migration.verify().run().await.unwrap().keys, ["2"]);
    migration.verify().repair().run().await.unwrap();
    assert_eq!(marked(&db).await, 2);
    runtime.shutdown().await.unwrap();
}
