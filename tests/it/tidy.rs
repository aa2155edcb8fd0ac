//! The rules of ARCHITECTURE.md that a machine can check.

mod circle;
mod functions;
pub(crate) mod source;
mod structs;
mod words;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

use source::{Sources, files, workspace};

/// A room of `dualwrite/src`: a folder with its head, or a file at the root.
struct Room {
    name: String,
    /// Nothing in it awaits.
    pure: bool,
}

/// The rooms in their order, as ARCHITECTURE.md lists them.
fn rooms() -> Vec<Room> {
    let text = fs::read_to_string(workspace("ARCHITECTURE.md")).unwrap();
    let section = text.split("\n## Rooms\n").nth(1).expect("a section `Rooms`");
    let section = section.split("\n## ").next().unwrap();
    let mut rooms = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        for name in cells[0].split_whitespace() {
            let name = name.trim_matches('`').trim_end_matches('/').to_owned();
            rooms.push(Room { name, pure: cells[1] == "pure" });
        }
    }
    rooms
}

fn room(module: &str) -> &str {
    module.split('/').next().unwrap_or(module)
}

/// What stands above all rooms: the root, what generated code names, and the model check, which is compiled
/// for tests only.
const ABOVE: &[&str] = &["lib", "private", "model"];

#[test]
fn every_file_stands_in_a_room() {
    let rooms = rooms();
    let known = |name: &str| rooms.iter().any(|room| room.name == name) || ABOVE.contains(&name);
    let sources = Sources::of("dualwrite/src");
    let homeless: Vec<&str> =
        sources.iter().map(|(module, _)| module).filter(|module| !known(room(module))).collect();
    assert!(homeless.is_empty(), "not in the list of ARCHITECTURE.md: {homeless:?}");
    let exists = |name: &str| sources.0.keys().any(|module| room(module) == name);
    let gone: Vec<&str> =
        rooms.iter().map(|room| room.name.as_str()).filter(|name| !exists(name)).collect();
    assert!(gone.is_empty(), "in the list of ARCHITECTURE.md, and gone: {gone:?}");
}

#[test]
fn imports_run_one_way() {
    let rooms = rooms();
    let order = |module: &str| rooms.iter().position(|r| r.name == room(module));
    let sources = Sources::of("dualwrite/src");
    let mut wrong = Vec::new();
    for (module, imports) in sources.imports() {
        if ABOVE.contains(&room(module)) {
            continue;
        }
        for import in imports {
            if order(import) > order(module) || ABOVE.contains(&room(import)) {
                wrong.push(format!("{module} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "a room imports only from those before it: {wrong:#?}");
}

#[test]
fn no_files_import_one_another() {
    let sources = Sources::of("dualwrite/src").without_exports();
    let mut imports = sources.imports();
    imports.retain(|module, _| !ABOVE.contains(module));
    // A folder's head is read with its files: what it names of them closes no circle.
    for (module, arrows) in &mut imports {
        arrows.retain(|import| !import.starts_with(&format!("{module}/")));
    }
    assert_eq!(circle::shortest(&imports), None, "open it by a file for what both sides name");
}

#[test]
fn pure_rooms_and_deciders_never_wait() {
    let rooms = rooms();
    let sources = Sources::of("dualwrite/src");
    for (module, code) in sources.iter() {
        let pure = rooms.iter().any(|r| r.pure && r.name == room(module));
        if pure || module.ends_with("/decide") {
            assert!(!code.contains(".await"), "{module} waits");
            assert!(!code.contains("async "), "{module} is async");
        }
    }
}

#[test]
fn only_the_clock_reads_clocks() {
    for (module, code) in Sources::of("dualwrite/src").iter() {
        for source in ["Instant::now", "SystemTime::now", "tokio::time", "quanta::"] {
            assert!(module == "clock" || !code.contains(source), "{module} uses {source}");
        }
    }
}

const SQL_IS_THEIR_BUSINESS: &[&str] = &[
    "database",
    "store",
    "copy",
    "converging/copier",
    "exact/alone",
    "exact/bulk",
    "exact/digest",
    "exact/half",
    "exact/side",
    "exact/snapshot",
    "exact/start",
    "copier",
    "backfill",
    "verify",
    "pace/load",
    "pace/replicas",
    "call/write/cause",
    "call/closures/converging",
    "call/closures/own_store",
    "call/write/mirror",
    "transaction",
    "runtime",
    "migration",
    "operator",
    "error",
    "lib",
];

#[test]
fn sqlx_stays_where_sql_is_the_business() {
    for (module, code) in Sources::of("dualwrite/src").iter() {
        let may = SQL_IS_THEIR_BUSINESS.contains(&module)
            || SQL_IS_THEIR_BUSINESS.contains(&room(module))
            || module.starts_with("testing/conformance");
        assert!(may || !code.contains("sqlx::"), "{module} uses sqlx");
        let safe = module == "database" || module == "testing/conformance";
        assert!(safe || !code.contains("AssertSqlSafe("), "{module} declares SQL safe");
    }
}

/// What is generic over a copy function is compiled again for each one that a user writes.
#[test]
fn jobs_are_compiled_once_for_each_database() {
    for (module, code) in Sources::of("dualwrite/src").iter() {
        let is_job = ["backfill", "verify", "pace"].contains(&room(module));
        assert!(!is_job || !code.contains("CopyKeys"), "{module} is generic over copy functions");
    }
}

#[test]
fn nothing_is_spawned_without_a_bound() {
    for (module, code) in Sources::of("dualwrite/src").iter() {
        let may = [
            "runtime", // what builds it and what runs beside the rounds
            "runtime/builder",
            "state",
            "state/operations",
            "store/connections", // two at a time
            "runtime/maintaining",
            "runtime/background_jobs", // one a migration
            "runtime/jobs",            // one a migration, and one a kind of job
            "runtime/watching",
            "runtime/steered",
            "call/shadow/hear", // one a migration
            "call/shadow/run",
            "call/shadow/writes",
            "converging/marking", // one a migration, after another
            "converging/two",     // one a migration, for the marks of writes that have ended
            "converging/write",   // one a write in flight, of which there is a bound
            "testing/conformance",
            "testing/conformance/plans",
            "backfill/committing",    // one a worker
            "database/mysql/session", // one a connection of the pool
            "database/sqlite/guard",
        ]
        .contains(&module);
        assert!(may || !code.contains("spawn("), "{module} spawns");
    }
}

#[test]
fn a_warning_tells_its_cause_and_not_its_kind_alone() {
    for (module, code) in Sources::of("dualwrite/src").iter() {
        let warnings = code.split("tracing::warn!(").chain(code.split("tracing::error!(")).skip(1);
        for warning in warnings {
            let warning = warning.split(");").next().unwrap();
            assert!(!warning.contains("?error.kind()"), "{module}: {warning}");
        }
    }
}

/// The most lines of a file: one concept, that can be read at a sitting.
const LINES_MAX: usize = 500;

#[test]
fn no_file_is_too_long() {
    let folders =
        ["dualwrite/src", "dualwrite-cli", "dualwrite-macros/src", "tests", "benches", "examples"];
    let all: Vec<_> = folders.iter().flat_map(|folder| files(&workspace(folder))).collect();
    let rust = all.iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
    let (mut count, mut wrong) = (0, Vec::new());
    for path in rust {
        count += 1;
        let lines = fs::read_to_string(path).unwrap().lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
    }
    assert!(count > 200, "the sources were not found");
    assert!(wrong.is_empty(), "split them, one concept each: {wrong:#?}");
}

/// Documents that name files of the workspace, and what their paths begin at. A name without a folder may stand
/// for any file that bears it.
const DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
const BEGINNINGS: &[&str] = &["", "dualwrite/src", "dualwrite", "tests/it", "dualwrite-macros/src"];

#[test]
fn documents_name_files_that_exist() {
    let mut wrong = Vec::new();
    let all =
        files(&workspace("")).into_iter().filter_map(|path| Some(path.file_name()?.to_owned()));
    let all: BTreeSet<_> = all.collect();
    for document in DOCUMENTS {
        let text = fs::read_to_string(workspace(document)).unwrap();
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
            let file = [".rs", ".md", ".toml", ".sql"].iter().any(|ending| name.ends_with(ending));
            let below = |beginning: &&str| workspace(beginning).join(name).exists();
            let exists = all.contains(OsStr::new(name)) || BEGINNINGS.iter().any(below);
            if file && name.chars().all(is_path) && !exists {
                wrong.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "files that do not exist: {wrong:#?}");
}
