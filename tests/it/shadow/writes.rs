//! Writes that are read back and compared in their own transaction.

use std::marker::PhantomData;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dualwrite::{
    Backend, BoxError, Copied, CopyKeys, Migration, MirrorPolicy, Percent, Registration, Runtime,
    Stage, Tx,
    compare::Shown,
    copy::KeySource,
    shadow::{ComparedReport, ShadowRules, cohort},
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, FAILS, Notes, WORKS, World};
use crate::support::sql::Sql;
use crate::support::wait::until;

fn all<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.compare_writes(Percent::FULL)
}

fn strict<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    all(registration).mirror(MirrorPolicy::Abort)
}

pub(super) async fn compared(migration: &Migration, method: &str) -> ComparedReport {
    let methods = migration.status().await.unwrap().methods;
    let found = methods.iter().find(|found| found.method == method);
    found.map_or_else(ComparedReport::default, |found| found.compared)
}

on_all_databases!(what_both_sides_got_is_equal);

async fn what_both_sides_got_is_equal<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, strict).await;
    world.save(1, "one").await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 2, "two").await.unwrap();
    world.notes.save(&mut tx, 2, "again").await.unwrap();
    world.notes.remove(&mut tx, 1).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.words().await, [["again"], ["again"]]);
    let saved = compared(&world.migration, "save").await;
    assert_eq!((saved.equal, saved.total()), (3, 3));
    assert_eq!(compared(&world.migration, "remove").await.equal, 1);
}

on_all_databases!(without_the_option_no_write_is_compared);

async fn without_the_option_no_write_is_compared<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, crate::support::notes::plain).await;
    world.save(1, "one").await;
    assert_eq!(compared(&world.migration, "save").await.total(), 0);
}

on_all_databases!(a_mirror_write_that_failed_is_not_compared);

async fn a_mirror_write_that_failed_is_not_compared<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, all).await;
    world.new_mood.store(FAILS, SeqCst);
    world.save(1, "one").await;
    world.new_mood.store(WORKS, SeqCst);
    assert_eq!(compared(&world.migration, "save").await.total(), 0);
    assert_eq!(world.migration.status().await.unwrap().counters.mirror_failed, 1);
}

/// Writes another word than it was given, where it has one.
pub(super) struct Table<D: Sql> {
    name: &'static str,
    instead: Option<&'static str>,
    database: PhantomData<D>,
}

impl<D: Sql> Notes<D::Db> for Table<D> {
    async fn find(&self, _: i64) -> Result<Option<String>, sqlx::Error> {
        Ok(None)
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64, word: &str) -> Result<(), sqlx::Error> {
        let (name, word) = (self.name, self.instead.unwrap_or(word));
        D::run(tx, &format!("INSERT INTO {name} (id, word) VALUES ({id}, '{word}')")).await?;
        Ok(())
    }

    async fn remove(&self, _: &mut Tx<'_, D::Db>, _: i64) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

async fn create<D: Sql>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
    )
    .await;
}

/// A service at `DualWrite` whose writes are compared by this copy function.
async fn service<D: Sql, C: CopyKeys<Database = D::Db>>(
    db: &Scratch<D>,
    copy: C,
    instead: Option<&'static str>,
) -> (Runtime<D::Db>, Migration, DualNotes<Table<D>, Table<D>>) {
    service_with(db, copy, instead, ShadowRules::default()).await
}

/// The same with rules.
pub(super) async fn service_with<D: Sql, C: CopyKeys<Database = D::Db>>(
    db: &Scratch<D>,
    copy: C,
    instead: Option<&'static str>,
    rules: ShadowRules,
) -> (Runtime<D::Db>, Migration, DualNotes<Table<D>, Table<D>>) {
    create(db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = all(runtime.migration("notes").backfill(copy)).shadow_rules(rules);
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let table = |name, instead| Table { name, instead, database: PhantomData };
    let notes = DualNotes::new(&migration, table("old_note", None), table("new_note", instead));
    (runtime, migration, notes)
}

on_all_databases!(what_new_got_wrong_is_found_and_kept_with_its_key);

async fn what_new_got_wrong_is_found_and_kept_with_its_key<D: Sql>(db: Scratch<D>) {
    let (runtime, migration, notes) = service(&db, CopyNotes::<D>::new(), Some("wrong")).await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    notes.save(&mut tx, 7, "right").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(compared(&migration, "save").await.different, 1);
    // The caller's transaction is over before the sample is stored where there is one writer at a time.
    until("the sample is kept", async || !migration.mismatches().await.unwrap().is_empty()).await;
    let found = migration.mismatches().await.unwrap();
    assert_eq!((&*found[0].method, found[0].key.as_deref()), ("Notes::save", Some("7")));
    assert_eq!((&found[0].old, &found[0].new), (&Some(Shown::Redacted), &Some(Shown::Redacted)));
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 1);
    runtime.shutdown().await.unwrap();
}

on_all_databases!(samples_of_writes_that_find_no_room_are_counted);

/// The comparisons of reads and writes share a bound, here of one, which a hanging read of the mirror takes.
async fn samples_of_writes_that_find_no_room_are_counted<D: Sql>(db: Scratch<D>) {
    create(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = all(runtime.migration("notes").backfill(CopyNotes::<D>::new()));
    let registration = registration.shadow_concurrency(1).shadow_timeout(Duration::from_secs(3600));
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.advance(Stage::Shadow).await.unwrap();
    let table = |name, instead| Table::<D> { name, instead, database: PhantomData };
    let new = table("new_note", Some("wrong"));
    let notes = DualNotes::new(&migration, table("old_note", None), new);
    let reading = hold_the_mirror(&migration).await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    notes.save(&mut tx, 7, "right").await.unwrap();
    tx.commit().await.unwrap();
    let status = migration.status().await.unwrap();
    assert_eq!((status.counters.samples_dropped, status.mismatches.len()), (1, 0));
    let counted = compared(&migration, "save").await;
    assert_eq!((counted.different, counted.total()), (1, 1), "it was compared");
    reading.let_go();
    runtime.shutdown().await.unwrap();
}

/// Takes the only permit until it is let go.
async fn hold_the_mirror(migration: &Migration) -> Hook {
    let held = Hook::default();
    held.hold();
    let looks = DualLooks::new(migration, Look(Hook::default()), Look(held.clone()));
    looks.find(1).await.unwrap();
    held.reached().await;
    held
}

#[dualwrite::repository]
trait Looks {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
}

struct Look(Hook);

impl Looks for Look {
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error> {
        self.0.pass().await;
        Ok(id)
    }
}

on_all_databases!(a_write_of_both_at_once_is_compared_too);

async fn a_write_of_both_at_once_is_compared_too<D: Sql>(db: Scratch<D>) {
    let (runtime, migration, notes) = service(&db, CopyNotes::<D>::new(), None).await;
    let notes = notes.with_both(BothTables::<D> { writes_new: true, database: PhantomData });
    let save = async |notes: &DualNotes<_, _, BothTables<D>>, id| {
        let mut tx = migration.begin(db.pool()).await.unwrap();
        notes.save(&mut tx, id, "word").await.unwrap();
        cohort("enterprise", notes.remove(&mut tx, id + 100)).await.unwrap();
        tx.commit().await.unwrap();
    };
    save(&notes, 1).await;
    let saved = compared(&migration, "save").await;
    assert_eq!((saved.equal, saved.total()), (1, 1));
    let cohorts = migration.status().await.unwrap().cohorts;
    assert_eq!((&*cohorts[0].cohort, cohorts[0].compared.equal), ("enterprise", 1));

    let table = |name| Table::<D> { name, instead: None, database: PhantomData };
    let half = BothTables::<D> { writes_new: false, database: PhantomData };
    let half = DualNotes::new(&migration, table("old_note"), table("new_note")).with_both(half);
    save(&half, 2).await;
    let saved = compared(&migration, "save").await;
    assert_eq!((saved.equal, saved.different, saved.total()), (1, 1, 2));
    until("the sample is kept", async || !migration.mismatches().await.unwrap().is_empty()).await;
    let found = migration.mismatches().await.unwrap();
    assert_eq!((&*found[0].method, &*found[0].field), ("Notes::save", "*"));
    assert_eq!(found[0].key.as_deref(), Some("2"));
    assert_eq!((&found[0].old, &found[0].new), (&Some(Shown::Redacted), &None), "new lacks it");
    assert_eq!(db.number("SELECT count(*) FROM old_note").await, 2, "what was written stays");
    runtime.shutdown().await.unwrap();
}

/// Writes both tables, or forgets new.
struct BothTables<D: Sql> {
    writes_new: bool,
    database: PhantomData<D>,
}

impl<D: Sql> Notes<D::Db> for BothTables<D> {
    async fn find(&self, _: i64) -> Result<Option<String>, sqlx::Error> {
        Ok(None)
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64, word: &str) -> Result<(), sqlx::Error> {
        let tables: &[&str] =
            if self.writes_new { &["old_note", "new_note"] } else { &["old_note"] };
        for table in tables {
            D::run(tx, &format!("INSERT INTO {table} (id, word) VALUES ({id}, '{word}')")).await?;
        }
        Ok(())
    }

    async fn remove(&self, _: &mut Tx<'_, D::Db>, _: i64) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

/// Its comparison ends in an error of the database, or in a panic.
pub(super) struct Broken<D: Sql> {
    pub(super) panics: bool,
    pub(super) database: PhantomData<D>,
}

impl<D: Sql> CopyKeys for Broken<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("old_note").column("id")
    }

    async fn copy(&self, _: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Copied, BoxError> {
        Ok(Copied::default())
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Vec<i64>, BoxError> {
        D::run(tx, "DELETE FROM new_note").await?;
        assert!(!self.panics, "a bug in the service");
        D::run(tx, "SELECT word FROM no_such_table").await?;
        Ok(Vec::new())
    }
}

on_all_databases!(a_comparison_that_fails_leaves_the_write_as_it_was);

async fn a_comparison_that_fails_leaves_the_write_as_it_was<D: Sql>(db: Scratch<D>) {
    for panics in [false, true] {
        db.execute("DROP TABLE IF EXISTS old_note; DROP TABLE IF EXISTS new_note").await;
        let broken = Broken::<D> { panics, database: PhantomData };
        let (runtime, migration, notes) = service(&db, broken, None).await;
        let mut tx = migration.begin(db.pool()).await.unwrap();
        notes.save(&mut tx, 7, "right").await.unwrap();
        tx.commit().await.unwrap();
        let counted = compared(&migration, "save").await;
        let found = [counted.mirror_failed, counted.panicked];
        assert_eq!((found, counted.total()), (if panics { [0, 1] } else { [1, 0] }, 1));
        assert_eq!(db.number("SELECT count(*) FROM new_note").await, 1, "rolled back to the write");
        migration.step_back(Stage::Off).await.unwrap();
        runtime.shutdown().await.unwrap();
    }
}
