//! When a backfill makes way, and who can see that and who works on it.

use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dualwrite::{
    ErrorKind, Migration, Runtime, RuntimeBuilder, Stage,
    backfill::{BackfillProgress, Throttle},
    defaults::REPLICAS_MAX,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, Notes, Store, World, plain};
use crate::support::proxy::Proxy;
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, soon, until};
use crate::tool::prints;

on_all_databases!(
    it_makes_way_for_those_who_wait_for_locks,
    it_makes_way_for_active_sessions,
    it_makes_way_for_the_log,
    it_makes_way_for_the_writes_of_its_own_service,
    it_makes_way_for_a_replica,
    a_replica_that_hangs_keeps_no_connection_of_its_pool,
    running_workers_hear_what_operators_set,
    workers_come_and_go_while_it_runs,
    replicas_are_few_and_have_names_of_their_own,
    every_process_sees_who_copies_what,
);

/// A migration at dual write, of a process whose clock runs as fast as it can.
struct Fast<D: Sql> {
    db: Scratch<D>,
    runtime: Runtime<D::Db>,
    migration: Migration,
    ticking: tokio::task::JoinHandle<()>,
}

impl<D: Sql> Fast<D> {
    async fn new(db: Scratch<D>, rows: u32) -> Self {
        Self::with(db, rows, |builder| builder).await
    }

    async fn with(
        db: Scratch<D>,
        rows: u32,
        options: impl FnOnce(RuntimeBuilder<D::Db>) -> RuntimeBuilder<D::Db>,
    ) -> Self {
        db.execute(
            "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
             CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
        )
        .await;
        for id in 1..=rows {
            db.execute(&format!("INSERT INTO old_note (id, word) VALUES ({id}, 'word')")).await;
        }
        let builder = Runtime::builder(db.pool().clone()).lease(Duration::from_secs(1_000_000));
        let (builder, hands) = builder.manual_clock();
        let runtime = options(builder).start().await.unwrap();
        let copy = CopyNotes::<D>::new();
        let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        let ticking = tokio::spawn(async move {
            loop {
                hands.advance(Duration::from_millis(1));
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        });
        Self { db, runtime, migration, ticking }
    }

    fn copies(&self, throttle: Throttle) -> tokio::task::JoinHandle<BackfillProgress> {
        let migration = self.migration.clone();
        tokio::spawn(async move {
            // Batches of one key, so that it is still under way when it is looked at.
            migration.backfill().batch(1).rate(200).throttle(throttle).run().await.unwrap()
        })
    }

    fn store(&self, table: &'static str) -> Store<D> {
        Store {
            table,
            pool: self.db.pool().clone(),
            mood: Arc::default(),
            hanging: Arc::default(),
            reading: Hook::default(),
            removing: Hook::default(),
        }
    }

    async fn ends(self) {
        self.ticking.abort();
        self.runtime.shutdown().await.unwrap();
    }

    /// Why it makes way, once it does.
    async fn reason(&self) -> String {
        soon("it makes way", async || self.migration.status().await.unwrap().backfill?.throttled)
            .await
    }
}

async fn it_makes_way_for_those_who_wait_for_locks<D: Sql>(db: Scratch<D>) {
    if D::NAME == "sqlite" {
        return; // it does not tell
    }
    db.execute("CREATE TABLE wanted (id BIGINT PRIMARY KEY, word VARCHAR(9))").await;
    db.execute("INSERT INTO wanted VALUES (1, 'free')").await;
    let fast = Fast::new(db, 300).await;
    let change = "UPDATE wanted SET word = 'taken' WHERE id = 1";
    let (holder, waiter) = (fast.db.another_pool(1).await, fast.db.another_pool(1).await);
    D::execute(&holder, "BEGIN").await.unwrap();
    D::execute(&holder, change).await.unwrap();
    let waiting = tokio::spawn(async move { D::execute(&waiter, change).await.unwrap() });
    until("somebody waits", async || somebody_waits(&fast.db).await).await;
    let run = fast.copies(Throttle::default().lock_waits(0));
    let reason = fast.reason().await;
    assert!(reason.ends_with(" sessions wait for locks"), "{reason}");
    D::execute(&holder, "COMMIT").await.unwrap();
    waiting.await.unwrap();
    let done = run.await.unwrap();
    assert_eq!((done.migrated, done.throttled), (300, None));
    fast.ends().await;
}

async fn it_makes_way_for_active_sessions<D: Sql>(db: Scratch<D>) {
    if D::NAME == "sqlite" {
        return; // it has none
    }
    let fast = Fast::new(db, 2_000).await;
    let run = fast.copies(Throttle::default().active(0)); // the one that asks is active
    let reason = fast.reason().await;
    assert!(reason.ends_with(" sessions are active"), "{reason}");
    fast.migration.backfill().cancel("ada", "tests").await.unwrap();
    run.abort();
    fast.ends().await;
}

async fn it_makes_way_for_the_log<D: Sql>(db: Scratch<D>) {
    // A database without a log of which it tells is copied without a word.
    if D::NAME == "sqlite" {
        let fast = Fast::new(db, 50).await;
        let done = fast.copies(Throttle::default().log_rate(0)).await.unwrap();
        assert_eq!((done.migrated, done.throttled), (50, None));
        return fast.ends().await;
    }
    let fast = Fast::new(db, 2_000).await;
    let run = fast.copies(Throttle::default().log_rate(0));
    let reason = fast.reason().await;
    assert!(reason.starts_with("the log grows by "), "{reason}");
    assert!(reason.ends_with(" MiB/s, more than 0.0"), "{reason}");
    fast.migration.backfill().cancel("ada", "tests").await.unwrap();
    run.abort();
    fast.ends().await;
}

async fn it_makes_way_for_the_writes_of_its_own_service<D: Sql>(db: Scratch<D>) {
    let fast = Fast::new(db, 2_000).await;
    let notes = DualNotes::new(&fast.migration, fast.store("old_note"), fast.store("new_note"));
    let enough = Arc::new(AtomicBool::new(false));
    let write = async {
        for id in 10_000.. {
            if enough.load(SeqCst) {
                break;
            }
            let mut tx = fast.migration.begin(fast.db.pool()).await.unwrap();
            notes.save(&mut tx, id, "written").await.unwrap();
            tx.commit().await.unwrap();
        }
    };
    let run = fast.copies(Throttle::default().write_p99(Duration::from_nanos(1)));
    let look = async {
        let reason = fast.reason().await;
        enough.store(true, SeqCst);
        reason
    };
    let ((), reason) = tokio::join!(write, look);
    assert!(reason.starts_with("99 % of the writes take up to "), "{reason}");
    fast.migration.backfill().cancel("ada", "tests").await.unwrap();
    run.abort();
    fast.ends().await;
}

async fn running_workers_hear_what_operators_set<D: Sql>(db: Scratch<D>) {
    let fast = Fast::new(db, 5_000).await;
    let url = &*fast.db.url();
    let notes = DualNotes::new(&fast.migration, fast.store("old_note"), fast.store("new_note"));
    let enough = Arc::new(AtomicBool::new(false));
    let write = async {
        for id in 10_000.. {
            if enough.load(SeqCst) {
                break;
            }
            let mut tx = fast.migration.begin(fast.db.pool()).await.unwrap();
            notes.save(&mut tx, id, "written").await.unwrap();
            // The clock runs on meanwhile: each write takes longer than a millisecond.
            tokio::time::sleep(Duration::from_millis(1)).await;
            tx.commit().await.unwrap();
        }
    };
    let run = fast.copies(Throttle::default()); // no limit on writes
    let give = async |limit: &str| {
        let audited = ["--by", "ada", "--because", "pages at noon"];
        let own = ["backfill-throttle", "notes", "--write-p99", limit];
        prints(url, &[&own[..], &audited].concat()).await
    };
    let backfill = async || fast.migration.status().await.unwrap().backfill;
    let look = async {
        soon("it copies", async || backfill().await.filter(|found| found.done() > 20)).await;
        assert_eq!(backfill().await.unwrap().throttled, None);
        give("1ms").await;
        let reason = fast.reason().await;
        assert!(reason.starts_with("99 % of the writes take up to "), "{reason}");
        assert!(reason.ends_with("more than 1.0ms"), "{reason}");
        assert_eq!(backfill().await.unwrap().settings.write_p99, Some(Duration::from_millis(1)));
        give("default").await;
        until("it goes on", async || backfill().await.unwrap().throttled.is_none()).await;
        assert_eq!(backfill().await.unwrap().settings, Default::default());
        enough.store(true, SeqCst);
    };
    tokio::join!(write, look);
    fast.migration.backfill().cancel("ada", "tests").await.unwrap();
    run.abort();
    fast.ends().await;
}

async fn workers_come_and_go_while_it_runs<D: Sql>(db: Scratch<D>) {
    let fast = Fast::new(db, 900).await;
    let url = &*fast.db.url();
    let run = fast.copies(Throttle::default());
    let give = async |workers: &str| {
        let audited = ["--by", "ada", "--because", "the night is quiet"];
        let own = ["backfill-workers", "notes", "--workers", workers];
        prints(url, &[&own[..], &audited].concat()).await
    };
    let held = "SELECT count(DISTINCT owner) FROM dualwrite_batch WHERE expires_at > 0";
    let at_work = async || fast.db.number(held).await;
    let begun = async || fast.migration.status().await.unwrap().backfill.filter(|b| b.done() > 3);
    soon("it copies", begun).await;
    assert!(fast.migration.backfill().set_rate(Some(30), "ada", "tests").await.unwrap());
    assert!(at_work().await <= 1);
    for (workers, count) in [("3", 3), ("2", 2), ("4", 4), ("default", 1)] {
        give(workers).await;
        // Between two ranges a worker holds none: fewer are seen now and then, and never more.
        until("none is left that is not wanted", async || {
            for _ in 0..20 {
                if at_work().await > count {
                    return false;
                }
            }
            true
        })
        .await;
        until("as many are at work", async || at_work().await == count).await;
    }
    fast.migration.backfill().set_rate(None, "ada", "tests").await.unwrap();
    let done = run.await.unwrap();
    assert!(done.complete && done.failed == 0, "{done:?}");
    let same = "SELECT count(*) FROM old_note o JOIN new_note n ON n.id = o.id AND n.word = o.word";
    assert_eq!(fast.db.number(same).await, 900);
    fast.ends().await;
}

/// What a replica would do by itself, once.
async fn replicate<D: Sql>(primary: &Scratch<D>, replica: &Scratch<D>) {
    for row in
        primary.rows("SELECT instance, migration, trail FROM dualwrite_acknowledgement").await
    {
        let [Some(id), Some(migration), Some(beat)] = &row[..] else { panic!("{row:?}") };
        replica
            .execute(&format!("DELETE FROM dualwrite_acknowledgement WHERE instance = '{id}'"))
            .await;
        let insert = "INSERT INTO dualwrite_acknowledgement (instance, migration, lazy, seen_epoch, \
                      seen_token, drained_epoch, beat, trail)";
        let values = format!("('{id}', '{migration}', 0, 0, 0, 0, 0, {beat})");
        replica.execute(&format!("{insert} VALUES {values}")).await;
    }
}

async fn it_makes_way_for_a_replica<D: Sql>(db: Scratch<D>) {
    let Some(replica) = D::fresh("replica").await else { return };
    let makes_tables = Runtime::builder(replica.pool().clone()).start().await.unwrap();
    makes_tables.shutdown().await.unwrap();
    let pool = replica.another_pool(1).await;
    let fast = Fast::with(db, 2_000, |builder| builder.replica("near", pool.clone())).await;

    let run = fast.copies(Throttle::default().lag(Duration::from_millis(500)));
    let reason = fast.reason().await;
    assert!(reason.starts_with("the replica `near` is "), "{reason}");
    assert!(reason.ends_with("s behind"), "{reason}");

    until("it goes on", async || {
        replicate(&fast.db, &replica).await;
        let backfill = fast.migration.status().await.unwrap().backfill.unwrap();
        backfill.throttled.is_none() && backfill.migrated > 0
    })
    .await;

    pool.close().await;
    until("the replica is missed", async || {
        fast.reason().await == "the replica `near` gives no answer"
    })
    .await;
    fast.migration.backfill().cancel("ada", "tests").await.unwrap();
    run.abort();
    fast.ends().await;
}

/// The pool is the application's, which reads by it.
async fn a_replica_that_hangs_keeps_no_connection_of_its_pool<D: Sql>(db: Scratch<D>) {
    let Some(replica) = D::fresh("replica_hangs").await else { return };
    let Some((host, port)) = replica.server() else { return }; // a file has no network
    let makes_tables = Runtime::builder(replica.pool().clone()).start().await.unwrap();
    makes_tables.shutdown().await.unwrap();
    let proxy = Proxy::to((host.as_str(), port).to_socket_addrs().unwrap().next().unwrap()).await;
    let url = replica.url().replacen(&format!(":{port}"), &format!(":{}", proxy.port()), 1);
    let pool = replica.pool_by(&url, 1).await;
    let fast = Fast::with(db, 2_000, |builder| builder.replica("near", pool.clone())).await;
    let run = fast.copies(Throttle::default().lag(Duration::from_millis(500)));
    let is_behind = async || fast.reason().await.starts_with("the replica `near` is ");
    until("it is behind", is_behind).await;
    proxy.freeze();
    let is_silent = async || fast.reason().await == "the replica `near` gives no answer";
    until("it hangs", is_silent).await;
    until("another connection is answered", is_behind).await;
    fast.migration.backfill().cancel("ada", "tests").await.unwrap();
    run.abort();
    fast.ends().await;
}

async fn replicas_are_few_and_have_names_of_their_own<D: Sql>(db: Scratch<D>) {
    let too_many: Vec<String> = (0..=REPLICAS_MAX).map(|number| number.to_string()).collect();
    for (names, wrong) in [
        (&too_many[..], "9 replicas are more than 8"),
        (&["".to_owned()], "`` is no name for a replica"),
        (&["near".to_owned(), "near".to_owned()], "two replicas are named `near`"),
    ] {
        let builder = Runtime::builder(db.pool().clone());
        let builder =
            names.iter().fold(builder, |builder, name| builder.replica(name, db.pool().clone()));
        let refused = builder.start().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains(wrong), "{refused}");
    }
}

async fn every_process_sees_who_copies_what<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 30, plain).await;
    let runtime = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    let copy = CopyNotes::<D>::new();
    let second = runtime.migration("notes").backfill(copy).register().await.unwrap();
    assert_eq!(second.status().await.unwrap().backfill, None);
    let lease = Duration::from_secs(60);
    let migration = world.migration.clone();
    let run = tokio::spawn(async move {
        migration.backfill().batch(1).rate(50).lease(lease).run().await.unwrap()
    });
    let seen = soon("a worker has copied", async || {
        let progress = second.status().await.unwrap().backfill?;
        progress.workers.into_iter().next().filter(|worker| worker.done >= 2)
    })
    .await;
    assert!(seen.owner.starts_with(&format!("{}/", world.runtime.instance())), "{seen:?}");
    assert_eq!((seen.after, seen.last.as_str()), (Some(seen.done.to_string()), "20"));
    let left = seen.lease_left;
    assert!(!left.is_zero() && left <= Duration::from_secs(60), "{left:?}");
    let done = run.await.unwrap();
    assert_eq!((done.migrated, done.workers), (30, vec![]));
}
