//! The copy's statements page by page, sent without the library: what is left between them and ours is our own time, and
//! what is between them and one statement over the whole table is the price of pages on this database.

use std::time::Instant;

use dualwrite::BoxError;
use sqlx::{AssertSqlSafe, Connection as _, MySql, Postgres, Sqlite};

use crate::goals::{Goals, Mapped};

/// Keys in a page, as many as a backfill takes at most unless told otherwise.
const PAGE: i64 = 5_000;

/// What differs between the databases.
pub(crate) trait Paged: Mapped {
    /// After `ORDER BY` where rows are locked.
    const LOCK: &'static str;
    const BEGIN: &'static str;

    /// A statement whose places are the key before the page and its last key, in turns.
    fn number_between(
        conn: &mut Self::Connection,
        sql: String,
        between: (i64, i64),
    ) -> impl Future<Output = sqlx::Result<Option<i64>>> + Send;

    fn run_between(
        conn: &mut Self::Connection,
        sql: String,
        between: (i64, i64),
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// `?` becomes `$1`, `$2`, … where that is how places are written.
fn places(sql: &str, numbered: bool) -> (String, usize) {
    let mut text = String::new();
    let mut count = 0;
    for c in sql.chars() {
        match c {
            '?' => {
                count += 1;
                text.push_str(&if numbered { format!("${count}") } else { "?".to_owned() });
            }
            c => text.push(c),
        }
    }
    (text, count)
}

macro_rules! paged {
    ($($db:ty, $numbered:literal, $lock:literal, $begin:expr;)*) => {$(
        impl Paged for $db {
            const LOCK: &'static str = $lock;
            const BEGIN: &'static str = $begin;

            async fn number_between(
                conn: &mut Self::Connection,
                sql: String,
                (after, last): (i64, i64),
            ) -> sqlx::Result<Option<i64>> {
                let (sql, count) = places(&sql, $numbered);
                let mut query = sqlx::query_scalar(AssertSqlSafe(sql));
                for place in 0..count {
                    query = query.bind(if place % 2 == 0 { after } else { last });
                }
                query.fetch_one(conn).await
            }

            async fn run_between(
                conn: &mut Self::Connection,
                sql: String,
                (after, last): (i64, i64),
            ) -> sqlx::Result<()> {
                let (sql, count) = places(&sql, $numbered);
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for place in 0..count {
                    query = query.bind(if place % 2 == 0 { after } else { last });
                }
                query.execute(conn).await.map(drop)
            }
        }
    )*};
}
paged! {
    Postgres, true, " FOR NO KEY UPDATE",
        "BEGIN ISOLATION LEVEL READ COMMITTED;SET LOCAL synchronous_commit=off;SET LOCAL plan_cache_mode=force_custom_plan";
    MySql, false, "", "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;START TRANSACTION";
    Sqlite, false, "", "BEGIN IMMEDIATE";
}

/// The statement with the conditions of a page.
fn over_page<DB: Paged>(sql: &str) -> String {
    let between = |column: &str| format!("{column} > ? AND {column} <= ?");
    let id = between("id");
    let rows = format!("(SELECT * FROM goals WHERE {id} ORDER BY id{})", DB::LOCK);
    sql.replace("{rows}", &rows)
        .replace("{id}", &id)
        .replace("{goals.id}", &between("goals.id"))
        .replace("{v.goal_id}", &between("v.goal_id"))
}

/// Rows per second.
pub(crate) async fn by_hand<DB: Paged>(goals: &Goals<DB>) -> Result<f64, BoxError> {
    goals.refill().await?;
    let mut conn = goals.pool.acquire().await?;
    let start = Instant::now();
    let (mut after, end) = (i64::MIN, i64::MAX);
    let stretch = format!(
        "SELECT max(id) FROM (SELECT id FROM goals WHERE id > ? AND id <= ? ORDER BY id LIMIT {PAGE}{}) stretch",
        DB::LOCK
    );
    loop {
        let mut tx = conn.begin_with(DB::BEGIN).await?;
        let last = DB::number_between(&mut tx, stretch.clone(), (after, end)).await?;
        let Some(last) = last else { break };
        for sql in DB::COPY {
            DB::run_between(&mut tx, over_page::<DB>(sql), (after, last)).await?;
        }
        tx.commit().await?;
        after = last;
    }
    let seconds = start.elapsed().as_secs_f64();
    goals.check().await?;
    Ok(goals.rows as f64 / seconds)
}
