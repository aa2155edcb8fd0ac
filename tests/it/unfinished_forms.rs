//! Writes of several records, writes by filter, keys that a side makes and one call for both sides: where they
//! hang, panic or are dropped, they count and end as the write of one record does.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{
    Backend, Columns, Error, ErrorKind, Registration, Side, Stage, Tx, observe::MethodReport,
};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{FAILS, HANGS, PANICS, WORKS, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::ends;

on_all_databases!(
    an_abandoned_write_of_every_form_counts_for_the_side_it_waited_for,
    a_primary_that_panics_counts_as_failed_in_every_form,
    a_mirror_that_hangs_or_panics_marks_every_key_that_is_known,
    a_call_for_both_that_hangs_ends_within_the_limit_of_the_primary,
    a_call_for_both_that_panics_is_repeated_for_the_primary_alone,
    an_abandoned_call_for_both_counts_for_the_side_that_answers,
);

#[dualwrite::repository]
trait Forms<DB: Backend> {
    #[write(keys = ids)]
    async fn save_all(&self, tx: &mut Tx<'_, DB>, ids: &[i64]) -> Result<(), sqlx::Error>;
    #[write(filter)]
    async fn save_some(&self, tx: &mut Tx<'_, DB>) -> Result<(), sqlx::Error>;
    #[write(key_from = |made| *made, into = id)]
    async fn make(&self, tx: &mut Tx<'_, DB>, id: Option<i64>) -> Result<i64, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

struct Table<D> {
    names: Vec<&'static str>,
    mood: Arc<AtomicU8>,
    hanging: Arc<Notify>,
    database: PhantomData<fn() -> D>,
}

impl<D: Sql> Table<D> {
    async fn insert(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        for name in &self.names {
            D::run(tx, &format!("INSERT INTO {name} (id, word) VALUES ({id}, 'word')")).await?;
        }
        match self.mood.load(SeqCst) {
            FAILS => D::run(tx, "INSERT INTO nowhere VALUES (1)").await.map(drop),
            PANICS => panic!("a bug in a side"),
            HANGS => {
                self.hanging.notify_one();
                std::future::pending().await
            }
            _ => Ok(()),
        }
    }
}

impl<D: Sql> Forms<D::Db> for Table<D> {
    async fn save_all(&self, tx: &mut Tx<'_, D::Db>, ids: &[i64]) -> Result<(), sqlx::Error> {
        for id in ids {
            self.insert(tx, *id).await?;
        }
        Ok(())
    }

    async fn save_some(&self, tx: &mut Tx<'_, D::Db>) -> Result<(), sqlx::Error> {
        self.insert(tx, 50).await
    }

    async fn make(&self, tx: &mut Tx<'_, D::Db>, id: Option<i64>) -> Result<i64, sqlx::Error> {
        let id = id.unwrap_or(60);
        self.insert(tx, id).await.map(|()| id)
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        self.insert(tx, id).await
    }
}

/// The methods that are written here, apart from the one that the other tests know.
const FORMS: [&str; 3] = ["save_all", "save_some", "make"];

struct Place<D: Sql> {
    world: World<D>,
    forms: DualForms<Table<D>, Table<D>>,
    moods: [Arc<AtomicU8>; 3],
    hanging: Arc<Notify>,
}

fn short<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    let limit = Duration::from_millis(150);
    registration.mirror_write_timeout(limit).primary_write_timeout(2 * limit)
}

impl<D: Sql> Place<D> {
    async fn new(
        db: Scratch<D>,
        options: fn(Registration<'_, D::Db>) -> Registration<'_, D::Db>,
        one_row: bool,
    ) -> Self {
        let world = World::with(db, Stage::DualWrite, 0, options).await;
        let moods: [Arc<AtomicU8>; 3] = Default::default();
        let hanging = Arc::<Notify>::default();
        let table = |names, mood: &Arc<AtomicU8>| Table {
            names,
            mood: Arc::clone(mood),
            hanging: Arc::clone(&hanging),
            database: PhantomData,
        };
        let [old, new, both] = &moods;
        let forms = match one_row {
            true => DualForms::one_row(&world.migration, |columns| match columns {
                Columns::Both(_) => table(vec!["old_note", "new_note"], both),
                columns if columns.write(Side::Old) => table(vec!["old_note"], old),
                _ => table(vec!["new_note"], new),
            }),
            false => DualForms::new(
                &world.migration,
                table(vec!["old_note"], old),
                table(vec!["new_note"], new),
            ),
        };
        Self { world, forms, moods, hanging }
    }

    async fn write(&self, form: &str, tx: &mut Tx<'_, D::Db>) -> Result<(), sqlx::Error> {
        match form {
            "save_all" => self.forms.save_all(tx, &[1, 2]).await,
            "save_some" => self.forms.save_some(tx).await,
            "make" => self.forms.make(tx, None).await.map(drop),
            _ => self.forms.save(tx, 1).await,
        }
    }

    /// Begins a write, waits until a side of it hangs, and drops it.
    async fn abandon(&self, form: &str) {
        let mut tx = self.world.begin().await;
        let mut write = pin!(self.write(form, &mut tx));
        tokio::select! {
            _ = &mut write => panic!("it came to its end"),
            () = self.hanging.notified() => {}
        }
    }

    async fn report(&self, form: &str) -> MethodReport {
        let methods = self.world.migration.status().await.unwrap().methods;
        methods
            .into_iter()
            .find(|found| found.method == form && found.repository == "Forms")
            .unwrap()
    }
}

/// Before anybody can repair them.
async fn marks<D: Sql>(tx: &mut Tx<'_, D::Db>) -> Vec<String> {
    let sql = "SELECT key_text FROM dualwrite_dirty WHERE side = 'new' ORDER BY key_text";
    D::texts(tx, sql).await.unwrap()
}

async fn an_abandoned_write_of_every_form_counts_for_the_side_it_waited_for<D: Sql>(
    db: Scratch<D>,
) {
    let place = Place::new(db, plain, false).await;
    for form in FORMS {
        for (mood, expected) in place.moods.iter().zip([[1, 0], [1, 1]]) {
            mood.store(HANGS, SeqCst);
            place.abandon(form).await;
            mood.store(WORKS, SeqCst);
            let found = place.report(form).await;
            assert_eq!([found.old.abandoned, found.new.abandoned], expected, "{form}");
            assert_eq!((found.old.errors, found.new.errors), (0, 0), "{form}");
        }
        let mut tx = place.world.begin().await;
        place.write(form, &mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let found = place.report(form).await;
        assert_eq!([found.old.abandoned, found.new.abandoned], [1, 1], "{form}");
    }
}

async fn a_primary_that_panics_counts_as_failed_in_every_form<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db, plain, false).await;
    place.moods[0].store(PANICS, SeqCst);
    for form in FORMS {
        let mut tx = place.world.begin().await;
        let panic = AssertUnwindSafe(place.write(form, &mut tx)).catch_unwind().await;
        assert!(panic.is_err(), "{form}: it is the caller's");
        let refused = tx.commit().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Poisoned, "{form}");
        let found = place.report(form).await;
        assert_eq!((found.old.calls, found.old.errors, found.old.abandoned), (1, 1, 0), "{form}");
        assert_eq!((found.new.calls, found.new.abandoned), (0, 0), "{form}");
    }
}

async fn a_mirror_that_hangs_or_panics_marks_every_key_that_is_known<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db, short, false).await;
    for (mood, kind) in [(HANGS, ErrorKind::Timeout), (PANICS, ErrorKind::MirrorFailed)] {
        place.world.db.execute("DELETE FROM old_note; DELETE FROM new_note").await;
        place.moods[1].store(mood, SeqCst);
        let mut tx = place.world.begin().await;
        ends("a bulk", place.write("save_all", &mut tx)).await.unwrap();
        ends("a key that is made", place.write("make", &mut tx)).await.unwrap();
        assert_eq!(marks::<D>(&mut tx).await, ["1", "2", "60"]);
        tx.commit().await.unwrap();
        // Nobody could copy again what a filter has changed.
        let mut tx = place.world.begin().await;
        let error = ends("a filter", place.write("save_some", &mut tx)).await.unwrap_err();
        assert_eq!(Error::find(&error).unwrap().kind(), kind);
        assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
        place.world.migration.repair().await.unwrap();
        let [old, new] = place.world.words().await;
        assert_eq!((old.len(), new.len()), (3, 3));
    }
    let status = place.world.migration.status().await.unwrap();
    assert_eq!(status.counters.mirror_failed, 4, "and not where all was rolled back");
    for form in FORMS {
        let found = place.report(form).await;
        assert_eq!((found.new.errors, found.new.abandoned), (2, 0), "{form}");
    }
}

async fn a_call_for_both_that_hangs_ends_within_the_limit_of_the_primary<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db, short, true).await;
    place.moods[2].store(HANGS, SeqCst);
    let mut tx = place.world.begin().await;
    let error = ends("a call for both", place.write("save", &mut tx)).await.unwrap_err();
    let error = Error::find(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("did not end within 300ms"), "{error}");
    tx.rollback().await.unwrap();
    let found = place.report("save").await;
    assert_eq!((found.old.calls, found.old.errors, found.new.calls), (1, 1, 0));
    place.moods[2].store(WORKS, SeqCst);
    let mut tx = place.world.begin().await;
    place.write("save", &mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let status = place.world.migration.status().await.unwrap();
    assert_eq!((status.counters.mirror_failed, status.counters.mirror_written), (0, 1));
}

async fn a_call_for_both_that_panics_is_repeated_for_the_primary_alone<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db, short, true).await;
    for (mood, failures) in [(PANICS, 1), (FAILS, 2)] {
        place.world.db.execute("DELETE FROM old_note; DELETE FROM new_note").await;
        place.moods[2].store(mood, SeqCst);
        let mut tx = place.world.begin().await;
        place.write("save", &mut tx).await.unwrap();
        assert_eq!(marks::<D>(&mut tx).await, ["1"]);
        let words = |table| format!("SELECT word FROM {table}");
        assert_eq!(D::texts(&mut tx, &words("old_note")).await.unwrap(), ["word"]);
        assert!(D::texts(&mut tx, &words("new_note")).await.unwrap().is_empty(), "undone");
        tx.commit().await.unwrap();
        place.world.migration.repair().await.unwrap();
        let found = place.report("save").await;
        assert_eq!((found.old.calls, found.old.errors), (failures, 0), "it has answered");
        assert_eq!((found.new.calls, found.new.errors), (failures, failures));
        assert_eq!((found.old.abandoned, found.new.abandoned), (0, 0));
        let status = place.world.migration.status().await.unwrap();
        assert_eq!(status.counters.mirror_failed, failures);
    }
}

async fn an_abandoned_call_for_both_counts_for_the_side_that_answers<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db, plain, true).await;
    place.moods[2].store(HANGS, SeqCst);
    place.abandon("save").await;
    let found = place.report("save").await;
    assert_eq!((found.old.abandoned, found.new.abandoned), (1, 0));
    // Also where it is dropped while the primary is repeated.
    place.moods[2].store(PANICS, SeqCst);
    place.moods[0].store(HANGS, SeqCst);
    place.abandon("save").await;
    let found = place.report("save").await;
    assert_eq!((found.old.abandoned, found.old.calls), (2, 0));
}
