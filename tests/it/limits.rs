//! Dual writes whose sides fail, hang or answer differently: how long that lasts, what the caller gets, what is
//! counted, and what is left on the connections.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use dualwrite::{
    AnswerPolicy, Backend, CopySql, Error, ErrorKind, Gate, Migration, MirrorPolicy, Registration,
    Runtime, Stage, Tx,
    copy::KeySource,
    defaults::{CONTROL_TURN_WAIT, DIFFERENCE_WARNING_PAUSE, MIRROR_WRITE_TIMEOUT},
    verify::StaleKind,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::log::{Log, listen};
use crate::support::notes::{CopyNotes, FAILS, HANGS, Notes, WORKS, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::{ends, until};

on_all_databases!(
    a_mirror_that_hangs_costs_the_caller_the_limit_and_nothing_else,
    a_mirror_that_hangs_in_a_statement_costs_the_caller_a_bounded_time,
    a_primary_that_hangs_fails_when_its_limit_is_over,
    a_primary_that_hangs_has_a_limit_by_itself_where_there_is_one_writer,
    a_transaction_waits_shortly_for_the_control_tables_where_there_is_one_writer,
    a_mirror_failure_counts_only_where_the_write_went_on,
    a_failing_mirror_shows_its_cause_without_values,
    a_mirror_that_always_fails_keeps_the_migration_from_going_live,
    different_answers_mark_the_key,
    different_answers_are_logged_once_in_a_while_and_counted_each,
    different_answers_fail_the_write_where_that_is_wanted,
    different_answers_are_ignored_where_that_is_wanted,
    different_answers_under_a_key_that_cannot_be_recorded_mark_the_table,
);

fn short<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    let limit = Duration::from_millis(150);
    registration.mirror_write_timeout(limit).primary_write_timeout(2 * limit)
}

async fn a_mirror_that_hangs_costs_the_caller_the_limit_and_nothing_else<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, short).await;
    world.new_mood.store(HANGS, SeqCst);
    let began = Instant::now();
    ends("a write beside a mirror that hangs", world.save(1, "one")).await;
    assert!(began.elapsed() < MIRROR_WRITE_TIMEOUT, "{:?}", began.elapsed());
    world.new_mood.store(WORKS, SeqCst);
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.mirror_failed, status.dirty_new), (1, 1));
    let save = status.methods.iter().find(|method| method.method == "save").unwrap();
    assert_eq!((save.new.errors, save.new.abandoned), (1, 0));
    let last = status.mirror.last_error.unwrap();
    assert_eq!(
        (last.method.as_str(), last.cause.as_str()),
        ("Notes::save", "given up after 150ms")
    );
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}

/// The server goes on with a statement that was given up, so the write cannot. It ends all the same, and its
/// rollback does.
async fn a_mirror_that_hangs_in_a_statement_costs_the_caller_a_bounded_time<D: Sql>(
    db: Scratch<D>,
) {
    if db.server().is_none() {
        return; // a file has one writer: nobody else can hold a row
    }
    let world = World::with(db, Stage::DualWrite, 0, short).await;
    for id in 1..=3 {
        world.save(id, "one").await;
    }
    let mut holder = world.db.pool().acquire().await.unwrap();
    D::run_on(&mut holder, "BEGIN").await.unwrap();
    D::run_on(&mut holder, "UPDATE new_note SET word = 'held'").await.unwrap();
    for id in 1..=3 {
        let began = Instant::now();
        let mut tx = world.begin().await;
        let written = world.notes.save(&mut tx, id, "two");
        let error = ends("a mirror that waits for a lock", written).await.unwrap_err();
        let error = Error::find(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("still runs on the server"), "{error}");
        match id {
            1 => tx.rollback().await.unwrap(),
            2 => assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned),
            _ => drop(tx),
        }
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
    D::run_on(&mut holder, "ROLLBACK").await.unwrap();
    drop(holder);
    for id in 1..=3 {
        world.save(id, "three").await;
    }
    assert_eq!(world.words().await, [["three"; 3], ["three"; 3]]);
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.mirror_failed, status.dirty_new), (0, 0));
}

async fn a_primary_that_hangs_fails_when_its_limit_is_over<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, short).await;
    world.old_mood.store(HANGS, SeqCst);
    let mut tx = world.begin().await;
    let written = world.notes.save(&mut tx, 1, "one");
    let error = ends("a write whose primary hangs", written).await.unwrap_err();
    let error = Error::find(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "migration `notes`: the write `Notes::save` to the old side did not end within 300ms and was \
         given up"
    );
    let refused = tx.commit().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Poisoned);
    world.old_mood.store(WORKS, SeqCst);
    world.save(2, "two").await;
    assert_eq!(world.words().await, [["two"], ["two"]]);
}

/// Else nobody writes any more, and no heartbeat goes out.
async fn a_primary_that_hangs_has_a_limit_by_itself_where_there_is_one_writer<D: Sql>(
    db: Scratch<D>,
) {
    if db.server().is_some() {
        return; // there the limit is the service's choice
    }
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    world.old_mood.store(HANGS, SeqCst);
    let mut tx = world.begin().await;
    let written = world.notes.save(&mut tx, 1, "one");
    let error = ends("a write whose primary hangs", written).await.unwrap_err();
    assert_eq!(Error::find(&error).unwrap().kind(), ErrorKind::Timeout);
    drop(tx);
    world.old_mood.store(WORKS, SeqCst);
    world.save(2, "two").await;
    assert_eq!(world.notes.find(1).await.unwrap().as_deref(), Some("word 1"));
}

/// So that heartbeats and commands get the file beside a service that writes without a pause.
async fn a_transaction_waits_shortly_for_the_control_tables_where_there_is_one_writer<D: Sql>(
    db: Scratch<D>,
) {
    if db.server().is_some() {
        return; // there they wait for no file
    }
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let timed_out = async || world.migration.status().await.unwrap().counters.turns_timed_out;
    assert_eq!(timed_out().await, 0);
    let held = world.begin().await;
    let pool = world.db.another_pool(2).await;
    let command = tokio::spawn(async move {
        let command = dualwrite::operator::Command::KillOn;
        let options = dualwrite::operator::CommandOptions::new("ada", "it is time");
        dualwrite::operator::Operator::new(pool).command("notes", &command, &options).await
    });
    until("a transaction has waited for the command", async || {
        let begun = world.migration.begin(world.db.pool());
        drop(tokio::time::timeout(CONTROL_TURN_WAIT * 3, begun).await);
        timed_out().await > 0
    })
    .await;
    drop(held);
    command.await.unwrap().unwrap();
    world.save(2, "two").await;
}

/// What the primary's failure rolls back leaves no key dirty, so nobody is alarmed.
async fn a_mirror_failure_counts_only_where_the_write_went_on<D: Sql>(db: Scratch<D>) {
    // At live the mirror is old, which is written first.
    let world = World::copying(db, Stage::DualWrite, 0, plain, CopyNotes::both_ways()).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    world.migration.advance(Stage::Shadow).await.unwrap();
    world.migration.advance(Stage::Live).await.unwrap();
    world.old_mood.store(FAILS, SeqCst);
    world.new_mood.store(FAILS, SeqCst);
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "one").await.unwrap_err();
    tx.rollback().await.unwrap();
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.mirror_failed, status.mirror.last_error), (0, None));
    world.new_mood.store(WORKS, SeqCst);
    world.save(1, "one").await;
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.mirror_failed, status.counters.mirror_written), (1, 0));
}

async fn a_failing_mirror_shows_its_cause_without_values<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    world.save(1, "one").await;
    world.new_mood.store(FAILS, SeqCst);
    world.save(2, "PLANTED").await;
    let status = world.migration.status().await.unwrap();
    let mirror = status.mirror;
    assert_eq!((mirror.written, mirror.failed, mirror.failure_share), (1, 1, Some(0.5)));
    let cause = mirror.last_error.unwrap().cause;
    let code = D::sql("1299", "23502", "23000");
    assert!(cause.contains(code), "{cause}");
    assert!(!cause.contains("PLANTED") && !cause.contains("(2"), "{cause}");
}

async fn a_mirror_that_always_fails_keeps_the_migration_from_going_live<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 0, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    world.new_mood.store(FAILS, SeqCst);
    for id in 0..6 {
        world.save(id, "word").await;
    }
    world.migration.repair().await.unwrap();
    world.migration.verify().run().await.unwrap();
    let refused = world.migration.advance(Stage::Live).await.unwrap_err();
    let found: Vec<Gate> = refused.blockers().iter().map(|blocker| blocker.gate).collect();
    assert_eq!(found, [Gate::MirrorWrites], "{refused}");
    assert!(refused.to_string().contains("6 of 6 mirror writes"), "{refused}");
    assert!(refused.to_string().contains(D::sql("1299", "23502", "23000")), "{refused}");
}

/// Orders whose ids each side draws for itself.
#[dualwrite::repository]
trait Orders<DB: Backend> {
    #[write(key = note)]
    async fn place(&self, tx: &mut Tx<'_, DB>, note: i64) -> Result<i64, sqlx::Error>;
    #[write(key = note, on_difference = error)]
    async fn place_once(&self, tx: &mut Tx<'_, DB>, note: i64) -> Result<i64, sqlx::Error>;
    #[write(key = note, on_difference = ignore)]
    async fn place_somehow(&self, tx: &mut Tx<'_, DB>, note: i64) -> Result<i64, sqlx::Error>;
}

struct Drawing(AtomicI64);

impl<DB: Backend> Orders<DB> for Drawing {
    async fn place(&self, _: &mut Tx<'_, DB>, _: i64) -> Result<i64, sqlx::Error> {
        Ok(self.0.fetch_add(1, SeqCst))
    }

    async fn place_once(&self, tx: &mut Tx<'_, DB>, note: i64) -> Result<i64, sqlx::Error> {
        self.place(tx, note).await
    }

    async fn place_somehow(&self, tx: &mut Tx<'_, DB>, note: i64) -> Result<i64, sqlx::Error> {
        self.place(tx, note).await
    }
}

fn orders(migration: &Migration) -> DualOrders<Drawing, Drawing> {
    DualOrders::new(migration, Drawing(AtomicI64::new(4)), Drawing(AtomicI64::new(1)))
}

async fn different_answers_mark_the_key<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let orders = orders(&world.migration);
    let mut tx = world.begin().await;
    assert_eq!(orders.place(&mut tx, 7).await.unwrap(), 4, "the answer of the side that answers");
    tx.commit().await.unwrap();
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.answers_different, status.dirty_new), (1, 1));
    assert_eq!((status.counters.mirror_written, status.counters.mirror_failed), (1, 0));
}

async fn different_answers_are_logged_once_in_a_while_and_counted_each<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let orders = orders(&world.migration);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _heard = listen(subscriber.finish());
    let began = std::time::Instant::now();
    for note in 0..20 {
        let mut tx = world.begin().await;
        orders.place(&mut tx, note).await.unwrap();
        tx.commit().await.unwrap();
    }
    let periods = began.elapsed().as_secs() / DIFFERENCE_WARNING_PAUSE.as_secs() + 1;
    let lines = log.text().lines().filter(|line| line.contains("write differently")).count();
    assert!((1..=periods as usize).contains(&lines), "{lines} lines: {}", log.text());
    let status = world.migration.status().await.unwrap();
    assert_eq!(status.counters.answers_different, 20);
}

async fn different_answers_fail_the_write_where_that_is_wanted<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let orders = orders(&world.migration);
    let mut tx = world.begin().await;
    let error = orders.place_once(&mut tx, 7).await.unwrap_err();
    let error = Error::find(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::MirrorFailed);
    assert!(error.to_string().contains("make ids and times once, before the write"), "{error}");
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.answers_different, status.dirty_new), (1, 0));
}

async fn different_answers_are_ignored_where_that_is_wanted<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, |registration| {
        registration.answers(AnswerPolicy::Error)
    })
    .await;
    let orders = orders(&world.migration);
    let mut tx = world.begin().await;
    assert_eq!(orders.place_somehow(&mut tx, 7).await.unwrap(), 4);
    assert!(orders.place(&mut tx, 7).await.is_err(), "as the registration says");
    drop(tx);
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.answers_different, status.dirty_new), (1, 0));
}

/// Texts whose numbers each side draws for itself.
#[dualwrite::repository]
trait Texts<DB: Backend> {
    #[write(key = text)]
    async fn number(&self, tx: &mut Tx<'_, DB>, text: &str) -> Result<i64, sqlx::Error>;
    #[write(keys = texts)]
    async fn number_all(&self, tx: &mut Tx<'_, DB>, texts: &[&str]) -> Result<i64, sqlx::Error>;
    #[write(key_from = |made: &String| made.clone(), into = text)]
    async fn make(&self, tx: &mut Tx<'_, DB>, text: Option<String>) -> Result<String, sqlx::Error>;
}

impl<DB: Backend> Texts<DB> for Drawing {
    async fn number(&self, _: &mut Tx<'_, DB>, _: &str) -> Result<i64, sqlx::Error> {
        Ok(self.0.fetch_add(1, SeqCst))
    }

    async fn number_all(&self, _: &mut Tx<'_, DB>, _: &[&str]) -> Result<i64, sqlx::Error> {
        Ok(self.0.fetch_add(1, SeqCst))
    }

    async fn make(&self, _: &mut Tx<'_, DB>, text: Option<String>) -> Result<String, sqlx::Error> {
        Ok(text.unwrap_or_else(|| "x".repeat(600)))
    }
}

async fn different_answers_under_a_key_that_cannot_be_recorded_mark_the_table<D: Sql>(
    db: Scratch<D>,
) {
    db.execute("CREATE TABLE old_text (t VARCHAR(700) PRIMARY KEY)").await;
    db.execute("CREATE TABLE new_text (t VARCHAR(700) PRIMARY KEY)").await;
    let copy = CopySql::<D::Db, String>::new(KeySource::table("old_text").column("t"))
        .new_source(KeySource::table("new_text").column("t"))
        .copying("INSERT INTO new_text SELECT t FROM {rows}");
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("texts").backfill(copy).mirror(MirrorPolicy::Abort);
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let drawing = |first| Drawing(AtomicI64::new(first));
    let texts = DualTexts::new(&migration, drawing(4), drawing(1));
    let endless = "x".repeat(600);
    let stale = async || {
        let stale = migration.status().await.unwrap().stale;
        stale.into_iter().map(|mark| mark.kind).collect::<Vec<_>>()
    };

    for (bulk, marked) in [(["short", "other"], "2"), (["third", &endless], "1")] {
        assert_eq!(stale().await, []);
        let mut tx = migration.begin(db.pool()).await.unwrap();
        texts.number_all(&mut tx, &bulk).await.unwrap();
        // Inside the transaction, where no repair can take them yet.
        let keys = bulk.map(|key| format!("'\"{key}\"'")).join(", ");
        let marks = format!("SELECT count(*) FROM dualwrite_dirty WHERE key_text IN ({keys})");
        assert_eq!(D::read(&mut tx, &marks).await.unwrap()[0][0].as_deref(), Some(marked));
        tx.commit().await.unwrap();
    }
    assert_eq!(stale().await, [StaleKind::Key]);

    migration.verify().run().await.unwrap();
    assert_eq!(stale().await, [], "a clean verification has looked");
    let mut tx = migration.begin(db.pool()).await.unwrap();
    assert_eq!(texts.make(&mut tx, None).await.unwrap(), endless, "both sides have it");
    texts.number(&mut tx, &endless).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stale().await, [StaleKind::Key]);
    runtime.shutdown().await.unwrap();
}
