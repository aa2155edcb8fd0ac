//! NOT NULL and defaults of new columns, once everything is copied.

use std::marker::PhantomData;

use dualwrite::schema::{Folder, Level, SqlDialect};
use dualwrite::{Runtime, Stage, expand::Expand};
use sqlx::migrate::Migrate;

use super::world::{CopyEmail, migrate, write};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(new_columns_are_as_strict_as_old_ones_once_all_is_copied);

fn expand() -> Expand {
    Expand::new()
        .rename("customer", "email", "email_address")
        .retype("customer", "state", "status", "varchar(20)")
        .not_null("status")
        .default_value("status", "'active'")
}

async fn tighten(url: &str, more: &[&str]) -> (u8, String) {
    let arguments = ["dualwrite", "--database", url, "expand", "tighten", "customers"];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = [&arguments[..], more].concat();
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    out.extend(err);
    (code, String::from_utf8(out).unwrap())
}

async fn new_columns_are_as_strict_as_old_ones_once_all_is_copied<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    db.execute(
        "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(60) DEFAULT 'none' NOT NULL, state VARCHAR(9));
         INSERT INTO customer (id, email, state) VALUES (1, 'a@example.com', 'a'), (2, 'b@example.com', 'b')",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("customers").expand(expand());
    let migration = registration.backfill(CopyEmail::<D>(PhantomData)).register().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("expand"), folder.path().join("tighten"));
    std::fs::create_dir(&first).unwrap();
    write(&first, &migration.expand().plan().await.unwrap().files(1));
    migrate(&db, &first, false).await;

    // Too early: rows without a value, and a stage in which the old side alone may be written.
    let checks = async || {
        let plan = migration.expand().tighten().await.unwrap();
        let found = plan.by_hand.iter().map(|one| one.check.clone()).collect::<Vec<_>>();
        (plan, found)
    };
    let (_, early) = checks().await;
    assert!(early.contains(&"tighten_early".to_owned()), "{early:?}");
    assert!(early.contains(&"tighten_null".to_owned()), "{early:?}");
    let (url, into) = (&*db.url(), second.to_str().unwrap());
    let (code, out) = tighten(url, &["--into", into, "--version", "50"]).await;
    assert!(code == 1 && !second.exists(), "nothing is written: {out}");
    assert!(out.contains("apply these statements at complete"), "{out}");

    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    db.execute("UPDATE customer SET status = state").await;
    assert!(migration.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
    }
    let (plan, left) = checks().await;
    if D::NAME == "sqlite" {
        assert!(plan.statements.is_empty());
        assert_eq!(left, ["tighten_not_null", "tighten_not_null"]);
        runtime.shutdown().await.unwrap();
        return;
    }
    assert!(left.is_empty(), "{left:?}");
    db.execute("UPDATE customer SET status = NULL WHERE id = 2").await;
    assert_eq!(checks().await.1, ["tighten_null"]);
    db.execute("UPDATE customer SET status = 'b' WHERE id = 2").await;
    let (code, out) = tighten(url, &["--into", into, "--version", "50"]).await;
    assert_eq!(code, 0, "{out}");
    let dialect = if D::NAME == "mysql" { SqlDialect::Mysql } else { SqlDialect::Postgres };
    for statement in Folder::read(&second).unwrap().check(dialect) {
        let counts = statement.fails_at(Level::Blocking);
        assert!(!counts, "{statement:?}");
    }
    // One folder for both, as an application has.
    for file in std::fs::read_dir(&second).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), first.join(file.file_name())).unwrap();
    }
    migrate(&db, &first, false).await;
    db.execute("INSERT INTO customer (id, email) VALUES (3, 'c@example.com')").await;
    let row = db.rows("SELECT email_address, status FROM customer WHERE id = 3").await;
    assert_eq!(row, [[Some("none".to_owned()), Some("active".to_owned())]]);
    for column in ["email_address", "status"] {
        let insert = format!("UPDATE customer SET {column} = NULL WHERE id = 1");
        assert!(D::execute(db.pool(), &insert).await.is_err(), "{column} takes a NULL");
    }
    assert!(checks().await.0.statements.is_empty(), "everything is there");
    assert!(migration.expand().check().await.unwrap().findings.is_empty());
    migrate(&db, &first, true).await;
    let schema = if D::NAME == "mysql" { "database()" } else { "current_schema()" };
    let columns = format!(
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'customer' \
         AND table_schema = {schema} AND column_name IN ('email_address', 'status')"
    );
    assert_eq!(db.number(&columns).await, 0, "the way back is whole");
    runtime.shutdown().await.unwrap();
}
