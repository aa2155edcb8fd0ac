//! The statements that page through the keys of a table. Pages follow a cursor in key order; never OFFSET, never arithmetic on ids.

use super::key_source::{Forms, KeySource};
use super::keyed::Keyed;
pub(crate) use super::keyed::{Bound, KeyParts, NAMED_KEYS, padded, places};
use crate::database::Identifier;
use crate::database::sealed::Adapter;
use crate::database::{Dialect, SqlValue, Watched};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, KeyKind};
use crate::preflight::form::identity;
use crate::preflight::schema::{SideSchema, Table, TableName};
use crate::stages::stage::Side;

impl KeySource {
    pub(crate) fn pages(&self, dialect: &'static Dialect, kind: KeyKind) -> Result<Pages, Error> {
        self.check()?;
        let quoted = |names: &[String]| -> Result<Vec<String>, Error> {
            names.iter().map(|name| Ok(Identifier::new(name.as_str())?.quoted(dialect))).collect()
        };
        let columns = quoted(&self.columns)?;
        if columns.len() != kind.columns().count() {
            let message = format!("the key is {kind}, but {} columns are named", columns.len());
            return Err(Error::new(ErrorKind::WrongKey, message));
        }
        let table = quoted(&self.table)?.join(".");
        let mut parts = self.table.iter().rev().cloned();
        let name = TableName { name: parts.next().unwrap_or_default(), schema: parts.next() };
        let (key, forms) = (self.columns.clone(), self.forms.clone());
        Ok(Pages { dialect, name, key, forms, kind, table, columns, except: None })
    }
}

/// The keys that a statement is for.
#[derive(Clone, Copy)]
pub(crate) enum Extent<'k> {
    Keys(&'k [KeyParts]),
    /// After the one, up to and including the other.
    Range(Option<&'k KeyParts>, &'k KeyParts),
}

/// The statements that page through the keys of a table.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    dialect: &'static Dialect,
    name: TableName,
    /// The columns of the key, unquoted.
    key: Vec<String>,
    forms: Forms,
    pub(crate) kind: KeyKind,
    table: String,
    columns: Vec<String>,
    /// Only keys for which this table has no row.
    except: Option<Box<Pages>>,
}

impl Pages {
    /// The keys that another table lacks; `None` where it is the same table.
    pub(crate) fn missing_in(&self, other: &Self) -> Option<Self> {
        let same = (&self.table, &self.columns) == (&other.table, &other.columns);
        (!same).then(|| Self { except: Some(Box::new(other.clone())), ..self.clone() })
    }

    /// The table, as the catalogue names it.
    pub(crate) fn name(&self) -> TableName {
        self.name.clone()
    }

    /// The same keys with what the catalogue says of their table.
    pub(crate) fn schema(&self, side: Side, table: Option<Table>) -> SideSchema {
        SideSchema { side, name: self.name(), key: self.key.clone(), table }
    }

    /// What is known of the columns of the key.
    pub(crate) fn forms(&self) -> &Forms {
        &self.forms
    }

    /// The table, quoted.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The columns of the key, quoted.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The table and its key, for a trigger.
    pub(crate) fn watched(&self, migration: &str, kind: KeyKind) -> Watched {
        let columns = self.columns.iter().cloned().zip(kind.columns()).collect();
        Watched::new(migration, self.table.clone(), columns, &self.keyed().forms)
    }

    /// The columns of the key, unquoted.
    pub(crate) fn key(&self) -> &[String] {
        &self.key
    }

    /// The columns of the key in the forms that are known now.
    pub(crate) fn keyed(&self) -> Keyed<'_> {
        self.forms.of(&self.columns, self.kind)
    }

    fn has_max(&self) -> bool {
        self.columns.len() == 1 && self.keyed().forms[0].has_max
    }

    /// Whether any row of a key has to be locked by a statement.
    pub(crate) fn has_row_locks(&self) -> bool {
        !self.dialect.for_update.is_empty()
    }

    /// The keys after `after`, up to and including `last`, in order, `limit` at the most; with their
    /// rows locked where the database has row locks.
    ///
    /// The limit is bound like all values: were it written out, each size of a page would be another
    /// statement to prepare, in place of one that is wanted again.
    pub(crate) fn page(
        &self,
        after: Option<&KeyParts>,
        last: Option<&KeyParts>,
        limit: u32,
        lock: bool,
    ) -> Bound {
        let (condition, mut values) = self.between(after, last);
        values.push(i64::from(limit).into());
        let lock = if lock { self.dialect.for_update } else { "" };
        let (columns, table) = (self.columns.join(", "), &self.table);
        let selected = self.keyed().selected();
        let sql =
            format!("SELECT {selected} FROM {table}{condition} ORDER BY {columns} LIMIT ?{lock}");
        (sql, values)
    }

    /// The last of the next `limit` keys after `after`: the end of a range to claim. NULL or no row where there
    /// are none.
    pub(crate) fn range_end(
        &self,
        after: Option<&KeyParts>,
        last: Option<&KeyParts>,
        limit: u32,
    ) -> Bound {
        let (condition, mut values) = self.between(after, last);
        values.push(i64::from(limit).into());
        let (columns, table) = (self.columns.join(", "), &self.table);
        let claimed = format!(
            "(SELECT {columns} FROM {table}{condition} ORDER BY {columns} LIMIT ?) claimed"
        );
        let sql = match self.has_max() {
            true => format!("SELECT max({columns}) FROM {claimed}"),
            false => {
                let (selected, order) = (self.keyed().selected(), self.descending());
                format!("SELECT {selected} FROM {claimed} ORDER BY {order} LIMIT 1")
            }
        };
        (sql, values)
    }

    /// A row without a key, where there may be one.
    pub(crate) fn without_key(&self) -> Option<String> {
        let keyed = self.keyed();
        let nullable =
            self.columns.iter().zip(keyed.forms.iter()).filter(|(_, form)| form.nullable);
        let nulls: Vec<String> = nullable.map(|(column, _)| format!("{column} IS NULL")).collect();
        let (selected, table) = (keyed.selected(), &self.table);
        let sql = format!("SELECT {selected} FROM {table} WHERE {} LIMIT 1", nulls.join(" OR "));
        (!nulls.is_empty()).then_some(sql)
    }

    /// Looks for a key that several rows have; `None` where no two can.
    pub(crate) fn repeated(&self) -> Option<String> {
        let keyed = self.keyed();
        let (selected, table, columns) = (keyed.selected(), &self.table, self.columns.join(", "));
        let may_repeat = keyed.forms.iter().any(|form| form.may_repeat);
        may_repeat.then(|| {
            format!("SELECT {selected} FROM {table} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1")
        })
    }

    /// The key by which the control tables know this one, however it is spelled.
    pub(crate) fn identity(&self, key: &KeyParts) -> Result<EncodedKey, Error> {
        EncodedKey::from_parts(&identity(key, &self.keyed().forms))
    }

    /// Whether both tables sort and compare keys in one way.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.keyed().is_like(&other.keyed())
    }

    /// The greatest key.
    pub(crate) fn greatest(&self) -> Bound {
        let (selected, table) = (self.keyed().selected(), &self.table);
        let (condition, values) = self.between(None, None);
        let order = self.descending();
        (format!("SELECT {selected} FROM {table}{condition} ORDER BY {order} LIMIT 1"), values)
    }

    /// What the catalogue says of the number of rows, where it can be asked.
    pub(crate) fn estimate<A: Adapter>(&self) -> Option<String> {
        if self.except.is_some() { None } else { A::estimate(&self.table) }
    }

    /// How many keys there are up to `last`.
    pub(crate) fn count(&self, last: Option<&KeyParts>) -> Bound {
        let (condition, values) = self.between(None, last);
        (format!("SELECT count(*) FROM {}{condition}", self.table), values)
    }

    /// One row, locked where that is wanted and the database has row locks.
    pub(crate) fn row(&self, key: &KeyParts, lock: bool) -> Bound {
        let keyed = self.keyed();
        let lock = if lock { self.dialect.for_update } else { "" };
        let (selected, table, equal) = (keyed.selected(), &self.table, keyed.equal());
        let values = keyed.values(key).collect();
        (format!("SELECT {selected} FROM {table} WHERE {equal}{lock}"), values)
    }

    pub(crate) fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Columns in the key.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// The same keys in columns of another name.
    pub(crate) fn with_columns(&self, columns: Vec<String>) -> Self {
        Self { columns, except: None, ..self.clone() }
    }

    /// The condition that a row has one of these keys.
    pub(crate) fn within(&self, extent: Extent<'_>) -> Bound {
        match extent {
            Extent::Keys(keys) => self.keyed().among(keys),
            Extent::Range(after, last) => self.conditions(after, Some(last)),
        }
    }

    /// The rows of these keys as a table in a FROM; locked where that is wanted and the database has row
    /// locks.
    pub(crate) fn rows(&self, extent: Extent<'_>, lock: bool) -> Bound {
        let (condition, values) = self.within(extent);
        let (columns, table) = (self.columns.join(", "), &self.table);
        let lock = if lock { self.dialect.for_update } else { "" };
        let sql = format!("(SELECT * FROM {table} WHERE {condition} ORDER BY {columns}{lock})");
        (sql, values)
    }

    /// The last of the next `limit` keys after `after`, and how many there are up to it; no row, or the
    /// number 0, where there are none. Their rows are locked already where else a statement that locks
    /// them, and looks elsewhere, would not see there what those wrote who were waited for.
    pub(crate) fn stretch(&self, after: Option<&KeyParts>, last: &KeyParts, limit: u32) -> Bound {
        let (condition, mut values) = self.conditions(after, Some(last));
        values.push(i64::from(limit).into());
        let (columns, table) = (self.columns.join(", "), &self.table);
        let lock = if self.dialect.wait_keeps_snapshot { self.dialect.for_update } else { "" };
        let stretch = format!(
            "(SELECT {columns} FROM {table} WHERE {condition} ORDER BY {columns} LIMIT ?{lock}) stretch"
        );
        let sql = match self.has_max() {
            // Takes half as long as the window, or less.
            true => format!("SELECT max({columns}), count(*) FROM {stretch}"),
            false => format!(
                "SELECT {}, count(*) OVER () AS keys_counted FROM {stretch} ORDER BY {} LIMIT 1",
                self.keyed().selected(),
                self.descending()
            ),
        };
        (sql, values)
    }

    fn descending(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|column| format!("{column} DESC")).collect();
        columns.join(", ")
    }

    pub(crate) fn between(&self, after: Option<&KeyParts>, last: Option<&KeyParts>) -> Bound {
        let (conditions, values) = self.conditions(after, last);
        match conditions.is_empty() {
            true => (conditions, values),
            false => (format!(" WHERE {conditions}"), values),
        }
    }

    fn conditions(&self, after: Option<&KeyParts>, last: Option<&KeyParts>) -> Bound {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for (key, strict, or_equal) in [(after, '>', false), (last, '<', true)] {
            if let Some(key) = key {
                conditions.push(self.compare(key, strict, or_equal, &mut values));
            }
        }
        if let Some(other) = &self.except {
            let (mine, theirs) = (&self.table, &other.table);
            let qualified: Vec<String> =
                other.columns.iter().map(|column| format!("{theirs}.{column}")).collect();
            let there = Keyed { columns: &qualified, forms: other.keyed().forms };
            let own = |at: usize| format!("{mine}.{}", self.columns[at]);
            let equal = there.matching(&self.keyed(), own);
            conditions.push(format!("NOT EXISTS (SELECT 1 FROM {theirs} WHERE {equal})"));
        }
        (conditions.join(" AND "), values)
    }

    /// `(a, b) > (?, ?)`, or `(a > ? OR (a = ? AND b > ?))` where the short form uses no index; then
    /// with a plain bound on the first column, which does use it.
    fn compare(
        &self,
        key: &KeyParts,
        strict: char,
        or_equal: bool,
        values: &mut Vec<SqlValue>,
    ) -> String {
        let keyed = self.keyed();
        let last = self.columns.len() - 1;
        let operator = |column: usize| match or_equal && column == last {
            true => format!("{strict}="),
            false => strict.to_string(),
        };
        if last == 0 {
            values.push(keyed.value(0, &key[0]));
            return keyed.compared(0, &operator(0));
        }
        if !self.dialect.expand_row_comparison && keyed.has_plain_operators() {
            values.extend(keyed.values(key));
            let places: Vec<String> = (0..=last).map(|at| keyed.place(at)).collect();
            let (columns, places) = (self.columns.join(", "), places.join(", "));
            return format!("({columns}) {} ({places})", operator(last));
        }
        values.push(keyed.value(0, &key[0]));
        let mut alternatives = Vec::new();
        for column in 0..=last {
            let mut terms = Vec::new();
            for (before, part) in key.iter().enumerate().take(column) {
                terms.push(keyed.compared(before, "="));
                values.push(keyed.value(before, part));
            }
            terms.push(keyed.compared(column, &operator(column)));
            values.push(keyed.value(column, &key[column]));
            alternatives.push(format!("({})", terms.join(" AND ")));
        }
        let first = keyed.compared(0, &format!("{strict}="));
        format!("{first} AND ({})", alternatives.join(" OR "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::key::KeyPart;

    pub(crate) static PLAIN: Dialect = Dialect {
        identity: "''",
        terms_digest: "a.terms",
        now: "now",
        quote: '"',
        numbered: true,
        null_has_a_type: true,
        typed_columns: true,
        on_duplicate_key: false,
        for_update: " FOR UPDATE",
        for_update_skip: "",
        expand_row_comparison: false,
        savepoint_replaces: false,
        interruption_breaks: false,
        wait_keeps_snapshot: false,
        fence_is_the_row: false,
        server: true,
    };
    static EXPANDED: Dialect = Dialect { expand_row_comparison: true, quote: '`', ..PLAIN };

    fn parts(values: &[i64]) -> KeyParts {
        values.iter().copied().map(KeyPart::Integer).collect()
    }

    #[test]
    fn pages_are_bounded_on_both_sides() {
        let pages = KeySource::table("t").column("id").pages(&PLAIN, KeyKind::INTEGER).unwrap();
        let (sql, values) = pages.page(Some(&parts(&[5])), Some(&parts(&[9])), 100, true);
        assert_eq!(
            sql,
            r#"SELECT "id" FROM "t" WHERE "id" > ? AND "id" <= ? ORDER BY "id" LIMIT ? FOR UPDATE"#
        );
        assert_eq!(values, [5_i64, 9, 100].map(SqlValue::from));
    }

    #[test]
    fn orphans_are_keys_that_the_other_table_lacks() {
        let pages =
            |table| KeySource::table(table).column("id").pages(&PLAIN, KeyKind::INTEGER).unwrap();
        let orphans = pages("new").missing_in(&pages("old")).unwrap();
        let (sql, values) = orphans.page(Some(&parts(&[5])), None, 10, false);
        assert_eq!(
            sql,
            r#"SELECT "id" FROM "new" WHERE "id" > ? AND NOT EXISTS (SELECT 1 FROM "old" WHERE "old"."id" = "new"."id") ORDER BY "id" LIMIT ?"#
        );
        assert_eq!(values, [5_i64, 10].map(SqlValue::from));
        assert!(pages("new").missing_in(&pages("new")).is_none());
    }

    #[test]
    fn composite_keys_compare_as_rows_or_written_out() {
        let source = KeySource::table("t").schema("s").column("a").column("b");
        let kind = <(i64, i64) as crate::key::Key>::KIND;
        let (sql, values) =
            source.pages(&PLAIN, kind).unwrap().page(Some(&parts(&[1, 2])), None, 9, false);
        assert!(
            sql.contains(r#"FROM "s"."t" WHERE ("a", "b") > (?, ?) ORDER BY "a", "b""#),
            "{sql}"
        );
        assert_eq!(values.len(), 3);
        let (sql, values) =
            source.pages(&EXPANDED, kind).unwrap().page(None, Some(&parts(&[1, 2])), 9, false);
        assert!(sql.contains("`a` <= ? AND ((`a` < ?) OR (`a` = ? AND `b` <= ?))"), "{sql}");
        assert_eq!(values.len(), 5);
    }

    #[test]
    fn names_that_are_not_plain_are_refused() {
        for name in ["", "1a", "a b", "a\"", "a;--", &"x".repeat(64)] {
            assert_eq!(Identifier::new(name).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let wrong = KeySource::table("t").column("a").column("b").pages(&PLAIN, KeyKind::INTEGER);
        assert_eq!(wrong.unwrap_err().kind(), ErrorKind::WrongKey);
    }
}
