//! Traits that are put together of others: the wrapper routes the methods of its supertraits, and is one of each.

use dualwrite::{Backend, Stage, Tx};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

on_all_databases!(methods_of_supertraits_are_routed_by_the_stage);

/// As somebody else declares it: nothing of ours.
trait NoteReads: Send {
    fn word(&self, id: i64) -> impl Future<Output = Result<Option<String>, sqlx::Error>> + Send;
    fn all(&self) -> BoxStream<'_, Result<String, sqlx::Error>>;
    fn table(&self) -> &'static str;
    /// Inherited.
    fn has(&self, id: i64) -> impl Future<Output = Result<bool, sqlx::Error>> + Send
    where
        Self: Sync,
    {
        async move { Ok(self.word(id).await?.is_some()) }
    }
}

/// With a wrapper of its own.
#[dualwrite::repository]
trait NoteWrites<DB: Backend> {
    #[write(key = id)]
    async fn put(&self, tx: &mut Tx<'_, DB>, id: i64, word: &str) -> Result<(), sqlx::Error>;
}

#[dualwrite::repository]
trait Notebook<DB: Backend>: NoteReads + NoteWrites<DB> {
    #[supertrait(NoteReads)]
    #[read(key = id)]
    async fn word(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    #[supertrait(NoteReads)]
    #[read(scan)]
    fn all(&self) -> BoxStream<'_, Result<String, sqlx::Error>>;
    #[supertrait(NoteReads)]
    #[primary]
    fn table(&self) -> &'static str;
    #[supertrait(NoteWrites<DB>)]
    #[write(key = id)]
    async fn put(&self, tx: &mut Tx<'_, DB>, id: i64, word: &str) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

struct Table<D: Sql> {
    name: &'static str,
    pool: sqlx::Pool<D::Db>,
}

impl<D: Sql> Table<D> {
    async fn words(&self, condition: String) -> Result<Vec<String>, sqlx::Error> {
        let sql = format!("SELECT word FROM {} WHERE {condition} ORDER BY id", self.name);
        Ok(D::rows(&self.pool, &sql).await?.into_iter().flatten().flatten().collect())
    }
}

impl<D: Sql> NoteReads for Table<D> {
    async fn word(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        Ok(self.words(format!("id = {id}")).await?.pop())
    }

    fn all(&self) -> BoxStream<'_, Result<String, sqlx::Error>> {
        stream::once(self.words("id > 0".to_owned()))
            .flat_map(|words| match words {
                Ok(words) => stream::iter(words).map(Ok).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    fn table(&self) -> &'static str {
        self.name
    }
}

impl<D: Sql> NoteWrites<D::Db> for Table<D> {
    async fn put(&self, tx: &mut Tx<'_, D::Db>, id: i64, word: &str) -> Result<(), sqlx::Error> {
        let sql = format!("INSERT INTO {} (id, word) VALUES ({id}, '{word}')", self.name);
        D::run(tx, &sql).await.map(drop)
    }
}

impl<D: Sql> Notebook<D::Db> for Table<D> {
    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        D::run(tx, &format!("DELETE FROM {} WHERE id = {id}", self.name)).await.map(drop)
    }
}

/// Code that knows the supertrait alone.
async fn read(
    notes: &(impl NoteReads + Sync),
    id: i64,
) -> (Option<String>, Vec<String>, &'static str, bool) {
    let word = notes.word(id).await.unwrap();
    let all = notes.all().map(Result::unwrap).collect().await;
    (word, all, notes.table(), notes.has(id).await.unwrap())
}

async fn write<DB: Backend>(notes: &impl NoteWrites<DB>, tx: &mut Tx<'_, DB>, id: i64) {
    notes.put(tx, id, "written").await.unwrap();
}

async fn methods_of_supertraits_are_routed_by_the_stage<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let table = |name| Table::<D> { name, pool: world.db.pool().clone() };
    let notebook = DualNotebook::new(&world.migration, table("old_note"), table("new_note"));
    let mut tx = world.begin().await;
    write(&notebook, &mut tx, 1).await;
    write(&notebook, &mut tx, 2).await;
    notebook.remove(&mut tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.words().await, [["written"], ["written"]], "on both sides");
    for (changed, row) in [("old_note", "old"), ("new_note", "new")] {
        world.db.execute(&format!("UPDATE {changed} SET word = '{row}'")).await;
    }
    let found = read(&notebook, 1).await;
    assert_eq!(found, (Some("old".to_owned()), vec!["old".to_owned()], "old_note", true));
    let reports = world.migration.status().await.unwrap().methods;
    let mut counted: Vec<_> =
        reports.iter().map(|found| (&*found.repository, &*found.method)).collect();
    counted.retain(|(repository, _)| *repository == "Notebook");
    counted.sort_unstable();
    assert_eq!(
        counted,
        [("Notebook", "all"), ("Notebook", "put"), ("Notebook", "remove"), ("Notebook", "word")],
        "one table of methods"
    );
    world.db.execute("UPDATE new_note SET word = 'old'").await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Shadow).await.unwrap();
    world.migration.advance(Stage::Live).await.unwrap();
    world.db.execute("UPDATE new_note SET word = 'new'").await;
    let found = read(&notebook, 1).await;
    assert_eq!(found, (Some("new".to_owned()), vec!["new".to_owned()], "new_note", true));
}
