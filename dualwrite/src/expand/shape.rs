//! What the catalogue says of the tables that an expand names.

use crate::preflight::schema::{Column, Table};

/// An index, as its catalogue writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexDef {
    pub(crate) name: String,
    pub(crate) unique: bool,
    /// False: PostgreSQL could not build it to its end.
    pub(crate) valid: bool,
    /// What stands behind the table in `CREATE INDEX`.
    pub(crate) body: String,
}

/// A check or a foreign key, as its catalogue writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleDef {
    pub(crate) name: String,
    /// False: rows that were there before were not looked at.
    pub(crate) valid: bool,
    pub(crate) text: String,
}

impl RuleDef {
    pub(crate) fn is_foreign_key(&self) -> bool {
        self.text.starts_with("FOREIGN KEY")
    }
}

/// One table, with what the preflight does not read.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) table: Table,
    pub(crate) indexes: Vec<IndexDef>,
    pub(crate) rules: Vec<RuleDef>,
}

impl Known {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.table.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// The tables, as they were declared; `None` where there is no such table.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewShape {
    pub(crate) tables: Vec<(String, Option<Known>)>,
}

impl NewShape {
    pub(crate) fn table(&self, declared: &str) -> Option<&Known> {
        self.tables.iter().find(|(name, _)| name == declared)?.1.as_ref()
    }
}
