//! A new table, and which columns of the old one its columns are made of.

use serde::{Deserialize, Serialize};

use super::names::{Kind, check_names, check_table, check_type};
use super::need::{Need, Place};
use super::shape::{Known, NewShape};
use super::spell::{Step, add_rule, columns, named, slug, table as quoted_table, type_of};
use super::types::{Fit, fits, too_narrow};
use crate::contract::relax::quoted;
use crate::database::Dialect;
use crate::error::{Error, ErrorKind};
use crate::preflight::finding::FindingLevel::{Refuse, Warn};

/// A column of a new table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableColumn {
    pub(crate) old: Vec<String>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) key: bool,
}

/// A new table, to which rows of an old one move; for [`Expand::table`](crate::expand::Expand::table).
///
/// ```
/// use dualwrite::expand::NewTable;
///
/// // One customer has many phone numbers.
/// let phones = NewTable::of("customer", "customer_phone")
///     .key("id", "customer_id")
///     .key_column("position", "integer")
///     .column(["phones"], "phone", "varchar(30)")
///     .references();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct NewTable {
    pub(crate) old: String,
    pub(crate) name: String,
    pub(crate) columns: Vec<TableColumn>,
    pub(crate) references: bool,
}

impl NewTable {
    /// A table of the name `new` for rows of the table `old`.
    pub fn of(old: impl Into<String>, new: impl Into<String>) -> Self {
        Self { old: old.into(), name: new.into(), columns: Vec::new(), references: false }
    }

    /// The columns of its key, the old table, and the columns there that they come from.
    pub(crate) fn moved_key(&self) -> (Vec<String>, String, Vec<String>) {
        let key = self.columns.iter().filter(|column| column.key);
        let pairs = key.filter_map(|column| match column.old.as_slice() {
            [old] => Some((column.name.clone(), old.clone())),
            _ => None,
        });
        let (new, old) = pairs.unzip();
        (new, self.old.clone(), old)
    }

    fn with(mut self, old: Vec<String>, name: String, kind: Kind, key: bool) -> Self {
        self.columns.push(TableColumn { old, name, kind, key });
        self
    }

    /// A key column of the old table, which is a part of the primary key here, in the type of the old one.
    pub fn key(self, old: impl Into<String>, new: impl Into<String>) -> Self {
        self.with(vec![old.into()], new.into(), Kind::OfOld, true)
    }

    /// One more part of the primary key, such as the number of the row among those of one old row.
    pub fn key_column(self, name: impl Into<String>, kind: impl Into<String>) -> Self {
        self.with(Vec::new(), name.into(), Kind::Sql(kind.into()), true)
    }

    /// A column of the type of the old one; NOT NULL where that is.
    pub fn rename(self, old: impl Into<String>, new: impl Into<String>) -> Self {
        self.with(vec![old.into()], new.into(), Kind::OfOld, false)
    }

    /// A column of another type, and the old columns that it is made of.
    pub fn column<O: Into<String>>(
        self,
        old: impl IntoIterator<Item = O>,
        new: impl Into<String>,
        kind: impl Into<String>,
    ) -> Self {
        let old = old.into_iter().map(Into::into).collect();
        self.with(old, new.into(), Kind::Sql(kind.into()), false)
    }

    /// A foreign key from the columns of [`key`](Self::key) to those of the old table, `ON DELETE CASCADE`: the old row
    /// is deleted before the new ones. Only where the old table stays when the migration is over.
    pub fn references(mut self) -> Self {
        self.references = true;
        self
    }

    /// The columns of the primary key.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &TableColumn> {
        self.columns.iter().filter(|column| column.key)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        check_table(&self.old)?;
        check_table(&self.name)?;
        if self.old.eq_ignore_ascii_case(&self.name) {
            return wrong(format!("the table `{}` is old and new at once", self.name));
        }
        if self.keys().all(|column| column.old.is_empty()) {
            let name = &self.name;
            return wrong(format!(
                "say which column of `{name}` holds the key of `{}`: `.key(old, new)`",
                self.old
            ));
        }
        for column in &self.columns {
            check_names(column.old.iter().chain([&column.name]))?;
            if let Kind::Sql(kind) = &column.kind {
                check_type(kind)?;
            }
        }
        Ok(())
    }
}

/// What is missing of a new table.
pub(crate) fn needs(new: &NewTable, shape: &NewShape, dialect: &Dialect, found: &mut Vec<Need>) {
    let Some(old) = shape.table(&new.old) else {
        let why = "there is no such table, and it is declared as old";
        let at = Place::new(&new.old, None);
        found.push(at.need("expand_old", Refuse, why, "name the table that old rows are in"));
        return;
    };
    let mut complete = true;
    for name in new.columns.iter().flat_map(|column| &column.old) {
        if old.column(name).is_none() {
            complete = false;
            let why = "it is declared as old, and the table has no such column";
            let at = Place::new(&new.old, Some(name));
            found.push(at.need("expand_old", Refuse, why, "name a column of the table"));
        }
    }
    if !complete {
        return;
    }
    match shape.table(&new.name) {
        Some(known) => there(new, known, old, dialect, found),
        None => {
            let why = "the new table is not there, so every write to the new side would fail";
            let steps = create(new, old, dialect);
            found.push(Place::new(&new.name, None).with_steps(
                "expand_missing",
                Refuse,
                why,
                steps,
            ));
        }
    }
}

fn create(new: &NewTable, old: &Known, dialect: &Dialect) -> Vec<Step> {
    let column = |column: &TableColumn| {
        let of_old = column.old.first().and_then(|name| old.column(name));
        let kind = match (&column.kind, of_old) {
            (Kind::Sql(kind), _) => kind.clone(),
            (_, Some(old)) => type_of(old, dialect),
            (_, None) => String::new(),
        };
        let required =
            column.key || column.kind == Kind::OfOld && of_old.is_some_and(|old| !old.nullable);
        let null = if required { " NOT NULL" } else { "" };
        format!("{} {kind}{null}", quoted(&column.name, dialect))
    };
    let mut parts: Vec<String> = new.columns.iter().map(column).collect();
    let keys = columns(new.keys().map(|column| &*column.name), dialect);
    parts.push(format!("PRIMARY KEY ({keys})"));
    let foreign = new.references.then(|| foreign_key(new, dialect));
    if let (Some(foreign), false) = (&foreign, dialect.numbered) {
        parts.push(foreign.clone());
    }
    let table = quoted_table(&new.name, dialect);
    let mut steps = vec![Step::new(
        format!("create_{}", slug(&new.name)),
        format!("CREATE TABLE {table} ({})", parts.join(", ")),
        format!("DROP TABLE {table}"),
    )];
    if let (Some(foreign), true) = (&foreign, dialect.numbered) {
        let own: Vec<&str> = referring(new).map(|column| &*column.name).collect();
        steps.extend(add_rule(&new.name, &named(&new.name, &own, "fk"), foreign, dialect));
    }
    steps
}

/// The columns that hold the key of the old table.
fn referring(new: &NewTable) -> impl Iterator<Item = &TableColumn> {
    new.keys().filter(|column| !column.old.is_empty())
}

fn foreign_key(new: &NewTable, dialect: &Dialect) -> String {
    let own = columns(referring(new).map(|column| &*column.name), dialect);
    let old =
        columns(referring(new).flat_map(|column| column.old.iter().map(|name| &**name)), dialect);
    let table = quoted_table(&new.old, dialect);
    format!("FOREIGN KEY ({own}) REFERENCES {table} ({old}) ON DELETE CASCADE")
}

fn there(new: &NewTable, known: &Known, old: &Known, dialect: &Dialect, found: &mut Vec<Need>) {
    for column in &new.columns {
        let at = Place::new(&new.name, Some(&column.name));
        let of_old = column.old.first().and_then(|name| old.column(name));
        let Some(has) = known.column(&column.name) else {
            let why = "the new table has no such column, so every write to the new side would fail";
            let kind = match (&column.kind, of_old) {
                (Kind::Sql(kind), _) => kind.clone(),
                (_, Some(old)) => type_of(old, dialect),
                (_, None) => continue,
            };
            let step = super::spell::add_column(&new.name, &column.name, &kind, &[], dialect);
            found.push(at.with_steps("expand_missing", Refuse, why, vec![step]));
            continue;
        };
        let wrong = match (&column.kind, of_old) {
            (Kind::Sql(kind), _) => (fits(kind, has, dialect) == Fit::Other)
                .then(|| format!("it is {}, and `{kind}` is declared", has.type_name)),
            (_, Some(old)) => too_narrow(old, has).map(|why| {
                format!("it is {}, and the old column is {}: {why}", has.type_name, old.type_name)
            }),
            (_, None) => None,
        };
        if let Some(why) = wrong {
            let action = "give it the type that is declared, while the table is empty";
            found.push(at.need("expand_type", Refuse, why, action));
        }
        let takes_null = column.kind == Kind::OfOld && of_old.is_some_and(|old| old.nullable);
        if takes_null && !has.nullable && !column.key {
            let why = "it is NOT NULL, and the old column takes NULL";
            found.push(at.need("expand_not_null", Refuse, why, "make it nullable"));
        }
    }
    key(new, known, dialect, found);
    let declared = |name: &str| new.columns.iter().any(|own| own.name.eq_ignore_ascii_case(name));
    for extra in known.table.columns.iter().filter(|column| !declared(&column.name)) {
        let fills_itself = extra.default.is_some() || extra.is_generated || !extra.extra.is_empty();
        if !extra.nullable && !fills_itself {
            let why = "it is NOT NULL without a default, and is not declared: a copy that leaves it out is refused";
            let action =
                "let the copy function and the writes of the new side fill it, and declare it";
            let at = Place::new(&new.name, Some(&extra.name));
            found.push(at.need("expand_not_null", Warn, why, action));
        }
    }
}

/// A row that is written twice must be found again.
fn key(new: &NewTable, known: &Known, dialect: &Dialect, found: &mut Vec<Need>) {
    let keys: Vec<&str> = new.keys().map(|column| &*column.name).collect();
    let has = known.table.indexes.iter().any(|index| {
        let same = |(own, key): (&String, &&str)| own.eq_ignore_ascii_case(key);
        index.unique
            && index.columns.len() == keys.len()
            && index.columns.iter().zip(&keys).all(same)
    });
    if !has {
        let body = format!("({})", columns(keys.iter().copied(), dialect));
        let name = named(&new.name, &keys, "key");
        let step = super::spell::create_index(&new.name, &name, true, &body, dialect);
        let why = format!(
            "there is no unique index over ({}), so a row could be copied twice",
            keys.join(", ")
        );
        found.push(Place::new(&new.name, None).with_steps(
            "expand_unique",
            Refuse,
            why,
            vec![step],
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_needs_the_key_of_the_old_one() {
        let refused = |table: NewTable| table.check().unwrap_err().to_string();
        assert!(refused(NewTable::of("a", "b").rename("c", "d")).contains(".key(old, new)"));
        assert!(refused(NewTable::of("a", "b").key_column("n", "int")).contains(".key(old, new)"));
        assert!(refused(NewTable::of("a", "A").key("id", "id")).contains("at once"));
        assert!(refused(NewTable::of("a", "b").key("id", "i d")).contains("i d"));
        NewTable::of("a", "s.b").key("id", "a_id").column(["x"], "y", "text").check().unwrap();
    }
}
