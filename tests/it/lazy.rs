//! Lazy migration on read: a key that new misses is copied when it is read, once.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use std::marker::PhantomData;

use dualwrite::{Backend, BoxError, Copied, CopyKeys, Isolation, Stage, Tx, copy::KeySource};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::log::{Log, listen};
use crate::support::notes::{Notes, World, lazy, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_missing_key_is_copied_once_however_many_read_it,
    where_the_copy_fails_old_answers,
    a_copy_that_fails_is_logged_with_what_the_database_said,
    what_new_has_lost_again_is_copied_again,
    after_the_backfill_nothing_is_looked_for,
    nothing_is_copied_at_complete,
    without_lazy_nothing_is_copied,
    a_snapshot_from_before_a_write_is_never_copied,
    where_nothing_tells_how_old_a_snapshot_is_the_copy_is_refused,
);

async fn a_missing_key_is_copied_once_however_many_read_it<D: Sql>(db: Scratch<D>) {
    let world = Arc::new(World::with(db, Stage::Live, 5, lazy).await);
    world.copying.hold();
    let readers = (0..20).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.notes.find(3).await.unwrap() })
    });
    let readers: Vec<_> = readers.collect();
    world.copying.reached().await;
    // The others come meanwhile: the row is not there before the copy that is held.
    for _ in 0..300 {
        let sql = "SELECT count(*) FROM old_note";
        assert_eq!(world.db.number(sql).await, 5);
    }
    world.copying.let_go();
    for reader in readers {
        assert_eq!(reader.await.unwrap().as_deref(), Some("word 3"));
    }
    // Readers that come after the copy find the row; those that come before it wait for it.
    assert_eq!(world.copies.load(SeqCst), 1);
    assert_eq!(world.words().await[1], ["word 3"]);
    assert_eq!(world.notes.find(77).await.unwrap(), None);
}

async fn where_the_copy_fails_old_answers<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 0, lazy).await;
    world.save(1, "poison").await;
    for stage in [Stage::DualWrite, Stage::Shadow, Stage::Live] {
        world.migration.advance(stage).await.unwrap();
    }
    assert_eq!(world.notes.find(1).await.unwrap().as_deref(), Some("poison"));
    let letters = world.migration.dead_letters().await.unwrap();
    assert_eq!((letters.len(), letters[0].error.as_str()), (1, "note 1 cannot be copied"));
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.lazy_failed, status.dead_letters), (1, 1));
}

async fn a_copy_that_fails_is_logged_with_what_the_database_said<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 1, lazy).await;
    world.db.execute("DROP TABLE new_note").await;
    world.db.execute("CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL, more BIGINT NOT NULL)").await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let guard = listen(subscriber.finish());
    assert_eq!(world.notes.find(1).await.unwrap().as_deref(), Some("word 1"));
    drop(guard);
    let log = log.text();
    let warned = log.lines().find(|line| line.contains("lazy copy failed")).unwrap();
    assert!(warned.contains("cause=\""), "{warned}");
    assert!(warned.contains(D::sql("NOT NULL", "23502", "NOT NULL")), "{warned}");
    assert!(!warned.contains("word 1"), "{warned}");
}

/// What one copy came to is for those who waited for it, and for no later reader.
async fn what_new_has_lost_again_is_copied_again<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 5, lazy).await;
    for copies in 1..=3 {
        assert_eq!(world.notes.find(3).await.unwrap().as_deref(), Some("word 3"));
        assert_eq!(world.copies.load(SeqCst), copies);
        assert_eq!(world.words().await[1], ["word 3"]);
        world.db.execute("DELETE FROM new_note").await;
    }
    // Nor is a failure.
    world.db.execute("UPDATE old_note SET word = 'poison' WHERE id = 4").await;
    assert_eq!(world.notes.find(4).await.unwrap().as_deref(), Some("poison"));
    world.db.execute("UPDATE old_note SET word = 'cured' WHERE id = 4").await;
    assert_eq!(world.notes.find(4).await.unwrap().as_deref(), Some("cured"));
    assert_eq!(world.words().await[1], ["cured"]);
}

async fn after_the_backfill_nothing_is_looked_for<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 5, lazy).await;
    world.migration.backfill().run().await.unwrap();
    let copies = world.copies.load(SeqCst);
    assert_eq!(world.notes.find(77).await.unwrap(), None);
    assert_eq!(world.copies.load(SeqCst), copies);
}

async fn nothing_is_copied_at_complete<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 5, lazy).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::RampDown).await.unwrap();
    world.migration.advance(Stage::Complete).await.unwrap();
    // Deleted since; old still has it.
    world.db.execute("DELETE FROM new_note WHERE id = 3").await;
    assert_eq!(world.notes.find(3).await.unwrap(), None);
    assert!(!world.migration.copy(&3_i64).await.unwrap());
    assert_eq!(world.notes.find(3).await.unwrap(), None);
}

async fn without_lazy_nothing_is_copied<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 5, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    world.db.execute("DELETE FROM new_note WHERE id = 3").await;
    world.migration.advance(Stage::Shadow).await.unwrap();
    world.migration.advance(Stage::Live).await.unwrap();
    assert_eq!(world.notes.find(3).await.unwrap(), None);
}

/// Notes that are read inside a transaction.
#[dualwrite::repository]
trait Inside<DB: Backend> {
    #[read(key = id, lazy)]
    async fn word(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<Option<String>, sqlx::Error>;
}

struct Table<D>(&'static str, PhantomData<fn() -> D>);

impl<D: Sql> Inside<D::Db> for Table<D> {
    async fn word(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<Option<String>, sqlx::Error> {
        let sql = format!("SELECT word FROM {} WHERE id = {id} AND word IS NOT NULL", self.0);
        Ok(D::texts(tx, &sql).await?.pop())
    }
}

/// Above READ COMMITTED a transaction may see what the rows were when it began to read. A note is changed,
/// or born, after that; then it is read there, and new seems to lack it.
async fn a_snapshot_from_before_a_write_is_never_copied<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 9, lazy).await;
    let table = |name| Table::<D>(name, PhantomData);
    let notes = DualInside::new(&world.migration, table("old_note"), table("new_note"));
    let levels = [Isolation::RepeatableRead, Isolation::Serializable];
    for (level, [changed, born]) in levels.into_iter().zip([[3_i64, 50], [4, 51]]) {
        for id in [changed, born] {
            if D::NAME == "sqlite" {
                world.save(id, "newer").await; // it has one writer at a time, and no older snapshot
            }
            let mut tx = world.migration.begin_at(world.db.pool(), level).await.unwrap();
            D::texts(&mut tx, "SELECT word FROM new_note WHERE id = 1").await.unwrap();
            if D::NAME != "sqlite" {
                world.save(id, "newer").await;
            }
            // Or the database refuses what comes too late: then the caller begins again.
            if notes.word(&mut tx, id).await.is_ok() {
                let _ = tx.commit().await;
            } else {
                drop(tx);
            }
            for table in ["old_note", "new_note"] {
                let newer =
                    format!("SELECT count(*) FROM {table} WHERE id = {id} AND word = 'newer'");
                assert_eq!(world.db.number(&newer).await, 1, "{level:?}: {id} in {table}");
            }
        }
    }
}

/// Notes that are old and new at once, or of which nobody says where new is.
struct Untold<D: Sql> {
    source: &'static str,
    new_source: Option<&'static str>,
    copy: &'static str,
    database: PhantomData<fn() -> D>,
}

impl<D: Sql> CopyKeys for Untold<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table(self.source).column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        self.new_source.map(|table| KeySource::table(table).column("id"))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let mut copied = Copied::default();
        for id in keys {
            copied.migrated += D::run(tx, &format!("{} = {id}", self.copy)).await?;
        }
        Ok(copied)
    }
}

/// On MariaDB and MySQL a statement that locks a row sees a newer one than the snapshot, and so may the copy.
async fn where_nothing_tells_how_old_a_snapshot_is_the_copy_is_refused<D: Sql>(db: Scratch<D>) {
    let database = PhantomData;
    let one_row = Untold::<D> {
        source: "twin",
        new_source: Some("twin"),
        copy: "UPDATE twin SET new_word = old_word WHERE id",
        database,
    };
    db.execute(
        "CREATE TABLE twin (id BIGINT PRIMARY KEY, old_word VARCHAR(9), new_word VARCHAR(9)); \
         INSERT INTO twin VALUES (1, 'one', NULL), (2, 'two', NULL); \
         CREATE VIEW old_twin AS SELECT id, old_word AS word FROM twin; \
         CREATE VIEW new_twin AS SELECT id, new_word AS word FROM twin",
    )
    .await;
    let nowhere = Untold::<D> {
        source: "old_note",
        new_source: None,
        copy: "INSERT INTO new_note (id, word) SELECT id, word FROM old_note WHERE id",
        database,
    };
    let world = World::copying_by(db, Stage::Live, 2, lazy, nowhere).await;
    let registration = world.runtime.migration("twin").backfill(one_row).lazy();
    let both = registration.register().await.unwrap();
    for stage in [Stage::DualWrite, Stage::Shadow, Stage::Live] {
        both.advance(stage).await.unwrap();
    }
    let table = |name| Table::<D>(name, PhantomData);
    let repositories = [
        (&world.migration, DualInside::new(&world.migration, table("old_note"), table("new_note"))),
        (&both, DualInside::new(&both, table("old_twin"), table("new_twin"))),
    ];
    for (migration, notes) in repositories {
        let begin = |level| migration.begin_at(world.db.pool(), level);
        let mut tx = begin(Isolation::RepeatableRead).await.unwrap();
        let mut nested = tx.begin().await.unwrap();
        let read = notes.word(&mut nested, 1).await;
        if D::NAME == "mysql" {
            let error = read.unwrap_err();
            assert!(error.to_string().contains("begin at READ COMMITTED"), "{error}");
        } else {
            assert!(read.unwrap().is_some());
        }
        drop(nested);
        drop(tx);
        assert_eq!(migration.dead_letters().await.unwrap().len(), 0);
        for (id, level) in [(1, Isolation::ReadCommitted), (2, Isolation::Serializable)] {
            let mut tx = begin(level).await.unwrap();
            assert!(notes.word(&mut tx, id).await.unwrap().is_some(), "{level:?}");
            tx.commit().await.unwrap();
        }
    }
}
