//! `dualwrite schema check --trace`: runs migration files in a scratch database that has the schema alone, and tells of each
//! statement which locks it took, what these would keep out, and which tables it rewrote. PostgreSQL.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use dualwrite::printable;
use dualwrite::schema::{Folder, Script, SqlDialect};
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::backup::postgres::Target;
use crate::backup::{quoted, ran};
use crate::failure::{Exit, unreachable};

/// What was seen of one statement.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Trace {
    /// Locks on tables and indexes that were there before the file, as they were held after the statement.
    pub(crate) locks: Vec<Lock>,
    /// Tables that were there before, and have been written anew.
    pub(crate) rewrites: Vec<String>,
    /// Why it was not run, or what the server said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Lock {
    pub(crate) relation: String,
    pub(crate) mode: String,
    /// What has to wait for it.
    pub(crate) blocks: &'static str,
    /// The statement of the file that took it, from 0.
    pub(crate) since: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Traced {
    pub(crate) file: PathBuf,
    pub(crate) statement: usize,
    pub(crate) line: usize,
    pub(crate) trace: Trace,
}

/// Where it is tried out.
pub(crate) struct Place<'p> {
    /// The database whose schema it is.
    pub(crate) url: &'p str,
    /// Another server for the scratch database.
    pub(crate) server: Option<&'p str>,
    pub(crate) programs: Option<&'p Path>,
}

/// Runs the files that the database has not applied. The scratch database is dropped in the end.
pub(crate) async fn trace(place: &Place<'_>, folder: &Folder) -> Result<Vec<Traced>, Exit> {
    let failed = |error: sqlx::Error| Exit::other(format!("the files cannot be traced: {error}"));
    let own = PgConnectOptions::from_str(place.url).map_err(|error| unreachable(&error))?;
    let on = PgConnectOptions::from_str(place.server.unwrap_or(place.url))
        .map_err(|error| unreachable(&error))?;
    let applied = applied(&own).await?;
    let mut server = on.connect().await.map_err(|error| unreachable(&error))?;
    let name = format!("dualwrite_trace_{}_{:x}", std::process::id(), moment());
    let create = format!("CREATE DATABASE {} TEMPLATE template0", quoted(&name));
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut server).await.map_err(failed)?;
    let scratch = on.clone().database(&name);
    let traced = async {
        restore_schema(&own, &scratch, &name, place.programs)?;
        let mut conn = scratch.connect().await.map_err(failed)?;
        let mut observer = scratch.connect().await.map_err(failed)?;
        let mut found = Vec::new();
        for script in folder.scripts(SqlDialect::Postgres) {
            if script.version.is_some_and(|version| applied.contains(&version)) {
                continue;
            }
            if !run(&mut conn, &mut observer, &script, &mut found).await.map_err(failed)? {
                break; // what comes after it builds on it
            }
        }
        Ok(found)
    };
    let traced = traced.await;
    let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&name));
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut server).await.map_err(failed)?;
    traced
}

/// A number that another run does not have.
fn moment() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map(|now| now.as_micros()).unwrap_or_default()
}

async fn applied(own: &PgConnectOptions) -> Result<Vec<i64>, Exit> {
    let mut conn = own.connect().await.map_err(|error| unreachable(&error))?;
    let failed =
        |error: sqlx::Error| Exit::other(format!("what sqlx has applied cannot be read: {error}"));
    let there = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(there).fetch_one(&mut conn).await.map_err(failed)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT version FROM _sqlx_migrations WHERE success";
    sqlx::query_scalar(sql).fetch_all(&mut conn).await.map_err(failed)
}

fn restore_schema(
    own: &PgConnectOptions,
    scratch: &PgConnectOptions,
    name: &str,
    programs: Option<&Path>,
) -> Result<(), Exit> {
    let program = |name: &str| {
        programs.map_or_else(|| name.to_owned(), |folder| folder.join(name).display().to_string())
    };
    let file = std::env::temp_dir().join(name);
    let (dump, restore) = (program("pg_dump"), program("pg_restore"));
    let mut dumping = Target::of(own).command(&dump);
    dumping.args(["--schema-only", "--format=custom", "--no-owner", "--no-privileges", "--file"]);
    let done = ran(&dump, dumping.arg(&file)).and_then(|_| {
        let mut restoring = Target::of(scratch).command(&restore);
        restoring.args(["--no-owner", "--no-privileges", "--exit-on-error"]);
        ran(&restore, restoring.arg(&file))
    });
    let _ = std::fs::remove_file(&file);
    done.map(drop)
}

/// Tables and indexes of the application: the name, the kind, and the file that has its rows.
type Relations = BTreeMap<i64, (String, String, i64)>;

async fn relations(conn: &mut PgConnection) -> sqlx::Result<Relations> {
    let sql = "SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), c.relkind::text, c.relfilenode::bigint \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I') \
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'";
    let rows = sqlx::query(sql).fetch_all(conn).await?;
    let one = |row: &sqlx::postgres::PgRow| {
        Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)))
    };
    rows.iter().map(one).collect()
}

const LOCKS: &str = "SELECT DISTINCT relation::bigint, mode FROM pg_locks WHERE locktype = 'relation' AND granted \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid = $1";

type Taken = Vec<(i64, String)>;

/// Runs one statement: what came of it, and the locks that it took.
async fn execute(
    conn: &mut PgConnection,
    observer: &mut PgConnection,
    pid: i32,
    script: &Script,
    sql: &str,
) -> sqlx::Result<(Result<(), String>, Taken)> {
    if let Some(what) = reaches_out(sql) {
        let why = format!("it is not run here, for it reaches beyond the database: {what}");
        return Ok((Err(why), Vec::new()));
    }
    if script.no_transaction {
        let mut taken = Vec::new();
        let ran = observed(conn, observer, pid, sql, &mut taken).await?;
        return Ok((ran, taken));
    }
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await {
        Ok(_) => Ok((Ok(()), locks(conn, pid).await?)),
        Err(error) => Ok((Err(error.to_string()), Vec::new())),
    }
}

/// The locks on what was there before, each with the statement that took it first.
fn hold(held: &mut Vec<Lock>, before: &Relations, taken: Taken, since: usize) {
    for (relation, mode) in taken {
        let Some((name, ..)) = before.get(&relation) else { continue };
        if !held.iter().any(|lock| lock.relation == *name && lock.mode == mode) {
            let blocks = blocks(&mode);
            held.push(Lock { relation: name.clone(), mode, blocks, since });
        }
    }
}

/// The tables that were there before and have another file now.
fn rewritten(before: &Relations, now: &Relations, after: &Relations) -> Vec<String> {
    let has_moved = |(oid, (_, kind, file)): &(&i64, &(String, String, i64))| {
        let was = now.get(*oid).filter(|_| before.contains_key(*oid));
        was.is_some_and(|(_, _, old)| old != file) && ["r", "m"].contains(&&**kind)
    };
    after.iter().filter(has_moved).map(|(_, (name, ..))| name.clone()).collect()
}

/// Runs one file; whether all of it could be.
async fn run(
    conn: &mut PgConnection,
    observer: &mut PgConnection,
    script: &Script,
    found: &mut Vec<Traced>,
) -> sqlx::Result<bool> {
    let before = relations(conn).await?;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *conn).await?;
    if !script.no_transaction {
        sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
    }
    let mut held: Vec<Lock> = Vec::new();
    let mut now = before.clone();
    for (index, statement) in script.statements.iter().enumerate() {
        let mut trace = Trace::default();
        let (ran, taken) = execute(conn, observer, pid, script, &statement.sql).await?;
        if ran.is_ok() {
            hold(&mut held, &before, taken, index);
            let after = relations(conn).await?;
            trace.rewrites = rewritten(&before, &now, &after);
            now = after;
        }
        trace.locks.clone_from(&held);
        if script.no_transaction {
            held.clear(); // they ended with the statement
        }
        let failed = ran.err();
        let is_over = failed.is_some();
        trace.failed = failed;
        let (file, line) = (script.file.clone(), statement.line);
        found.push(Traced { file, statement: index, line, trace });
        if is_over {
            return Ok(false);
        }
    }
    if !script.no_transaction {
        sqlx::raw_sql("COMMIT").execute(&mut *conn).await?;
    }
    Ok(true)
}

async fn locks(conn: &mut PgConnection, pid: i32) -> sqlx::Result<Vec<(i64, String)>> {
    sqlx::query_as(LOCKS).bind(pid).fetch_all(conn).await
}

/// Runs a statement whose locks end with it; another connection looks as often as it can meanwhile.
async fn observed(
    conn: &mut PgConnection,
    observer: &mut PgConnection,
    pid: i32,
    sql: &str,
    taken: &mut Vec<(i64, String)>,
) -> sqlx::Result<Result<(), String>> {
    let running = async { sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await };
    tokio::pin!(running);
    loop {
        let looking = locks(observer, pid);
        tokio::pin!(looking);
        tokio::select! {
            ran = &mut running => {
                looking.await?; // its answer is on the way
                return Ok(ran.map(drop).map_err(|error| error.to_string()));
            }
            seen = &mut looking => {
                for lock in seen? {
                    if !taken.contains(&lock) {
                        taken.push(lock);
                    }
                }
            }
        }
    }
}

/// What has to wait for a lock of this mode.
fn blocks(mode: &str) -> &'static str {
    match mode {
        "AccessExclusiveLock" => "reads and writes",
        "ExclusiveLock" | "ShareRowExclusiveLock" | "ShareLock" => "writes",
        "ShareUpdateExclusiveLock" => "other changes of the schema, and vacuum",
        "RowExclusiveLock" => "builds of indexes",
        _ => "changes that lock the whole table",
    }
}

/// What of a statement would be seen by other databases of the server, or by its machine.
fn reaches_out(sql: &str) -> Option<&'static str> {
    let words: Vec<String> = sql
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_uppercase)
        .collect();
    let has = |pattern: &[&str]| words.windows(pattern.len()).any(|found| found == pattern);
    let objects = ["ROLE", "USER", "GROUP", "DATABASE", "TABLESPACE", "SUBSCRIPTION", "SYSTEM"];
    let verbs = ["CREATE", "ALTER", "DROP"];
    let pairs = verbs.iter().flat_map(|verb| objects.iter().map(move |object| [*verb, *object]));
    if pairs.into_iter().any(|pair| has(&pair)) {
        return Some("roles, databases, tablespaces, subscriptions or settings of the server");
    }
    let first = words.first().map_or("", |word| &**word);
    if ["GRANT", "REVOKE"].contains(&first) && !words.iter().any(|word| word == "ON") {
        return Some("members of roles");
    }
    if has(&["PROGRAM"]) || first == "COPY" && !has(&["STDIN"]) && !has(&["STDOUT"]) {
        return Some("files or programs of the server's machine");
    }
    if words.iter().any(|word| word.starts_with("DBLINK") || word.starts_with("PG_WRITE")) {
        return Some("another database or a file");
    }
    None
}

/// For people.
pub(crate) fn as_text(found: &[Traced]) -> String {
    let mut text = String::new();
    for one in found {
        let _ = writeln!(text, "{}:{}: traced", one.file.display(), one.line);
        for lock in &one.trace.locks {
            let since = if lock.since == one.statement { "" } else { ", held since before" };
            let Lock { relation, mode, blocks, .. } = lock;
            let _ = writeln!(
                text,
                "  lock: {} on {}{since}; keeps out {blocks}",
                mode,
                printable(relation)
            );
        }
        for table in &one.trace.rewrites {
            let _ = writeln!(text, "  rewrites: {}", printable(table));
        }
        if let Some(why) = &one.trace.failed {
            let _ = writeln!(text, "  failed: {}", printable(why));
        }
    }
    if found.is_empty() {
        text.push_str("traced: no file that is not applied\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_beyond_the_database_is_not_run() {
        for sql in [
            "CREATE ROLE app",
            "drop\n database shop",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "DO $$ BEGIN EXECUTE 'CREATE USER app'; END $$",
            "GRANT admin TO app",
            "COPY t TO '/tmp/t'",
            "COPY t FROM PROGRAM 'cat /etc/passwd'",
            "SELECT dblink_exec('x', 'y')",
        ] {
            assert!(reaches_out(sql).is_some(), "{sql}");
        }
        for sql in [
            "ALTER TABLE customer ADD COLUMN role text",
            "GRANT SELECT ON customer TO app",
            "CREATE TABLE database_user (id int)",
            "COPY t FROM STDIN",
        ] {
            assert_eq!(reaches_out(sql), None, "{sql}");
        }
    }
}
