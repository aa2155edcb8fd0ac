//! The options of single methods: what is compared, how often, for how long and by what; and what a
//! mirror write that fails does to the caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::testing::TestMigration;
use dualwrite::{Compare, MirrorPolicy, Percent, Stage, Tx, observe::CounterReport};
use sqlx::Error;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::log::{Log, listen};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

/// Neither comparable nor to be copied.
#[derive(Debug)]
struct Opaque;

/// Comparable field by field, and not otherwise.
#[derive(Clone, Debug, Compare)]
struct Customer {
    id: i64,
    email: String,
    #[compare(reveal)]
    country: &'static str,
    #[compare(ignore)]
    read_at: u64,
}

#[dualwrite::repository]
trait Customers {
    #[read(key = id, shadow = never)]
    async fn unseen(&self, id: i64) -> Result<Option<Opaque>, Error>;
    #[read(key = id, lazy, shadow = never)]
    async fn unseen_lazy(&self, id: i64) -> Result<Option<Opaque>, Error>;
    #[read(key = id)]
    async fn by_fields(&self, id: i64) -> Result<Option<Customer>, Error>;
    #[read(key = id, compare = is_near)]
    async fn by_function(&self, id: i64) -> Result<i64, Error>;
    #[read(key = id, sample = 10)]
    async fn sampled(&self, id: i64) -> Result<i64, Error>;
    #[read(key = id, timeout = "20ms")]
    async fn limited(&self, id: i64) -> Result<i64, Error>;
    #[read(key = id)]
    async fn unlimited(&self, id: i64) -> Result<i64, Error>;
}

/// New may be ahead of old.
fn is_near(old: &i64, new: &i64) -> bool {
    (*old..=*old + 10).contains(new)
}

#[derive(Clone, Default)]
struct Side {
    number: i64,
    email: &'static str,
    pause: Duration,
    calls: Arc<AtomicU64>,
}

impl Side {
    async fn number(&self) -> Result<i64, Error> {
        self.calls.fetch_add(1, SeqCst);
        tokio::time::sleep(self.pause).await;
        Ok(self.number)
    }
}

impl Customers for Side {
    async fn unseen(&self, _: i64) -> Result<Option<Opaque>, Error> {
        self.number().await.map(|_| Some(Opaque))
    }

    async fn unseen_lazy(&self, id: i64) -> Result<Option<Opaque>, Error> {
        self.unseen(id).await
    }

    async fn by_fields(&self, id: i64) -> Result<Option<Customer>, Error> {
        let read_at = self.calls.fetch_add(1, SeqCst);
        let country = if self.number == 0 { "CH" } else { "FR" };
        Ok(Some(Customer { id, email: self.email.to_owned(), country, read_at }))
    }

    async fn by_function(&self, _: i64) -> Result<i64, Error> {
        self.number().await
    }

    async fn sampled(&self, _: i64) -> Result<i64, Error> {
        self.number().await
    }

    async fn limited(&self, _: i64) -> Result<i64, Error> {
        self.number().await
    }

    async fn unlimited(&self, _: i64) -> Result<i64, Error> {
        self.number().await
    }
}

struct Shop {
    test: TestMigration,
    customers: DualCustomers<Side, Side>,
    old: Side,
    new: Side,
}

impl Shop {
    async fn new(old: Side, new: Side) -> Self {
        let limit = Duration::from_secs(2);
        let test = TestMigration::with_shadow("shop", Percent::FULL, limit, 64).await.unwrap();
        test.put(Stage::Shadow, Percent::ZERO).unwrap();
        let customers = DualCustomers::new(test.migration(), old.clone(), new.clone());
        Self { test, customers, old, new }
    }

    async fn counters(&self) -> CounterReport {
        self.test.settle().await;
        self.test.migration().status().await.unwrap().counters
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_never_compared_asks_one_side() {
    let shop = Shop::new(Side::default(), Side::default()).await;
    shop.customers.unseen(1).await.unwrap();
    shop.customers.unseen_lazy(1).await.unwrap();
    let counters = shop.counters().await;
    assert_eq!((shop.old.calls.load(SeqCst), shop.new.calls.load(SeqCst)), (2, 0));
    assert_eq!((counters.shadow_equal, counters.shadow_different), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn answers_are_compared_field_by_field_where_they_can_be() {
    // What is ignored differs in every answer.
    let shop = Shop::new(Side::default(), Side::default()).await;
    shop.old.calls.store(100, SeqCst);
    let answer = shop.customers.by_fields(1).await.unwrap();
    assert_eq!(answer.unwrap().read_at, 100);
    assert_eq!(shop.counters().await.shadow_equal, 1);
}

#[tokio::test(start_paused = true)]
async fn a_report_names_paths_and_no_values() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _guard = listen(subscriber.finish());
    let side = |number, email| Side { number, email, ..Side::default() };
    let shop = Shop::new(side(0, "ada@old.example"), side(1, "ada@new.example")).await;
    shop.customers.by_fields(1).await.unwrap();
    assert_eq!(shop.counters().await.shadow_different, 1);
    let log = log.text();
    assert!(log.contains(r#"paths="email, country""#), "{log}");
    assert!(log.contains("differences=2"), "{log}");
    for value in ["example", "CH", "FR", "read_at"] {
        assert!(!log.contains(value), "{value} in {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_is_told_which_answer_is_olds() {
    let shop = Shop::new(Side::default(), Side { number: 7, ..Side::default() }).await;
    shop.customers.by_function(1).await.unwrap();
    assert_eq!(shop.counters().await.shadow_equal, 1);
    // Also where new answers and old is the mirror.
    shop.test.put(Stage::Live, Percent::ZERO).unwrap();
    shop.customers.by_function(1).await.unwrap();
    assert_eq!(shop.counters().await.shadow_equal, 2);

    let shop = Shop::new(Side { number: 7, ..Side::default() }, Side::default()).await;
    shop.customers.by_function(1).await.unwrap();
    assert_eq!(shop.counters().await.shadow_different, 1);
}

#[tokio::test(start_paused = true)]
async fn a_method_is_sampled_by_its_own_share() {
    let shop = Shop::new(Side::default(), Side::default()).await;
    for id in 0..2_000 {
        shop.customers.sampled(id).await.unwrap();
        shop.test.settle().await;
    }
    let compared = shop.counters().await.shadow_equal;
    assert!((100..400).contains(&compared), "{compared}");
}

#[tokio::test(start_paused = true)]
async fn a_method_has_its_own_limit() {
    let slow = Side { pause: Duration::from_millis(100), ..Side::default() };
    let shop = Shop::new(Side::default(), slow).await;
    shop.customers.limited(1).await.unwrap();
    assert_eq!(shop.counters().await.shadow_timed_out, 1);
    shop.customers.unlimited(1).await.unwrap();
    assert_eq!(shop.counters().await.shadow_equal, 1);
}

on_all_databases!(a_mirror_that_fails_does_what_the_method_says);

#[dualwrite::repository]
trait Ledger<DB: dualwrite::Backend> {
    #[write(key = id, on_mirror_error = abort)]
    async fn strict(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), Error>;
    #[write(key = id, on_mirror_error = mark_dirty)]
    async fn forgiving(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), Error>;
    #[write(key = id)]
    async fn plain(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), Error>;
}

enum Ledgers {
    Works,
    Fails,
}

impl Ledgers {
    fn answer(&self) -> Result<(), Error> {
        match self {
            Self::Works => Ok(()),
            Self::Fails => Err(Error::WorkerCrashed),
        }
    }
}

impl<DB: dualwrite::Backend> Ledger<DB> for Ledgers {
    async fn strict(&self, _: &mut Tx<'_, DB>, _: i64) -> Result<(), Error> {
        self.answer()
    }

    async fn forgiving(&self, _: &mut Tx<'_, DB>, _: i64) -> Result<(), Error> {
        self.answer()
    }

    async fn plain(&self, _: &mut Tx<'_, DB>, _: i64) -> Result<(), Error> {
        self.answer()
    }
}

async fn a_mirror_that_fails_does_what_the_method_says<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let ledger = DualLedger::new(&world.migration, Ledgers::Works, Ledgers::Fails);
    let mut tx = world.begin().await;
    ledger.plain(&mut tx, 1).await.unwrap();
    ledger.forgiving(&mut tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.migration.status().await.unwrap().counters.mirror_failed, 2);
    let mut tx = world.begin().await;
    let error = ledger.strict(&mut tx, 3).await.unwrap_err();
    assert!(matches!(error, Error::WorkerCrashed), "the mirror's own error: {error}");
    tx.commit().await.unwrap_err();
    assert_eq!(world.migration.status().await.unwrap().counters.mirror_failed, 2);
}

on_all_databases!(a_method_may_forgive_where_the_migration_does_not);

async fn a_method_may_forgive_where_the_migration_does_not<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, |r| r.mirror(MirrorPolicy::Abort)).await;
    let ledger = DualLedger::new(&world.migration, Ledgers::Works, Ledgers::Fails);
    let mut tx = world.begin().await;
    ledger.forgiving(&mut tx, 1).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.begin().await;
    ledger.plain(&mut tx, 2).await.unwrap_err();
}
