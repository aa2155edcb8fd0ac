//! The rules of ARCHITECTURE.md that a machine can check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, each importing only from itself and from those before it.
const LAYERS: &[&[&str]] = &[
    &[
        "stage",
        "position",
        "key",
        "bucket",
        "route",
        "moves",
        "gate",
        "facts",
        "hours",
        "toml_text",
        "plan/health",
        "plan/order",
        "plan/pace",
        "plan/rollout",
        "plan/state",
        "plan/toml",
        "flags/report",
        "flags/wanted",
        "error",
        "needs",
        "shadow/outcome",
        "shadow/sampling",
        "conversion",
        "compare",
        "compare/answers",
        "compare/cancel",
        "compare/comparison",
        "compare/difference",
        "compare/leaves",
        "compare/lists",
        "compare/maps",
        "compare/matching",
        "compare/near",
        "compare/pair",
        "compare/strings",
        "compare/text",
        "compare/wrappers",
        "guard/rules",
        "guard/statistics",
    ],
    &[
        "clock",
        "backend",
        "backend/dialect",
        "backend/fence",
        "backend/install",
        "backend/sealed",
        "backend/values",
        "control",
        "control/letters",
        "control/plans",
        "control/tasks",
        "flags/source",
        "copy",
        "copy/table",
        "copy/convert",
        "copy/mapping",
        "slots",
        "in_flight",
        "observe",
        "observe/figures",
        "observe/histogram",
        "observe/methods",
        "observe/mirror",
        "observe/publish",
        "observe/tally",
        "observe/window",
        "events",
        "shadow/cohort",
        "shadow/count",
        "shadow/noise",
        "shadow/rules",
        "shadow/samples",
        "shared",
    ],
    &[
        "readiness",
        "write/decide",
        "write/cause",
        "lazy/decide",
        "shadow/decide",
        "backfill/decide",
        "backfill/throttle",
        "replicas/trail",
        "plan/decide",
        "flags/decide",
        "guard/decide",
        "verify/decide",
    ],
    &[
        "transaction",
        "transaction/alone",
        "read",
        "write/mirror",
        "write/run",
        "lazy/run",
        "shadow/keep",
        "shadow/run",
        "shadow/writes",
        "copy/alone",
        "copy/inside",
        "copy/run",
        "replicas",
        "copy/registered",
        "copy/source",
        "copy/statements",
        "copy/template",
        "copy/columns",
        "backfill/account",
        "backfill/burying",
        "backfill/claims",
        "backfill/committing",
        "backfill/ledger",
        "backfill/letters",
        "backfill/load",
        "backfill/options",
        "backfill/ordering",
        "backfill/page",
        "backfill/pressure",
        "backfill/progress",
        "backfill/run",
        "backfill/walk",
        "backfill/worker",
        "verify/statements",
        "verify/look",
        "verify/hashed",
        "verify/chunk",
        "verify/confirm",
        "verify/run",
        "guard/run",
        "verify/repair",
        "repository",
        "plan/announce",
        "plan/run",
    ],
    &[
        "jobs",
        "moving",
        "waiving",
        "migration",
        "health",
        "runtime",
        "runtime/builder",
        "runtime/comparing",
        "runtime/following",
        "runtime/maintaining",
        "runtime/publishing",
        "runtime/registration",
        "runtime/repairing",
        "runtime/watching",
        "status",
        "flags/run",
        "rollout",
        "operator",
        "steering",
    ],
    &[
        "backend/sqlite",
        "backend/postgres",
        "backend/mysql",
        "backend/sqlite/trigger",
        "backend/postgres/trigger",
        "backend/mysql/trigger",
        "control/memory",
        "control/sql",
        "control/sql/change",
        "control/sql/facts",
        "control/sql/instances",
        "control/memory/letters",
        "control/memory/plans",
        "control/memory/tasks",
        "control/sql/letters",
        "control/sql/orders",
        "control/sql/plans",
        "control/sql/tasks",
        "flags/env",
        "flags/file",
        "flags/open_feature",
        "control/sql/mismatch",
        "control/sql/verification",
        "page",
        "page/form",
        "page/html",
        "page/links",
        "page/origin",
        "testing",
    ],
];

/// The model check, compiled for tests only: it may know every layer, and none knows it.
const PROOF: &str = "model";

/// Imports that run back on purpose; ARCHITECTURE.md says why.
const KNOTS: &[(&str, &str)] = &[
    // The state of a migration holds what runners keep in it.
    ("shared", "lazy/run"),
    // It keeps what a verification has found so far.
    ("control", "verify/decide"),
    // The erased copy function names the reports of its runners.
    ("copy", "backfill/options"),
    ("copy", "backfill/walk"),
    ("copy", "verify/decide"),
    ("copy", "verify/repair"),
    ("copy", "verify/run"),
    ("copy", "transaction"),
    // The two places that pick an adapter.
    ("runtime/builder", "control/sql"),
    ("operator", "control/sql"),
    // A wrapper is made for the user's handle, and waits with its patience.
    ("repository", "migration"),
    ("transaction", "migration"),
    ("backfill/worker", "moving"),
];

const SQL_IS_THEIR_BUSINESS: &[&str] = &[
    "backend",
    "control/sql",
    "control/sql/change",
    "control/sql/facts",
    "control/sql/instances",
    "control/sql/letters",
    "control/sql/orders",
    "control/sql/plans",
    "control/sql/tasks",
    "control/sql/mismatch",
    "control/sql/verification",
    "copy",
    "backfill",
    "verify",
    "replicas",
    "write/mirror",
    "transaction",
    "runtime",
    "migration",
    "operator",
    "error",
    "lib",
];

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dualwrite/src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let name = path.strip_prefix(&root).unwrap().with_extension("");
                let text = fs::read_to_string(&path).unwrap();
                found.insert(name.display().to_string(), code(&text));
            }
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

/// The text without comments and tests.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let line = |line: &str| line.split("//").next().unwrap_or(line).to_owned();
    body.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules that a file imports, as far as the layers know them.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for piece in code.split("crate::").skip(1) {
        let path: String =
            piece.chars().take_while(|c| c.is_ascii_alphanumeric() || "_:".contains(*c)).collect();
        let parts: Vec<&str> = path.split("::").collect();
        let longest = (1..=parts.len()).rev().map(|length| parts[..length].join("/"));
        found.extend(longest.into_iter().find(|module| layer(module).is_some()));
    }
    found
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (module, code) in sources() {
        let Some(own) = layer(&module) else { continue };
        for import in imports(&code) {
            let theirs = layer(&import).unwrap();
            let allowed = theirs <= own || KNOTS.contains(&(module.as_str(), import.as_str()));
            if !allowed {
                wrong.push(format!("{module} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_a_layer() {
    let fronts = [
        "lib",
        "private",
        "dual",
        "write",
        "lazy",
        "shadow",
        "backfill",
        "verify",
        "flags",
        "plan",
        "guard",
        "guard/simulation",
        "control/conformance",
        "control/conformance/letters",
        "control/conformance/tasks",
        "control/conformance/plans",
    ];
    let homeless: Vec<String> = sources()
        .into_keys()
        .filter(|module| module.split('/').next() != Some(PROOF))
        .filter(|module| layer(module).is_none() && !fronts.contains(&module.as_str()))
        .collect();
    assert!(homeless.is_empty(), "{homeless:?}");
}

#[test]
fn values_and_deciders_never_wait() {
    for (module, code) in sources() {
        let pure = matches!(layer(&module), Some(0 | 2));
        assert!(!pure || !code.contains(".await"), "{module} waits");
        assert!(!pure || !code.contains("async "), "{module} is async");
    }
}

#[test]
fn only_the_clock_reads_clocks() {
    for (module, code) in sources() {
        for source in ["Instant::now", "SystemTime::now", "tokio::time", "quanta::"] {
            assert!(module == "clock" || !code.contains(source), "{module} uses {source}");
        }
    }
}

#[test]
fn sqlx_stays_where_sql_is_the_business() {
    for (module, code) in sources() {
        let folder = module.split('/').next().unwrap_or(&module);
        let may = SQL_IS_THEIR_BUSINESS.contains(&module.as_str())
            || SQL_IS_THEIR_BUSINESS.contains(&folder)
            || module.starts_with("control/conformance");
        assert!(may || !code.contains("sqlx::"), "{module} uses sqlx");
        let safe = module == "backend" || module == "control/conformance";
        assert!(safe || !code.contains("AssertSqlSafe("), "{module} declares SQL safe");
    }
}

#[test]
fn nothing_is_spawned_without_a_bound() {
    for (module, code) in sources() {
        let may = [
            "runtime/builder",
            "runtime/maintaining",
            "runtime/following", // one a migration
            "runtime/watching",
            "steering",
            "shadow/run",
            "shadow/writes",
            "control/conformance",
            "control/conformance/plans",
            "backfill/committing", // one a worker
        ]
        .contains(&module.as_str());
        assert!(may || !code.contains("spawn("), "{module} spawns");
    }
}

/// The most lines of a file: one concept, that can be read at a sitting.
const LINES_MAX: usize = 500;

#[test]
fn no_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> =
        ["dualwrite/src", "dualwrite-cli", "dualwrite-macros/src", "tests", "benches", "examples"]
            .map(|folder| root.join(folder))
            .into();
    let (mut files, mut wrong) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files += 1;
                let lines = fs::read_to_string(&path).unwrap().lines().count();
                if lines > LINES_MAX {
                    wrong.push(format!("{} has {lines} lines", path.display()));
                }
            }
        }
    }
    assert!(files > 200, "the sources were not found");
    assert!(wrong.is_empty(), "split them, one concept each: {wrong:#?}");
}
