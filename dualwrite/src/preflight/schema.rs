//! The tables of a migration as the catalogue describes them. Values without a database; each adapter fills
//! them in, and leaves what its database does not have.

use crate::key::KeyKind;
use crate::stages::stage::Side;

/// A table by name, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// A table or a view.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Table {
    pub(crate) name: TableName,
    pub(crate) is_view: bool,
    /// All columns, in their order.
    pub(crate) columns: Vec<Column>,
    pub(crate) indexes: Vec<Index>,
}

/// A column.
#[derive(Clone, Debug, Default)]
#[doc(hidden)]
#[allow(dead_code, reason = "the whole of what checks may ask for")]
pub struct Column {
    pub(crate) name: String,
    /// The type as one writes it: `character(5)`, `bigint(20) unsigned`.
    pub(crate) type_name: String,
    /// The type without its length, and without a domain around it, in small letters: `bpchar`, `bigint`. On
    /// SQLite the affinity.
    pub(crate) base: String,
    /// The type to cast to, quoted and with its schema, where there is such a thing.
    pub(crate) cast: String,
    /// It is an enumeration of the application's.
    pub(crate) is_enum: bool,
    /// The schema of the operators that compare it, quoted, where it is none that is always searched.
    pub(crate) operators: Option<String>,
    /// There is an order that an index can have.
    pub(crate) is_ordered: bool,
    pub(crate) nullable: bool,
    pub(crate) unsigned: bool,
    /// Quoted where it has to be, as a COLLATE takes it.
    pub(crate) collation: Option<String>,
    /// Different texts are never equal in it.
    pub(crate) is_deterministic: bool,
    pub(crate) charset: Option<String>,
    /// Characters or bytes at the most.
    pub(crate) length: Option<u64>,
    pub(crate) precision: Option<u64>,
    pub(crate) scale: Option<u64>,
    /// The text of the default, and what else it does by itself (`identity`, `auto_increment`,
    /// `on update current_timestamp()`, `generated`), as the catalogue says it.
    pub(crate) default: Option<String>,
    pub(crate) extra: String,
    pub(crate) is_generated: bool,
}

/// How two columns of one type are compared where that says the same as a comparison of any two to the letter,
/// and is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum PlainEquality {
    /// By the equality of their type: two values that are equal are written alike.
    Equal,
    /// By their bytes: texts of one character set.
    Bytes,
    /// By how they are written.
    Letters,
    /// By what JSON says, however it is written.
    Json,
    /// The same of JSON inside of arrays, or of composite types.
    JsonInside,
}

/// An index without a condition, whose parts are all columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) unique: bool,
    pub(crate) columns: Vec<String>,
}

/// One side of a migration.
#[derive(Clone, Debug)]
pub(crate) struct SideSchema {
    pub(crate) side: Side,
    pub(crate) name: TableName,
    /// The columns of the key.
    pub(crate) key: Vec<String>,
    /// `None` where there is no such table yet.
    pub(crate) table: Option<Table>,
}

impl SideSchema {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.table.as_ref()?.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether a unique index keeps two rows from having one key.
    pub(crate) fn is_key_unique(&self) -> bool {
        let is_key = |column: &String| self.key.iter().any(|key| key.eq_ignore_ascii_case(column));
        self.table
            .iter()
            .flat_map(|table| &table.indexes)
            .any(|index| index.unique && index.columns.iter().all(is_key))
    }

    /// Whether an index leads through the keys in their order.
    pub(crate) fn has_key_index(&self, unique: bool) -> bool {
        self.table.iter().flat_map(|table| &table.indexes).any(|index| {
            let fits = |(own, wanted): (&String, &String)| own.eq_ignore_ascii_case(wanted);
            let leads = index.columns.len() >= self.key.len()
                && index.columns.iter().zip(&self.key).all(fits);
            leads && (!unique || (index.unique && index.columns.len() == self.key.len()))
        })
    }
}

/// What the checks look at.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "the whole of what checks may ask for")]
pub(crate) struct Subject {
    pub(crate) kind: KeyKind,
    pub(crate) old: SideSchema,
    /// `None` where the copy function does not name it.
    pub(crate) new: Option<SideSchema>,
}

impl Subject {
    pub(crate) fn sides(&self) -> impl Iterator<Item = &SideSchema> {
        std::iter::once(&self.old).chain(&self.new)
    }
}
