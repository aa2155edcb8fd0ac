//! Which engine answers, and whether it can hold the fence: decided from what the server says of itself.
//!
//! The fence is a lock that one transaction holds shared and another asks for exclusively. An engine that
//! speaks PostgreSQL's or MySQL's protocol and keeps no such lock, or keeps it on one of several nodes that
//! take writes, lets a dual write through under a stage that has passed.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// The engine behind a runtime's pool, as it was found at [`start`](crate::RuntimeBuilder::start).
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// # use dualwrite::{Error, Runtime};
/// async fn start(pool: sqlx::SqlitePool) -> Result<(), Error> {
///     let runtime = Runtime::builder(pool).start().await?;
///     println!("{}", runtime.engine());
///     runtime.shutdown().await
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    name: String,
    verdict: Verdict,
    /// Connections go through a pooler that gives each transaction another session.
    pooled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// The tests of this library pass on it.
    Tested,
    /// It should hold the fence, and nobody has tried.
    Untested,
    Refused(Refusal),
}

/// Why an engine cannot hold the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    reason: &'static str,
    needed: &'static str,
}

impl Engine {
    pub(crate) fn tested(name: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Tested, pooled: false }
    }

    fn untested(name: impl Into<String>) -> Self {
        Self { verdict: Verdict::Untested, ..Self::tested(name) }
    }

    fn refused(name: impl Into<String>, reason: &'static str, needed: &'static str) -> Self {
        Self { verdict: Verdict::Refused(Refusal { reason, needed }), ..Self::tested(name) }
    }

    /// Its name and version, as the server gives them.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the tests of this library run on it.
    #[must_use]
    pub fn is_tested(&self) -> bool {
        self.verdict == Verdict::Tested
    }

    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    pub(crate) fn through_a_pooler(mut self) -> Self {
        self.pooled = true;
        self
    }

    /// Refuses an engine that cannot hold the fence, unless an operator has accepted it.
    pub(crate) fn admit(&self, accepted: Option<&str>) -> Result<(), Error> {
        match (&self.verdict, accepted) {
            (Verdict::Tested, _) => {}
            (Verdict::Untested, _) => {
                tracing::warn!(
                    engine = self.name,
                    "the tests of dualwrite do not run on this engine; try a rollout where nothing is lost"
                );
            }
            (Verdict::Refused(refusal), Some(because)) => {
                tracing::warn!(
                    engine = self.name,
                    reason = refusal.reason,
                    because,
                    "this engine cannot hold the fence, and an operator has accepted it"
                );
            }
            (Verdict::Refused(Refusal { reason, needed }), None) => {
                let message = format!(
                    "{} cannot hold the fence: {reason}. {needed}; whoever has made sure of that says so with \
                     `RuntimeBuilder::accept_engine`",
                    self.name
                );
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.pooled {
            f.write_str(" through a pooler")?;
        }
        match self.verdict {
            Verdict::Tested => Ok(()),
            Verdict::Untested => f.write_str(" (not tested)"),
            Verdict::Refused(_) => f.write_str(" (cannot hold the fence; accepted)"),
        }
    }
}

const OPTIMISTIC: &str =
    "its transactions are checked when they commit, and a shared lock excludes nobody";
const UNTRIED_LOCKS: &str = "it has no `LOCK TABLE` that waits, which the fence is made of";
const SERVER_NEEDED: &str = "Use a server of PostgreSQL, MySQL or MariaDB";
const ONE_WRITER: &str = "each of its nodes that take writes keeps row locks of its own, so a change of the \
                          stage on one node does not wait for writes on another";
const ONE_WRITER_NEEDED: &str =
    "Send all writes, and this runtime, through one node, or make the others read-only";
const READ_ONLY: &str = "it is a standby, or read-only";
const READ_ONLY_NEEDED: &str = "Give the runtime a pool to the primary that takes writes";

/// What speaks PostgreSQL's protocol and is something else, by a part of its `version()`.
const NOT_POSTGRES: &[(&str, &str, &str)] = &[
    ("CockroachDB", "CockroachDB", OPTIMISTIC),
    ("-YB-", "YugabyteDB", OPTIMISTIC),
    ("DSQL", "Aurora DSQL", OPTIMISTIC),
    ("Redshift", "Amazon Redshift", OPTIMISTIC),
    ("Materialize", "Materialize", UNTRIED_LOCKS),
    ("RisingWave", "RisingWave", UNTRIED_LOCKS),
    ("CrateDB", "CrateDB", UNTRIED_LOCKS),
    ("QuestDB", "QuestDB", UNTRIED_LOCKS),
    ("Spanner", "Cloud Spanner", OPTIMISTIC),
];

/// What speaks MySQL's protocol and is something else, by a part of its version or of the comment to it.
const NOT_MYSQL: &[(&str, &str, &str)] = &[
    ("TiDB", "TiDB", "`LOCK IN SHARE MODE` takes no lock there unless it is told to"),
    (
        "Vitess",
        "Vitess",
        "the rows of one transaction may lie on several servers, and the fence on one",
    ),
    (
        "PlanetScale",
        "PlanetScale",
        "the rows of one transaction may lie on several servers, and the fence on one",
    ),
    ("SingleStore", "SingleStore", "it has no shared row locks"),
    ("MemSQL", "SingleStore", "it has no shared row locks"),
    ("Dolt", "Dolt", OPTIMISTIC),
    ("StarRocks", "StarRocks", UNTRIED_ROWS),
    ("Doris", "Doris", UNTRIED_ROWS),
    ("-cluster", "MySQL NDB Cluster", "InnoDB tables are local to each of its SQL nodes"),
];
const UNTRIED_ROWS: &str = "it has no row locks";

/// What a server says that speaks PostgreSQL's protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct PostgresAnswers {
    /// `version()`.
    pub(crate) version: String,
    pub(crate) in_recovery: bool,
    /// Transactions are read-only unless they say otherwise.
    pub(crate) read_only: bool,
    /// It has the system tables of Aurora DSQL, whose `version()` is PostgreSQL's.
    pub(crate) dsql: bool,
    /// Names, separated by spaces.
    pub(crate) extensions: String,
}

/// Whether `version()` says already that it is another engine, which may not answer more.
pub(crate) fn foreign_postgres(version: &str) -> Option<Engine> {
    foreign(NOT_POSTGRES, version)
}

pub(crate) fn postgres(answers: &PostgresAnswers) -> Engine {
    if let Some(foreign) = foreign_postgres(&answers.version) {
        return foreign;
    }
    let name: String = answers.version.split(" on ").next().unwrap_or_default().into();
    let has = |wanted| answers.extensions.split(' ').any(|extension| extension == wanted);
    if answers.dsql {
        Engine::refused("Aurora DSQL", OPTIMISTIC, SERVER_NEEDED)
    } else if answers.in_recovery || answers.read_only {
        Engine::refused(name, READ_ONLY, READ_ONLY_NEEDED)
    } else if has("bdr") || has("spock") {
        Engine::refused(
            format!("{name}, replicated between several writers"),
            ONE_WRITER,
            ONE_WRITER_NEEDED,
        )
    } else if answers.version.contains("Greenplum") || has("citus") {
        Engine::untested(name)
    } else {
        Engine::tested(name)
    }
}

/// What a server says that speaks MySQL's protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct MySqlAnswers {
    /// `version()` and `@@version_comment`.
    pub(crate) version: String,
    pub(crate) comment: String,
    pub(crate) read_only: bool,
    /// Galera is on, and so many nodes belong to the cluster.
    pub(crate) galera: Option<u64>,
    /// So many members of a replication group take writes.
    pub(crate) group_primaries: u64,
}

/// Whether the version says already that it is another engine, which may not answer more.
pub(crate) fn foreign_mysql(version: &str, comment: &str) -> Option<Engine> {
    foreign(NOT_MYSQL, &format!("{version} {comment}"))
}

pub(crate) fn mysql(answers: &MySqlAnswers) -> Engine {
    let MySqlAnswers { version, comment, .. } = answers;
    if let Some(foreign) = foreign_mysql(version, comment) {
        return foreign;
    }
    let is_mariadb =
        version.contains("MariaDB") || comment.to_ascii_lowercase().contains("mariadb");
    let product = match is_mariadb {
        true => "MariaDB",
        false if comment.contains("Percona") => "Percona Server",
        false => "MySQL",
    };
    let name = format!("{product} {}", version.split("-MariaDB").next().unwrap_or(version));
    if answers.read_only {
        return Engine::refused(name, READ_ONLY, READ_ONLY_NEEDED);
    }
    match (answers.galera, answers.group_primaries) {
        (Some(nodes), _) if nodes > 1 => {
            let name = format!("{name} in a Galera cluster of {nodes} nodes");
            Engine::refused(name, ONE_WRITER, ONE_WRITER_NEEDED)
        }
        (_, primaries) if primaries > 1 => {
            let name = format!("{name} in a replication group with {primaries} primaries");
            Engine::refused(name, ONE_WRITER, ONE_WRITER_NEEDED)
        }
        (Some(_), _) => Engine::untested(format!("{name} with Galera, alone")),
        _ if is_mariadb => Engine::tested(name),
        _ => Engine::untested(name),
    }
}

fn foreign(list: &[(&str, &'static str, &'static str)], said: &str) -> Option<Engine> {
    let said_lower = said.to_ascii_lowercase();
    let found = list.iter().find(|(part, ..)| said_lower.contains(&part.to_ascii_lowercase()));
    found.map(|(_, name, reason)| Engine::refused(*name, reason, SERVER_NEEDED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(engine: &Engine) -> Option<String> {
        engine.admit(None).err().map(|error| {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(engine.admit(Some("all writes go to one node")).is_ok());
            error.to_string()
        })
    }

    fn pg(version: &str) -> Engine {
        postgres(&PostgresAnswers { version: version.into(), ..PostgresAnswers::default() })
    }

    fn my(version: &str, comment: &str) -> MySqlAnswers {
        MySqlAnswers { version: version.into(), comment: comment.into(), ..MySqlAnswers::default() }
    }

    #[test]
    fn postgres_by_whoever_ships_it_is_tested() {
        for version in [
            "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc, 64-bit",
            "PostgreSQL 16.4 on aarch64-unknown-linux-gnu, compiled by gcc (GCC) 7.3.1, 64-bit",
            "PostgreSQL 18.4 on x86_64-pc-linux-musl, compiled by gcc (Alpine 14.2.0) 14.2.0, 64-bit",
        ] {
            assert_eq!(refused(&pg(version)), None);
            assert!(pg(version).is_tested(), "{version}");
        }
        assert_eq!(
            pg("PostgreSQL 15.18 (Debian 15) on x86_64").to_string(),
            "PostgreSQL 15.18 (Debian 15)"
        );
    }

    #[test]
    fn engines_that_only_speak_the_protocol_of_postgres_are_refused() {
        for (version, name) in [
            (
                "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27, go1.19.10)",
                "CockroachDB",
            ),
            (
                "PostgreSQL 11.2-YB-2.18.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang",
                "YugabyteDB",
            ),
            ("PostgreSQL 15.2-YB-2025.1.0.0-b168 on aarch64-unknown-linux-gnu", "YugabyteDB"),
            (
                "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC 3.4.2, Redshift 1.0.54899",
                "Redshift",
            ),
            ("PostgreSQL 9.5.0 on x86_64-unknown-linux-gnu (Materialize v0.87.0)", "Materialize"),
            ("PostgreSQL 13.14.0-RisingWave-2.0.1 (7e0d3c5)", "RisingWave"),
        ] {
            let refusal = refused(&pg(version)).unwrap();
            assert!(refusal.contains(name) && refusal.contains("Use a server"), "{refusal}");
        }
        let dsql = PostgresAnswers {
            version: "PostgreSQL 16.9 on aarch64".into(),
            dsql: true,
            ..PostgresAnswers::default()
        };
        assert!(refused(&postgres(&dsql)).unwrap().contains("Aurora DSQL"));
    }

    #[test]
    fn a_standby_and_several_writers_are_refused() {
        let server =
            PostgresAnswers { version: "PostgreSQL 15.18 on x".into(), ..Default::default() };
        let standby = PostgresAnswers { in_recovery: true, ..server.clone() };
        assert!(refused(&postgres(&standby)).unwrap().contains("pool to the primary"));
        let read_only = PostgresAnswers { read_only: true, ..server.clone() };
        assert!(refused(&postgres(&read_only)).is_some());
        let bdr = PostgresAnswers { extensions: "plpgsql bdr".into(), ..server.clone() };
        assert!(refused(&postgres(&bdr)).unwrap().contains("through one node"));
        let citus = PostgresAnswers { extensions: "citus plpgsql".into(), ..server };
        assert_eq!(refused(&postgres(&citus)), None);
        assert!(!postgres(&citus).is_tested());
    }

    #[test]
    fn mariadb_is_tested_and_mysql_is_not() {
        let mariadb = mysql(&my("10.11.14-MariaDB-0+deb12u2", "Debian 12"));
        assert!(mariadb.is_tested());
        assert_eq!(mariadb.to_string(), "MariaDB 10.11.14");
        for (version, comment, shown) in [
            ("8.0.36", "MySQL Community Server - GPL", "MySQL 8.0.36 (not tested)"),
            (
                "8.0.35-27",
                "Percona Server (GPL), Release 27",
                "Percona Server 8.0.35-27 (not tested)",
            ),
            ("8.0.28", "Source distribution", "MySQL 8.0.28 (not tested)"), // Aurora
        ] {
            let engine = mysql(&my(version, comment));
            assert_eq!(refused(&engine), None);
            assert_eq!(engine.to_string(), shown);
        }
    }

    #[test]
    fn engines_that_only_speak_the_protocol_of_mysql_are_refused() {
        for (version, comment, name) in [
            ("5.7.25-TiDB-v7.1.0", "TiDB Server (Apache License 2.0) Community Edition", "TiDB"),
            ("8.0.11-TiDB-v8.5.0", "", "TiDB"),
            ("8.0.30-Vitess", "Version: 19.0.4 (Git revision abc branch 'HEAD')", "Vitess"),
            (
                "8.0.21",
                "SingleStoreDB source distribution (compatible; MySQL Enterprise)",
                "SingleStore",
            ),
            ("8.0.33", "Dolt", "Dolt"),
            ("8.0.32-cluster", "MySQL Cluster Community Server - GPL", "NDB"),
            ("5.1.0", "StarRocks version 3.1", "StarRocks"),
        ] {
            let refusal = refused(&mysql(&my(version, comment))).unwrap();
            assert!(refusal.contains(name) && refusal.contains("accept_engine"), "{refusal}");
        }
    }

    #[test]
    fn several_nodes_that_take_writes_are_refused_and_one_is_not() {
        let mariadb = my("10.11.14-MariaDB-log", "");
        let galera = |nodes| MySqlAnswers { galera: Some(nodes), ..mariadb.clone() };
        let refusal = refused(&mysql(&galera(3))).unwrap();
        assert!(refusal.contains("3 nodes") && refusal.contains("through one node"), "{refusal}");
        assert_eq!(refused(&mysql(&galera(1))), None);
        let group =
            |primaries| MySqlAnswers { group_primaries: primaries, ..my("8.0.36", "MySQL") };
        assert!(refused(&mysql(&group(3))).unwrap().contains("3 primaries"));
        assert_eq!(refused(&mysql(&group(1))), None);
        let replica = MySqlAnswers { read_only: true, ..mariadb };
        assert!(refused(&mysql(&replica)).unwrap().contains("read-only"));
    }
}
