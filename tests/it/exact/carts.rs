//! Carts in two databases, for the tests of exact mode.

use std::collections::BTreeMap;
use std::time::Duration;

use dualwrite::{
    BoxError, Error, ErrorKind, Side, Stage,
    exact::{Exact, ExactBuilder, ExactColumns, ExactSide},
};
use serde::{Deserialize, Serialize};
use sqlx::Database;

use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb};
use crate::support::wait::until;

pub(crate) const NAME: &str = "carts";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cart {
    pub(crate) text: String,
    pub(crate) count: i64,
}

pub(crate) fn cart(text: &str, count: i64) -> Cart {
    Cart { text: text.to_owned(), count }
}

/// What a call of a test fails with.
#[derive(Debug)]
pub(crate) enum Fault {
    Ours(Error),
    Theirs(BoxError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<BoxError> for Fault {
    fn from(error: BoxError) -> Self {
        Self::Theirs(error)
    }
}

impl Fault {
    pub(crate) fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Ours(error) => Some(error.kind()),
            Self::Theirs(error) => {
                eprintln!("{error}");
                None
            }
        }
    }
}

/// The connection of a database.
pub(crate) type Conn<D> = <<D as TestDb>::Db as Database>::Connection;

/// A database of carts.
pub(crate) trait CartDb: TestDb {
    type Side: ExactSide<Database = Self::Db, Key = i64, Record = Cart>;

    const SIDE: Self::Side;

    /// Counts one more, by a statement that does not know how many there are.
    fn count(conn: &mut Conn<Self>, id: i64) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Ends the transaction, as no side must.
    fn end(conn: &mut Conn<Self>) -> impl Future<Output = Result<(), BoxError>> + Send;
}

macro_rules! carts {
    ($db:ident, $side:ident, $backend:ty, $upsert:literal, $mark:literal, { $($bulk:tt)* }) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $side;

        impl ExactSide for $side {
            type Database = $backend;
            type Key = i64;
            type Record = Cart;

            async fn get(
                &self,
                conn: &mut <$backend as Database>::Connection,
                id: &i64,
            ) -> Result<Option<Cart>, BoxError> {
                let sql = concat!("SELECT text, count FROM cart WHERE id = ", $mark);
                let found: Option<(String, i64)> =
                    sqlx::query_as(sql).bind(id).fetch_optional(conn).await?;
                Ok(found.map(|(text, count)| Cart { text, count }))
            }

            async fn put(
                &self,
                conn: &mut <$backend as Database>::Connection,
                id: &i64,
                cart: Option<&Cart>,
            ) -> Result<(), BoxError> {
                match cart {
                    Some(cart) => {
                        let put = sqlx::query($upsert).bind(id).bind(&cart.text).bind(cart.count);
                        put.execute(conn).await.map(drop)?;
                    }
                    None => {
                        let sql = concat!("DELETE FROM cart WHERE id = ", $mark);
                        sqlx::query(sql).bind(id).execute(conn).await.map(drop)?;
                    }
                }
                Ok(())
            }

            $($bulk)*

            async fn keys_after(
                &self,
                conn: &mut <$backend as Database>::Connection,
                after: Option<&i64>,
                limit: u32,
            ) -> Result<Vec<i64>, BoxError> {
                let after = after.copied().unwrap_or(i64::MIN);
                let sql =
                    concat!("SELECT id FROM cart WHERE id > ", $mark, " ORDER BY id LIMIT 1000");
                let keys: Vec<i64> = sqlx::query_scalar(sql).bind(after).fetch_all(conn).await?;
                Ok(keys.into_iter().take(limit as usize).collect())
            }
        }

        impl CartDb for $db {
            type Side = $side;

            const SIDE: $side = $side;

            async fn count(conn: &mut Conn<Self>, id: i64) -> Result<(), BoxError> {
                let sql = concat!("UPDATE cart SET count = count + 1 WHERE id = ", $mark);
                let done = sqlx::query(sql).bind(id).execute(conn).await?;
                assert_eq!(done.rows_affected(), 1, "the record is there on the primary");
                Ok(())
            }

            async fn end(conn: &mut Conn<Self>) -> Result<(), BoxError> {
                Ok(sqlx::raw_sql("COMMIT").execute(conn).await.map(drop)?)
            }
        }
    };
}

carts!(
    PostgresDb,
    PostgresCarts,
    sqlx::Postgres,
    "INSERT INTO cart (id, text, count) VALUES ($1, $2, $3) \
     ON CONFLICT (id) DO UPDATE SET text = excluded.text, count = excluded.count",
    "$1",
    {
        async fn get_all(
            &self,
            conn: &mut sqlx::PgConnection,
            ids: &[i64],
        ) -> Result<Vec<(i64, Cart)>, BoxError> {
            let sql = "SELECT id, text, count FROM cart WHERE id = ANY($1)";
            let found: Vec<(i64, String, i64)> =
                sqlx::query_as(sql).bind(ids).fetch_all(conn).await?;
            Ok(found.into_iter().map(|(id, text, count)| (id, Cart { text, count })).collect())
        }

        async fn put_all(
            &self,
            conn: &mut sqlx::PgConnection,
            carts: &[(&i64, Option<&Cart>)],
        ) -> Result<(), BoxError> {
            let gone: Vec<i64> =
                carts.iter().filter(|(_, cart)| cart.is_none()).map(|(id, _)| **id).collect();
            sqlx::query("DELETE FROM cart WHERE id = ANY($1)")
                .bind(gone)
                .execute(&mut *conn)
                .await?;
            let there = || carts.iter().filter_map(|(id, cart)| cart.map(|cart| (**id, cart)));
            let sql = "INSERT INTO cart (id, text, count) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[]) \
                       ON CONFLICT (id) DO UPDATE SET text = excluded.text, count = excluded.count";
            sqlx::query(sql)
                .bind(there().map(|(id, _)| id).collect::<Vec<_>>())
                .bind(there().map(|(_, cart)| cart.text.clone()).collect::<Vec<_>>())
                .bind(there().map(|(_, cart)| cart.count).collect::<Vec<_>>())
                .execute(conn)
                .await?;
            Ok(())
        }

        fn columns(&self) -> Option<ExactColumns> {
            Some(cart_columns())
        }
    }
);
carts!(
    MySqlDb,
    MySqlCarts,
    sqlx::MySql,
    "INSERT INTO cart (id, text, count) VALUES (?, ?, ?) \
     ON DUPLICATE KEY UPDATE text = VALUES(text), count = VALUES(count)",
    "?",
    {
        async fn put_all(
            &self,
            conn: &mut sqlx::MySqlConnection,
            carts: &[(&i64, Option<&Cart>)],
        ) -> Result<(), BoxError> {
            for (id, _) in carts.iter().filter(|(_, cart)| cart.is_none()) {
                self.put(&mut *conn, id, None).await?;
            }
            let there: Vec<_> =
                carts.iter().filter_map(|(id, cart)| cart.map(|cart| (**id, cart))).collect();
            if there.is_empty() {
                return Ok(());
            }
            let rows = vec!["(?, ?, ?)"; there.len()].join(", ");
            let sql = format!(
                "INSERT INTO cart (id, text, count) VALUES {rows} \
                 ON DUPLICATE KEY UPDATE text = VALUES(text), count = VALUES(count)"
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (id, cart) in there {
                query = query.bind(id).bind(&cart.text).bind(cart.count);
            }
            query.execute(conn).await?;
            Ok(())
        }

        fn columns(&self) -> Option<ExactColumns> {
            Some(cart_columns())
        }
    }
);
carts!(
    SqliteDb,
    SqliteCarts,
    sqlx::Sqlite,
    "INSERT INTO cart (id, text, count) VALUES (?, ?, ?) \
     ON CONFLICT (id) DO UPDATE SET text = excluded.text, count = excluded.count",
    "?",
    {} // key by key, and compared as JSON
);

fn cart_columns() -> ExactColumns {
    ExactColumns::of("cart", "id").unwrap().text("text").unwrap().integer("count").unwrap()
}

/// The migration between two kinds of databases.
pub(crate) struct Carts<O: CartDb, N: CartDb>(Exact<O::Side, N::Side>);

impl<O: CartDb, N: CartDb> Carts<O, N> {
    pub(crate) fn of(exact: Exact<O::Side, N::Side>) -> Self {
        Self(exact)
    }
}

impl<O: CartDb, N: CartDb> Clone for Carts<O, N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O: CartDb, N: CartDb> std::ops::Deref for Carts<O, N> {
    type Target = Exact<O::Side, N::Side>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Two databases with a table of carts each.
pub(crate) struct Pair<O: TestDb, N: TestDb> {
    pub(crate) old: Scratch<O>,
    pub(crate) new: Scratch<N>,
}

impl<O: CartDb, N: CartDb> Pair<O, N> {
    pub(crate) async fn fresh(test: &str) -> Option<Self> {
        let (old, new) = (O::fresh(test).await?, N::fresh(test).await?);
        let sql = "CREATE TABLE cart (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, count BIGINT NOT NULL)";
        old.execute(sql).await;
        new.execute(sql).await;
        Some(Self { old, new })
    }

    /// An instance of the service, with connections of its own.
    pub(crate) async fn builder(&self) -> ExactBuilder<O::Side, N::Side> {
        let (old, new) = (self.old.another_pool(4).await, self.new.another_pool(4).await);
        Exact::between(NAME, (old, O::SIDE), (new, N::SIDE))
            .poll(Duration::from_millis(20))
            .take_over_after(Duration::from_millis(100))
    }

    pub(crate) async fn start(&self) -> Carts<O, N> {
        self.start_with(|builder| builder).await
    }

    pub(crate) async fn start_with(
        &self,
        set: impl FnOnce(ExactBuilder<O::Side, N::Side>) -> ExactBuilder<O::Side, N::Side>,
    ) -> Carts<O, N> {
        Carts(set(self.builder().await).start().await.unwrap())
    }

    /// One that has come to `live`, or before.
    pub(crate) async fn at(&self, stage: Stage) -> Carts<O, N> {
        let carts = self.start().await;
        if stage > Stage::Off {
            carts.advance(Stage::DualWrite).await.unwrap();
            carts.copy().await.unwrap();
        }
        if stage > Stage::DualWrite {
            carts.advance(Stage::Live).await.unwrap();
        }
        carts
    }

    /// All carts of both tables.
    pub(crate) async fn all(&self) -> [BTreeMap<i64, Cart>; 2] {
        let sql = "SELECT id, text, count FROM cart ORDER BY id";
        let parse = |rows: crate::support::db::Rows| {
            let parse = |row: Vec<Option<String>>| {
                let mut row = row.into_iter().flatten();
                let id = row.next().unwrap().parse().unwrap();
                (
                    id,
                    Cart { text: row.next().unwrap(), count: row.next().unwrap().parse().unwrap() },
                )
            };
            rows.into_iter().map(parse).collect()
        };
        [parse(self.old.rows(sql).await), parse(self.new.rows(sql).await)]
    }
}

/// Writes a cart, or removes it.
pub(crate) async fn save<O: CartDb, N: CartDb>(
    carts: &Carts<O, N>,
    id: i64,
    cart: Option<&Cart>,
) -> Result<(), Fault> {
    carts
        .write(&id)
        .old(|mut tx| Box::pin(async move { Ok(O::SIDE.put(&mut *tx, &id, cart).await?) }))
        .new(|mut tx| Box::pin(async move { Ok(N::SIDE.put(&mut *tx, &id, cart).await?) }))
        .run()
        .await
}

/// Counts one more.
pub(crate) async fn count<O: CartDb, N: CartDb>(carts: &Carts<O, N>, id: i64) -> Result<(), Fault> {
    carts
        .write(&id)
        .old(|mut tx| Box::pin(async move { Ok(O::count(&mut *tx, id).await?) }))
        .new(|mut tx| Box::pin(async move { Ok(N::count(&mut *tx, id).await?) }))
        .run()
        .await
}

/// Reads a cart.
pub(crate) async fn find<O: CartDb, N: CartDb>(
    carts: &Carts<O, N>,
    id: i64,
) -> Result<Option<Cart>, Fault> {
    find_where(carts, id).await.map(|(_, found)| found)
}

/// With the side that answered.
pub(crate) async fn find_where<O: CartDb, N: CartDb>(
    carts: &Carts<O, N>,
    id: i64,
) -> Result<(Side, Option<Cart>), Fault> {
    carts
        .read()
        .old(|mut tx| Box::pin(async move { Ok((Side::Old, O::SIDE.get(&mut *tx, &id).await?)) }))
        .new(|mut tx| Box::pin(async move { Ok((Side::New, N::SIDE.get(&mut *tx, &id).await?)) }))
        .run()
        .await
}

/// Waits until the mirror has all.
pub(crate) async fn quiet<O: CartDb, N: CartDb>(carts: &Carts<O, N>) {
    until("the outbox is empty", async || {
        let status = carts.status().await.unwrap();
        status.open && status.backlog == 0
    })
    .await;
}

/// Stamps tests out of functions generic over two [`CartDb`], for pairs of databases.
macro_rules! on_pairs {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            $crate::exact::carts::on_pairs!(@on postgres_to_postgres, PostgresDb, PostgresDb, $test);
            $crate::exact::carts::on_pairs!(@on mysql_to_postgres, MySqlDb, PostgresDb, $test);
            $crate::exact::carts::on_pairs!(@on sqlite_to_mysql, SqliteDb, MySqlDb, $test);
            $crate::exact::carts::on_pairs!(@on sqlite_to_sqlite, SqliteDb, SqliteDb, $test);
        }
    )+ };
    (@on $name:ident, $old:ident, $new:ident, $test:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            use $crate::exact::carts::Pair;
            use $crate::support::db::{$old as Old, $new as New};
            let test = concat!(module_path!(), "::", stringify!($name));
            if let Some(pair) = Pair::<Old, New>::fresh(test).await {
                $crate::support::wait::to_the_end(test, super::$test::<Old, New>(pair)).await;
            }
        }
    };
}
pub(crate) use on_pairs;
