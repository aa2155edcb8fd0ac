//! What speaks PostgreSQL's protocol, and whether it can hold the fence.

use crate::database::engine::{
    Engine, ONE_WRITER, ONE_WRITER_NEEDED, OPTIMISTIC, READ_ONLY, READ_ONLY_NEEDED, SERVER_NEEDED,
    foreign_among,
};

const UNTRIED_LOCKS: &str = "it has no `LOCK TABLE` that waits, which the fence is made of";

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

/// What a server says that speaks PostgreSQL's protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
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
pub(crate) fn foreign(version: &str) -> Option<Engine> {
    foreign_among(NOT_POSTGRES, version)
}

pub(crate) fn engine(answers: &Answers) -> Engine {
    if let Some(foreign) = foreign(&answers.version) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::engine::refused;

    fn pg(version: &str) -> Engine {
        engine(&Answers { version: version.into(), ..Answers::default() })
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
        let dsql = Answers {
            version: "PostgreSQL 16.9 on aarch64".into(),
            dsql: true,
            ..Answers::default()
        };
        assert!(refused(&engine(&dsql)).unwrap().contains("Aurora DSQL"));
    }

    #[test]
    fn a_standby_and_several_writers_are_refused() {
        let server = Answers { version: "PostgreSQL 15.18 on x".into(), ..Default::default() };
        let standby = Answers { in_recovery: true, ..server.clone() };
        assert!(refused(&engine(&standby)).unwrap().contains("pool to the primary"));
        let read_only = Answers { read_only: true, ..server.clone() };
        assert!(refused(&engine(&read_only)).is_some());
        let bdr = Answers { extensions: "plpgsql bdr".into(), ..server.clone() };
        assert!(refused(&engine(&bdr)).unwrap().contains("through one node"));
        let citus = Answers { extensions: "citus plpgsql".into(), ..server };
        assert_eq!(refused(&engine(&citus)), None);
        assert!(!engine(&citus).is_tested());
    }
}
