//! Forms of traits: boxed futures and trait objects, methods that go to the primary, constants, and one
//! statement for both sides.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dualwrite::testing::TestMigration;
use dualwrite::{Backend, Percent, Stage, Tx};
use sqlx::{Error, Sqlite};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

/// Above ours, `#[async_trait]` has boxed the futures before we see them.
#[async_trait]
#[dualwrite::repository]
trait Boxed<DB: Backend>: Send + Sync {
    #[read(key = name)]
    async fn find(&self, name: &str) -> Result<String, Error>;
    #[read(key = id, lazy)]
    async fn get(&self, id: i64) -> Result<Option<String>, Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<String, Error>;
    #[primary]
    fn label(&self) -> &'static str;
    #[primary]
    async fn ping(&self, pings: &mut u64);
    async fn twice(&self, name: &str) -> Result<String, Error> {
        Ok(self.find(name).await? + &self.find(name).await?)
    }
}

/// Below ours, it boxes what we have generated.
#[dualwrite::repository]
#[async_trait::async_trait]
trait BoxedLater<DB: Backend>: Send + Sync {
    #[read(key = name)]
    async fn find(&self, name: &str) -> Result<String, Error>;
    #[read(key = id, lazy)]
    async fn get(&self, id: i64) -> Result<Option<String>, Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<String, Error>;
    #[primary]
    fn label(&self) -> &'static str;
    #[primary]
    async fn ping(&self, pings: &mut u64);
}

struct Side(&'static str);

macro_rules! boxed {
    ($name:ident) => {
        #[async_trait]
        impl<DB: Backend> $name<DB> for Side {
            async fn find(&self, name: &str) -> Result<String, Error> {
                Ok(format!("{name} of {}", self.0))
            }
            async fn get(&self, id: i64) -> Result<Option<String>, Error> {
                Ok(Some(format!("{id} of {}", self.0)))
            }
            async fn save(&self, _: &mut Tx<'_, DB>, _: i64) -> Result<String, Error> {
                Ok(self.0.to_owned())
            }
            fn label(&self) -> &'static str {
                self.0
            }
            async fn ping(&self, pings: &mut u64) {
                *pings += 1;
            }
        }
    };
}

boxed!(Boxed);
boxed!(BoxedLater);

async fn test_at(stage: Stage) -> TestMigration {
    let test = TestMigration::new("forms").await.unwrap();
    test.put(stage, Percent::ZERO).unwrap();
    test
}

#[tokio::test(start_paused = true)]
async fn trait_objects_are_repositories() {
    let test = test_at(Stage::Live).await;
    let old: Arc<dyn Boxed<Sqlite>> = Arc::new(Side("old"));
    let new: Arc<dyn Boxed<Sqlite>> = Arc::new(Side("new"));
    let both = DualBoxed::from_arcs(test.migration(), old, new);
    let wrapped: Arc<dyn Boxed<Sqlite>> = Arc::new(both);
    assert_eq!(wrapped.find("a").await.unwrap(), "a of new");
    assert_eq!(wrapped.twice("a").await.unwrap(), "a of newa of new");
    assert_eq!(wrapped.get(1).await.unwrap().unwrap(), "1 of new");
    let mut pings = 0;
    wrapped.ping(&mut pings).await;
    assert_eq!(pings, 1);
    test.settle().await;
    assert!(test.migration().status().await.unwrap().counters.shadow_different >= 3);
}

#[tokio::test(start_paused = true)]
async fn trait_objects_may_be_made_later() {
    let test = test_at(Stage::Shadow).await;
    let old: Arc<dyn BoxedLater<Sqlite>> = Arc::new(Side("old"));
    let wrapped: Box<dyn BoxedLater<Sqlite>> =
        Box::new(DualBoxedLater::from_arcs(test.migration(), old, Arc::new(Side("new"))));
    assert_eq!(wrapped.find("a").await.unwrap(), "a of old");
    assert_eq!(wrapped.get(1).await.unwrap().unwrap(), "1 of old");
    assert_eq!(wrapped.label(), "old");
    test.settle().await;
    assert_eq!(test.migration().status().await.unwrap().counters.shadow_different, 2);
}

#[tokio::test]
async fn the_primary_is_the_side_that_answers() {
    for stage in Stage::ALL {
        let test = test_at(stage).await;
        let both = DualBoxed::new(test.migration(), Side("old"), Side("new"));
        assert_eq!(Boxed::<Sqlite>::label(&both), stage.reads().as_str(), "{stage}");
        let methods = test.migration().status().await.unwrap().methods;
        assert!(methods.iter().all(|method| method.method != "label"), "it is not counted");
    }
}

#[dualwrite::repository]
trait Limits {
    const TABLE: &'static str;
    const LIMIT: u32 = 10;
    #[read(scan, shadow = never)]
    async fn count(&self) -> Result<u32, Error>;
}

impl Limits for Side {
    const TABLE: &'static str = "limit";
    async fn count(&self) -> Result<u32, Error> {
        Ok(Self::LIMIT)
    }
}

#[tokio::test]
async fn constants_are_shared() {
    let test = test_at(Stage::Off).await;
    let both = DualLimits::new(test.migration(), Side("old"), Side("new"));
    assert_eq!(both.count().await.unwrap(), 10);
    fn shown<L: Limits>(_: &L) -> (&'static str, u32) {
        (L::TABLE, L::LIMIT)
    }
    assert_eq!(shown(&both), ("limit", 10));
}

on_all_databases!(trait_objects_write_both);

async fn trait_objects_write_both<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let [old, new] = ["old", "new"].map(|name| Arc::new(Side(name)) as Arc<dyn Boxed<D::Db>>);
    let boxed: Box<dyn Boxed<D::Db>> = Box::new(DualBoxed::from_arcs(&world.migration, old, new));
    let later = DualBoxedLater::new(&world.migration, Side("old"), Side("new"));
    let later: Box<dyn BoxedLater<D::Db>> = Box::new(later);
    let mut tx = world.begin().await;
    assert_eq!(boxed.save(&mut tx, 1).await.unwrap(), "old");
    assert_eq!(later.save(&mut tx, 2).await.unwrap(), "old");
    tx.commit().await.unwrap();
    let methods = world.migration.status().await.unwrap().methods;
    let saves = methods.iter().filter(|method| method.method == "save" && method.new.calls == 1);
    assert_eq!(saves.count(), 2);
    let mut pings = 0;
    later.ping(&mut pings).await;
    assert_eq!(pings, 1);
}

on_all_databases!(one_statement_may_write_both);

#[dualwrite::repository]
trait Pairs<DB: Backend> {
    #[read(key = id, shadow = never)]
    async fn find(&self, id: i64) -> Result<&'static str, Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<&'static str, Error>;
}

#[derive(Clone)]
struct Logged {
    name: &'static str,
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl<DB: Backend> Pairs<DB> for Logged {
    async fn find(&self, _: i64) -> Result<&'static str, Error> {
        Ok(self.name)
    }

    async fn save(&self, _: &mut Tx<'_, DB>, id: i64) -> Result<&'static str, Error> {
        self.log.lock().unwrap().push(self.name);
        if id < 0 { Err(Error::WorkerCrashed) } else { Ok(self.name) }
    }
}

async fn one_statement_may_write_both<D: Sql>(db: Scratch<D>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let side = |name| Logged { name, log: Arc::clone(&log) };
    let said = || std::mem::take(&mut *log.lock().unwrap());
    let world = World::with(db, Stage::Off, 0, plain).await;
    let pairs = DualPairs::new(&world.migration, side("old"), side("new")).with_both(side("both"));
    let write = async |id: i64| {
        let mut tx = world.begin().await;
        let answer = pairs.save(&mut tx, id).await;
        (answer, tx.commit().await)
    };

    let (answer, committed) = write(1).await;
    committed.unwrap();
    assert_eq!((answer.unwrap(), said()), ("old", vec!["old"]), "at Off");

    world.migration.advance(Stage::DualWrite).await.unwrap();
    let (answer, committed) = write(1).await;
    committed.unwrap();
    assert_eq!((answer.unwrap(), said()), ("both", vec!["both"]));
    // Nothing to forgive: neither side was written.
    let (answer, committed) = write(-1).await;
    answer.unwrap_err();
    committed.unwrap_err();
    assert_eq!(said(), ["both"]);
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.dirty_new, status.counters.mirror_failed), (0, 0));
    // Reads know nothing of it.
    assert_eq!(<_ as Pairs<D::Db>>::find(&pairs, 1).await.unwrap(), "old");

    // A clone has it too.
    let clone = pairs.clone();
    let mut tx = world.begin().await;
    assert_eq!(clone.save(&mut tx, 1).await.unwrap(), "both");
}
