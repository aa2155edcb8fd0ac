//! The statements of a folder as they are run, for whoever tries them out.

use std::path::PathBuf;

use super::level::SqlDialect;
use super::split::split;

/// A file that sqlx applies, with its statements.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Script {
    /// The file, as it was named or found.
    pub file: PathBuf,
    /// Its version; `None` where it is not named as sqlx names migrations.
    pub version: Option<i64>,
    /// It is run outside a transaction.
    pub no_transaction: bool,
    /// Its statements, in their order.
    pub statements: Vec<ScriptStatement>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptStatement {
    /// The line of its first word, from 1.
    pub line: usize,
    /// Its text, without the final `;`.
    pub sql: String,
}

impl Script {
    pub(super) fn new(
        file: PathBuf,
        version: Option<i64>,
        text: &str,
        dialect: SqlDialect,
    ) -> Self {
        let pieces = split(text, dialect).into_iter();
        let statements =
            pieces.map(|piece| ScriptStatement { line: piece.line, sql: piece.text }).collect();
        let no_transaction = text.starts_with("-- no-transaction");
        Self { file, version, no_transaction, statements }
    }
}
