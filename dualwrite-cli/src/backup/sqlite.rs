//! SQLite: a copy of the whole file while others go on, which is then read by itself and compared row by row.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr as _;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::{quoted, size, unconfirmed};
use crate::failure::{Exit, unreachable};

/// How often a copy is made where somebody has written to the tables meanwhile.
const TRIES: u32 = 3;

pub(super) async fn backup(url: &str, tables: &[String], into: &Path) -> Result<String, Exit> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| unreachable(&error))?;
    let options = options.create_if_missing(false);
    let mut conn = options.connect().await.map_err(|error| unreachable(&error))?;
    let mut found = Err(unconfirmed("no copy was made"));
    for _ in 0..TRIES {
        found = once(&mut conn, tables, into).await;
        if found.is_ok() {
            break;
        }
        // A file that is not the backup is not left behind.
        let _ = std::fs::remove_file(into);
    }
    let _ = conn.close().await;
    found
}

async fn once(conn: &mut SqliteConnection, tables: &[String], into: &Path) -> Result<String, Exit> {
    let failed = |error: sqlx::Error| unconfirmed(format!("the database refused: {error}"));
    let path = into.to_str().ok_or_else(|| unconfirmed("the name of the file is no text"))?;
    sqlx::query("VACUUM INTO ?").bind(path).execute(&mut *conn).await.map_err(failed)?;
    let copy = SqliteConnectOptions::new().filename(into).read_only(true);
    let mut copy = copy.connect().await.map_err(failed)?;
    let whole: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut copy).await.map_err(failed)?;
    let _ = copy.close().await;
    if whole != "ok" {
        return Err(unconfirmed(format!("the copy is not whole: {whole}")));
    }
    sqlx::query("ATTACH DATABASE ? AS restored")
        .bind(path)
        .execute(&mut *conn)
        .await
        .map_err(failed)?;
    let compared = compared(conn, tables, into).await;
    let detached = sqlx::raw_sql("DETACH DATABASE restored").execute(&mut *conn).await;
    let text = compared?;
    detached.map_err(failed)?;
    Ok(text)
}

/// Every row of each table is in the copy, and no other.
async fn compared(
    conn: &mut SqliteConnection,
    tables: &[String],
    into: &Path,
) -> Result<String, Exit> {
    let failed =
        |error: sqlx::Error| unconfirmed(format!("what was restored cannot be read: {error}"));
    let mut text = format!("a copy of {} bytes is in {}\n", size(into), into.display());
    for table in tables {
        let name = quoted(table.rsplit('.').next().unwrap_or(table));
        let sql = "SELECT name FROM pragma_table_info(?)";
        let columns: Vec<String> = sqlx::query_scalar(sql)
            .bind(name.trim_matches('"').replace("\"\"", "\""))
            .fetch_all(&mut *conn)
            .await
            .map_err(failed)?;
        let spelled: Vec<String> =
            columns.iter().map(|column| format!("quote({})", quoted(column))).collect();
        let spelled = spelled.join(" || ',' || ");
        let sum = |schema: &str| {
            format!("SELECT {spelled} AS line, count(*) AS copies FROM {schema}.{name} GROUP BY 1")
        };
        let (own, other) = (sum("main"), sum("restored"));
        let sql = format!(
            "SELECT (SELECT count(*) FROM main.{name}), (SELECT count(*) FROM restored.{name}), \
             (SELECT count(*) FROM (SELECT * FROM ({own}) EXCEPT SELECT * FROM ({other}))) + \
             (SELECT count(*) FROM (SELECT * FROM ({other}) EXCEPT SELECT * FROM ({own})))"
        );
        let (rows, restored, differing): (i64, i64, i64) =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.map_err(failed)?;
        if rows != restored || differing > 0 {
            return Err(unconfirmed(format!(
                "{table} has {rows} rows, and the copy has {restored}; {differing} differ. Somebody may have written \
                 meanwhile: make the backup again when nobody does"
            )));
        }
        let _ = writeln!(text, "{table}: {rows} rows, each the same in the copy");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(file: &Path) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        options.connect().await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_that_lacks_or_changes_a_row_is_not_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let [own, other] = ["own", "other"].map(|name| folder.path().join(name));
        for (change, equal) in [
            ("SELECT 1", true),
            ("DELETE FROM t WHERE a = 1", false),
            ("UPDATE t SET b = x'01' WHERE a = 1", false),
            ("INSERT INTO t SELECT * FROM t WHERE a = 2", false),
            // Equal in number, and the rows are others.
            ("UPDATE t SET a = 2 WHERE a = 1", false),
        ] {
            let _ = std::fs::remove_file(&other);
            let table = "DROP TABLE IF EXISTS t; CREATE TABLE t (a, b); INSERT INTO t VALUES (1, '1'), (2, NULL), (2, NULL)";
            let mut conn = open(&own).await;
            sqlx::raw_sql(table).execute(&mut conn).await.unwrap();
            let into = other.to_str().unwrap();
            sqlx::query("VACUUM INTO ?").bind(into).execute(&mut conn).await.unwrap();
            let mut copy = open(&other).await;
            sqlx::raw_sql(change).execute(&mut copy).await.unwrap();
            copy.close().await.unwrap();
            sqlx::query("ATTACH DATABASE ? AS restored")
                .bind(into)
                .execute(&mut conn)
                .await
                .unwrap();
            let found = compared(&mut conn, &["t".to_owned()], &other).await;
            assert_eq!(found.is_ok(), equal, "{change}");
        }
    }
}
