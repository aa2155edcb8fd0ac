//! Writes of both modes against plain ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dualwrite::converging::{MirrorFailure, TwoStores};
use dualwrite::exact::Exact;
use dualwrite::{BoxError, Migration, Runtime, Side, Stage};
use futures_util::future::BoxFuture;
use sqlx::{Connection as _, MySql, Pool, Postgres};

use crate::databases::Database as Scratch;
use crate::harness::targets::{STORES_CONVERGING_MIN, STORES_EXACT_MIN};
use crate::harness::{Target, judge, median};
use crate::rows::{MySqlRows, PostgresRows, UPSERT};

const KEYS: i64 = 10_000;
const ROUNDS: usize = 12;
const UPSERT_MYSQL: &str = "INSERT INTO customer (id, a, b, c, d) VALUES (?, ?, ?, ?, ?) \
                            ON DUPLICATE KEY UPDATE a = VALUES(a), b = VALUES(b), c = VALUES(c), d = VALUES(d)";
const TEXT: &str = "0123456789abcdef0123456789abcdef@customers.org..";

static NEXT: AtomicI64 = AtomicI64::new(0);

/// No two clients write one key at a time.
fn key() -> i64 {
    NEXT.fetch_add(1, Relaxed) * 7_919 % KEYS + 1
}

async fn put(conn: &mut sqlx::PgConnection, id: i64) -> sqlx::Result<()> {
    let put = sqlx::query(UPSERT).bind(id).bind(TEXT).bind(TEXT).bind(TEXT).bind(TEXT);
    put.execute(conn).await.map(drop)
}

async fn put_mysql(conn: &mut sqlx::MySqlConnection, id: i64) -> sqlx::Result<()> {
    let put = sqlx::query(UPSERT_MYSQL).bind(id).bind(TEXT).bind(TEXT).bind(TEXT).bind(TEXT);
    put.execute(conn).await.map(drop)
}

/// For what copies again: nothing does, here.
struct Nothing;

impl TwoStores for Nothing {
    type Key = i64;

    async fn copy(&self, _: &i64, _: Side) -> Result<(), BoxError> {
        Ok(())
    }

    async fn keys_after(&self, _: Side, _: Option<&i64>, _: u32) -> Result<Vec<i64>, BoxError> {
        Ok(Vec::new())
    }

    async fn agree(&self, _: &i64) -> Result<bool, BoxError> {
        Ok(true)
    }
}

pub(crate) async fn measure(
    old: &Scratch<Postgres>,
    new: &Scratch<Postgres>,
    mysql: Option<&Scratch<MySql>>,
) -> Result<u32, BoxError> {
    old.fill(KEYS).await?;
    new.fill(KEYS).await?;
    let mut missed = converging(old, new).await?;
    missed += exact(old, new).await?;
    if let Some(mysql) = mysql {
        mysql.fill(KEYS).await?;
        missed += exact_on_mysql(mysql, new).await?;
    }
    Ok(missed)
}

async fn converging(old: &Scratch<Postgres>, new: &Scratch<Postgres>) -> Result<u32, BoxError> {
    let runtime = Runtime::builder(old.pool.clone()).start().await?;
    let migration = runtime.migration("converging").converging(Nothing).register().await?;
    migration.advance(Stage::DualWrite).await?;
    let mut missed = 0;
    for (policy, said) in
        [(MirrorFailure::Report, "waits for the mirror"), (MirrorFailure::AnswerNow, "answers now")]
    {
        for clients in [1, 8] {
            let name = format!("converging write, {clients} clients, {said}");
            let (pools, both) =
                ((old.pool.clone(), new.pool.clone()), (old.pool.clone(), new.pool.clone()));
            let migration = migration.clone();
            let ours = move || converging_write(migration.clone(), pools.clone(), policy);
            let plain = move || two_plain_writes(both.clone());
            missed += compare(&name, clients, STORES_CONVERGING_MIN, ours, plain).await?;
        }
    }
    runtime.shutdown().await?;
    Ok(missed)
}

type Pools = (Pool<Postgres>, Pool<Postgres>);

fn converging_write(
    migration: Migration,
    (old, new): Pools,
    policy: MirrorFailure,
) -> BoxFuture<'static, Result<(), BoxError>> {
    Box::pin(async move {
        let id = key();
        let side = |pool: Pool<Postgres>| {
            move || async move { put(&mut *pool.acquire().await?, id).await }
        };
        let write = migration.converging_write("save", &id).on_mirror_failure(policy);
        Ok(write.old(side(old)).new(side(new)).run().await?)
    })
}

fn two_plain_writes((old, new): Pools) -> BoxFuture<'static, Result<(), BoxError>> {
    Box::pin(async move {
        let id = key();
        for pool in [old, new] {
            put(&mut *pool.acquire().await?, id).await?;
        }
        Ok(())
    })
}

/// A migration whose relay rests: the mirror is on another machine, usually.
async fn recording<O, N>(
    exact: dualwrite::exact::ExactBuilder<O, N>,
) -> Result<Exact<O, N>, BoxError>
where
    O: dualwrite::exact::ExactSide,
    N: dualwrite::exact::ExactSide<Key = O::Key, Record = O::Record>,
{
    let exact = exact.poll(Duration::from_secs(600)).start().await?;
    exact.advance(Stage::DualWrite).await?;
    Ok(exact)
}

const REST: &str = "UPDATE dualwrite_relay SET owner = 'nobody', leased_until = 9000000000000000";

async fn exact(old: &Scratch<Postgres>, new: &Scratch<Postgres>) -> Result<u32, BoxError> {
    let sides = ((old.pool.clone(), PostgresRows), (new.pool.clone(), PostgresRows));
    let exact = recording(Exact::between("exact", sides.0, sides.1)).await?;
    sqlx::query(REST).execute(&old.pool).await?;
    let mut missed = 0;
    for clients in [1, 8] {
        let (exact, pool) = (exact.clone(), old.pool.clone());
        let ours = move || -> BoxFuture<'static, Result<(), BoxError>> {
            let exact = exact.clone();
            Box::pin(async move {
                let id = key();
                let write =
                    exact.write(&id).old(|mut tx| Box::pin(async move { put(&mut tx, id).await }));
                let write = write.new(|mut tx| Box::pin(async move { put(&mut tx, id).await }));
                Ok(write.run().await?)
            })
        };
        let plain = move || -> BoxFuture<'static, Result<(), BoxError>> {
            let pool = pool.clone();
            Box::pin(async move {
                let mut conn = pool.acquire().await?;
                let mut tx = conn.begin().await?;
                put(&mut tx, key()).await?;
                Ok(tx.commit().await?)
            })
        };
        missed += compare(
            &format!("exact write on PostgreSQL, {clients} clients"),
            clients,
            STORES_EXACT_MIN,
            ours,
            plain,
        )
        .await?;
    }
    exact.shutdown().await;
    Ok(missed)
}

async fn exact_on_mysql(old: &Scratch<MySql>, new: &Scratch<Postgres>) -> Result<u32, BoxError> {
    let sides = ((old.pool.clone(), MySqlRows), (new.pool.clone(), PostgresRows));
    let exact = recording(Exact::between("exact-mysql", sides.0, sides.1)).await?;
    sqlx::query(REST).execute(&old.pool).await?;
    let clients = 8;
    let (writer, pool) = (exact.clone(), old.pool.clone());
    let ours = move || -> BoxFuture<'static, Result<(), BoxError>> {
        let exact = writer.clone();
        Box::pin(async move {
            let id = key();
            let write = exact
                .write(&id)
                .old(|mut tx| Box::pin(async move { put_mysql(&mut tx, id).await }));
            let write = write.new(|mut tx| Box::pin(async move { put(&mut tx, id).await }));
            Ok(write.run().await?)
        })
    };
    let plain = move || -> BoxFuture<'static, Result<(), BoxError>> {
        let pool = pool.clone();
        Box::pin(async move {
            let mut conn = pool.acquire().await?;
            let mut tx = conn.begin().await?;
            put_mysql(&mut tx, key()).await?;
            Ok(tx.commit().await?)
        })
    };
    let missed = compare(
        &format!("exact write on MariaDB, {clients} clients"),
        clients,
        STORES_EXACT_MIN,
        ours,
        plain,
    )
    .await?;
    exact.shutdown().await;
    Ok(missed)
}

/// One write.
type Way = Arc<dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// Milliseconds of a caller, both ways in turns.
async fn compare(
    name: &str,
    clients: usize,
    target: f64,
    ours: impl Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync + 'static,
    plain: impl Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync + 'static,
) -> Result<u32, BoxError> {
    let ways: [Way; 2] = [Arc::new(ours), Arc::new(plain)];
    let mut lines = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for number in 0..ROUNDS {
        let mut taken = [0.0; 2];
        for turn in 0..2 {
            let way = (number + turn) % 2; // each goes first half of the time
            taken[way] = round(&ways[way], clients).await?;
            lines[way].push(taken[way]);
        }
        ratios.push(taken[1] / taken[0]);
    }
    let ratio = median(&mut ratios[1..]); // the first round warms up
    let target = Target::AtLeast(target);
    let verdict = judge(name, ratio, "times", target);
    println!(
        "{:<60} {:>10.3} {:>10.3} {ratio:>7.2} {target:>8}  {verdict}",
        format!("{name}, ms"),
        median(&mut lines[0]),
        median(&mut lines[1]),
    );
    Ok(verdict.missed())
}

async fn round(way: &Way, clients: usize) -> Result<f64, BoxError> {
    let writes = 800 / clients;
    let start = Instant::now();
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let way = Arc::clone(way);
            tokio::spawn(async move {
                for _ in 0..writes {
                    way().await?;
                }
                Ok::<(), BoxError>(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(start.elapsed().as_secs_f64() * 1_000.0 / writes as f64)
}
