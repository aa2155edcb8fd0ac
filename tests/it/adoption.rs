//! Shapes of traits as services have them: errors of other crates, answers without an error, ramps by other
//! keys than the record's, aliases, names, and traits that are declared elsewhere.

use std::sync::{Arc, Mutex};

use dualwrite::testing::TestMigration;
use dualwrite::{Backend, BucketRule, Percent, Stage, Tx, salt};
use sqlx::Sqlite;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

type Fenced<'c, DB> = Tx<'c, DB>;
type Answer<T> = std::result::Result<T, String>;

fn to_text(error: dualwrite::Error) -> String {
    format!("library: {:?}", error.kind())
}

#[dualwrite::repository(name = Rollout, error = to_text)]
trait Texts<DB: Backend> {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Answer<String>;
    #[read(key = id, error = to_other)]
    async fn other(&self, id: i64) -> std::io::Result<String>;
    #[read(key = id, on_unknown = None)]
    async fn name(&self, id: i64) -> Option<String>;
    #[read(scan, on_unknown = false)]
    async fn any(&self) -> bool;
    #[write(key = id)]
    async fn save(&self, unit: &mut Fenced<'_, DB>, id: i64) -> Answer<&'static str>;
    #[write(key = id, on_unknown = false)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> bool;
    #[write(key = id, on_unknown = ())]
    async fn forget(&self, tx: &mut Tx<'_, DB>, id: i64);
    #[read(key = id)]
    async fn find_in(&self, unit: &mut Fenced<'_, DB>, id: i64) -> Answer<&'static str>;
}

fn to_other(error: dualwrite::Error) -> std::io::Error {
    std::io::Error::other(error)
}

#[derive(Clone)]
struct Store(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Store {
    fn pair() -> (Self, Self) {
        let log = Arc::default();
        (Self("old", Arc::clone(&log)), Self("new", log))
    }

    fn log(&self) {
        self.1.lock().unwrap().push(self.0);
    }

    fn said(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.1.lock().unwrap())
    }
}

impl<DB: Backend> Texts<DB> for Store {
    async fn find(&self, id: i64) -> Answer<String> {
        if id < 0 { Err(format!("{} has none", self.0)) } else { Ok(self.0.to_owned()) }
    }
    async fn other(&self, _: i64) -> std::io::Result<String> {
        Ok(self.0.to_owned())
    }
    async fn name(&self, _: i64) -> Option<String> {
        Some(self.0.to_owned())
    }
    async fn any(&self) -> bool {
        true
    }
    async fn save(&self, _: &mut Tx<'_, DB>, _: i64) -> Answer<&'static str> {
        self.log();
        Ok(self.0)
    }
    async fn remove(&self, _: &mut Tx<'_, DB>, _: i64) -> bool {
        self.log();
        true
    }
    async fn forget(&self, _: &mut Tx<'_, DB>, _: i64) {
        self.log();
    }
    async fn find_in(&self, _: &mut Tx<'_, DB>, _: i64) -> Answer<&'static str> {
        Ok(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_stage_is_what_the_user_makes_of_it() {
    let (test, hands) = TestMigration::with_manual_clock("adoption").await.unwrap();
    test.put(Stage::Live, Percent::ZERO).unwrap();
    let (old, new) = Store::pair();
    let texts = Rollout::new(test.migration(), old, new);
    assert_eq!(Texts::<Sqlite>::find(&texts, 1).await.unwrap(), "new");
    assert_eq!(Texts::<Sqlite>::find(&texts, -1).await.unwrap_err(), "new has none");
    assert_eq!(Texts::<Sqlite>::other(&texts, 1).await.unwrap(), "new");
    assert_eq!(Texts::<Sqlite>::name(&texts, 1).await.as_deref(), Some("new"));
    assert!(Texts::<Sqlite>::any(&texts).await);
    test.settle().await;
    hands.advance(dualwrite::defaults::LEASE * 2);
    assert_eq!(Texts::<Sqlite>::find(&texts, 1).await.unwrap_err(), "library: StageUnknown");
    let error = Texts::<Sqlite>::other(&texts, 1).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Other);
    assert_eq!(Texts::<Sqlite>::name(&texts, 1).await, None);
    assert!(!Texts::<Sqlite>::any(&texts).await);
}

on_all_databases!(writes_have_the_users_error_or_none);

async fn writes_have_the_users_error_or_none<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let (old, new) = Store::pair();
    let texts = Rollout::new(&world.migration, old.clone(), new);
    let mut tx = world.begin().await;
    assert_eq!(texts.save(&mut tx, 1).await.unwrap(), "old");
    assert!(texts.remove(&mut tx, 1).await);
    texts.forget(&mut tx, 1).await;
    assert_eq!(texts.find_in(&mut tx, 1).await.unwrap(), "old");
    assert_eq!(old.said(), ["old", "new"].repeat(3));
    tx.commit().await.unwrap();
    // A transaction of somebody else, whose positions nobody pinned.
    let mut other = Tx::begin_for(world.db.pool(), &[]).await.unwrap();
    assert_eq!(texts.save(&mut other, 1).await.unwrap_err(), "library: NotPinned");
    assert!(!texts.remove(&mut other, 1).await);
    texts.forget(&mut other, 1).await;
    assert_eq!(old.said(), [""; 0]);
}

#[dualwrite::repository]
trait Goals {
    #[read(key = goal, ramp = user)]
    async fn goal(&self, user: i64, goal: i64) -> Result<&'static str, sqlx::Error>;
    #[read(key = goal)]
    async fn plain(&self, goal: i64) -> Result<&'static str, sqlx::Error>;
}

impl Goals for Store {
    async fn goal(&self, _: i64, _: i64) -> Result<&'static str, sqlx::Error> {
        Ok(self.0)
    }
    async fn plain(&self, _: i64) -> Result<&'static str, sqlx::Error> {
        Ok(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_sees_one_behaviour_whatever_the_record() {
    let test = TestMigration::new("adoption").await.unwrap();
    let half = Percent::new(50).unwrap();
    test.put(Stage::Shadow, half).unwrap();
    let (old, new) = Store::pair();
    let goals = DualGoals::new(test.migration(), old, new);
    let side = |key: i64| {
        let bucket = BucketRule::Hash.bucket(&key, salt("adoption")).unwrap();
        if bucket.is_below(half) { "new" } else { "old" }
    };
    for user in 0..20 {
        for goal in 0..20 {
            assert_eq!(goals.goal(user, goal).await.unwrap(), side(user));
            assert_eq!(goals.plain(goal).await.unwrap(), side(goal));
        }
    }
}

mod domain {
    /// As a crate has it that knows nothing of databases or of this library.
    #[async_trait::async_trait]
    pub(super) trait Names {
        async fn name(&self, id: i64) -> Result<String, super::NameError>;
    }

    pub(super) trait Counts {
        async fn count(&self, id: i64) -> Result<u64, super::NameError>;
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NameError(String);

fn to_name_error(error: dualwrite::Error) -> NameError {
    NameError(error.to_string())
}

#[dualwrite::repository(remote = domain::Names, error = to_name_error)]
#[async_trait::async_trait]
trait Names {
    #[read(key = id)]
    async fn name(&self, id: i64) -> Result<String, NameError>;
}

#[dualwrite::repository(remote = domain::Counts, error = to_name_error)]
trait Counts {
    #[read(key = id, shadow = never)]
    async fn count(&self, id: i64) -> Result<u64, NameError>;
}

#[async_trait::async_trait]
impl domain::Names for Store {
    async fn name(&self, _: i64) -> Result<String, NameError> {
        Ok(self.0.to_owned())
    }
}

impl domain::Counts for Store {
    async fn count(&self, _: i64) -> Result<u64, NameError> {
        Ok(self.0.len() as u64)
    }
}

#[tokio::test(start_paused = true)]
async fn a_trait_of_another_crate_is_implemented_by_a_copy_of_its_signatures() {
    let (test, hands) = TestMigration::with_manual_clock("adoption").await.unwrap();
    test.put(Stage::Live, Percent::ZERO).unwrap();
    let (old, new) = Store::pair();
    let names: Box<dyn domain::Names> =
        Box::new(DualNames::new(test.migration(), old.clone(), new.clone()));
    assert_eq!(names.name(1).await.unwrap(), "new");
    test.settle().await;
    assert_eq!(test.migration().status().await.unwrap().counters.shadow_different, 1);
    let counts = DualCounts::new(test.migration(), old, new);
    assert_eq!(domain::Counts::count(&counts, 1).await.unwrap(), 3);
    hands.advance(dualwrite::defaults::LEASE * 2);
    domain::Counts::count(&counts, 1).await.unwrap_err();
}

#[dualwrite::repository]
trait Held {
    #[read(key = id, shadow = never)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
    /// Holds what it is given until it has ended.
    async fn with(&self, _: Noted, unused: Noted, (_one, _): (Noted, i64)) {
        let _body = Noted("body", unused.1.clone());
        tokio::task::yield_now().await;
        unused.1.lock().unwrap().push("ended");
    }
}

struct Noted(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

impl Held for Store {
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error> {
        Ok(id)
    }
}

#[tokio::test]
async fn a_default_body_drops_its_arguments_as_a_plain_function_does() {
    async fn plain(_: Noted, unused: Noted, (_one, _): (Noted, i64)) {
        let _body = Noted("body", unused.1.clone());
        tokio::task::yield_now().await;
        unused.1.lock().unwrap().push("ended");
    }
    let log: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let noted = |name| Noted(name, Arc::clone(&log));
    let said = || std::mem::take(&mut *log.lock().unwrap());
    plain(noted("first"), noted("second"), (noted("third"), 0)).await;
    let expected = said();
    assert_eq!(expected[..2], ["ended", "body"]);
    let (old, _) = Store::pair();
    assert_eq!(Held::find(&old, 1).await.unwrap(), 1);
    old.with(noted("first"), noted("second"), (noted("third"), 0)).await;
    assert_eq!(said(), expected);
}
