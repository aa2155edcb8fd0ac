//! The sample migration between two tables, called by closures in place of a repository trait.

use dualwrite::testing::MigrationTest;
use futures_util::future::BoxFuture;

use super::accounts::{NEW, Names, OLD, Service, Value, literal, select, values};
use crate::support::sql::Sql;

fn upsert<D: Sql>((table, key, column): Names, id: i64, (email, visits): &Value) -> String {
    let email = literal::<D>(email.as_deref());
    format!(
        "DELETE FROM {table} WHERE {key} = {id}; \
         INSERT INTO {table} ({key}, {column}, visits) VALUES ({id}, {email}, {visits})"
    )
}

fn delete((table, key, _): Names, id: i64) -> String {
    format!("DELETE FROM {table} WHERE {key} = {id}")
}

/// Writes both sides, under the mark of a key.
async fn write<D: Sql>(
    service: &Service<D>,
    marked: i64,
    statement: impl Fn(Names) -> String,
) -> sqlx::Result<()> {
    let (old, new) = (statement(OLD), statement(NEW));
    let (old, new) = (old.as_str(), new.as_str());
    let mut tx = service.migration.begin(service.db.pool()).await?;
    let write = service.migration.write("write", &mut tx, &marked);
    let write = write.old(|mut tx| Box::pin(async move { D::run_on(&mut tx, old).await }));
    let write = write.new(|mut tx| Box::pin(async move { D::run_on(&mut tx, new).await }));
    write.run().await?;
    Ok(tx.commit().await?)
}

fn asking<D: Sql>(
    service: &Service<D>,
    names: Names,
    id: i64,
) -> impl Fn() -> BoxFuture<'static, sqlx::Result<Option<Value>>> + Send + Sync + 'static + use<D> {
    let pool = service.db.pool().clone();
    move || {
        let pool = pool.clone();
        Box::pin(async move {
            let sql = format!("{} WHERE {} = {id}", select(names), names.1);
            Ok(values(D::rows(&pool, &sql).await?).pop().map(|(_, value)| value))
        })
    }
}

async fn find<D: Sql>(service: &Service<D>, id: i64) -> sqlx::Result<Option<Value>> {
    let (old, new) = (asking(service, OLD, id), asking(service, NEW, id));
    service.migration.read("find", &id).old(old).new(new).run().await
}

/// The test; a write marks the key beside that of its row.
pub(super) fn test<D: Sql>(service: &Service<D>, beside: i64) -> MigrationTest<'_, i64, Value> {
    let pool = service.db.pool();
    MigrationTest::new(&service.migration)
        .write(async move |id: i64, value: Value| {
            write(service, id + beside, |names| upsert::<D>(names, id, &value)).await
        })
        .delete(async move |id| write(service, id + beside, |names| delete(names, id)).await)
        .read(async move |id| find(service, id).await)
        .old_rows(async || D::rows(pool, &select(OLD)).await.map(values))
        .new_rows(async || D::rows(pool, &select(NEW)).await.map(values))
        .spoil_new(async |id| service.spoil(id).await)
}
