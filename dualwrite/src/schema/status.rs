//! A schema migration that failed half-way: what of it stands, what undoes that, and how to go on. Pure.

use serde::Serialize;

use super::folder::Folder;
use super::level::SqlDialect;
use super::split::split;
use super::token::{Cursor, parts};
use crate::expand::shape::{Known, NewShape};
use crate::preflight::live::SqlxRecord;

/// Whether the effect of a statement is in the database.
///
/// ```
/// assert_eq!(dualwrite::schema::Standing::Done.to_string(), "done");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It is.
    Done,
    /// It is not.
    Missing,
    /// It is there in a part, as an index that is not valid.
    Broken,
    /// The catalogue does not say.
    Unknown,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Missing => "missing",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
        })
    }
}

/// One action of a statement, and whether it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatementStatus {
    /// Which statement of the file, from 0.
    pub statement: usize,
    /// The line of its first word.
    pub line: usize,
    /// What it does, without values: `add column customer.phone`.
    pub what: String,
    /// Whether that is done.
    pub standing: Standing,
    /// What undoes it, where it is done or broken and can be undone.
    pub undo: Option<String>,
}

/// What became of a migration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// sqlx has recorded it as failed: nothing more is applied before that is cleared.
    Failed,
    /// It is not recorded, and a part of it is in the database.
    HalfApplied,
    /// It is not applied yet.
    Pending,
}

/// A migration file that is not applied, and how to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileStatus {
    /// Its version.
    pub version: i64,
    /// What became of it.
    pub state: FileState,
    /// Its statements; empty where the file is not in the folder.
    pub statements: Vec<StatementStatus>,
    /// The compensating file: statements that undo what stands, the last one first.
    pub undo: Vec<String>,
    /// The next steps, in their order.
    pub next: Vec<String>,
}

/// Queries that answer with a row where undoing something would lose data.
pub(crate) fn probes(folder: &Folder, shape: &NewShape, dialect: SqlDialect) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, text) in folder.ups() {
        for (.., effect) in all_effects(text, shape, dialect) {
            found.extend(effect.probe.filter(|probe| !found.contains(probe)));
        }
    }
    found
}

/// Of each file that is not applied. `holding`: those of the [`probes`] that answered with a row.
pub(crate) fn status(
    folder: &Folder,
    records: &[SqlxRecord],
    shape: &NewShape,
    holding: &[String],
    dialect: SqlDialect,
) -> Vec<FileStatus> {
    let mut found = Vec::new();
    for (version, text) in folder.ups() {
        let record = records.iter().find(|record| record.version == version);
        if record.is_none_or(|record| !record.success) {
            let effects = all_effects(text, shape, dialect);
            // sqlx applies it outside a transaction, and records it at its end.
            let alone = dialect == SqlDialect::Postgres && text.starts_with("-- no-transaction");
            found.push(of_file(version, effects, (record.is_some(), alone), holding));
        }
    }
    for record in records.iter().filter(|record| !record.success) {
        if !found.iter().any(|file| file.version == record.version) {
            let next =
                vec![format!("bring the file of version {} back, and ask again", record.version)];
            let (state, version) = (FileState::Failed, record.version);
            found.push(FileStatus {
                version,
                state,
                statements: Vec::new(),
                undo: Vec::new(),
                next,
            });
        }
    }
    found.sort_by_key(|file| file.version);
    found
}

/// Of each statement its number, its line, and what it does.
fn all_effects(text: &str, shape: &NewShape, dialect: SqlDialect) -> Vec<(usize, usize, Effect)> {
    let mut found = Vec::new();
    for (statement, piece) in split(text, dialect).iter().enumerate() {
        let parts = parts(&piece.text, dialect).unwrap_or_default();
        for effect in effects(Cursor(&parts), shape, dialect) {
            found.push((statement, piece.line, effect));
        }
    }
    found
}

fn of_file(
    version: i64,
    effects: Vec<(usize, usize, Effect)>,
    (recorded, alone): (bool, bool),
    holding: &[String],
) -> FileStatus {
    let broken = effects.iter().any(|(.., effect)| effect.standing == Standing::Broken);
    let done = effects.iter().any(|(.., effect)| effect.standing == Standing::Done);
    let state = match (recorded, broken || alone && done) {
        (true, _) => FileState::Failed,
        (false, true) => FileState::HalfApplied,
        // What is there was made by somebody else.
        (false, false) => FileState::Pending,
    };
    let mut by_hand = Vec::new();
    let mut statements = Vec::new();
    for (statement, line, Effect { what, standing, undo, probe }) in effects {
        let holds = probe.is_some_and(|probe| holding.contains(&probe));
        let stands = standing == Standing::Done;
        if stands && (holds || undo.is_none()) {
            let why =
                if holds { "is done, and holds data" } else { "is done, and cannot be undone" };
            by_hand.push(format!(
                "{what} {why}: look whether this file did it, and settle it by hand"
            ));
        }
        let undo = undo.filter(|_| !holds && state != FileState::Pending);
        statements.push(StatementStatus { statement, line, what, standing, undo });
    }
    let undo: Vec<String> = statements.iter().rev().filter_map(|one| one.undo.clone()).collect();
    let next = next(version, state, &statements, by_hand, !undo.is_empty());
    FileStatus { version, state, statements, undo, next }
}

fn next(
    version: i64,
    state: FileState,
    statements: &[StatementStatus],
    by_hand: Vec<String>,
    undoes: bool,
) -> Vec<String> {
    let count = |standing| statements.iter().filter(|one| one.standing == standing).count();
    if state == FileState::Pending {
        return Vec::new();
    }
    if state == FileState::Failed
        && !statements.is_empty()
        && count(Standing::Done) == statements.len()
    {
        return vec![
            "all of the file stands; look whether it did what it should".to_owned(),
            format!("run: UPDATE _sqlx_migrations SET success = TRUE WHERE version = {version}"),
        ];
    }
    let mut steps = by_hand;
    let unknown = count(Standing::Unknown);
    if unknown > 0 {
        steps.push(format!("check {unknown} actions by hand: the catalogue says nothing of them"));
    }
    if undoes {
        steps.push("run the statements of `undo`".to_owned());
    }
    if state == FileState::Failed {
        steps.push(format!(
            "run: DELETE FROM _sqlx_migrations WHERE version = {version} AND success = FALSE"
        ));
    }
    steps.push("remove the cause of the failure, and apply the file again".to_owned());
    steps
}

/// What an action does, and whether it is done.
struct Effect {
    what: String,
    standing: Standing,
    undo: Option<String>,
    /// Answers with a row where undoing it would lose data.
    probe: Option<String>,
}

impl Effect {
    /// Undoing it loses what this finds.
    fn holding(self, probe: String) -> Self {
        let probe = self.undo.is_some().then_some(probe);
        Self { probe, ..self }
    }
}

/// What a statement does, and whether it is done.
fn effects(mut at: Cursor<'_>, shape: &NewShape, dialect: SqlDialect) -> Vec<Effect> {
    let quote = |name: &str| quoted(name, dialect);
    if at.take("ALTER TABLE") {
        at.take("IF EXISTS");
        at.take("ONLY");
        let Some(table) = at.name() else { return vec![unknown("alter table")] };
        let known = known(shape, &table);
        return at
            .split_at_commas()
            .into_iter()
            .filter_map(|action| altered(Cursor(action), &table, known, dialect))
            .collect();
    }
    if at.take("CREATE TABLE") {
        at.take("IF NOT EXISTS");
        let Some(table) = at.name() else { return vec![unknown("create table")] };
        let undo = format!("DROP TABLE {}", quote(&table));
        let made = there(format!("create table {table}"), known(shape, &table).is_some(), undo);
        return vec![made.holding(format!("SELECT 1 FROM {} LIMIT 1", quote(&table)))];
    }
    if at.take("DROP TABLE") {
        at.take("IF EXISTS");
        let Some(table) = at.name() else { return vec![unknown("drop table")] };
        return vec![gone(format!("drop table {table}"), known(shape, &table).is_some())];
    }
    let unique = at.take("CREATE UNIQUE INDEX");
    if unique || at.take("CREATE INDEX") {
        let concurrently = at.take("CONCURRENTLY");
        at.take("IF NOT EXISTS");
        let (Some(index), true) = (at.name(), at.take("ON")) else {
            return vec![unknown("create index")];
        };
        at.take("ONLY");
        let Some(table) = at.name() else { return vec![unknown("create index")] };
        return vec![indexed(&index, &table, concurrently, known(shape, &table), dialect)];
    }
    if at.starts("SET") || at.starts("SELECT") {
        return Vec::new();
    }
    let first = at.word().to_ascii_lowercase();
    vec![unknown(&first)]
}

fn indexed(
    index: &str,
    table: &str,
    concurrently: bool,
    known: Option<&Known>,
    dialect: SqlDialect,
) -> Effect {
    let what = format!("create index {index}");
    let found = known
        .and_then(|known| known.indexes.iter().find(|one| one.name.eq_ignore_ascii_case(index)));
    let how = if concurrently { " CONCURRENTLY" } else { "" };
    let own = quoted(index, dialect);
    let undo = match dialect {
        SqlDialect::Mysql => format!("DROP INDEX {own} ON {}", quoted(table, dialect)),
        _ => format!("DROP INDEX{how} {own}"),
    };
    match found {
        Some(found) if !found.valid => {
            Effect { what, standing: Standing::Broken, undo: Some(undo), probe: None }
        }
        found => there(what, found.is_some(), undo),
    }
}

/// `ADD COLUMN`, behind these words.
fn column_added(
    mut at: Cursor<'_>,
    table: &str,
    known: &Known,
    dialect: SqlDialect,
) -> Option<Effect> {
    at.take("IF NOT EXISTS");
    let other = ["FOREIGN", "PRIMARY", "UNIQUE", "CHECK", "FULLTEXT", "SPATIAL", "("];
    if other.iter().any(|word| at.starts(word)) {
        return Some(unknown(&format!("alter table {table}")));
    }
    let (on, name) = (quoted(table, dialect), at.name()?);
    let own = quoted(&name, dialect);
    let undo = format!("ALTER TABLE {on} DROP COLUMN {own}");
    let what = format!("add column {table}.{name}");
    let added = there(what, known.column(&name).is_some(), undo);
    Some(added.holding(format!("SELECT 1 FROM {on} WHERE {own} IS NOT NULL LIMIT 1")))
}

fn altered(
    mut at: Cursor<'_>,
    table: &str,
    known: Option<&Known>,
    dialect: SqlDialect,
) -> Option<Effect> {
    if at.starts("ALGORITHM") || at.starts("LOCK") {
        return None;
    }
    let Some(known) = known else { return Some(unknown(&format!("alter table {table}"))) };
    let on = quoted(table, dialect);
    let has_index =
        |name: &str| known.indexes.iter().any(|one| one.name.eq_ignore_ascii_case(name));
    let has_rule = |name: &str| known.rules.iter().any(|one| one.name.eq_ignore_ascii_case(name));
    if at.take("ADD CONSTRAINT") {
        let name = at.name()?;
        let undo = format!("ALTER TABLE {on} DROP CONSTRAINT {}", quoted(&name, dialect));
        return Some(there(
            format!("add constraint {name}"),
            has_rule(&name) || has_index(&name),
            undo,
        ));
    }
    if at.take_any(&["ADD UNIQUE INDEX", "ADD UNIQUE KEY", "ADD INDEX", "ADD KEY"]) {
        at.take("IF NOT EXISTS");
        let name = at.name()?;
        let undo = format!("ALTER TABLE {on} DROP INDEX {}", quoted(&name, dialect));
        return Some(there(format!("add index {name}"), has_index(&name), undo));
    }
    if at.take_any(&["ADD COLUMN", "ADD"]) {
        return column_added(at, table, known, dialect);
    }
    if at.take("DROP COLUMN") {
        at.take("IF EXISTS");
        let name = at.name()?;
        return Some(gone(format!("drop column {table}.{name}"), known.column(&name).is_some()));
    }
    if at.take("DROP INDEX") || at.take("DROP KEY") {
        at.take("IF EXISTS");
        let name = at.name()?;
        return Some(gone(format!("drop index {name}"), has_index(&name)));
    }
    Some(unknown(&format!("alter table {table}")))
}

fn unknown(what: &str) -> Effect {
    Effect { what: what.to_owned(), standing: Standing::Unknown, undo: None, probe: None }
}

/// Something that a statement makes.
fn there(what: String, is_there: bool, undo: String) -> Effect {
    match is_there {
        true => Effect { what, standing: Standing::Done, undo: Some(undo), probe: None },
        false => Effect { what, standing: Standing::Missing, undo: None, probe: None },
    }
}

/// Something that a statement removes.
fn gone(what: String, is_there: bool) -> Effect {
    let standing = if is_there { Standing::Missing } else { Standing::Done };
    Effect { what, standing, undo: None, probe: None }
}

fn known<'s>(shape: &'s NewShape, table: &str) -> Option<&'s Known> {
    let plain = super::made::plain(table);
    shape.tables.iter().find(|(name, _)| *name == plain)?.1.as_ref()
}

fn quoted(name: &str, dialect: SqlDialect) -> String {
    let quote = if dialect == SqlDialect::Mysql { '`' } else { '"' };
    let part = |part: &str| format!("{quote}{}{quote}", part.replace(quote, ""));
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}
