//! A folder of sqlx migrations: what is in it, whether it fits what is applied, and every statement judged.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha384};

use super::level::{Level, SqlDialect, Verdict};
use super::script::{StatementVerdict, Surroundings, classify_in, tables};
use super::scripts::Script;
use crate::preflight::live::Live;

/// A statement of a file, and what is said of it.
///
/// Serialised, it is one object: `file`, `statement`, `line`, `level`, `rule`, `reason`, `instead`, and
/// `waived` where a person allows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct CheckedStatement {
    /// The file, as it was named or found.
    pub file: PathBuf,
    /// The statement, its line and what is said of it.
    #[serde(flatten)]
    pub found: StatementVerdict,
    /// It stands in a `.down.sql`, which is run by hand to go back.
    #[serde(skip)]
    pub down: bool,
}

impl CheckedStatement {
    /// Whether it counts at a level: nobody waived it, it is no way back, and it is as dangerous or more.
    #[must_use]
    pub fn fails_at(&self, level: Level) -> bool {
        !self.down && self.found.waived.is_none() && self.found.verdict.level >= level
    }
}

/// A migration that the database has applied, as `_sqlx_migrations` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    /// The number in the name of its file.
    pub version: i64,
    /// The checksum of the file as it was applied.
    pub checksum: Vec<u8>,
}

/// Why a folder or a file cannot be read.
#[derive(Debug)]
pub struct CheckError {
    path: PathBuf,
    cause: io::Error,
}

impl CheckError {
    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read `{}`: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for CheckError {}

/// A folder of sqlx migrations, or single files.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dualwrite::schema::{Folder, Level, SqlDialect};
///
/// # let folder = std::env::temp_dir().join(format!("dualwrite-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # std::fs::write(folder.join("1_first.sql"), "CREATE TABLE t (id bigint PRIMARY KEY)")?;
/// let found = Folder::read(&folder)?.check(SqlDialect::Postgres);
/// assert!(!found.iter().any(|statement| statement.fails_at(Level::Blocking)));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Folder {
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    text: String,
    /// `None`: not named as sqlx names migrations.
    version: Option<i64>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Simple,
    Up,
    Down,
}

impl Folder {
    /// Reads one `.sql` file, or all of a folder, in the order of their versions.
    ///
    /// # Errors
    /// A file or the folder cannot be read, or is not UTF-8.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CheckError> {
        let path = path.as_ref();
        let failed = |cause| CheckError { path: path.to_owned(), cause };
        let mut files = Vec::new();
        if fs::metadata(path).map_err(failed)?.is_dir() {
            for entry in fs::read_dir(path).map_err(failed)? {
                let found = entry.map_err(failed)?.path();
                if found.extension().is_some_and(|end| end == "sql") {
                    files.push(File::read(found)?);
                }
            }
        } else {
            files.push(File::read(path.to_owned())?);
        }
        files.sort_by(|a, b| (a.version, a.kind, &a.path).cmp(&(b.version, b.kind, &b.path)));
        Ok(Self { files })
    }

    /// Adds the files of another one.
    pub fn append(&mut self, other: Self) {
        self.files.extend(other.files);
    }

    /// Keeps only the files that a rule says, such as those that a branch has added.
    pub fn retain(&mut self, mut keep: impl FnMut(&Path) -> bool) {
        self.files.retain(|file| keep(&file.path));
    }

    /// Judges every statement of every file.
    ///
    /// A file with `-- no-transaction` as its first line is judged as sqlx runs it: without a transaction.
    #[must_use]
    pub fn check(&self, dialect: SqlDialect) -> Vec<CheckedStatement> {
        self.files.iter().flat_map(|file| file.check(dialect, None)).collect()
    }

    /// The tables that the statements are on, in lower case: those to look at before [`check_live`](Self::check_live).
    #[must_use]
    pub fn tables(&self, dialect: SqlDialect) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for table in self.files.iter().flat_map(|file| tables(&file.text, dialect)) {
            if !found.contains(&table) {
                found.push(table);
            }
        }
        found
    }

    /// The files that sqlx applies, each with its statements as they are run, for whoever tries them out.
    #[must_use]
    pub fn scripts(&self, dialect: SqlDialect) -> Vec<Script> {
        let files = self.files.iter().filter(|file| file.kind != Kind::Down);
        let script =
            |file: &File| Script::new(file.path.clone(), file.version, &file.text, dialect);
        files.map(script).collect()
    }

    /// The files that sqlx applies, with their versions.
    pub(super) fn ups(&self) -> impl Iterator<Item = (i64, &str)> {
        let files = self.files.iter().filter(|file| file.kind != Kind::Down);
        files.filter_map(|file| Some((file.version?, &*file.text)))
    }

    /// Judges every statement by what a running database says of its tables: what locks or rewrites a small table
    /// ([`LiveTable::is_small`](crate::preflight::LiveTable::is_small)) is done at once, and the reason why a large one blocks names
    /// its size. From [`Operator::live`](crate::operator::Operator::live).
    #[must_use]
    pub fn check_live(&self, dialect: SqlDialect, live: &Live) -> Vec<CheckedStatement> {
        self.files.iter().flat_map(|file| file.check(dialect, Some(live))).collect()
    }

    /// Compares the folder with what a database has applied: files that were changed since, that are gone,
    /// and that come before one that is applied; and what is wrong with the files' names among themselves.
    #[must_use]
    pub fn compare(&self, applied: &[AppliedMigration]) -> Vec<CheckedStatement> {
        let mut found = self.names();
        let newest = applied.iter().map(|migration| migration.version).max();
        for file in self.files.iter().filter(|file| file.kind != Kind::Down) {
            let Some(version) = file.version else { continue };
            let known = applied.iter().find(|migration| migration.version == version);
            match known {
                Some(known) if known.checksum != file.checksum() => found.push(file.said(
                    "changed-after-applied",
                    "the file was changed after it was applied: sqlx refuses to go on",
                    "put it back as it was, and write the change as a new file",
                )),
                None if newest.is_some_and(|newest| version < newest) => found.push(file.said(
                    "out-of-order",
                    "a later migration is applied already: sqlx runs this one after it, or not at all",
                    "give it a version behind the newest one",
                )),
                _ => {}
            }
        }
        for known in applied {
            if !self.files.iter().any(|file| file.version == Some(known.version)) {
                found.push(missing(known.version));
            }
        }
        found
    }

    /// What is wrong with the names: two files of one version, a way back without a way, names that sqlx does
    /// not read.
    fn names(&self) -> Vec<CheckedStatement> {
        let mut found = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let same = |other: &&File| other.version == file.version && file.version.is_some();
            if file.version.is_none() {
                found.push(file.said(
                    "file-name",
                    "sqlx does not run it: a name is VERSION_DESCRIPTION.sql, with .up.sql and .down.sql",
                    "give it such a name, or move it away",
                ));
            } else if self.files[..index].iter().filter(same).any(|other| other.kind == file.kind) {
                found.push(file.said(
                    "same-version",
                    "two files have this version: sqlx refuses the second",
                    "give one of them another version",
                ));
            }
            let has = |kind| self.files.iter().filter(same).any(|other| other.kind == kind);
            if file.kind == Kind::Down && !has(Kind::Up) {
                found.push(file.said("no-up", "a way back without a way", "add the .up.sql"));
            }
            if file.kind == Kind::Up && !has(Kind::Down) {
                found.push(file.said("no-down", "there is no way back", "add the .down.sql"));
            }
        }
        found
    }
}

fn missing(version: i64) -> CheckedStatement {
    let verdict = Verdict::breaking(
        "missing-file",
        format!("version {version} is applied and has no file here: sqlx refuses to go on"),
        "bring the file back",
    );
    let found = StatementVerdict { statement: 0, line: 1, verdict, waived: None };
    CheckedStatement { file: PathBuf::from(version.to_string()), found, down: false }
}

impl File {
    fn read(path: PathBuf) -> Result<Self, CheckError> {
        let text =
            fs::read_to_string(&path).map_err(|cause| CheckError { path: path.clone(), cause })?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let kind = match name {
            _ if name.ends_with(".up.sql") => Kind::Up,
            _ if name.ends_with(".down.sql") => Kind::Down,
            _ => Kind::Simple,
        };
        let version = name.split_once('_').and_then(|(version, _)| version.parse().ok());
        Ok(Self { path, text, version, kind })
    }

    fn check(&self, dialect: SqlDialect, live: Option<&Live>) -> Vec<CheckedStatement> {
        // Only the first line counts for sqlx.
        let surroundings = match self.text.starts_with("-- no-transaction") {
            true => Surroundings::OneMessage,
            false => Surroundings::Transaction,
        };
        let found = classify_in(&self.text, dialect, surroundings, live);
        let down = self.kind == Kind::Down;
        found
            .into_iter()
            .map(|found| CheckedStatement { file: self.path.clone(), found, down })
            .collect()
    }

    fn said(&self, rule: &'static str, reason: &str, instead: &str) -> CheckedStatement {
        let verdict = match rule {
            "no-down" | "file-name" => Verdict::warn(rule, reason, instead),
            _ => Verdict::breaking(rule, reason, instead),
        };
        let found = StatementVerdict { statement: 0, line: 1, verdict, waived: None };
        CheckedStatement { file: self.path.clone(), found, down: false }
    }

    /// SHA-384 of the text, as sqlx stores it.
    fn checksum(&self) -> Vec<u8> {
        Sha384::digest(self.text.as_bytes()).to_vec()
    }
}
