//! The control tables that are shipped: each migration file has the checksum that is committed. After the first release a
//! file that was shipped does not change any more; what is new goes into the next file.

use std::fmt::Write as _;
use std::path::Path;

use dualwrite::{ErrorKind, Runtime, Stage};
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};

use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

on_all_databases!(a_next_control_migration_goes_on_top_of_the_shipped_one,);

const RECORDED: &str = include_str!("checksums/control.txt");
const RENEW: &str = "UPDATE=1 cargo test --test it checksums";

/// A line for each shipped file: database, version, checksum as sqlx stores it.
async fn shipped() -> String {
    let mut found = String::new();
    for database in ["mysql", "postgres", "sqlite"] {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("dualwrite/migrations").join(database);
        let files = std::fs::read_dir(&folder).unwrap().count();
        let migrator = Migrator::new(folder).await.unwrap();
        assert_eq!(migrator.iter().count(), files, "sqlx does not see each file of {database}");
        for migration in migrator.iter() {
            let checksum = migration.checksum.iter().fold(String::new(), |mut text, byte| {
                _ = write!(text, "{byte:02x}");
                text
            });
            _ = writeln!(found, "{database} {:04} {checksum}", migration.version);
        }
    }
    found
}

#[tokio::test]
async fn shipped_control_migrations_have_the_checksums_that_are_committed() {
    let found = shipped().await;
    if std::env::var_os("UPDATE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/checksums/control.txt");
        return std::fs::write(file, found).unwrap();
    }
    assert!(
        found == RECORDED,
        "a control migration was changed. Before the first release: `{RENEW}`. After it: take the change back, and write \
         a file `0002_….sql` for each database\n{found}"
    );
}

/// The shipped control migrations of a database, and one that a next release would bring.
async fn of_the_next_release<D: TestDb>() -> Migrator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dualwrite/migrations").join(D::NAME);
    let mut all: Vec<Migration> = Migrator::new(folder).await.unwrap().iter().cloned().collect();
    let version = all.last().unwrap().version + 1;
    let sql = "ALTER TABLE dualwrite_migration ADD COLUMN of_the_next_release VARCHAR(20)";
    let sql = sql.into_sql_str();
    all.push(Migration::new(version, "next".into(), MigrationType::Simple, sql, false));
    let mut migrator = Migrator::with_migrations(all);
    migrator.dangerous_set_table_name("_dualwrite_migrations");
    migrator
}

/// A release brings the next control migration while instances of this one run: what is there stays, they go on, and who
/// starts with this release from then on gets an error with the reason.
async fn a_next_control_migration_goes_on_top_of_the_shipped_one<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let world = World::with(db, Stage::DualWrite, 5, plain).await;
    world.migration.backfill().run().await.unwrap();
    let mut next = of_the_next_release::<D>().await;
    next.set_locking(false); // sqlx's own lock waits for ever on MariaDB
    for _ in 0..2 {
        next.run(world.db.pool()).await.unwrap(); // a second time there is nothing to do
    }
    let versions = "SELECT count(*) FROM _dualwrite_migrations";
    assert_eq!(world.db.number(versions).await, next.iter().count() as i64);

    world.save(9, "after").await;
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Shadow).await.unwrap();
    world.migration.advance(Stage::Live).await.unwrap();
    world.save(9, "later").await;
    let [old, new] = world.words().await;
    assert_eq!((old.len(), &old), (6, &new));

    let pool = world.db.another_pool(2).await;
    let refused = Runtime::builder(pool).start().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NewerControlTables, "{refused}");
    assert!(refused.to_string().contains("upgrade dualwrite in this process first"), "{refused}");
}
