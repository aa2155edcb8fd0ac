//! `dualwrite schema check`: reads migration files, has them judged, and prints what was found.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dualwrite::schema::{CheckedStatement, FileState, Folder, Level, SqlDialect};
use dualwrite::{operator::Operator, preflight::Live, printable};

use crate::answer::{Answer, as_json};
use crate::arguments::{Check, Format};
use crate::failure::{Exit, Failure};
use crate::trace::{self, Traced};

/// What is printed, and whether something is at the level or above.
pub(crate) struct Checked {
    pub(crate) text: String,
    pub(crate) fails: bool,
}

/// Judges what the arguments name.
pub(crate) fn check(
    check: &Check,
    folder: &Folder,
    dialect: SqlDialect,
    live: Option<&Live>,
    traced: Option<&[Traced]>,
) -> Result<Checked, Failure> {
    let mut found = match live {
        Some(live) => folder.check_live(dialect, live),
        None => folder.check(dialect),
    };
    found.extend(folder.compare(&[]));
    let not_run = |one: &Traced| one.trace.failed.is_some();
    let fails = found.iter().any(|statement| statement.fails_at(check.fail_on))
        || traced.is_some_and(|traced| traced.iter().any(not_run));
    let text = match check.format {
        Format::Text => as_text(&found, dialect) + &traced.map_or(String::new(), trace::as_text),
        Format::Json => as_objects(&found, traced.unwrap_or_default())
            .map_err(|error| Failure(format!("this cannot be JSON: {error}")))?,
        Format::Github => as_annotations(&found),
    };
    Ok(Checked { text, fails })
}

/// The files that the arguments name, and whose SQL they are.
pub(crate) fn read(check: &Check, database: Option<&str>) -> Result<(Folder, SqlDialect), Failure> {
    let mut folder = folder(&check.paths)?;
    if let Some(since) = &check.since {
        let changed = changed_since(since, &check.paths)?;
        folder.retain(|path| path.canonicalize().is_ok_and(|path| changed.contains(&path)));
    }
    let dialect = check.dialect.or_else(|| of_url(database?)).unwrap_or(SqlDialect::Postgres);
    Ok((folder, dialect))
}

/// All files of these folders.
pub(crate) fn folder(paths: &[PathBuf]) -> Result<Folder, Failure> {
    let mut folder = Folder::default();
    for path in paths {
        let found = Folder::read(path).map_err(|error| {
            Failure(format!("{error}; name a folder of migrations or a file of SQL"))
        })?;
        folder.append(found);
    }
    Ok(folder)
}

/// Which files failed half-way.
pub(crate) async fn status(
    operator: &Operator,
    folder: &Folder,
    json: bool,
) -> Result<Answer, Exit> {
    let found = operator.schema_status(folder).await?;
    let yes = found.iter().all(|file| file.state == FileState::Pending);
    if json {
        return Ok(Answer { text: as_json(&found)?, yes });
    }
    let mut text = String::new();
    for file in &found {
        let state = match file.state {
            FileState::Failed => "failed",
            FileState::HalfApplied => "half applied",
            _ => "pending",
        };
        let _ = writeln!(text, "version {}: {state}", file.version);
        if file.state == FileState::Pending {
            continue;
        }
        for one in &file.statements {
            let _ =
                writeln!(text, "  line {}: {}: {}", one.line, one.standing, printable(&one.what));
        }
        for step in &file.next {
            let _ = writeln!(text, "  next: {}", printable(step));
        }
        for statement in &file.undo {
            let _ = writeln!(text, "  undo: {};", printable(statement));
        }
    }
    if found.is_empty() {
        text.push_str("all files are applied\n");
    }
    Ok(Answer { text, yes })
}

/// An array with an object for each statement; what was traced of it is in it as `trace`.
fn as_objects(found: &[CheckedStatement], traced: &[Traced]) -> serde_json::Result<String> {
    let mut objects = Vec::with_capacity(found.len());
    for statement in found {
        let mut object = serde_json::to_value(statement)?;
        let same = |one: &&Traced| {
            !statement.down
                && one.file == statement.file
                && one.statement == statement.found.statement
                && one.line == statement.found.line
        };
        if let Some(one) = traced.iter().find(same) {
            object["trace"] = serde_json::to_value(&one.trace)?;
        }
        objects.push(object);
    }
    Ok(serde_json::to_string_pretty(&objects)? + "\n")
}

fn of_url(url: &str) -> Option<SqlDialect> {
    url.split(':').next()?.parse().ok()
}

/// The files that were added or changed since a commit, by their whole paths.
fn changed_since(since: &str, paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut changed = Vec::new();
    for path in paths {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let top = git(folder, &["rev-parse", "--show-toplevel"])?;
        let range = ["diff", "--name-only", "--diff-filter=AMR", "-z", "--end-of-options", since];
        let differing = git(folder, &range)?;
        let added =
            git(folder, &["ls-files", "--others", "--exclude-standard", "--full-name", "-z"])?;
        let names = differing.split('\0').chain(added.split('\0')).filter(|name| !name.is_empty());
        let top = Path::new(top.trim_end());
        changed.extend(names.filter_map(|name| top.join(name).canonicalize().ok()));
    }
    Ok(changed)
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let failed = |why: &str| {
        Failure(format!(
            "git cannot say what has changed: {}; name a commit that it knows",
            why.trim()
        ))
    };
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| failed(&error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default()))
}

fn as_text(found: &[CheckedStatement], dialect: SqlDialect) -> String {
    let mut text = String::new();
    for statement in found.iter().filter(|statement| statement.found.verdict.level > Level::Safe) {
        let (place, verdict) = (&statement.found, &statement.found.verdict);
        let file = statement.file.display();
        let (line, level, rule) = (place.line, verdict.level, verdict.rule);
        let back = if statement.down { ", on the way back" } else { "" };
        let _ = writeln!(text, "{file}:{line}: {level} {rule}{back}\n  why: {}", verdict.reason);
        if let Some(reason) = &place.waived {
            let _ = writeln!(text, "  waived: {reason}");
        } else if !verdict.instead.is_empty() {
            let _ = writeln!(text, "  instead: {}", verdict.instead);
        }
    }
    let count = |level| {
        let at = |statement: &&CheckedStatement| statement.found.verdict.level == level;
        found.iter().filter(at).count()
    };
    let counts: Vec<String> =
        Level::ALL.iter().map(|level| format!("{} {level}", count(*level))).collect();
    let _ = writeln!(text, "read as {dialect}, statements: {}; {}", found.len(), counts.join(", "));
    text
}

/// Workflow commands: one line each, in which `%`, line ends, and in properties `,` and `:` are escaped.
fn as_annotations(found: &[CheckedStatement]) -> String {
    let mut text = String::new();
    for statement in found.iter().filter(|statement| statement.found.verdict.level > Level::Safe) {
        let verdict = &statement.found.verdict;
        let warns =
            statement.down || statement.found.waived.is_some() || verdict.level == Level::Warn;
        let kind = if warns { "warning" } else { "error" };
        let message = match &statement.found.waived {
            Some(reason) => format!("{}; waived: {reason}", verdict.reason),
            None if verdict.instead.is_empty() => verdict.reason.clone(),
            None => format!("{}; instead: {}", verdict.reason, verdict.instead),
        };
        let file =
            escaped(&statement.file.display().to_string()).replace(',', "%2C").replace(':', "%3A");
        let title = format!("{} {}", verdict.level, verdict.rule);
        let (line, message) = (statement.found.line, escaped(&message));
        let _ = writeln!(text, "::{kind} file={file},line={line},title={title}::{message}");
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
