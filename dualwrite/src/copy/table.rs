//! A struct that is a row with old and new columns side by side: which columns there are, and the
//! statements that carry rows from one side to the other. Pure: texts and values to bind.

use std::fmt::Write as _;

use super::carried::{Carried, Carry};
use super::dual_table::DualTable;
use super::key_source::KeySource;
use super::source::{Bound, KeyParts, Pages};
use crate::database::Identifier;
use crate::database::{Alike, Dialect, expression};
use crate::error::Error;
use crate::key::Key;
use crate::stages::stage::Side;

/// The columns of the markers, each once.
pub(crate) fn markers<T: DualTable>() -> Vec<&'static str> {
    let mut columns: Vec<&str> = Vec::new();
    for (_, column) in T::MARKERS {
        if !columns.contains(column) {
            columns.push(column);
        }
    }
    columns
}

/// What a marker says of a row that is copied.
pub(crate) const MARKED: &str = "TRUE";

/// The statements of one table, its names checked and quoted.
#[derive(Debug)]
pub(crate) struct Statements {
    dialect: &'static Dialect,
    pub(crate) pages: Pages,
    carried: &'static [Carried],
    markers: Vec<&'static str>,
}

/// Why rows are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To overwrite what is not the same to the last bit: rather too many than too few.
    ToOverwrite,
    /// To report what says something else.
    ToReport,
}

impl Statements {
    /// `source` is that of the copy function: it knows what the catalogue says of the key.
    pub(crate) fn of<T: DualTable>(
        dialect: &'static Dialect,
        source: &KeySource,
    ) -> Result<Self, Error> {
        let columns = T::CARRIED.iter().flat_map(|carried| carried.old.iter().chain(carried.new));
        let markers = markers::<T>();
        let mut columns = columns.chain(&markers).copied();
        columns.try_for_each(|column| Identifier::new(column).map(drop))?;
        let pages = source.pages(dialect, <T::Key as Key>::KIND)?;
        Ok(Self { dialect, pages, carried: T::CARRIED, markers })
    }

    /// Carries the rows of these keys to `to`, those that differ, as far as the database can by itself.
    /// `kept`: columns that would update themselves, and keep their value.
    pub(crate) fn carry(
        &self,
        to: Side,
        keys: &[KeyParts],
        kept: &[String],
    ) -> Result<Option<Bound>, Error> {
        let pairs = self.pairs(to)?;
        if pairs.is_empty() {
            return Ok(None);
        }
        let mut set: Vec<String> =
            pairs.iter().map(|(column, value, _)| format!("{column} = {value}")).collect();
        keep(&mut set, kept, |column| pairs.iter().any(|(set, ..)| set == column));
        let (among, values) = self.pages.keyed().among(keys);
        let differ = self.differ(&pairs, Purpose::ToOverwrite);
        let table = self.pages.table();
        let sql = format!("UPDATE {table} SET {} WHERE ({among}) AND ({differ})", set.join(", "));
        Ok(Some((sql, values)))
    }

    /// Those of these keys that differ, as far as the database can say; nothing where it cannot.
    pub(crate) fn differing(
        &self,
        to: Side,
        keys: &[KeyParts],
        purpose: Purpose,
    ) -> Result<Option<Bound>, Error> {
        let mut pairs = self.pairs(to)?;
        if purpose == Purpose::ToReport {
            // An expression is not its own witness: Rust looks at these.
            pairs.retain(|(_, _, alike)| alike.is_some());
        }
        if pairs.is_empty() {
            return Ok(None);
        }
        let (among, values) = self.pages.keyed().among(keys);
        let differ = self.differ(&pairs, purpose);
        let (columns, table) = (self.pages.keyed().selected(), self.pages.table());
        Ok(Some((format!("SELECT {columns} FROM {table} WHERE ({among}) AND ({differ})"), values)))
    }

    /// The rows of these keys, locked: the key, then old and new columns of what Rust converts.
    pub(crate) fn rows(&self, converted: &[usize], keys: &[KeyParts]) -> Result<Bound, Error> {
        let mut columns = vec![self.pages.keyed().selected()];
        for index in converted {
            let Carried { old, new, .. } = self.carried[*index];
            for column in old.iter().chain(new) {
                columns.push(quoted(column, self.dialect)?);
            }
        }
        let (among, values) = self.pages.keyed().among(keys);
        let (columns, table) = (columns.join(", "), self.pages.table());
        let lock = self.dialect.for_update;
        Ok((format!("SELECT {columns} FROM {table} WHERE {among}{lock}"), values))
    }

    /// The table, quoted.
    pub(crate) fn table(&self) -> &str {
        self.pages.table()
    }

    /// The columns of `side` of what Rust converts.
    pub(crate) fn columns(&self, converted: &[usize], side: Side) -> Result<Vec<String>, Error> {
        let columns = converted.iter().flat_map(|index| self.carried[*index].columns(side));
        columns.map(|column| quoted(column, self.dialect)).collect()
    }

    /// What a column gets in each of these rows: a value where `given`, else NULL. To be bound for each
    /// row: its key, unless there is but one row or no value, then the value.
    pub(crate) fn assignment(&self, column: &str, keys: &[KeyParts], given: &[bool]) -> String {
        // NULL alone has no type.
        if !given.contains(&true) {
            return format!("{column} = NULL");
        }
        if keys.len() == 1 {
            return format!("{column} = ?");
        }
        let when = self.pages.keyed().equal();
        let mut case = format!("{column} = CASE");
        for given in given {
            let value = if *given { "?" } else { "NULL" };
            let _ = write!(case, " WHEN {when} THEN {value}"); // a String takes all
        }
        case + " END"
    }

    /// Writes these rows; the values of `set`, which gives `columns` theirs, are bound before the keys.
    pub(crate) fn update(
        &self,
        mut set: Vec<String>,
        columns: &[String],
        keys: &[KeyParts],
        kept: &[String],
    ) -> Bound {
        keep(&mut set, kept, |column| columns.contains(column));
        let (among, values) = self.pages.keyed().among(keys);
        (format!("UPDATE {} SET {} WHERE {among}", self.pages.table(), set.join(", ")), values)
    }

    /// What the database carries by itself: column, value, and how to compare them; `None` for an
    /// expression.
    fn pairs(&self, to: Side) -> Result<Vec<(String, String, Option<Alike>)>, Error> {
        let mut pairs = Vec::new();
        for carried in self.carried.iter().filter(|carried| carried.is_set_based(to)) {
            let from = carried.columns(to.other());
            for (index, column) in carried.columns(to).iter().enumerate() {
                let column = quoted(column, self.dialect)?;
                pairs.push(match carried.how {
                    Carry::Sql(values) => (column, expression(values[index]), None),
                    Carry::Rename(alike) => {
                        (column, quoted(from[index], self.dialect)?, Some(alike))
                    }
                    Carry::Rust => continue,
                });
            }
        }
        if to == Side::New {
            for marker in &self.markers {
                pairs.push((quoted(marker, self.dialect)?, MARKED.to_owned(), Some(Alike::Equal)));
            }
        }
        Ok(pairs)
    }

    fn differ(&self, pairs: &[(String, String, Option<Alike>)], purpose: Purpose) -> String {
        let differ = pairs.iter().map(|(column, value, alike)| {
            let differs = |alike| self.dialect.differs(column, value, alike);
            match (purpose, alike) {
                (Purpose::ToReport, Some(alike)) => differs(*alike),
                // On MySQL bytes that are no text have no letters, and two collations no equality.
                _ if self.dialect.on_duplicate_key => self.dialect.differs_exactly(column, value),
                // On PostgreSQL not every type has an equality, but every type has a text.
                _ => differs(Alike::Letters),
            }
        });
        differ.collect::<Vec<_>>().join(" OR ")
    }
}

/// What updates itself and is not written keeps its value: a copy is no change of the row.
fn keep(set: &mut Vec<String>, kept: &[String], is_set: impl Fn(&String) -> bool) {
    let kept = kept.iter().filter(|column| !is_set(column));
    set.extend(kept.map(|column| format!("{column} = {column}")));
}

fn quoted(name: &str, dialect: &Dialect) -> Result<String, Error> {
    Ok(Identifier::new(name)?.quoted(dialect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::dual_table::source;
    use crate::key::KeyPart;

    static PLAIN: Dialect = Dialect {
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

    struct Customer;

    impl DualTable for Customer {
        type Key = (i64, String);
        const TABLE: &'static str = "shop.customers";
        const KEY: &'static [&'static str] = &["tenant", "id"];
        const COLUMNS: &'static [&'static str] = &[];
        const OLD_COLUMNS: &'static [&'static str] = &[];
        const NEW_COLUMNS: &'static [&'static str] = &[];
        const RECORD: &'static str = "Customer";
        const CARRIED: &'static [Carried] = &[
            Carried { field: "b", old: &["a"], new: &["b"], how: Carry::Rename(Alike::Equal) },
            Carried { field: "d", old: &["c"], new: &["d"], how: Carry::Sql(&["upper(c)"]) },
            Carried { field: "e", old: &["e"], new: &["f", "g"], how: Carry::Rust },
        ];
    }

    fn key() -> KeyParts {
        vec![KeyPart::Integer(1), KeyPart::Text("x".into())]
    }

    #[test]
    fn what_the_database_can_carry_is_one_statement() {
        let statements = Statements::of::<Customer>(&PLAIN, &source::<Customer>()).unwrap();
        let (sql, values) = statements.carry(Side::New, &[key(), key()], &[]).unwrap().unwrap();
        assert_eq!(
            sql,
            r#"UPDATE "shop"."customers" SET "b" = "a", "d" = (upper(c)) WHERE ((("tenant" = ? AND "id" = ?) OR ("tenant" = ? AND "id" = ?))) AND (CAST("b" AS text) COLLATE "C" IS DISTINCT FROM CAST("a" AS text) COLLATE "C" OR CAST("d" AS text) COLLATE "C" IS DISTINCT FROM CAST((upper(c)) AS text) COLLATE "C")"#
        );
        assert_eq!(values.len(), 4);
        let kept = ["\"b\"", "\"at\""].map(str::to_owned);
        let (sql, _) = statements.carry(Side::New, &[key()], &kept).unwrap().unwrap();
        assert!(sql.contains(r#""d" = (upper(c)), "at" = "at" WHERE"#), "{sql}");
        let (sql, _) = statements.carry(Side::Old, &[key()], &[]).unwrap().unwrap();
        assert!(sql.contains(r#"SET "a" = "b" WHERE"#), "an expression has no way back: {sql}");
    }

    #[test]
    fn an_expression_is_no_witness() {
        let statements = Statements::of::<Customer>(&PLAIN, &source::<Customer>()).unwrap();
        let looked = statements.differing(Side::New, &[key()], Purpose::ToReport);
        let (sql, _) = looked.unwrap().unwrap();
        assert!(sql.ends_with(r#"AND ("b" IS DISTINCT FROM "a")"#), "{sql}");
    }

    #[test]
    fn rows_are_read_under_a_lock() {
        let statements = Statements::of::<Customer>(&PLAIN, &source::<Customer>()).unwrap();
        let (sql, _) = statements.rows(&[2], &[key()]).unwrap();
        assert!(sql.starts_with(r#"SELECT "tenant", "id", "e", "f", "g" FROM"#), "{sql}");
        assert!(sql.ends_with(" FOR UPDATE"), "{sql}");
        assert_eq!(statements.columns(&[2], Side::New).unwrap(), [r#""f""#, r#""g""#]);
    }
}
