//! What an error says without row values: codes, constraints, tables and columns. Drivers quote values
//! (`Duplicate entry '…'`, `invalid input syntax … "…"`), and what is stored or logged must not.

use std::error::Error as StdError;

use sqlx::error::{DatabaseError, ErrorKind as Refused};

use super::Error;
use super::conversion::ConversionError;
#[cfg(feature = "mysql")]
use super::known::known;

/// A text of this library inside an error of sqlx: it names types and columns, never values.
#[derive(Debug)]
pub(crate) struct Plain(pub(crate) String);

impl std::fmt::Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Plain {}

/// What an error says, without row values. Of an error of the caller's own type its text is kept, except for
/// what it repeats of a driver's.
pub(crate) fn reason(error: &(dyn StdError + 'static)) -> String {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.to_string();
    }
    if let Some(error) = error.downcast_ref::<ConversionError>() {
        return of_conversion(error);
    }
    if let Some(error) = error.downcast_ref::<Plain>() {
        return error.to_string();
    }
    match driver(error) {
        Some(reason) => reason,
        None => of_others(error),
    }
}

/// What the first error of a database, or of ours, on the way to the cause says, without row values.
pub(crate) fn known_reason(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<sqlx::Error>() || error.is::<Error>() {
            return Some(reason(error));
        }
        next = error.source();
    }
    None
}

fn of_conversion(error: &ConversionError) -> String {
    // What a conversion function says may quote the value; what the database says is told by its code.
    match error.source().and_then(driver) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// An error of sqlx, or what stands inside one.
fn driver(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<sqlx::Error>() {
        return Some(of_sqlx(error));
    }
    if let Some(error) = error.downcast_ref::<Box<dyn DatabaseError>>() {
        return Some(refusal(&**error));
    }
    #[cfg(feature = "postgres")]
    if let Some(error) = error.downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return Some(refusal(error));
    }
    #[cfg(feature = "mysql")]
    if let Some(error) = error.downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return Some(refusal(error));
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.downcast_ref::<sqlx::sqlite::SqliteError>() {
        return Some(refusal(error));
    }
    None
}

fn of_sqlx(error: &sqlx::Error) -> String {
    if let Some(ours) = Error::find(error) {
        return ours.to_string();
    }
    match error {
        sqlx::Error::Database(error) => refusal(&**error),
        sqlx::Error::Io(error) => format!("the connection failed: {}", error.kind()),
        sqlx::Error::ColumnDecode { index, source } => match undecoded(&**source) {
            Some(why) => format!("the column {index} cannot be read: {why}"),
            None => format!("the column {index} cannot be read as the type that is wanted"),
        },
        sqlx::Error::Decode(source) => undecoded(&**source)
            .unwrap_or_else(|| "a value cannot be read as the type that is wanted".to_owned()),
        sqlx::Error::Encode(_) => "a value cannot be written as the type of its column".to_owned(),
        sqlx::Error::Configuration(_) => "the options of the connection are wrong".to_owned(),
        other => other.to_string(),
    }
}

/// What is known to hold no value.
fn undecoded(source: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    if let Some(plain) = source.downcast_ref::<Plain>() {
        return Some(plain.to_string());
    }
    if let Some(error) = source.downcast_ref::<ConversionError>() {
        return Some(of_conversion(error));
    }
    let text = source.to_string();
    text.starts_with("mismatched types; ").then_some(text)
}

/// The error of a caller's own type: where it repeats what a driver said, that is told by its code.
fn of_others(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let known =
            driver(cause).or_else(|| cause.downcast_ref::<ConversionError>().map(of_conversion));
        if let Some(known) = known {
            return match said(cause).iter().find_map(|said| text.find(said.as_str())) {
                Some(at) => format!("{}{known}", &text[..at]),
                None => format!("{text}: {known}"),
            };
        }
        next = cause.source();
    }
    text
}

/// The texts that an error and its causes are known by, the longest first.
fn said(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.retain(|text| !text.is_empty());
    texts
}

/// What a database answered: its code in words, and the names that it gives.
fn refusal(error: &dyn DatabaseError) -> String {
    let code = error.code().unwrap_or_default();
    let names = names(error);
    let meaning = match error.kind() {
        Refused::UniqueViolation => "a unique value is there already",
        Refused::ForeignKeyViolation => "a foreign key is violated",
        Refused::NotNullViolation => "a column that is NOT NULL got no value",
        Refused::CheckViolation => "a check is violated",
        _ => meaning(&code),
    };
    // Ours, and no secret; what else it names is where they were looked for.
    let (meaning, names) = match names.iter().any(|name| name.contains("dualwrite_")) {
        true if is_missing(error, &code) => ("the control tables are not there", Vec::new()),
        _ => (meaning, names),
    };
    let code = match code.len() {
        0 => String::new(),
        5 => format!("SQLSTATE {code}: "),
        _ => format!("SQLite code {code}: "),
    };
    match names.is_empty() {
        true => format!("{code}{meaning}"),
        false => format!("{code}{meaning} ({})", names.join(", ")),
    }
}

fn is_missing(error: &dyn DatabaseError, code: &str) -> bool {
    matches!(code, "42P01" | "42S02") || error.message().starts_with("no such table: ")
}

/// The classes of SQLSTATE, and the results of SQLite.
fn meaning(code: &str) -> &'static str {
    if code.len() != 5 {
        let primary = code.parse::<u32>().map_or(0, |code| code & 0xff);
        return match primary {
            5 | 6 => "the database is locked",
            8 => "the database can only be read",
            10 => "the file of the database cannot be read or written",
            13 => "the disk is full",
            19 => "a constraint is violated",
            20 => "a value is not of its column's type",
            _ => "the statement failed",
        };
    }
    match code {
        "22001" => return "a value is too long for its column",
        "22003" => return "a number is out of its column's range",
        "22P02" | "22007" | "22008" | "22018" => return "a value is not of the type that is wanted",
        "40P01" => return "a deadlock",
        "42501" => return "the role lacks a right",
        "42P01" | "42S02" => return "there is no such table",
        "42703" | "42S22" => return "there is no such column",
        "55P03" => return "a lock was not to be had in time",
        "57014" => return "the statement was cancelled, or took longer than its limit",
        "P0001" | "45000" => return "a trigger or function refused it",
        _ => {}
    }
    match &code[..2] {
        "08" => "the connection failed",
        "22" => "a value does not fit",
        "23" => "a constraint is violated",
        "25" => "the transaction is not in a state for it",
        "28" => "the role is not let in",
        "40" => "the transaction was chosen to fail; begin again",
        "42" => "the statement does not fit the tables, or the role lacks a right",
        "53" => "the server lacks memory, disk or connections",
        "57" => "the server ended the connection or the statement",
        _ => "the statement failed",
    }
}

/// What an error names, in words: only what names something goes in.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, what: &str, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.0.push(format!("{what} `{name}`"));
        }
    }
}

/// The constraint, table and column that an error is about, as far as it names them.
fn names(error: &dyn DatabaseError) -> Vec<String> {
    let mut names = Names::default();
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        names_on_postgres(error, &mut names);
        return names.0;
    }
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        names_on_mysql(error, &mut names);
        return names.0;
    }
    names_on_sqlite(error, &mut names);
    names.0
}

#[cfg(feature = "postgres")]
fn names_on_postgres(error: &sqlx::postgres::PgDatabaseError, names: &mut Names) {
    if is_raised_on_postgres(error) {
        return;
    }
    names.add("constraint", error.constraint());
    names.add("table", error.table());
    names.add("column", error.column());
    // What a statement names has a position in it. A value that is cast to `regclass` has none, and one that a function
    // puts into a statement of its own has a position in that.
    let is_named = match error.position() {
        Some(position) => matches!(position, sqlx::postgres::PgErrorPosition::Original(_)),
        None => error.code() == "42501",
    };
    if error.constraint().is_none() && error.table().is_none() && is_named {
        names.add("object", object(error.code(), error.message()).as_deref());
    }
}

#[cfg(feature = "mysql")]
fn names_on_mysql(error: &sqlx::mysql::MySqlDatabaseError, names: &mut Names) {
    let message = error.message();
    let number = error.number();
    // What a trigger says by `SIGNAL` may be anything.
    if !has_the_state_of_its_number(number, error.code().unwrap_or_default()) {
        return;
    }
    match number {
        // Nor is what it says to the letter as the server would: an error shows the names that a catalogue has.
        1062 | 1586 => names.add("constraint", known(quoted_after(message, " for key '", '\''))),
        1048 | 1364 => names.add("column", known(quoted_after(message, " '", '\''))),
        // No catalogue has what is not there: an error shows names that the service's own code gave, or that were there before.
        1054 => names.add("column", unqualified(between(message, "Unknown column '", "' in "))),
        1146 => {
            let table = between(message, "Table '", "' doesn't exist");
            let ours =
                table.and_then(|name| name.rsplit('.').next()).filter(|name| is_of_ours(name));
            names.add("table", ours.or_else(|| unqualified(table)));
        }
        1451 | 1452 | 4025 => {
            names.add("constraint", known(quoted_after(message, "CONSTRAINT `", '`')));
        }
        3819 => {
            names.add("constraint", known(quoted_after(message, "Check constraint '", '\'')));
        }
        1264 | 1265 | 1292 | 1366 | 1406 => {
            names.add("column", known(column_at_the_end(message).as_deref()));
        }
        _ => {}
    }
}

/// SQLite names columns, and checks by their name or text, and no values.
fn names_on_sqlite(error: &dyn DatabaseError, names: &mut Names) {
    if is_raised(error) {
        return;
    }
    if let Some((_, what)) = error.message().split_once(" constraint failed: ") {
        names.add("on", Some(what));
    } else if let Some(column) = error.message().strip_prefix("cannot store ") {
        names.add("column", column.rsplit_once(" column ").map(|(_, column)| column));
    } else if let Some(missing) = error.message().strip_prefix("no such ") {
        names.add("no such", Some(missing));
    } else if let Some((_, column)) = error.message().split_once(" has no column named ") {
        names.add("no such", Some(&format!("column: {column}")));
    }
}

/// What a function says by `RAISE` may be anything, its code and the names that it gives too.
#[cfg(feature = "postgres")]
pub(super) fn is_raised_on_postgres(error: &sqlx::postgres::PgDatabaseError) -> bool {
    error.routine() == Some("exec_stmt_raise")
}

/// The same on SQLite, which takes any expression there.
fn is_raised(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "1811")
}

/// The object that a statement names and the database does not have, or not for this role: no value, for
/// values are bound.
#[cfg(feature = "postgres")]
fn object(code: &str, message: &str) -> Option<String> {
    let about_objects = matches!(code, "42P01" | "42703" | "42883" | "42501" | "42704" | "3F000");
    if !about_objects {
        return None;
    }
    // `column r.age does not exist`, `function f(integer) does not exist`, `permission denied for table t`.
    let plain = match message.strip_suffix(" does not exist") {
        Some(missing) => missing.split_once(' ').map(|(_, name)| name),
        None => message.rsplit(' ').next(),
    };
    message.split('"').nth(1).or(plain).map(str::to_owned)
}

/// Whether the server says so itself, as far as SQLSTATE tells: `SIGNAL` gives any number, and mostly 45000 with it.
#[cfg(feature = "mysql")]
fn has_the_state_of_its_number(number: u16, state: &str) -> bool {
    let own: &[&str] = match number {
        1062 | 1586 | 1048 | 1451 | 1452 | 4025 => &["23000"],
        1364 | 3819 => &["HY000"],
        1054 => &["42S22"],
        1146 => &["42S02"],
        1264 => &["22003"],
        1265 => &["01000", "22007"],
        1292 => &["22007", "22008"],
        1366 => &["22007", "HY000"],
        1406 => &["22001"],
        _ => &[],
    };
    own.contains(&state)
}

/// The text between these words at the beginning, and the last of these.
#[cfg(feature = "mysql")]
fn between<'m>(message: &'m str, before: &str, after: &str) -> Option<&'m str> {
    message.strip_prefix(before)?.rsplit_once(after).map(|(name, _)| name)
}

/// The last part of `d.t.c`, where it is known.
#[cfg(feature = "mysql")]
fn unqualified(name: Option<&str>) -> Option<&str> {
    known(name?.rsplit('.').next())
}

/// A control table.
#[cfg(feature = "mysql")]
fn is_of_ours(name: &str) -> bool {
    name.strip_prefix("dualwrite_")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

/// What stands in quotes after the last of these words.
#[cfg(feature = "mysql")]
fn quoted_after<'m>(message: &'m str, words: &str, quote: char) -> Option<&'m str> {
    let (_, after) = message.rsplit_once(words)?;
    after.split(quote).next()
}

/// `… for column 'c' at row 1`, `… for column `d`.`t`.`c` at row 1`: the value comes before.
#[cfg(feature = "mysql")]
fn column_at_the_end(message: &str) -> Option<String> {
    let (_, column) = message.rsplit_once(" for column ")?;
    let (column, _) = column.rsplit_once(" at row ")?;
    let plain = column.replace(['`', '\''], "");
    plain.rsplit('.').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Theirs(sqlx::Error);

    impl std::fmt::Display for Theirs {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "saving a goal: {}", self.0)
        }
    }

    impl StdError for Theirs {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    fn undecodable() -> sqlx::Error {
        sqlx::Error::ColumnDecode { index: "age".into(), source: "not a number: PLANTED".into() }
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_quoted() {
        let told = reason(&undecodable());
        assert_eq!(told, "the column age cannot be read as the type that is wanted");
        let mismatch = sqlx::Error::ColumnDecode {
            index: "age".into(),
            source: "mismatched types; Rust type `i64` is not compatible with SQL type `TEXT`"
                .into(),
        };
        assert!(reason(&mismatch).contains("Rust type `i64`"));
    }

    #[test]
    fn errors_of_others_keep_their_text_without_what_the_driver_said() {
        let told = reason(&Theirs(undecodable()));
        let wanted = "saving a goal: the column age cannot be read as the type that is wanted";
        assert_eq!(told, wanted);
        assert_eq!(reason(&std::fmt::Error), std::fmt::Error.to_string());
    }

    #[test]
    fn what_is_ours_is_told_as_it_is() {
        let wrapped: sqlx::Error = Error::new(crate::ErrorKind::Conflict, "try again").into();
        assert_eq!(reason(&wrapped), "try again");
        assert_eq!(reason(&sqlx::Error::Decode(Box::new(Plain("of type x".into())))), "of type x");
    }

    #[test]
    fn codes_are_told_in_words() {
        assert_eq!(meaning("22P02"), "a value is not of the type that is wanted");
        assert_eq!(meaning("23505"), "a constraint is violated");
        assert_eq!(meaning("517"), "the database is locked");
        assert_eq!(meaning("XX000"), "the statement failed");
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn names_are_found_behind_values_that_look_like_them() {
        let twice = "Duplicate entry 'x' for key 'y'' for key 'note_word'";
        assert_eq!(quoted_after(twice, " for key '", '\''), Some("note_word"));
        let long = "Data too long for column 'word' at row 1";
        assert_eq!(column_at_the_end(long).as_deref(), Some("word"));
        let wrong = "Incorrect integer value: ' for column `a`' for column `d`.`t`.`age` at row 3";
        assert_eq!(column_at_the_end(wrong).as_deref(), Some("age"));
    }
}
