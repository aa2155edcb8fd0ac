//! A key that becomes another, an integer a UUID: refused by name, and the way round that the guide shows.

use dualwrite::{
    Backend, CopySql, ErrorKind, Gate, Mapping, Migration, Runtime, Stage, Tx, copy::KeySource,
    preflight::FindingLevel,
};

use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    an_integer_that_becomes_a_uuid_is_refused_by_name,
    a_key_change_shuts_the_gate_of_an_instance_that_joins_later,
    the_old_key_as_a_column_of_the_new_table_leads_to_complete,
);

fn uuid<D: TestDb>() -> &'static str {
    D::sql("TEXT", "uuid", "BINARY(16)")
}

fn by_id<D: TestDb>(new_key: &str) -> CopySql<D::Db, i64> {
    CopySql::new(KeySource::table("customer").column("id"))
        .new_source(KeySource::table("customer_new").column(new_key))
        .copying("INSERT INTO customer_new SELECT r.uid, r.id, r.name FROM {rows} r")
}

async fn an_integer_that_becomes_a_uuid_is_refused_by_name<D: TestDb>(db: Scratch<D>) {
    let uuid = uuid::<D>();
    db.execute("CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40))").await;
    db.execute(&format!(
        "CREATE TABLE customer_new (id {uuid} NOT NULL PRIMARY KEY, name VARCHAR(40))"
    ))
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let error = runtime.migration("m").backfill(by_id::<D>("id")).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    for part in
        ["key_change", "table `customer_new`, column `id`", "new_source", "Keys that change"]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!text.contains("table `customer`,"), "the old side has its key: {text}");
    runtime.shutdown().await.unwrap();
}

async fn a_key_change_shuts_the_gate_of_an_instance_that_joins_later<D: TestDb>(db: Scratch<D>) {
    db.execute("CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40))").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("m").backfill(by_id::<D>("id")).register().await.unwrap();
    let uuid = uuid::<D>();
    db.execute(&format!(
        "CREATE TABLE customer_new (id {uuid} NOT NULL PRIMARY KEY, name VARCHAR(40))"
    ))
    .await;
    let error = migration.advance(Stage::DualWrite).await.unwrap_err();
    let blocker = error.blockers().iter().find(|found| found.gate == Gate::Preflight).unwrap();
    assert!(blocker.reason.contains("column `id`"), "{}", blocker.reason);
    let found = migration.preflight().await.unwrap().findings;
    let named: Vec<_> = found.iter().filter(|found| found.level == FindingLevel::Refuse).collect();
    assert_eq!(named.len(), 1, "{found:?}");
    assert_eq!(named[0].check, "key_change");
    runtime.shutdown().await.unwrap();
}

#[dualwrite::repository]
trait Customers<DB: Backend> {
    #[read(key = id)]
    async fn name(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64, name: &str) -> Result<(), sqlx::Error>;
}

struct Table<D: Sql> {
    name: &'static str,
    id: &'static str,
    pool: sqlx::Pool<D::Db>,
}

impl<D: Sql> Customers<D::Db> for Table<D> {
    async fn name(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        let Self { name, id: column, .. } = self;
        let sql = format!("SELECT name FROM {name} WHERE {column} = {id}");
        Ok(D::rows(&self.pool, &sql).await?.pop().and_then(|mut row| row.pop().flatten()))
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64, name: &str) -> Result<(), sqlx::Error> {
        let Self { name: table, id: column, .. } = self;
        D::run(tx, &format!("DELETE FROM {table} WHERE {column} = {id}")).await?;
        let uid = literal::<D>(id);
        let sql =
            format!("INSERT INTO {table} (uid, {column}, name) VALUES ({uid}, {id}, '{name}')");
        D::run(tx, &sql).await.map(drop)
    }
}

/// The service makes the new key, once for both sides.
fn literal<D: TestDb>(id: i64) -> String {
    let text = format!("00000000-0000-4000-8000-{id:012}");
    match D::NAME {
        "mysql" => format!("X'{}'", text.replace('-', "")),
        _ => format!("'{text}'"),
    }
}

async fn the_old_key_as_a_column_of_the_new_table_leads_to_complete<D: Sql>(db: Scratch<D>) {
    let uuid = uuid::<D>();
    db.execute(&format!(
        "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, uid {uuid} NOT NULL UNIQUE, name VARCHAR(40));
         CREATE TABLE customer_new (uid {uuid} NOT NULL PRIMARY KEY, legacy_id BIGINT NOT NULL UNIQUE, name VARCHAR(40))"
    ))
    .await;
    for id in 1..=20 {
        let uid = literal::<D>(id);
        db.execute(&format!(
            "INSERT INTO customer (id, uid, name) VALUES ({id}, {uid}, 'name {id}')"
        ))
        .await;
    }
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("customer").column("id"))
        .new_source(KeySource::table("customer_new").column("legacy_id"))
        .copying("DELETE FROM customer_new WHERE legacy_id IN (SELECT r.id FROM {rows} r)")
        .copying(
            "INSERT INTO customer_new (uid, legacy_id, name) SELECT r.uid, r.id, r.name FROM {rows} r",
        )
        .removing(
            "DELETE FROM customer_new WHERE {legacy_id} \
             AND NOT EXISTS (SELECT 1 FROM customer WHERE customer.id = customer_new.legacy_id)",
        )
        .compared_by(|| Mapping::new().column("name", "name").column("uid", "uid"));
    let migration: Migration = runtime.migration("m").backfill(copy).register().await.unwrap();
    let refused = migration.preflight().await.unwrap().findings;
    assert!(!refused.iter().any(|found| found.level == FindingLevel::Refuse), "{refused:?}");
    let table = |name, id| Table::<D> { name, id, pool: db.pool().clone() };
    let customers =
        DualCustomers::new(&migration, table("customer", "id"), table("customer_new", "legacy_id"));
    let save = async |id, name: String| {
        let mut tx = migration.begin(db.pool()).await.unwrap();
        customers.save(&mut tx, id, &name).await.unwrap();
        tx.commit().await.unwrap();
    };
    migration.advance(Stage::DualWrite).await.unwrap();
    save(7, "renamed".to_owned()).await;
    save(21, "born".to_owned()).await;
    let done = migration.backfill().batch(6).run().await.unwrap();
    assert_eq!((done.complete, done.failed), (true, 0));
    assert!(migration.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
        save(8, format!("at {stage}")).await;
        assert_eq!(customers.name(8).await.unwrap(), Some(format!("at {stage}")));
    }
    assert_eq!(db.number("SELECT count(*) FROM customer_new").await, 21);
    let by_uid = format!(
        "SELECT count(*) FROM customer_new WHERE uid = {} AND name = 'renamed'",
        literal::<D>(7)
    );
    assert_eq!(db.number(&by_uid).await, 1, "callers go over to the new key");
    runtime.shutdown().await.unwrap();
}
