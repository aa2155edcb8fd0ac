//! Rows whose values do not fit the mapping: counted as different and named, waived where somebody says so; the rest is
//! verified, and copied.

use dualwrite::{
    Compare, CopySql, Dual, DualTable as _, Mapping, Runtime, Stage,
    copy::{ConvertColumns, KeySource},
};

use crate::support::db::{PostgresDb, Scratch, TestDb as _, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    a_row_of_other_types_is_named_and_the_rest_is_verified,
    an_expression_that_fails_on_a_row_names_it,
    a_row_that_rust_cannot_read_is_named,
);

#[derive(Dual)]
#[dual(table = "prices", key = "id")]
struct Price {
    id: i64,
    #[dual(new = cents, forward = to_cents, backward = from_cents)]
    price: f64,
    cents: Option<i64>,
}

fn to_cents(price: f64) -> i64 {
    (price * 100.0).round() as i64
}

fn from_cents(cents: i64) -> f64 {
    cents as f64 / 100.0
}

async fn a_row_of_other_types_is_named_and_the_rest_is_verified<D: Sql>(db: Scratch<D>)
where
    Price: ConvertColumns<D::Db>,
{
    if D::NAME != "sqlite" {
        return; // elsewhere a column holds values of its type alone
    }
    // Without a type the column keeps what it is given.
    db.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, price, cents INTEGER)").await;
    for id in 1..=30 {
        db.execute(&format!("INSERT INTO prices VALUES ({id}, {id}.5, NULL)")).await;
    }
    db.execute("UPDATE prices SET price = 7 WHERE id = 7").await;
    db.execute("UPDATE prices SET price = 'PLANTED' WHERE id = 8").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = Price::copy_columns();
    let migration = runtime.migration("prices").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().run().await.unwrap();
    assert!(done.complete && (1..=2).contains(&done.failed), "{done:?}");
    let letters = migration.dead_letters().await.unwrap();
    assert!(letters.iter().any(|letter| letter.key == "8"), "{letters:?}");
    assert!(!format!("{letters:?}").contains("PLANTED"), "{letters:?}");
    let report = migration.verify().run().await.unwrap();
    assert_eq!((report.compared, report.differing), (30, done.failed));
    assert!(report.keys.contains(&"8".to_owned()));
    for key in &report.keys {
        let key: i64 = key.parse().unwrap();
        migration.waive(&key).by("ada").because("a test account").await.unwrap();
    }
    let report = migration.verify().run().await.unwrap();
    assert_eq!((report.differing, report.waived), (0, done.failed), "{report:?}");
    runtime.shutdown().await.unwrap();
}

async fn an_expression_that_fails_on_a_row_names_it<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE old_day (id BIGINT PRIMARY KEY, day VARCHAR(40) NOT NULL);
         CREATE TABLE new_day (id BIGINT PRIMARY KEY, day VARCHAR(40) NOT NULL)",
    )
    .await;
    for id in 1..=60 {
        db.execute(&format!("INSERT INTO old_day VALUES ({id}, '2001-01-{:02}')", id % 28 + 1))
            .await;
    }
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("old_day").column("id"))
        .new_source(KeySource::table("new_day").column("id"))
        .copying(D::sql(
            "INSERT INTO new_day SELECT r.id, r.day FROM {rows} r WHERE true \
             ON CONFLICT (id) DO UPDATE SET day = excluded.day",
            "INSERT INTO new_day SELECT r.id, r.day FROM {rows} r \
             ON CONFLICT (id) DO UPDATE SET day = excluded.day",
            "INSERT INTO new_day SELECT r.id, r.day FROM {rows} r \
             ON DUPLICATE KEY UPDATE day = VALUES(day)",
        ))
        .compared_by(|| {
            let date = D::sql(
                "date(day)",
                "CAST(day AS date)",
                "JSON_EXTRACT(CONCAT('[\"', day, '\"]'), '$[0]')",
            );
            Mapping::new().expression("day", date, date)
        });
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("days").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    db.execute("UPDATE old_day SET day = 'PLANTED' WHERE id IN (9, 40)").await;
    db.execute("UPDATE new_day SET day = '1999-09-09' WHERE id = 20").await;
    db.execute("INSERT INTO new_day VALUES (70, '2001-01-01')").await;
    let report = migration.verify().run().await.unwrap();
    let mut keys = report.keys.clone();
    keys.sort();
    assert_eq!(keys, ["20", "40", "70", "9"]);
    runtime.shutdown().await.unwrap();
}

#[derive(sqlx::FromRow, Compare)]
struct Day {
    day: String,
}

async fn a_row_that_rust_cannot_read_is_named<D: Sql>(db: Scratch<D>)
where
    Day: for<'r> sqlx::FromRow<'r, <D::Db as sqlx::Database>::Row>,
{
    // SQLite reads NULL as an empty text.
    let no_text = D::sql("X'ff'", "NULL", "NULL");
    for table in ["old_day", "new_day"] {
        db.execute(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, day VARCHAR(40))")).await;
        db.execute(&format!("INSERT INTO {table} VALUES (1, 'a'), (2, {no_text}), (3, 'c')")).await;
    }
    db.execute("UPDATE new_day SET day = 'd' WHERE id = 3").await;
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("old_day").column("id"))
        .new_source(KeySource::table("new_day").column("id"))
        .copying("INSERT INTO new_day SELECT r.id, r.day FROM {rows} r")
        .compared_by(|| Mapping::new().rows::<Day, Day>(&["day"], &["day"]));
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("days").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let report = migration.verify().run().await.unwrap();
    assert_eq!((report.compared, report.keys), (3, vec!["2".to_owned(), "3".to_owned()]));
    assert_eq!(report.fields["(unreadable)"], 1);
    runtime.shutdown().await.unwrap();
}

/// `jsonb` takes less than `json`: what cannot be compared as a value is repaired all the same, and so is the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_goes_on_past_rows_that_cannot_be_compared_on_postgres() {
    let db = PostgresDb::fresh("unfit_repair").await.unwrap();
    db.execute(
        "CREATE TABLE old_day (id bigint PRIMARY KEY, day json);
         CREATE TABLE new_day (id bigint PRIMARY KEY, day json);
         INSERT INTO old_day VALUES (1, '\"\\u0000\"'), (2, '1e999999'), (3, '[1]'), (4, NULL)",
    )
    .await;
    let copy = CopySql::<sqlx::Postgres, i64>::new(KeySource::table("old_day").column("id"))
        .new_source(KeySource::table("new_day").column("id"))
        .copying(
            "INSERT INTO new_day SELECT r.id, r.day FROM {rows} r \
             ON CONFLICT (id) DO UPDATE SET day = excluded.day",
        )
        .compared_by(|| Mapping::new().column("day", "day"));
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("days").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    db.execute("UPDATE new_day SET day = '{}'").await;
    assert_eq!(migration.verify().run().await.unwrap().differing, 4);
    let repaired = migration.verify().repair().run().await.unwrap();
    assert_eq!((repaired.copied, repaired.failures), (4, Vec::new()));
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}
