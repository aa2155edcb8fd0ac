//! A table with something of everything, and a migration that moves all of it.

use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use dualwrite::{
    BoxError, Copied, CopyKeys, Gate, Migration, Move, Runtime, Stage, Tx,
    contract::SchemaFile,
    copy::KeySource,
    expand::{Expand, NewTable},
};
use sqlx::migrate::{Migrate, Migrator};

use crate::support::db::{Rows, Scratch};
use crate::support::sql::Sql;

/// What is old: a column under a rule of every kind, and some to be changed in every way.
pub(super) async fn old_tables<D: Sql>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE owner (id BIGINT PRIMARY KEY);
         CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(60) NOT NULL, age VARCHAR(10), \
         full_name VARCHAR(80), area VARCHAR(10), number VARCHAR(20), tags TEXT, owner_id BIGINT, \
         CONSTRAINT has_email CHECK (email <> ''), FOREIGN KEY (owner_id) REFERENCES owner (id));
         CREATE UNIQUE INDEX customer_email ON customer (email);
         CREATE INDEX customer_age ON customer (age);
         CREATE INDEX customer_owner ON customer (owner_id, id);
         INSERT INTO owner (id) VALUES (1);
         INSERT INTO customer (id, email, owner_id) VALUES (1, 'a@example.com', 1), (2, 'b@example.com', NULL)",
    )
    .await;
    if D::NAME == "postgres" {
        let partial =
            "CREATE INDEX customer_com ON customer (lower(email)) WHERE email LIKE '%.com'";
        db.execute(partial).await;
    }
}

pub(super) fn expand() -> Expand {
    Expand::new()
        .rename("customer", "email", "email_address")
        .rename("customer", "owner_id", "account_id")
        .retype("customer", "age", "age_years", "integer")
        .split(
            "customer",
            "full_name",
            [("first_name", "varchar(40)"), ("last_name", "varchar(40)")],
        )
        .merge("customer", ["area", "number"], "phone", "varchar(30)")
        .index("customer", ["last_name", "first_name"])
        .table(
            NewTable::of("customer", "customer_tag")
                .key("id", "customer_id")
                .key_column("position", "integer")
                .column(["tags"], "tag", "varchar(40)")
                .rename("email", "owner_email")
                .references(),
        )
        .index("customer_tag", ["tag"])
}

pub(super) struct CopyEmail<D>(pub(super) PhantomData<fn() -> D>);

impl<D: Sql> CopyKeys for CopyEmail<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("customer").column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(self.source())
    }

    async fn differing(&self, _: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Vec<i64>, BoxError> {
        Ok(Vec::new())
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        for id in keys {
            D::run(tx, &format!("UPDATE customer SET email_address = email WHERE id = {id}"))
                .await?;
        }
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }
}

pub(super) async fn migration<D: Sql>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("customers").expand(expand());
    let copy = CopyEmail::<D>(PhantomData);
    let migration = registration.backfill(copy).register().await.unwrap();
    (runtime, migration)
}

/// Applies the files of a folder, or takes them back.
pub(super) async fn migrate<D: Sql>(db: &Scratch<D>, folder: &Path, back: bool)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let migrator = Migrator::new(folder.to_owned()).await.unwrap();
    let done = match back {
        true => migrator.undo(db.pool(), 0).await,
        false => migrator.run(db.pool()).await,
    };
    done.unwrap_or_else(|error| panic!("{}: {error}", D::NAME));
}

pub(super) fn write(folder: &Path, files: &[SchemaFile]) {
    for file in files {
        fs::write(folder.join(&file.name), &file.text).unwrap();
    }
}

/// Everything that the catalogue says of columns, indexes and rules of the application's tables.
pub(super) async fn catalogue<D: Sql>(db: &Scratch<D>) -> Rows {
    db.rows(D::sql(
        "SELECT type, name, sql FROM sqlite_schema \
         WHERE name NOT LIKE '%dualwrite%' AND name NOT LIKE '%sqlx%' AND name NOT LIKE 'sqlite%' ORDER BY 1, 2",
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relname ~ '^(customer|owner)' \
         UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '' FROM pg_constraint \
         WHERE conrelid::regclass::text ~ '^(customer|owner)' ORDER BY 1, 2, 3",
        "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(column_type AS CHAR), CAST(is_nullable AS CHAR) \
         FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name NOT LIKE '%dualwrite%' \
         AND table_name NOT LIKE '%sqlx%' \
         UNION ALL SELECT CAST(table_name AS CHAR), CAST(index_name AS CHAR), CAST(column_name AS CHAR), \
         CAST(seq_in_index AS CHAR) FROM information_schema.statistics WHERE table_schema = DATABASE() \
         AND table_name NOT LIKE '%dualwrite%' AND table_name NOT LIKE '%sqlx%' ORDER BY 1, 2, 3",
    ))
    .await
}

/// `DualWrite` is refused by the one gate, for these reasons.
pub(super) async fn refused(migration: &Migration) -> Vec<String> {
    let found = migration.readiness(Move::Advance(Stage::DualWrite)).await.unwrap();
    let found = found.iter().filter(|blocker| blocker.gate != Gate::Drained);
    let reasons: Vec<String> = found
        .map(|blocker| {
            assert_eq!(blocker.gate, Gate::Expanded, "{blocker}");
            blocker.reason.clone()
        })
        .collect();
    assert!(!reasons.is_empty(), "nothing stands against it");
    reasons
}
