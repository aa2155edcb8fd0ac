//! PostgreSQL: pg_dump of one snapshot, restored into a scratch database of the same server, and compared with the tables
//! of that snapshot.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::{quoted, ran, size, unconfirmed};
use crate::failure::{Exit, unreachable};

/// What the programs of PostgreSQL know of a URL; the others are sqlx's own.
const PARAMETERS: [&str; 6] = ["host", "options", "port", "sslcert", "sslkey", "sslrootcert"];

/// A table, with how many rows it has and a checksum of all.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    table: String,
    rows: i64,
    checksum: i64,
}

pub(super) async fn backup(
    url: &str,
    tables: &[String],
    into: &Path,
    programs: Option<&Path>,
) -> Result<String, Exit> {
    let options = PgConnectOptions::from_str(url).map_err(|error| unreachable(&error))?;
    let options = options.application_name("dualwrite backup");
    let mut conn = options.connect().await.map_err(|error| unreachable(&error))?;
    let failed = |error: sqlx::Error| unconfirmed(format!("the database refused: {error}"));
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    sqlx::raw_sql(begin).execute(&mut conn).await.map_err(failed)?;
    let snapshot: String = sqlx::query_scalar("SELECT pg_export_snapshot()")
        .fetch_one(&mut conn)
        .await
        .map_err(failed)?;
    let mut names = Vec::new();
    for table in tables {
        names.push(whole_name(&mut conn, table).await.map_err(failed)?);
    }
    let program = |name: &str| {
        programs.map_or_else(|| name.to_owned(), |folder| folder.join(name).display().to_string())
    };
    let (dump, restore) = (program("pg_dump"), program("pg_restore"));
    let own = Target::of(&options);
    let mut command = own.command(&dump);
    command.arg("--format=custom").arg("--file").arg(into).arg(format!("--snapshot={snapshot}"));
    ran(&dump, &mut command)?;
    let live = sums(&mut conn, &names).await.map_err(failed)?;
    sqlx::raw_sql("COMMIT").execute(&mut conn).await.map_err(failed)?;

    let scratch =
        format!("dualwrite_restore_{}_{}", std::process::id(), snapshot.replace('-', "_"));
    let scratch = scratch.to_ascii_lowercase();
    let create = format!("CREATE DATABASE {} TEMPLATE template0", quoted(&scratch));
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut conn).await.map_err(failed)?;
    let restored = restored(&options, &scratch, &restore, into, &names).await;
    let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&scratch));
    let dropped = sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut conn).await;
    let restored = restored?;
    dropped.map_err(|error| unconfirmed(format!("drop the database {scratch}: {error}")))?;
    let _ = conn.close().await;
    compared(&live, &restored, into)
}

/// Equal, or not confirmed.
fn compared(live: &[Sum], restored: &[Sum], into: &Path) -> Result<String, Exit> {
    let mut text = format!("pg_dump wrote {} bytes into {}\n", size(into), into.display());
    for (live, restored) in live.iter().zip(restored) {
        if live != restored {
            return Err(unconfirmed(format!(
                "{} has {} rows and checksum {:016x}, and what was restored has {} rows and checksum {:016x}",
                live.table, live.rows, live.checksum, restored.rows, restored.checksum
            )));
        }
        let _ = writeln!(
            text,
            "{}: {} rows, checksum {:016x}, restored the same",
            live.table, live.rows, live.checksum
        );
    }
    Ok(text)
}

/// The schema and the name in quotes, as the search path finds it.
async fn whole_name(conn: &mut PgConnection, table: &str) -> sqlx::Result<String> {
    let parts: Vec<String> = table.split('.').map(quoted).collect();
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::text::regclass";
    sqlx::query_scalar(sql).bind(parts.join(".")).fetch_one(conn).await
}

/// A row as a text has all of its values.
async fn sums(conn: &mut PgConnection, names: &[String]) -> sqlx::Result<Vec<Sum>> {
    let mut found = Vec::new();
    for table in names {
        let sql = format!(
            "SELECT count(*), coalesce(bit_xor(hashtextextended(t::text, 0)), 0) FROM {table} t"
        );
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *conn).await?;
        let (rows, checksum) = (row.try_get(0)?, row.try_get(1)?);
        found.push(Sum { table: table.clone(), rows, checksum });
    }
    Ok(found)
}

async fn restored(
    options: &PgConnectOptions,
    scratch: &str,
    program: &str,
    from: &Path,
    names: &[String],
) -> Result<Vec<Sum>, Exit> {
    let options = options.clone().database(scratch);
    let mut command = Target::of(&options).command(program);
    command.args(["--no-owner", "--no-privileges", "--exit-on-error"]).arg(from);
    ran(program, &mut command)?;
    let failed =
        |error: sqlx::Error| unconfirmed(format!("what was restored cannot be read: {error}"));
    let mut conn = options.connect().await.map_err(failed)?;
    let found = sums(&mut conn, names).await.map_err(failed)?;
    let _ = conn.close().await;
    Ok(found)
}

/// How the programs of PostgreSQL get there. The password is no argument, which others could see.
pub(crate) struct Target {
    url: String,
    password: Option<String>,
    mode: Option<String>,
}

impl Target {
    pub(crate) fn of(options: &PgConnectOptions) -> Self {
        let mut url = options.to_url_lossy();
        let password = url.password().map(decoded);
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let mode = pairs.iter().find(|(name, _)| name == "sslmode" || name == "ssl-mode");
        let mode = mode.map(|(_, value)| value.clone());
        url.set_query(None);
        for (name, value) in pairs.iter().filter(|(name, _)| PARAMETERS.contains(&&**name)) {
            url.query_pairs_mut().append_pair(name, value);
        }
        // One that has no password is left as it is.
        let _ = url.set_password(None);
        Self { url: url.into(), password, mode }
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--no-password").arg(format!("--dbname={}", self.url));
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        if let Some(mode) = &self.mode {
            command.env("PGSSLMODE", mode);
        }
        command
    }
}

/// What `%41` stands for.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                found.push(byte);
                at += 3;
            }
            None => {
                found.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&found).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_no_argument() {
        let options =
            PgConnectOptions::from_str("postgres://ada:p%40ss%25@db:5433/shop?sslmode=require")
                .unwrap();
        let target = Target::of(&options);
        assert_eq!(target.password.as_deref(), Some("p@ss%"));
        assert_eq!(target.mode.as_deref(), Some("require"));
        assert!(target.url.starts_with("postgres://ada@db:5433/shop"), "{}", target.url);
        assert!(!target.url.contains("statement"), "{}", target.url);
    }

    #[test]
    fn what_differs_is_not_confirmed() {
        let sum = |rows, checksum| vec![Sum { table: "t".into(), rows, checksum }];
        let file = Path::new("backup");
        assert!(compared(&sum(2, 7), &sum(2, 7), file).unwrap().contains("2 rows"));
        for other in [sum(1, 7), sum(2, 8)] {
            let refused = compared(&sum(2, 7), &other, file).unwrap_err();
            assert!(
                refused.text.contains("no backup is confirmed: t has 2 rows"),
                "{}",
                refused.text
            );
        }
    }
}
