//! The messages of a fenced transaction, sent without the library: what is left between them and ours is our own time,
//! and what is between them and two plain statements is the price of the fence on this database.

use dualwrite::{Backend, BoxError, MirrorPolicy};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection as _, MySql, Pool, Postgres, Sqlite};

/// How a migration writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Dual(MirrorPolicy),
    OneRow,
}

/// The messages around the statements of both sides.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    begin: String,
    /// Between the two.
    pub(crate) between: Option<&'static str>,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Commit,
    /// In its place.
    Message(&'static str),
}

/// What differs between the databases.
pub(crate) trait Sent: Backend {
    /// The fence of a migration: its number, epoch and token.
    fn fence(
        pool: &Pool<Self>,
        migration: &str,
    ) -> impl Future<Output = sqlx::Result<(i64, i64, i64)>> + Send;

    /// The message that begins; and the one that ends, where it is not a plain COMMIT.
    fn around(migration: &str, fence: (i64, i64, i64)) -> (String, Option<&'static str>);

    fn begin(
        conn: &mut PoolConnection<Self>,
        message: String,
    ) -> impl Future<Output = sqlx::Result<sqlx::Transaction<'_, Self>>> + Send;

    fn send(
        conn: &mut Self::Connection,
        message: &'static str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

const SAVEPOINT: &str = "SAVEPOINT dualwrite_mirror";

/// The messages of a migration that was registered.
pub(crate) async fn messages<DB: Sent>(
    pool: &Pool<DB>,
    migration: &str,
    form: Form,
) -> Result<Messages, BoxError> {
    let fence = DB::fence(pool, migration).await?;
    let (mut begin, end) = DB::around(migration, fence);
    if form == Form::Dual(MirrorPolicy::Repeat) {
        begin = format!("{begin};{SAVEPOINT}");
    }
    let between = (form == Form::Dual(MirrorPolicy::MarkDirty)).then_some(SAVEPOINT);
    Ok(Messages { begin, between, end: end.map_or(End::Commit, End::Message) })
}

impl Messages {
    pub(crate) async fn begin<'c, DB: Sent>(
        &self,
        conn: &'c mut PoolConnection<DB>,
    ) -> sqlx::Result<sqlx::Transaction<'c, DB>> {
        DB::begin(conn, self.begin.clone()).await
    }

    pub(crate) async fn end<DB: Sent>(
        &self,
        mut tx: sqlx::Transaction<'_, DB>,
    ) -> sqlx::Result<()> {
        match self.end {
            End::Commit => tx.commit().await,
            // sqlx sends a ROLLBACK with whatever comes next, which does nothing: as with ours.
            End::Message(message) => DB::send(&mut tx, message).await,
        }
    }
}

macro_rules! sent {
    ($($db:ty, $around:expr;)*) => {$(
        impl Sent for $db {
            async fn fence(pool: &Pool<Self>, migration: &str) -> sqlx::Result<(i64, i64, i64)> {
                let sql = format!("SELECT fence, epoch, token FROM dualwrite_migration WHERE name = '{migration}'");
                sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await
            }

            fn around(migration: &str, fence: (i64, i64, i64)) -> (String, Option<&'static str>) {
                let around: fn(&str, (i64, i64, i64)) -> (String, Option<&'static str>) = $around;
                around(migration, fence)
            }

            async fn begin(
                conn: &mut PoolConnection<Self>,
                message: String,
            ) -> sqlx::Result<sqlx::Transaction<'_, Self>> {
                conn.begin_with(AssertSqlSafe(message)).await
            }

            async fn send(conn: &mut Self::Connection, message: &'static str) -> sqlx::Result<()> {
                sqlx::raw_sql(message).execute(conn).await.map(drop)
            }
        }
    )*};
}
sent! {
    Postgres, |_, (fence, epoch, token)| (
        format!("BEGIN;SET LOCAL dualwrite.tx='1';LOCK TABLE ONLY dualwrite_fence_{fence} IN ROW EXCLUSIVE MODE;\
                 CALL dualwrite_fence_{fence}_{epoch}_{token}()"),
        None,
    );
    MySql, |name, (_, epoch, token)| (
        format!("SET TRANSACTION ISOLATION LEVEL READ COMMITTED;START TRANSACTION;\
                 SET @dualwrite_fence=(SELECT 9223372036854775807 + (1 - count(*)) FROM dualwrite_migration \
                 WHERE name='{name}' AND epoch={epoch} AND token={token} AND watched=0 LOCK IN SHARE MODE),\
                 @dualwrite_autocommit=@@autocommit,SESSION autocommit=0,\
                 /*M!50500 @dualwrite_read_only=@@tx_read_only,SESSION tx_read_only=1*/\
                 /*!50720 @dualwrite_read_only=@@transaction_read_only,SESSION transaction_read_only=1*/;\
                 SAVEPOINT dualwrite_tx"),
        Some("RELEASE SAVEPOINT dualwrite_tx;COMMIT;SET SESSION autocommit=@dualwrite_autocommit,\
              /*M!50500 SESSION tx_read_only=@dualwrite_read_only*/\
              /*!50720 SESSION transaction_read_only=@dualwrite_read_only*/"),
    );
    Sqlite, |_, (fence, epoch, token)| (
        // Without the call of the collation by which the hooks hear of it, of which only the library knows the number.
        format!("BEGIN IMMEDIATE;SELECT abs(-9223372036854775808+count(*))FROM dualwrite_fence \
                 WHERE id={fence} AND epoch={epoch} AND token={token}"),
        None,
    );
}
