//! What a registration declares as new, and what it is made of.

use serde::{Deserialize, Serialize};

use super::names::{Kind, check_names, check_table, check_type, is_literal, wrong};
use super::table::NewTable;
use crate::error::Error;

/// How many columns, tables and indexes one expand may add.
pub const EXPAND_OBJECTS_MAX: usize = 100;

/// A column of an old table that is new, and the old columns that it takes the place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewColumn {
    pub(crate) table: String,
    pub(crate) old: Vec<String>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// It stands alone for its one old column, whose indexes it needs as well.
    pub(crate) alone: bool,
}

impl NewColumn {
    /// The old column, where this is that column under another name.
    pub(crate) fn renamed(&self) -> Option<&str> {
        match (&self.kind, self.old.as_slice()) {
            (Kind::OfOld, [old]) => Some(old),
            _ => None,
        }
    }
}

/// An index that reads of new need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewIndex {
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
    pub(crate) unique: bool,
}

/// What a migration needs before both sides are written: new columns, tables and indexes, and what they are made of.
/// Given to [`Registration::expand`](crate::Registration::expand): the step to `DualWrite` then waits until all of it is
/// there and can hold what old holds. [`Expanding`](crate::migration::Expanding) generates the migration files.
///
/// ```
/// use dualwrite::expand::{Expand, NewTable};
///
/// let expand = Expand::new()
///     .rename("customer", "email", "email_address")
///     .retype("customer", "age", "age_years", "integer")
///     .split("customer", "name", [("first_name", "varchar(40)"), ("last_name", "varchar(40)")])
///     .merge("customer", ["area", "number"], "phone", "varchar(30)")
///     .index("customer", ["last_name"])
///     .table(
///         NewTable::of("customer", "customer_tag")
///             .key("id", "customer_id")
///             .key_column("position", "integer")
///             .column(["tags"], "tag", "varchar(40)"),
///     );
/// expand.check()?;
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Expand {
    columns: Vec<NewColumn>,
    tables: Vec<NewTable>,
    indexes: Vec<NewIndex>,
    without_indexes: Vec<String>,
    /// New columns that take no NULL once all is copied.
    #[serde(default)]
    not_null: Vec<String>,
    /// The defaults that new columns get then.
    #[serde(default)]
    defaults: Vec<(String, String)>,
}

impl Expand {
    /// Nothing is new yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column; see the methods above it.
    pub(crate) fn with(mut self, column: NewColumn) -> Self {
        self.columns.push(column);
        self
    }

    /// A column under another name, of the type of the old one. The table is written `table` or `schema.table`. The new
    /// column gets the indexes, checks and foreign keys of the old one.
    pub fn rename(
        self,
        table: impl Into<String>,
        old: impl Into<String>,
        new: impl Into<String>,
    ) -> Self {
        let (table, old, name) = (table.into(), vec![old.into()], new.into());
        self.with(NewColumn { table, old, name, kind: Kind::OfOld, alone: true })
    }

    /// A column of another type, written as in `CREATE TABLE`. It gets the plain indexes of the old one.
    pub fn retype(
        self,
        table: impl Into<String>,
        old: impl Into<String>,
        new: impl Into<String>,
        kind: impl Into<String>,
    ) -> Self {
        let (table, old, name) = (table.into(), vec![old.into()], new.into());
        self.with(NewColumn { table, old, name, kind: Kind::Sql(kind.into()), alone: true })
    }

    /// One column that becomes several, each with its type. Say which [indexes](Self::index) reads need.
    pub fn split<N: Into<String>, T: Into<String>>(
        self,
        table: impl Into<String>,
        old: impl Into<String>,
        new: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        let (table, old) = (table.into(), old.into());
        new.into_iter().fold(self, |expand, (name, kind)| {
            let (table, old) = (table.clone(), vec![old.clone()]);
            let (name, kind) = (name.into(), Kind::Sql(kind.into()));
            expand.with(NewColumn { table, old, name, kind, alone: false })
        })
    }

    /// Several columns that become one. Say which [indexes](Self::index) reads need.
    pub fn merge<O: Into<String>>(
        self,
        table: impl Into<String>,
        old: impl IntoIterator<Item = O>,
        new: impl Into<String>,
        kind: impl Into<String>,
    ) -> Self {
        let old = old.into_iter().map(Into::into).collect();
        let (table, name, kind) = (table.into(), new.into(), Kind::Sql(kind.into()));
        self.with(NewColumn { table, old, name, kind, alone: false })
    }

    /// A new table, to which rows of an old one move: one to one, or one to many.
    pub fn table(mut self, table: NewTable) -> Self {
        self.tables.push(table);
        self
    }

    /// The type of a column that was declared without one, by [`Expand::of`]; else nothing changes.
    pub fn typed(mut self, new: &str, kind: impl Into<String>) -> Self {
        let kind = kind.into();
        for column in self.columns.iter_mut().filter(|column| column.name == new) {
            column.kind = Kind::Sql(kind.clone());
        }
        self
    }

    /// A new column that takes no NULL once everything is copied, for the files of
    /// [`Expanding::tighten`](crate::migration::Expanding::tighten). Another name of a column that is NOT NULL is so by itself, as
    /// long as the old column has not been relaxed.
    pub fn not_null(mut self, new: impl Into<String>) -> Self {
        self.not_null.push(new.into());
        self
    }

    /// The default that a new column gets once everything is copied, for those files: a number, a text in quotes, or
    /// `current_timestamp`. Another name of a column with a default has it by itself.
    ///
    /// ```
    /// use dualwrite::expand::Expand;
    ///
    /// let expand = Expand::new()
    ///     .retype("customer", "state", "status", "varchar(20)")
    ///     .not_null("status")
    ///     .default_value("status", "'active'");
    /// expand.check()?;
    /// # Ok::<(), dualwrite::Error>(())
    /// ```
    pub fn default_value(mut self, new: impl Into<String>, sql: impl Into<String>) -> Self {
        self.defaults.push((new.into(), sql.into()));
        self
    }

    pub(crate) fn is_not_null(&self, new: &str) -> bool {
        self.not_null.iter().any(|name| name.eq_ignore_ascii_case(new))
    }

    pub(crate) fn default_of(&self, new: &str) -> Option<&str> {
        let found = self.defaults.iter().find(|(name, _)| name.eq_ignore_ascii_case(new));
        found.map(|(_, sql)| &**sql)
    }

    /// An index that reads of new need, beside those that old has.
    pub fn index<C: Into<String>>(
        self,
        table: impl Into<String>,
        columns: impl IntoIterator<Item = C>,
    ) -> Self {
        self.indexed(table.into(), columns, false)
    }

    /// A unique index that reads or upserts of new need.
    pub fn unique<C: Into<String>>(
        self,
        table: impl Into<String>,
        columns: impl IntoIterator<Item = C>,
    ) -> Self {
        self.indexed(table.into(), columns, true)
    }

    fn indexed<C: Into<String>>(
        mut self,
        table: String,
        columns: impl IntoIterator<Item = C>,
        unique: bool,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        self.indexes.push(NewIndex { table, columns, unique });
        self
    }

    /// An index of an old column, by its name, that no read of new needs.
    pub fn without_index(mut self, name: impl Into<String>) -> Self {
        self.without_indexes.push(name.into());
        self
    }

    pub(crate) fn columns(&self) -> &[NewColumn] {
        &self.columns
    }

    pub(crate) fn tables(&self) -> &[NewTable] {
        &self.tables
    }

    pub(crate) fn indexes(&self) -> &[NewIndex] {
        &self.indexes
    }

    pub(crate) fn is_left_out(&self, index: &str) -> bool {
        self.without_indexes.iter().any(|name| name.eq_ignore_ascii_case(index))
    }

    /// Every table that it names, once.
    pub(crate) fn all_tables(&self) -> Vec<&str> {
        let columns = self.columns.iter().map(|column| &*column.table);
        let tables = self.tables.iter().flat_map(|table| [&*table.old, &*table.name]);
        let indexes = self.indexes.iter().map(|index| &*index.table);
        let mut all: Vec<&str> = Vec::new();
        for name in columns.chain(tables).chain(indexes) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    /// Checks all names and types.
    ///
    /// # Errors
    /// `InvalidInput` that names what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let objects = self.columns.len() + self.tables.len() + self.indexes.len();
        if objects == 0 || objects > EXPAND_OBJECTS_MAX {
            return Err(wrong(format!(
                "an expand adds 1 to {EXPAND_OBJECTS_MAX} columns, tables or indexes; this one has {objects}"
            )));
        }
        self.columns.iter().try_for_each(check_column)?;
        for index in &self.indexes {
            check_table(&index.table)?;
            check_names(index.columns.iter())?;
            if index.columns.is_empty() {
                return Err(wrong(format!("an index on `{}` has no column", index.table)));
            }
        }
        self.check_strict()?;
        self.tables.iter().try_for_each(NewTable::check)
    }

    /// What becomes stricter once all is copied.
    fn check_strict(&self) -> Result<(), Error> {
        let strict = self.not_null.iter().chain(self.defaults.iter().map(|(name, _)| name));
        for name in strict {
            if !self.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
                return Err(wrong(format!(
                    "`{name}` is to be stricter once all is copied, and is no new column of this expand"
                )));
            }
        }
        for (name, sql) in &self.defaults {
            if !is_literal(sql) {
                return Err(wrong(format!(
                    "`{sql}` cannot be the default of `{name}`; write a number, a text in single quotes, or \
                     current_timestamp"
                )));
            }
        }
        Ok(())
    }
}

fn check_column(column: &NewColumn) -> Result<(), Error> {
    check_table(&column.table)?;
    check_names(column.old.iter().chain([&column.name]))?;
    let name = &column.name;
    if column.old.is_empty() {
        return Err(wrong(format!("name the old columns that `{name}` replaces")));
    }
    if column.old.iter().any(|old| old.eq_ignore_ascii_case(name)) {
        return Err(wrong(format!(
            "`{name}` is old and new at once; give the new column another name"
        )));
    }
    match &column.kind {
        Kind::OfOld => Ok(()),
        Kind::Sql(kind) => check_type(kind),
        Kind::Undeclared => {
            Err(wrong(format!("give the new column `{name}` a type: `.typed(\"{name}\", \"…\")`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_checked() {
        let refused = |expand: Expand| expand.check().unwrap_err().to_string();
        assert!(refused(Expand::new()).contains("1 to 100"));
        assert!(refused(Expand::new().rename("a", "b;", "c")).contains("b;"));
        assert!(refused(Expand::new().rename("a.b.c", "b", "c")).contains("schema.table"));
        assert!(refused(Expand::new().rename("a", "b", "B")).contains("old and new at once"));
        let retyped = |kind: &str| refused(Expand::new().retype("a", "b", "c", kind));
        for kind in ["int; DROP TABLE a", "int) --", "", "int)(", "enum('a", "int /* x */"] {
            assert!(retyped(kind).contains("no type"), "{kind}");
        }
        assert!(retyped("int NOT NULL").contains("nullable"));
        assert!(retyped("int default 0").contains("no default"));
        assert!(refused(Expand::new().merge("a", [""; 0], "c", "int")).contains("old columns"));
        assert!(refused(Expand::new().index("a", [""; 0])).contains("no column"));
        let defaulted = |sql: &str| Expand::new().rename("a", "b", "c").default_value("c", sql);
        for sql in ["now(); DROP TABLE a", "'a' || 'b'", "'a\\'", "", "-", "1.2.3", "'"] {
            assert!(refused(defaulted(sql)).contains("cannot be the default"), "{sql}");
        }
        for sql in ["0", "-1.5", "'it''s'", "''", "CURRENT_TIMESTAMP", "true"] {
            defaulted(sql).check().unwrap();
        }
        assert!(
            refused(Expand::new().rename("a", "b", "c").not_null("b")).contains("no new column")
        );
        for kind in ["enum('x', 'y')", "timestamp(3) with time zone", "\"My Type\"", "int[]"] {
            Expand::new().retype("s.a", "b", "c", kind).check().unwrap();
        }
    }

    #[test]
    fn what_is_stored_is_read_again() {
        let expand = Expand::new().rename("a", "b", "c").unique("a", ["c"]).without_index("x");
        let text = serde_json::to_string(&expand).unwrap();
        assert_eq!(serde_json::from_str::<Expand>(&text).unwrap(), expand);
    }
}
