//! Repositories of `&mut self` methods that borrow a connection: each call is routed, and its sides are built over
//! the connection of the fenced transaction.

use std::sync::atomic::Ordering::SeqCst;

use dualwrite::{
    Columns, Dual, DualTable as _, ErrorKind, Percent, Registration, Runtime, Side, Stage, Tx,
    copy::ConvertColumns,
};
use sqlx::Database;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World, lazy, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    every_call_is_routed_on_the_way_to_complete,
    a_mirror_that_fails_is_undone_and_its_key_is_marked,
    a_call_that_fails_spoils_the_transaction,
    an_unfenced_transaction_is_refused,
    a_missing_row_is_copied_in_the_transaction,
    a_planted_difference_is_found,
    what_is_not_committed_yet_is_no_difference,
    an_adopted_transaction_is_not_compared,
    one_row_is_written_once,
);

/// As a service has it: whoever begins a transaction makes one over its connection.
#[dualwrite::repository(unit_of_work)]
trait Words: Send {
    #[read(key = id, lazy)]
    async fn find(&mut self, id: i64) -> Result<Option<String>, sqlx::Error>;
    #[read(key = id, shadow = never)]
    async fn length(&mut self, id: i64, unit: &mut String) -> Result<usize, sqlx::Error>;
    #[read(scan)]
    async fn count(&mut self) -> Result<usize, sqlx::Error>;
    #[write(key = id)]
    async fn save(&mut self, id: i64, word: String) -> Result<u64, sqlx::Error>;
    #[write(keys = ids)]
    async fn remove_all(&mut self, ids: &[i64]) -> Result<(), sqlx::Error>;
    #[write(filter, error = to_text)]
    async fn clear(&mut self) -> Result<(), String>;
    #[write(key = id, on_unknown = false)]
    async fn touch(&mut self, id: i64) -> bool;
    #[write(key_from = |made: &i64| *made, then = insert_with_id)]
    async fn insert(&mut self, word: &str) -> Result<i64, sqlx::Error>;
    #[write(key = id)]
    async fn insert_with_id(&mut self, id: i64, word: &str) -> Result<i64, sqlx::Error>;
    #[primary]
    fn table(&mut self) -> &'static str;
    async fn move_word(&mut self, from: i64, to: i64) -> Result<(), sqlx::Error> {
        let word = self.find(from).await?.ok_or(sqlx::Error::RowNotFound)?;
        self.save(to, word).await?;
        self.remove_all(&[from]).await
    }
}

fn to_text(error: dualwrite::Error) -> String {
    format!("library: {:?}", error.kind())
}

type Conn<D> = <<D as crate::support::db::TestDb>::Db as Database>::Connection;

struct Table<'t, D: Sql> {
    name: &'static str,
    conn: &'t mut Conn<D>,
}

fn old<D: Sql>(conn: &mut Conn<D>) -> Table<'_, D> {
    Table { name: "old_note", conn }
}

fn new<D: Sql>(conn: &mut Conn<D>) -> Table<'_, D> {
    Table { name: "new_note", conn }
}

/// The new side, whose table is away.
fn away<D: Sql>(conn: &mut Conn<D>) -> Table<'_, D> {
    Table { name: "nowhere", conn }
}

impl<D: Sql> Table<'_, D> {
    async fn run(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        D::run_on(self.conn, sql).await.map(|()| 1)
    }
}

impl<D: Sql> Words for Table<'_, D> {
    async fn find(&mut self, id: i64) -> Result<Option<String>, sqlx::Error> {
        let sql = format!("SELECT word FROM {} WHERE id = {id}", self.name);
        Ok(D::read_on(self.conn, &sql).await?.pop().and_then(|mut row| row.pop().flatten()))
    }
    async fn length(&mut self, id: i64, unit: &mut String) -> Result<usize, sqlx::Error> {
        *unit = "bytes".to_owned();
        Ok(self.find(id).await?.map_or(0, |word| word.len()))
    }
    async fn count(&mut self) -> Result<usize, sqlx::Error> {
        let sql = format!("SELECT id FROM {}", self.name);
        Ok(D::read_on(self.conn, &sql).await?.len())
    }
    async fn save(&mut self, id: i64, word: String) -> Result<u64, sqlx::Error> {
        let name = self.name;
        if name != "nowhere" {
            self.run(&format!("DELETE FROM {name} WHERE id = {id}")).await?;
        }
        self.run(&format!("INSERT INTO {name} (id, word) VALUES ({id}, '{word}')")).await
    }
    async fn remove_all(&mut self, ids: &[i64]) -> Result<(), sqlx::Error> {
        for id in ids {
            self.run(&format!("DELETE FROM {} WHERE id = {id}", self.name)).await?;
        }
        Ok(())
    }
    async fn clear(&mut self) -> Result<(), String> {
        let sql = format!("DELETE FROM {}", self.name);
        self.run(&sql).await.map(drop).map_err(|_| "the table is away".to_owned())
    }
    async fn touch(&mut self, id: i64) -> bool {
        let sql = format!("UPDATE {} SET word = 'touched' WHERE id = {id}", self.name);
        self.run(&sql).await.is_ok()
    }
    async fn insert(&mut self, word: &str) -> Result<i64, sqlx::Error> {
        let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {}", self.name);
        let id = D::read_on(self.conn, &sql).await?[0][0].as_deref().unwrap().parse().unwrap();
        self.insert_with_id(id, word).await
    }
    async fn insert_with_id(&mut self, id: i64, word: &str) -> Result<i64, sqlx::Error> {
        let sql = format!("INSERT INTO {} (id, word) VALUES ({id}, '{word}')", self.name);
        self.run(&sql).await.map(|_| id)
    }
    fn table(&mut self) -> &'static str {
        self.name
    }
}

fn both_ways<DB: dualwrite::Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration
}

async fn every_call_is_routed_on_the_way_to_complete<D: Sql>(db: Scratch<D>) {
    let world = World::copying(db, Stage::Off, 0, both_ways, CopyNotes::<D>::both_ways()).await;
    let words = DualWords::new(&world.migration, old::<D>, new::<D>);
    for (id, stage) in (10..).step_by(10).zip(Stage::ALL) {
        if stage == Stage::Shadow {
            world.migration.backfill().run().await.unwrap();
            assert!(world.migration.verify().run().await.unwrap().is_clean());
        }
        if stage != Stage::Off {
            world.migration.advance(stage).await.unwrap();
        }
        if stage == Stage::Live {
            world.migration.ramp_to(Percent::new(50).unwrap()).await.unwrap();
        }
        let mut tx = world.begin().await;
        let mut unit = words.within(&mut tx);
        assert_eq!(unit.save(id, format!("{stage}")).await.unwrap(), 1);
        assert_eq!(unit.find(id).await.unwrap().unwrap(), format!("{stage}"));
        let mut measure = String::new();
        assert_eq!(unit.length(id, &mut measure).await.unwrap(), format!("{stage}").len());
        assert_eq!(measure, "bytes");
        unit.save(id + 1, "away".to_owned()).await.unwrap();
        unit.move_word(id + 1, id + 2).await.unwrap();
        assert!(unit.touch(id + 2).await);
        unit.remove_all(&[id + 2]).await.unwrap();
        let made = unit.insert("made").await.unwrap();
        assert_eq!(unit.find(made).await.unwrap().unwrap(), "made");
        unit.remove_all(&[made]).await.unwrap();
        let answers = if stage >= Stage::Live { "new_note" } else { "old_note" };
        assert_eq!(unit.table(), answers);
        tx.commit().await.unwrap();
        // What is rolled back was written nowhere.
        let mut tx = world.begin().await;
        words.within(&mut tx).save(id, "never".to_owned()).await.unwrap();
        tx.rollback().await.unwrap();
    }
    let [in_old, in_new] = world.words().await;
    assert_eq!(in_new, ["off", "dual_write", "shadow", "live", "ramp_down", "complete"]);
    assert_eq!(in_old, in_new[..5]);
    let mut tx = world.begin().await;
    let mut unit = words.within(&mut tx);
    assert_eq!(unit.count().await.unwrap(), 6);
    unit.clear().await.unwrap();
    assert_eq!(unit.count().await.unwrap(), 0);
}

async fn a_mirror_that_fails_is_undone_and_its_key_is_marked<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let words = DualWords::new(&world.migration, old::<D>, away::<D>);
    let mut tx = world.begin().await;
    let mut unit = words.within(&mut tx);
    unit.save(1, "one".to_owned()).await.unwrap();
    // The transaction goes on.
    unit.save(2, "two".to_owned()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.words().await, [vec!["one", "two"], vec![]]);
    assert_eq!(world.migration.status().await.unwrap().dirty_new, 2);
}

async fn a_call_that_fails_spoils_the_transaction<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let words = DualWords::new(&world.migration, away::<D>, new::<D>);
    let mut tx = world.begin().await;
    words.within(&mut tx).save(1, "one".to_owned()).await.unwrap_err();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    let mut tx = world.begin().await;
    assert_eq!(words.within(&mut tx).clear().await.unwrap_err(), "the table is away");
    drop(tx);
    assert_eq!(world.words().await, [[""; 0]; 2]);
}

async fn an_unfenced_transaction_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let other = world.runtime.migration("other").register().await.unwrap();
    let words = DualWords::new(&world.migration, old::<D>, new::<D>);
    let mut tx = other.begin(world.db.pool()).await.unwrap();
    let mut unit = words.within(&mut tx);
    let error = unit.save(1, "one".to_owned()).await.unwrap_err();
    assert_eq!(dualwrite::Error::find(&error).unwrap().kind(), ErrorKind::NotPinned);
    assert_eq!(unit.clear().await.unwrap_err(), "library: NotPinned");
    assert!(!unit.touch(1).await);
    unit.find(1).await.unwrap_err();
    drop(tx);
    assert_eq!(world.words().await, [[""; 0]; 2]);
}

async fn a_missing_row_is_copied_in_the_transaction<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 2, lazy).await;
    let words = DualWords::new(&world.migration, old::<D>, new::<D>);
    let mut tx = world.begin().await;
    assert_eq!(words.within(&mut tx).find(1).await.unwrap().unwrap(), "word 1");
    tx.commit().await.unwrap();
    assert_eq!(world.copies.load(SeqCst), 1);
    assert_eq!(world.words().await[1], ["word 1"]);
}

/// How often a method was compared, and with what outcome: equal, different, in flight, mirror failed.
async fn compared<D: Sql>(world: &World<D>, method: &str) -> [u64; 4] {
    let methods = world.migration.status().await.unwrap().methods;
    let found = methods.iter().find(|it| it.repository == "Words" && it.method == method).unwrap();
    [
        found.compared.equal,
        found.compared.different,
        found.compared.transient,
        found.compared.mirror_failed,
    ]
}

async fn shadowed<D: Sql>(db: Scratch<D>) -> World<D> {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Shadow).await.unwrap();
    world
}

async fn a_planted_difference_is_found<D: Sql>(db: Scratch<D>) {
    let world = shadowed(db).await;
    world.db.execute("UPDATE new_note SET word = 'planted' WHERE id = 2").await;
    world.db.execute("INSERT INTO new_note (id, word) VALUES (9, 'planted')").await;
    let words = DualWords::new(&world.migration, old::<D>, new::<D>);
    let mut tx = world.begin().await;
    let mut unit = words.within(&mut tx);
    for id in 1..=3 {
        assert_eq!(unit.find(id).await.unwrap().unwrap(), format!("word {id}"));
    }
    assert_eq!(unit.count().await.unwrap(), 3);
    tx.commit().await.unwrap();
    until("one of three is found to differ", async || {
        compared(&world, "find").await == [2, 1, 0, 0]
    })
    .await;
    until("the lists differ", async || compared(&world, "count").await == [0, 1, 0, 0]).await;
}

async fn what_is_not_committed_yet_is_no_difference<D: Sql>(db: Scratch<D>) {
    let world = shadowed(db).await;
    let words = DualWords::new(&world.migration, old::<D>, new::<D>);
    let mut tx = world.begin().await;
    let mut unit = words.within(&mut tx);
    unit.save(1, "changed".to_owned()).await.unwrap();
    assert_eq!(unit.find(1).await.unwrap().unwrap(), "changed");
    until("it is compared", async || compared(&world, "find").await == [0, 0, 1, 0]).await;
    tx.commit().await.unwrap();
}

async fn an_adopted_transaction_is_not_compared<D: Sql>(db: Scratch<D>) {
    let world = shadowed(db).await;
    let words = DualWords::new(&world.migration, old::<D>, new::<D>);
    let mut owner = world.db.pool().begin().await.unwrap();
    let mut tx = Tx::adopt(&mut owner, &[&world.migration]).await.unwrap();
    let mut unit = words.within(&mut tx);
    assert_eq!(unit.find(1).await.unwrap().unwrap(), "word 1");
    unit.save(4, "four".to_owned()).await.unwrap();
    tx.commit().await.unwrap();
    owner.commit().await.unwrap();
    assert_eq!(world.words().await[1].len(), 4);
    // One that is compared, to know when the comparisons are over.
    let mut tx = world.begin().await;
    words.within(&mut tx).find(2).await.unwrap();
    tx.commit().await.unwrap();
    until("one is compared", async || compared(&world, "find").await == [1, 0, 0, 0]).await;
}

#[dualwrite::repository(unit_of_work)]
trait Visits {
    #[write(key = id)]
    async fn visit(&mut self, id: i64, word: &str) -> Result<(), sqlx::Error>;
}

struct Row<'t, D: Sql> {
    conn: &'t mut Conn<D>,
    columns: Columns,
}

fn row<D: Sql>(conn: &mut Conn<D>, columns: Columns) -> Row<'_, D> {
    Row { conn, columns }
}

impl<D: Sql> Visits for Row<'_, D> {
    async fn visit(&mut self, id: i64, word: &str) -> Result<(), sqlx::Error> {
        let written = [(Side::Old, "word"), (Side::New, "new_word")];
        let written = written.into_iter().filter(|(side, _)| self.columns.write(*side));
        let set: String = written.map(|(_, name)| format!(", {name} = '{word}'")).collect();
        D::run_on(self.conn, &format!("UPDATE visit SET visits = visits + 1{set} WHERE id = {id}"))
            .await
    }
}

#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Dual)]
#[dual(table = "visit", key = "id")]
struct Visit {
    id: i64,
    #[dual(new = new_word)]
    word: String,
    new_word: Option<String>,
}

async fn one_row_is_written_once<D: Sql>(db: Scratch<D>)
where
    Visit: ConvertColumns<D::Db>,
{
    db.execute(
        "CREATE TABLE visit (id BIGINT PRIMARY KEY, visits BIGINT NOT NULL, word VARCHAR(20), \
         new_word VARCHAR(20), CONSTRAINT refusal CHECK (new_word <> 'refused'))",
    )
    .await;
    db.execute("INSERT INTO visit (id, visits) VALUES (1, 0)").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = Visit::copy_columns();
    let migration = runtime.migration("visits").backfill(copy).register().await.unwrap();
    let visits = DualVisits::one_row(&migration, row::<D>);
    migration.advance(Stage::DualWrite).await.unwrap();
    for word in ["hello", "refused"] {
        let mut tx = migration.begin(db.pool()).await.unwrap();
        visits.within(&mut tx).visit(1, word).await.unwrap();
        tx.commit().await.unwrap();
    }
    let rows = db.rows("SELECT visits, word, new_word FROM visit").await;
    let expected = ["2", "refused", "hello"].map(|text| Some(text.to_owned()));
    assert_eq!(rows, [expected.to_vec()]);
    assert_eq!(migration.status().await.unwrap().dirty_new, 1);
}
