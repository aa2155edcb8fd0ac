//! Names and types as a registration writes them, and whether they may stand in a statement.

use serde::{Deserialize, Serialize};

use crate::database::Identifier;
use crate::error::{Error, ErrorKind};
use crate::preflight::schema::TableName;

/// The type of a new column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// That of the one old column.
    OfOld,
    /// Written as in `CREATE TABLE`.
    Sql(String),
    /// Not said yet.
    Undeclared,
}

pub(super) fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

pub(super) fn check_table(table: &str) -> Result<(), Error> {
    if table.split('.').count() > 2 {
        return Err(wrong(format!("`{table}` is no table; write `table` or `schema.table`")));
    }
    table.split('.').try_for_each(|name| Identifier::new(name).map(drop))
}

pub(super) fn check_names<'n>(names: impl IntoIterator<Item = &'n String>) -> Result<(), Error> {
    names.into_iter().try_for_each(|name| Identifier::new(name.as_str()).map(drop))
}

/// A type becomes part of a statement as it is.
pub(super) fn check_type(kind: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " _(),.\"'[]".contains(c);
    let paired = |quote: char| kind.matches(quote).count().is_multiple_of(2);
    let mut depth = 0_i32;
    let nested = kind.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    });
    let fits = !kind.trim().is_empty() && kind.len() <= 1_000 && kind.chars().all(plain);
    let words = [" default ", " not ", " null ", " unique ", " primary ", " references ", " check"];
    let spaced = format!(" {} ", kind.to_ascii_lowercase());
    if !fits || !paired('\'') || !paired('"') || !nested || depth != 0 {
        return Err(wrong(format!("`{kind}` is no type; write it as in `CREATE TABLE`")));
    }
    if let Some(word) = words.iter().find(|word| spaced.contains(**word)) {
        return Err(wrong(format!(
            "write the type `{kind}` without `{}`: a new column is nullable and has no default",
            word.trim()
        )));
    }
    Ok(())
}

/// Whether a default is a number, a text in quotes, or one of the words that every database knows.
pub(crate) fn is_literal(text: &str) -> bool {
    let text = text.trim();
    let number = text.strip_prefix('-').unwrap_or(text);
    let is_number = !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        && number.matches('.').count() <= 1;
    let quoted = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let is_text = quoted.is_some_and(|inner| !inner.replace("''", "").contains(['\'', '\\']));
    let words = ["true", "false", "current_timestamp", "current_timestamp()", "current_date"];
    is_number || is_text || words.contains(&text.to_ascii_lowercase().as_str())
}

/// The schema, if there is one, and the name.
pub(crate) fn table_name(table: &str) -> TableName {
    match table.split_once('.') {
        Some((schema, name)) => {
            TableName { schema: Some(schema.to_owned()), name: name.to_owned() }
        }
        None => TableName { schema: None, name: table.to_owned() },
    }
}
