//! How many fields a struct has.

use super::source::Sources;

/// The most fields of a struct.
const FIELDS_MAX: usize = 12;

/// Structs that may have more, by module and name, and why they are not split.
const MAY_BE_WIDE: &[(&str, &str, &str)] = &[
    (
        "runtime",
        "Inner",
        "what a process has once; no two parts of it are used together more often than others",
    ),
    ("control", "Record", "one row of the control tables, as one statement reads it"),
    (
        "transaction",
        "Tx",
        "what decides together whether it may be committed, read by its end alone",
    ),
    ("operator", "MigrationOverview", "one object of the documented JSON"),
    ("migration/status", "Status", "one object of the documented JSON"),
    ("stages/verification", "VerifyReport", "one object of the documented JSON"),
    ("stages/facts", "InstanceReport", "one object of the documented JSON"),
    ("control/progress", "BackfillProgress", "one object of the documented JSON"),
    ("stages/terms", "Terms", "one object of JSON that releases of different ages exchange"),
    ("database/dialect", "Dialect", "a table of the differences between databases, a line each"),
    ("preflight/form", "KeyForm", "a table of the parts of a key's SQL, a line each"),
    ("preflight/schema", "Column", "one row of a database's catalogue"),
    ("backfill/worker", "Worker", "one worker; `backfill/pressure.rs` has what paces it"),
    (
        "call/write/run",
        "Write",
        "one write under way; a part of its own would cost a move on every call",
    ),
    ("call/shadow/run", "Shadow", "what one comparison takes along when its call returns"),
    ("store/memory", "Entry", "the control tables of one migration, a field for each"),
    ("repository/model", "Repository", "the model of one trait, as every expansion reads it"),
];

struct Struct {
    name: String,
    fields: usize,
}

/// The structs with named fields of a text without comments.
fn structs(code: &str) -> Vec<Struct> {
    let mut found = Vec::new();
    let mut lines = code.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some((before, after)) = line.split_once("struct ") else { continue };
        let is_item = before.is_empty() || before.starts_with("pub");
        if !is_item || !line.ends_with('{') {
            continue;
        }
        let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
        let fields = lines.by_ref().take_while(|line| *line != "}").filter(|line| is_field(line));
        found.push(Struct { name: after[..end].to_owned(), fields: fields.count() });
    }
    found
}

/// rustfmt puts a field four spaces in.
fn is_field(line: &str) -> bool {
    let Some(own) = line.strip_prefix("    ").filter(|own| !own.starts_with([' ', '#', '}']))
    else {
        return false;
    };
    let name = match own.strip_prefix("pub") {
        Some(rest) => rest.split_once(' ').map_or(rest, |(_, name)| name),
        None => own,
    };
    name.split_once(": ")
        .is_some_and(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '#'))
}

#[test]
fn no_struct_is_too_wide() {
    let mut all = Vec::new();
    for (folder, left_out) in
        [("dualwrite/src", ["model", "state"]), ("dualwrite-macros/src", ["tests", "tests"])]
    {
        for (module, code) in Sources::of(folder).iter() {
            if !left_out.contains(&super::room(module)) {
                all.extend(structs(code).into_iter().map(|one| (module.to_owned(), one)));
            }
        }
    }
    assert!(all.len() > 300, "the structs were not found: {}", all.len());
    let is_wide = |one: &Struct| one.fields > FIELDS_MAX;
    let is_known = |module: &str, name: &str| {
        MAY_BE_WIDE.iter().any(|(of, known, _)| (*of, *known) == (module, name))
    };
    let wrong: Vec<String> = all
        .iter()
        .filter(|(module, one)| is_wide(one) && !is_known(module, &one.name))
        .map(|(module, one)| format!("{module}: {} has {} fields", one.name, one.fields))
        .collect();
    assert!(
        wrong.is_empty(),
        "make structs of what belongs together, up to {FIELDS_MAX} fields: {wrong:#?}"
    );
    for (module, name, reason) in MAY_BE_WIDE {
        let is_this =
            |(of, one): &(String, Struct)| of == module && one.name == *name && is_wide(one);
        assert!(all.iter().any(is_this), "{module}: {name} is not wide: take it off the list");
        assert!(!reason.is_empty(), "{module}: {name}: why?");
    }
}

#[test]
fn fields_of_structs_are_counted() {
    let code = "\
#[derive(Debug)]
pub struct Three {
    pub one: u8,
    #[cfg(test)]
    pub(crate) two: Box<
        dyn Fn(u8) -> u8,
    >,
    r#three: u8,
}
struct Tuple(u8);
";
    let found = structs(code);
    let counts: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.fields)).collect();
    assert_eq!(counts, [("Three", 3)]);
}
