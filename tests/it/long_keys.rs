//! Keys that are longer than the control tables record: no caller is hurt for that, nothing is lost in silence, and jobs
//! name them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dualwrite::{
    Backend, CopySql, ErrorKind, Gate, Mapping, Migration, Move, Percent, Registration, Runtime,
    Stage, Tx, copy::KeySource, verify::StaleKind,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    a_lazy_read_of_a_long_key_is_answered,
    a_mirror_that_fails_under_a_long_key_marks_the_table,
    a_mirror_that_is_read_does_not_fall_behind_under_a_long_key,
    a_bulk_that_brings_a_long_key_to_new_early_marks_the_table,
    jobs_name_a_long_key,
);

#[dualwrite::repository]
trait Documents<DB: Backend> {
    #[read(key = name, lazy)]
    async fn find(&self, name: &str) -> Result<Option<i64>, sqlx::Error>;
    #[read(key = name, lazy)]
    async fn find_in(&self, tx: &mut Tx<'_, DB>, name: &str) -> Result<Option<i64>, sqlx::Error>;
    #[write(key = name)]
    async fn save(&self, tx: &mut Tx<'_, DB>, name: &str, n: i64) -> Result<(), sqlx::Error>;
    #[write(keys = names)]
    async fn save_all(
        &self,
        tx: &mut Tx<'_, DB>,
        names: &[&str],
        n: i64,
    ) -> Result<(), sqlx::Error>;
}

struct Table<D: Sql> {
    name: &'static str,
    pool: sqlx::Pool<D::Db>,
    fails: Arc<AtomicBool>,
}

fn number(texts: impl IntoIterator<Item = String>) -> Option<i64> {
    texts.into_iter().next().map(|text| text.parse().unwrap())
}

impl<D: Sql> Table<D> {
    fn select(&self, name: &str) -> String {
        format!(
            "SELECT {} FROM {} WHERE name = '{name}'",
            D::sql("CAST(n AS TEXT)", "n::text", "CAST(n AS CHAR)"),
            self.name
        )
    }
}

impl<D: Sql> Documents<D::Db> for Table<D> {
    async fn find(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        Ok(number(D::rows(&self.pool, &self.select(name)).await?.into_iter().flatten().flatten()))
    }

    async fn find_in(
        &self,
        tx: &mut Tx<'_, D::Db>,
        name: &str,
    ) -> Result<Option<i64>, sqlx::Error> {
        Ok(number(D::texts(tx, &self.select(name)).await?))
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, name: &str, n: i64) -> Result<(), sqlx::Error> {
        if self.fails.load(SeqCst) {
            D::run(tx, "INSERT INTO nowhere VALUES (1)").await?;
        }
        let table = self.name;
        D::run(tx, &format!("DELETE FROM {table} WHERE name = '{name}'")).await?;
        D::run(tx, &format!("INSERT INTO {table} (name, n) VALUES ('{name}', {n})")).await.map(drop)
    }

    async fn save_all(
        &self,
        tx: &mut Tx<'_, D::Db>,
        names: &[&str],
        n: i64,
    ) -> Result<(), sqlx::Error> {
        for name in names {
            self.save(tx, name, n).await?;
        }
        Ok(())
    }
}

struct World<D: Sql> {
    db: Scratch<D>,
    _runtime: Runtime<D::Db>,
    migration: Migration,
    documents: DualDocuments<Table<D>, Table<D>>,
    old_fails: Arc<AtomicBool>,
    new_fails: Arc<AtomicBool>,
}

fn long() -> String {
    "n".repeat(600)
}

impl<D: Sql> World<D> {
    /// With the documents `short` and, where wanted, a long one in old, before the migration begins.
    async fn new(
        db: Scratch<D>,
        stage: Stage,
        options: fn(Registration<'_, D::Db>) -> Registration<'_, D::Db>,
        names: &[&str],
    ) -> Self {
        for table in ["old_doc", "new_doc"] {
            db.execute(&format!(
                "CREATE TABLE {table} (name VARCHAR(700) PRIMARY KEY, n BIGINT NOT NULL)"
            ))
            .await;
        }
        for name in names {
            db.execute(&format!("INSERT INTO old_doc VALUES ('{name}', 1)")).await;
        }
        let upsert = |to: &str, from: &str| -> &'static str {
            let sql = format!("INSERT INTO {to} SELECT d.name, d.n FROM {from} d ");
            let end = D::sql(
                "WHERE true ON CONFLICT (name) DO UPDATE SET n = excluded.n",
                "ON CONFLICT (name) DO UPDATE SET n = excluded.n",
                "ON DUPLICATE KEY UPDATE n = VALUES(n)",
            );
            Box::leak((sql + end).into_boxed_str())
        };
        let copy = CopySql::<D::Db, String>::new(KeySource::table("old_doc").column("name"))
            .new_source(KeySource::table("new_doc").column("name"))
            .copying(upsert("new_doc", "{rows}"))
            .removing(
                "DELETE FROM new_doc WHERE {name} \
                 AND NOT EXISTS (SELECT 1 FROM old_doc o WHERE o.name = new_doc.name)",
            )
            .copying_back(upsert("old_doc", "{rows}"))
            .removing_back(
                "DELETE FROM old_doc WHERE {name} \
                 AND NOT EXISTS (SELECT 1 FROM new_doc n WHERE n.name = old_doc.name)",
            )
            .compared_by(|| Mapping::new().column("n", "n"));
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let registration = options(runtime.migration("docs").backfill(copy));
        let migration = registration.register().await.unwrap();
        while migration.position().stage < stage {
            migration.advance(migration.position().stage.next().unwrap()).await.unwrap();
        }
        let (old_fails, new_fails) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let table = |name, fails: &Arc<AtomicBool>| Table {
            name,
            pool: db.pool().clone(),
            fails: Arc::clone(fails),
        };
        let (old, new) = (table("old_doc", &old_fails), table("new_doc", &new_fails));
        let documents = DualDocuments::new(&migration, old, new);
        Self { db, _runtime: runtime, migration, documents, old_fails, new_fails }
    }

    async fn stale(&self) -> Vec<StaleKind> {
        let stale = self.migration.status().await.unwrap().stale;
        stale.into_iter().map(|mark| mark.kind).collect()
    }

    async fn save(&self, name: &str, n: i64) -> Result<(), sqlx::Error> {
        let mut tx = self.migration.begin(self.db.pool()).await.unwrap();
        let saved = self.documents.save(&mut tx, name, n).await;
        let committed = tx.commit().await;
        assert_eq!(saved.is_ok(), committed.is_ok(), "{saved:?} {committed:?}");
        saved
    }

    async fn count(&self, table: &str, n: i64) -> i64 {
        self.db.number(&format!("SELECT count(*) FROM {table} WHERE n = {n}")).await
    }
}

async fn a_lazy_read_of_a_long_key_is_answered<D: Sql>(db: Scratch<D>) {
    let long = long();
    let world = World::new(db, Stage::Live, |one| one.lazy(), &["short", &long]).await;
    for name in ["short", &*long] {
        assert_eq!(world.documents.find(name).await.unwrap(), Some(1), "{} bytes", name.len());
        let mut tx = world.migration.begin(world.db.pool()).await.unwrap();
        assert_eq!(world.documents.find_in(&mut tx, name).await.unwrap(), Some(1));
        tx.commit().await.unwrap();
    }
    let read = world.migration.read("closures", &*long);
    let read = read.old(|| async { Ok::<_, sqlx::Error>(Some(1)) }).new(|| async { Ok(None) });
    assert_eq!(read.lazy().run().await.unwrap(), Some(1));
    assert_eq!(world.documents.find("nobody").await.unwrap(), None);
    assert_eq!(world.documents.find(&"m".repeat(600)).await.unwrap(), None);
    assert_eq!(world.count("new_doc", 1).await, 1, "the short one was copied");
    // A write of it goes to both sides, and each of them answers with that.
    world.save(&long, 2).await.unwrap();
    assert_eq!(world.documents.find(&long).await.unwrap(), Some(2));
    assert_eq!(world.count("new_doc", 2).await, 1);
}

async fn a_mirror_that_fails_under_a_long_key_marks_the_table<D: Sql>(db: Scratch<D>) {
    let world = World::new(db, Stage::DualWrite, |one| one, &["short"]).await;
    let long = long();
    world.new_fails.store(true, SeqCst);
    world.save(&long, 2).await.unwrap();
    assert_eq!((world.count("old_doc", 2).await, world.count("new_doc", 2).await), (1, 0));
    assert_eq!(world.stale().await, [StaleKind::Key]);
    assert_eq!(world.migration.status().await.unwrap().counters.mirror_failed, 1);
    world.db.execute("DELETE FROM dualwrite_stale").await;

    let mut tx = world.migration.begin(world.db.pool()).await.unwrap();
    world.documents.save_all(&mut tx, &["short", &long], 3).await.unwrap();
    // Inside the transaction, where no repair can take it yet.
    let marks = D::texts(&mut tx, "SELECT key_text FROM dualwrite_dirty").await.unwrap();
    assert_eq!(marks, ["\"short\""]);
    tx.commit().await.unwrap();
    assert_eq!(world.stale().await, [StaleKind::Key]);
    world.db.execute("DELETE FROM dualwrite_stale").await;

    let mut tx = world.migration.begin(world.db.pool()).await.unwrap();
    let written = world.migration.write("rename", &mut tx, &long);
    let written = written
        .old(|_| Box::pin(async { Ok::<(), sqlx::Error>(()) }))
        .new(|_| Box::pin(async { Err(sqlx::Error::RowNotFound) }));
    written.run().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.stale().await, [StaleKind::Key]);

    // New is not read before a verification has looked.
    world.new_fails.store(false, SeqCst);
    world.migration.advance(Stage::Shadow).await.unwrap();
    let blockers = world.migration.readiness(Move::Advance(Stage::Live)).await.unwrap();
    let verified = blockers.iter().find(|blocker| blocker.gate == Gate::Verified).unwrap();
    assert!(verified.reason.contains("too long"), "{}", verified.reason);
}

/// There a mark on the table would come too late: it fails as where the policy is to abort.
async fn a_mirror_that_is_read_does_not_fall_behind_under_a_long_key<D: Sql>(db: Scratch<D>) {
    let world = World::new(db, Stage::DualWrite, |one| one, &["short"]).await;
    let long = long();
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Shadow).await.unwrap();
    world.migration.ramp_to(Percent::new(1).unwrap()).await.unwrap();
    world.new_fails.store(true, SeqCst);
    world.save(&long, 2).await.unwrap_err();
    assert_eq!(world.count("old_doc", 2).await, 0);
    world.new_fails.store(false, SeqCst);
    world.migration.advance(Stage::Live).await.unwrap();

    world.save("short", 3).await.unwrap();
    world.old_fails.store(true, SeqCst);
    world.save(&long, 4).await.unwrap_err();
    assert_eq!(world.count("new_doc", 4).await, 0);
    world.save("short", 5).await.unwrap();
    assert_eq!((world.count("old_doc", 5).await, world.count("new_doc", 5).await), (0, 1));
    assert_eq!(world.stale().await, []);
    world.old_fails.store(false, SeqCst);
    world.save(&long, 6).await.unwrap();
    assert_eq!((world.count("old_doc", 6).await, world.count("new_doc", 6).await), (1, 1));
}

async fn a_bulk_that_brings_a_long_key_to_new_early_marks_the_table<D: Sql>(db: Scratch<D>) {
    let world = World::new(db, Stage::Off, |one| one, &[]).await;
    world.migration.ramp_to(Percent::new(50).unwrap()).await.unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("{n:02}{}", long())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut tx = world.migration.begin(world.db.pool()).await.unwrap();
    world.documents.save_all(&mut tx, &names, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((world.count("old_doc", 2).await, world.count("new_doc", 2).await), (20, 20));
    assert_eq!(world.stale().await, [StaleKind::Key]);
}

async fn jobs_name_a_long_key<D: Sql>(db: Scratch<D>) {
    let long = long();
    let world = World::new(db, Stage::DualWrite, |one| one, &["a", &long]).await;
    let error = world.migration.backfill().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert!(!error.is_retryable());
    for part in ["table `old_doc`", "column `name`", "602 bytes"] {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
    // A verification counts it by the beginning of its text, and a repair copies it.
    let report = world.migration.verify().batch(1).run().await.unwrap();
    assert_eq!((report.compared, report.missing_in_new), (2, 2));
    let key = report.keys.iter().find(|key| key.starts_with("\"nnn")).unwrap();
    assert!(key.len() < 512 && key.ends_with("…\""), "{key}");
    assert_eq!(world.migration.verify().repair().run().await.unwrap().copied, 2);
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    assert_eq!(world.count("new_doc", 1).await, 2);
}
