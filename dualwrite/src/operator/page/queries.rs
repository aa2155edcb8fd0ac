//! The queries of one migration that the JSON API answers.

/// A query of one migration.
#[cfg_attr(not(test), allow(dead_code, reason = "the document is made of them, in a test"))]
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Whether it answers with a list.
    pub(super) is_list: bool,
    /// The fields that one of it has at the least, by their kinds in JSON.
    pub(super) item: Option<&'static [(&'static str, &'static str)]>,
}

const fn list(
    name: &'static str,
    about: &'static str,
    item: &'static [(&'static str, &'static str)],
) -> Query {
    Query { name, about, is_list: true, item: Some(item) }
}

const fn one_of(name: &'static str, about: &'static str) -> Query {
    Query { name, about, is_list: false, item: None }
}

/// All of them.
pub(super) const QUERIES: [Query; 11] = [
    list(
        "readiness",
        "What stands against the next move; empty: nothing",
        &[("gate", "string"), ("reason", "string")],
    ),
    one_of("preflight", "What the newest preflight found"),
    list(
        "hazards",
        "Writers that no trigger sees, and sequences that are behind",
        &[("name", "string")],
    ),
    list(
        "events",
        "The newest changes of the position",
        &[("actor", "string"), ("reason", "string"), ("epoch", "integer")],
    ),
    list(
        "audit",
        "The newest commands that moved nothing",
        &[("kind", "string"), ("actor", "string"), ("reason", "string")],
    ),
    list("instances", "The live instances", &[("id", "string"), ("release", "string")]),
    list(
        "dead-letters",
        "The keys that could not be copied, and why",
        &[("key", "string"), ("error", "string")],
    ),
    list("mismatches", "The samples of mismatches", &[("method", "string"), ("field", "string")]),
    list(
        "jobs",
        "What was started for any instance, and what became of it",
        &[("kind", "string"), ("done", "boolean")],
    ),
    one_of("traffic", "The calls of both sides in the last hour, of all instances together"),
    one_of("rollout", "How far the rollout is"),
];
