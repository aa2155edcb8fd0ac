//! What speaks MySQL's protocol, and whether it can hold the fence.

use crate::database::engine::{
    Engine, ONE_WRITER, ONE_WRITER_NEEDED, OPTIMISTIC, READ_ONLY, READ_ONLY_NEEDED, foreign_among,
};

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

/// What a server says that speaks MySQL's protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
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
pub(crate) fn foreign(version: &str, comment: &str) -> Option<Engine> {
    foreign_among(NOT_MYSQL, &format!("{version} {comment}"))
}

pub(crate) fn engine(answers: &Answers) -> Engine {
    let Answers { version, comment, .. } = answers;
    if let Some(foreign) = foreign(version, comment) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::engine::refused;

    fn my(version: &str, comment: &str) -> Answers {
        Answers { version: version.into(), comment: comment.into(), ..Answers::default() }
    }

    #[test]
    fn mariadb_is_tested_and_mysql_is_not() {
        let mariadb = engine(&my("10.11.14-MariaDB-0+deb12u2", "Debian 12"));
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
            let engine = engine(&my(version, comment));
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
            let refusal = refused(&engine(&my(version, comment))).unwrap();
            assert!(refusal.contains(name) && refusal.contains("accept_engine"), "{refusal}");
        }
    }

    #[test]
    fn several_nodes_that_take_writes_are_refused_and_one_is_not() {
        let mariadb = my("10.11.14-MariaDB-log", "");
        let galera = |nodes| Answers { galera: Some(nodes), ..mariadb.clone() };
        let refusal = refused(&engine(&galera(3))).unwrap();
        assert!(refusal.contains("3 nodes") && refusal.contains("through one node"), "{refusal}");
        assert_eq!(refused(&engine(&galera(1))), None);
        let group = |primaries| Answers { group_primaries: primaries, ..my("8.0.36", "MySQL") };
        assert!(refused(&engine(&group(3))).unwrap().contains("3 primaries"));
        assert_eq!(refused(&engine(&group(1))), None);
        let replica = Answers { read_only: true, ..mariadb };
        assert!(refused(&engine(&replica)).unwrap().contains("read-only"));
    }
}
