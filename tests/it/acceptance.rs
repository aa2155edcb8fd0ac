//! Two real migrations, from the first stage to the last, under load: the rename
//! `Customer.Email → EmailAddress` and the split `Track → track_versions`, both at once, in two instances
//! of one service.
//!
//! Callers read and write all the time, through every stage, a rollback from `Live`, and a return to `Off`
//! from which everything goes forward again. What they may see is written down in the [`ledger`].

mod crew;
mod dialect;
mod ledger;
mod life;
mod records;
mod rename;
mod service;
mod split;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dualwrite::{BoxError, Percent, Runtime};

use crew::{Crew, Role};
use dialect::sql;
use ledger::Ledger;
use life::Step;
use records::{DualRecords, Kind, Records};
use rename::Rename;
use service::{Instance, RecordOf, Served};
use split::Split;

use crate::support::chinook;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::runs_all;
use crate::support::sql::Sql;

on_all_databases!(on_generated_rows, on_chinook, when_reads_bring_the_keys);

/// Operations of every worker between two steps.
const BETWEEN_STEPS: u64 = 12;
/// Keys of each kind that come and go.
const TRANSIENT: i64 = 16;
/// Connections of an instance: more than it has workers, fewer than it has workers and shadow reads.
const CONNECTIONS: u32 = 10;

async fn on_generated_rows<D: Sql>(db: Scratch<D>) {
    generate(&db).await;
    live(&db, &life::whole(), false).await;
}

async fn on_chinook<D: Sql>(db: Scratch<D>) {
    // Load through every stage on 3,500 tracks: the same steps as on generated rows, each at its length.
    if runs_all("acceptance on the data of Chinook") && chinook::load(&db).await.is_some() {
        live(&db, &life::whole(), false).await;
    }
}

async fn when_reads_bring_the_keys<D: Sql>(db: Scratch<D>) {
    generate(&db).await;
    live(&db, &life::lazy(), true).await;
}

/// Rows in the shape of Chinook's.
async fn generate<D: Sql>(db: &Scratch<D>) {
    let customers = (1..=30).map(|id| format!("({id}, 'First', 'Last', 'first{id}@example.org')"));
    let tracks = (1..=90).map(|id| format!("({id}, 'Track {id}', 1, NULL, {id}000, 0.99)"));
    let script = format!(
        "CREATE TABLE [customer] ([customer_id] INTEGER PRIMARY KEY, [first_name] VARCHAR(40) NOT NULL,
             [last_name] VARCHAR(20) NOT NULL, [email] VARCHAR(60) NOT NULL);
         CREATE TABLE [track] ([track_id] INTEGER PRIMARY KEY, [name] VARCHAR(200) NOT NULL,
             [media_type_id] INT NOT NULL, [composer] VARCHAR(220), [milliseconds] INT NOT NULL,
             [unit_price] NUMERIC(10,2) NOT NULL);
         INSERT INTO [customer] VALUES {};
         INSERT INTO [track] VALUES {}",
        customers.collect::<Vec<_>>().join(", "),
        tracks.collect::<Vec<_>>().join(", ")
    );
    db.execute(&sql::<D>(&script)).await;
}

async fn live<D: Sql>(db: &Scratch<D>, steps: &[Step], lazy: bool) {
    let began = Instant::now();
    for expansion in [<Rename as Kind<D>>::EXPANSION, <Split as Kind<D>>::EXPANSION] {
        db.execute(&sql::<D>(expansion)).await;
    }
    let (customers, tracks) = (ledger::<D, Rename>(db).await, ledger::<D, Split>(db).await);
    let (mut runtimes, mut instances) = (Vec::new(), Vec::new());
    for (release, poll) in [("1.0", 20), ("1.1", 400)] {
        let reads = db.another_pool(CONNECTIONS).await;
        // SQLite has one writer at a time, and those who wait look again now and then, in no order: the
        // writers of an instance queue up for one connection instead.
        let pool = match D::NAME {
            "sqlite" => db.another_pool(1).await,
            _ => reads.clone(),
        };
        let builder = Runtime::builder(pool.clone()).release(release);
        let runtime = builder.poll(Duration::from_millis(poll)).start().await.unwrap();
        let customers = serve(&runtime, &pool, &reads, &customers, lazy).await;
        let tracks = serve(&runtime, &pool, &reads, &tracks, lazy).await;
        instances.push(Arc::new(Instance { customers, tracks }));
        runtimes.push(runtime);
    }

    let mut crew =
        Crew::start(&instances, &[(Role::Reads, 2), (Role::Writes, 2), (Role::Copies, 1)]);
    let mut healthy = crew.works_on(BETWEEN_STEPS).await;
    for (number, step) in steps.iter().enumerate() {
        if !healthy {
            break;
        }
        let pause = match step {
            Step::Compare => Some(crew.pause().await),
            _ => None,
        };
        tokio::join!(
            life::take(step, [&instances[0].customers, &instances[1].customers]),
            life::take(step, [&instances[0].tracks, &instances[1].tracks]),
        );
        drop(pause);
        println!("{number} {step:?} {:?}", began.elapsed());
        healthy = crew.works_on(BETWEEN_STEPS).await;
    }
    let tally = crew.stop().await;

    for instance in &instances {
        end(db, &instance.customers, lazy).await;
        end(db, &instance.tracks, lazy).await;
    }
    let seconds = began.elapsed().as_secs_f32();
    println!("{} in {seconds:.1} s: {tally:?}", D::NAME);
    for runtime in runtimes {
        runtime.shutdown().await.unwrap();
    }
}

async fn ledger<D: Sql, K: Kind<D>>(db: &Scratch<D>) -> Arc<Ledger<RecordOf<D, K>>> {
    let existing = K::old(db.pool().clone()).list(0, i64::from(i32::MAX)).await.unwrap();
    Arc::new(Ledger::new(existing, TRANSIENT))
}

async fn serve<D: Sql, K: Kind<D>>(
    runtime: &Runtime<D::Db>,
    pool: &sqlx::Pool<D::Db>,
    reads: &sqlx::Pool<D::Db>,
    ledger: &Arc<Ledger<RecordOf<D, K>>>,
    lazy: bool,
) -> Served<D, K> {
    let registration = runtime.migration(K::MIGRATION).backfill(K::copy());
    let registration = match lazy {
        // A comparison cannot know that a key is only on its way.
        true => registration.lazy().shadow_sample(Percent::ZERO),
        false => registration,
    };
    // Every statement sets its own columns alone, to values of the caller: where both are in one row, twice is once.
    let migration = registration.two_statements().register().await.unwrap();
    let records = DualRecords::new(&migration, K::old(reads.clone()), K::new(reads.clone()));
    Served { pool: pool.clone(), migration, records, ledger: Arc::clone(ledger) }
}

/// After the last stage: every acknowledged write is there, and nothing was left for later.
async fn end<D: Sql, K: Kind<D>>(db: &Scratch<D>, served: &Served<D, K>, lazy: bool) {
    served.list(0, i64::from(i32::MAX)).await.unwrap();
    assert_eq!(db.number(&sql::<D>(K::ORPHANS)).await, 0, "{}", K::MIGRATION);
    let status = served.migration.status().await.unwrap();
    assert_eq!(status.position.stage, dualwrite::Stage::Complete);
    assert_eq!((status.dirty_old, status.dirty_new, status.dead_letters), (0, 0, 0), "{status:#?}");
    let counters = status.counters;
    assert_eq!(counters.shadow_different, 0, "{counters:?}");
    assert_eq!(counters.shadow_mirror_failed, 0, "{counters:?}");
    assert_eq!(counters.lazy_failed, 0, "{counters:?}");
    assert_eq!(counters.mirror_failed, 0, "{counters:?}");
    // The test is worth something only if all of this happened.
    assert_eq!(counters.shadow_equal > 0, !lazy, "{counters:?}");
    assert_eq!(counters.lazy_copied > 0, lazy, "{counters:?}");
    println!("{} {}: {counters:?}", D::NAME, K::MIGRATION);
}

fn numbers(texts: Vec<String>) -> Result<Vec<i64>, BoxError> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}
