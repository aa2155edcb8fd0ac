//! A sample migration between two columns of one row: right, or with one bug.

use dualwrite::testing::MigrationTest;
use dualwrite::{
    Backend, Columns, CopySql, Mapping, Migration, Runtime, Side, Tx, copy::KeySource,
};

use super::accounts::{Value, literal, values};
use crate::support::db::Scratch;
use crate::support::sql::Sql;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bug {
    None,
    /// Two implementations, each of which writes the row.
    TwoStatements,
    /// Each side reads the old column, and the mapping compares it with itself.
    Blind,
}

#[dualwrite::repository]
pub(super) trait Cards<DB: Backend> {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<Value>, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64, value: &Value) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn visit(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

pub(super) struct Card<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    reads: &'static str,
    writes: Vec<&'static str>,
}

impl<D: Sql> Card<D> {
    fn of(pool: &sqlx::Pool<D::Db>, columns: Columns, bug: Bug) -> Self {
        let is_old = columns.answer() == Side::Old || bug == Bug::Blind;
        let written = [(Side::Old, "email"), (Side::New, "address")];
        let written = written.into_iter().filter(|(side, _)| columns.write(*side));
        let reads = if is_old { "email" } else { "address" };
        Self { pool: pool.clone(), reads, writes: written.map(|(_, name)| name).collect() }
    }

    fn alone(pool: &sqlx::Pool<D::Db>, column: &'static str) -> Self {
        Self { pool: pool.clone(), reads: column, writes: vec![column] }
    }
}

impl<D: Sql> Cards<D::Db> for Card<D> {
    async fn find(&self, id: i64) -> Result<Option<Value>, sqlx::Error> {
        let sql = format!("SELECT id, {}, visits FROM card WHERE id = {id}", self.reads);
        Ok(values(D::rows(&self.pool, &sql).await?).pop().map(|(_, value)| value))
    }

    async fn save(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        (email, visits): &Value,
    ) -> Result<(), sqlx::Error> {
        let email = literal::<D>(email.as_deref());
        let set: Vec<String> = self.writes.iter().map(|name| format!("{name} = {email}")).collect();
        let set = set.join(", ");
        let update = format!("UPDATE card SET visits = {visits}, {set} WHERE id = {id}");
        if D::run(tx, &update).await? == 0 {
            let (names, emails) =
                (self.writes.join(", "), vec![email; self.writes.len()].join(", "));
            let insert =
                format!("INSERT INTO card (id, visits, {names}) VALUES ({id}, {visits}, {emails})");
            D::run(tx, &insert).await?;
        }
        Ok(())
    }

    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        D::run(tx, &format!("DELETE FROM card WHERE id = {id}")).await.map(drop)
    }

    async fn visit(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        D::run(tx, &format!("UPDATE card SET visits = visits + 1 WHERE id = {id}")).await.map(drop)
    }
}

fn copy<D: Sql>(bug: Bug) -> CopySql<D::Db, i64> {
    let cards = || KeySource::table("card").column("id");
    let mapping = match bug {
        Bug::Blind => || Mapping::new().column("email", "email"),
        _ => || Mapping::new().column("email", "address"),
    };
    CopySql::new(cards())
        .new_source(cards())
        .copying("UPDATE card SET address = email WHERE {id}")
        .copying_back("UPDATE card SET email = address WHERE {id}")
        .compared_by(mapping)
}

/// One implementation for all columns, or one for each.
enum Wrapper<D: Sql> {
    OneRow(DualCards<Card<D>, Card<D>, Card<D>>),
    Two(DualCards<Card<D>, Card<D>>),
}

pub(super) struct Service<D: Sql> {
    pub(super) db: Scratch<D>,
    pub(super) runtime: Runtime<D::Db>,
    migration: Migration,
    cards: Wrapper<D>,
}

/// Calls the wrapper, whichever it is.
macro_rules! cards {
    ($service:ident, $cards:ident => $call:expr) => {
        match &$service.cards {
            Wrapper::OneRow($cards) => $call,
            Wrapper::Two($cards) => $call,
        }
    };
}

impl<D: Sql> Service<D> {
    pub(super) async fn start(db: Scratch<D>, bug: Bug) -> Self {
        db.execute(
            "CREATE TABLE card (id BIGINT PRIMARY KEY, email VARCHAR(100), address VARCHAR(100), \
             visits BIGINT NOT NULL);
             INSERT INTO card (id, email, visits) VALUES (500, 'before@example.com', 7), (501, NULL, 0)",
        )
        .await;
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let registration = runtime.migration("cards").backfill(copy::<D>(bug));
        let registration = match bug {
            Bug::TwoStatements => registration.two_statements(),
            _ => registration,
        };
        let migration = registration.register().await.unwrap();
        let pool = db.pool();
        let cards = match bug {
            Bug::TwoStatements => Wrapper::Two(DualCards::new(
                &migration,
                Card::alone(pool, "email"),
                Card::alone(pool, "address"),
            )),
            _ => Wrapper::OneRow(DualCards::one_row(&migration, |columns| {
                Card::of(pool, columns, bug)
            })),
        };
        Self { db, runtime, migration, cards }
    }

    async fn save(&self, id: i64, value: Value) -> sqlx::Result<()> {
        let mut tx = self.migration.begin(self.db.pool()).await?;
        cards!(self, cards => cards.save(&mut tx, id, &value).await)?;
        Ok(tx.commit().await?)
    }

    async fn remove(&self, id: i64) -> sqlx::Result<()> {
        let mut tx = self.migration.begin(self.db.pool()).await?;
        cards!(self, cards => cards.remove(&mut tx, id).await)?;
        Ok(tx.commit().await?)
    }

    async fn visit(&self, id: i64) -> sqlx::Result<()> {
        let mut tx = self.migration.begin(self.db.pool()).await?;
        cards!(self, cards => cards.visit(&mut tx, id).await)?;
        Ok(tx.commit().await?)
    }

    async fn rows(&self, column: &str) -> sqlx::Result<Vec<(i64, Value)>> {
        D::rows(self.db.pool(), &format!("SELECT id, {column}, visits FROM card")).await.map(values)
    }

    async fn spoil(&self, id: i64) -> sqlx::Result<()> {
        let sql = format!("UPDATE card SET address = 'spoilt' WHERE id = {id}");
        D::execute(self.db.pool(), &sql).await
    }

    pub(super) fn test(&self) -> MigrationTest<'_, i64, Value> {
        MigrationTest::new(&self.migration)
            .write(async |id, value| self.save(id, value).await)
            .change("visit", |(email, visits)| (email, visits + 1), async |id| self.visit(id).await)
            .delete(async |id| self.remove(id).await)
            .read(async |id| cards!(self, cards => cards.find(id).await))
            .old_rows(async || self.rows("email").await)
            .new_rows(async || self.rows("address").await)
            .spoil_new(async |id| self.spoil(id).await)
    }
}
