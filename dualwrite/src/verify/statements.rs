//! The statements of a verification: chunks of keys, bounded on both sides, and what differs in them. Pure:
//! texts and values to bind.

use crate::copy::keyed::Keyed;
use crate::copy::mapping::{Learned, Mapped, MappedField, Mapping, Same};
use crate::copy::run::dialect;
use crate::copy::source::{Bound, KeyParts, Pages};
use crate::database::Identifier;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlValue, expression};
use crate::error::Error;
use crate::stages::stage::Side;

/// Which keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// After the first up to and including the second.
    Between(Option<&'a KeyParts>, Option<&'a KeyParts>),
    These(&'a [KeyParts]),
}

/// Old and new of one migration.
#[derive(Debug)]
pub(crate) struct Statements {
    old: Pages,
    new: Pages,
    fields: Vec<Field>,
    /// Old and new are columns of one row.
    pub(crate) one_row: bool,
    /// There is a full join.
    full_join: bool,
    /// What new alone has is found by a pass of its own: texts may be sorted otherwise on either side.
    pub(crate) orphans_apart: bool,
    /// Keys have one order and one equality on both sides.
    pub(crate) alike: bool,
    quote: &'static Dialect,
}

#[derive(Debug)]
struct Field {
    old: String,
    new: String,
    same: Same,
}

/// What a side has of a field.
pub(crate) fn spelled<DB: Backend>(mapped: &Mapped) -> Result<String, Error> {
    Ok(match mapped {
        Mapped::Column(name) => Identifier::new(name.as_str())?.quoted(dialect::<DB>()),
        Mapped::Expression(text) => expression(text),
    })
}

/// The condition that a field differs.
pub(crate) fn differs(dialect: &Dialect, [old, new]: &[String; 2], same: Same) -> String {
    match same {
        Same::Exactly => dialect.differs_exactly(old, new),
        Same::As(alike) => dialect.differs(old, new, alike),
        Same::Plainly(plain) => dialect.differs_plainly(old, new, plain),
    }
}

impl Statements {
    pub(crate) fn new<DB: Backend>(
        mapping: &Mapping<DB>,
        old: &Pages,
        new: &Pages,
        has_text_key: bool,
        learned: &Learned,
    ) -> Result<Self, Error> {
        let quote = dialect::<DB>();
        let field = |(at, field): (usize, &MappedField)| -> Result<Field, Error> {
            let (old, new) = (spelled::<DB>(&field.old)?, spelled::<DB>(&field.new)?);
            let same = learned.of(at).unwrap_or(field.same);
            Ok(Field { old, new, same })
        };
        let one_row = mapping.elsewhere.is_none() && new.missing_in(old).is_none();
        let alike = old.keyed().is_like(&new.keyed());
        let apart = (has_text_key && !DB::Adapter::FULL_JOIN) || !alike;
        let apart = apart && mapping.elsewhere.is_none();
        Ok(Self {
            old: old.clone(),
            new: new.clone(),
            fields: mapping.fields.iter().enumerate().map(field).collect::<Result<_, _>>()?,
            one_row,
            full_join: DB::Adapter::FULL_JOIN,
            orphans_apart: apart && !one_row,
            alike,
            quote,
        })
    }

    pub(crate) fn field_count(&self) -> usize {
        self.fields.len()
    }

    fn key_count(&self) -> usize {
        self.old.columns().len()
    }

    pub(crate) fn pages(&self, side: Side) -> &Pages {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    /// `k0, k1` with a prefix.
    fn keys(&self, prefix: &str) -> String {
        let keys: Vec<String> = (0..self.key_count()).map(|at| format!("{prefix}k{at}")).collect();
        keys.join(", ")
    }

    /// The keys of a side, named with a prefix, as they are selected.
    fn read(&self, side: Side, prefix: &str) -> Vec<String> {
        let keyed = self.pages(side).keyed();
        let column = |at: usize| format!("{prefix}k{at}");
        let other = self.pages(side.other()).keyed();
        let read = |at: usize| {
            let (own, there) = (&keyed.forms[at], &other.forms[at]);
            let read = own.read.around(&column(at));
            // Two types, or two collations, cannot stand in one column of an answer.
            match own.is_like(there) {
                true => read,
                false => self.quote.neutral(&read, own.order.starts_with("text")),
            }
        };
        (0..self.key_count()).map(read).collect()
    }

    /// The condition that both sides have one key, as an index of new finds it.
    fn join_on(&self) -> String {
        let columns: Vec<String> = (0..self.key_count()).map(|at| format!("n.k{at}")).collect();
        let new = Keyed { columns: &columns, forms: self.new.keyed().forms };
        new.matching(&self.old.keyed(), |at| format!("o.k{at}"))
    }

    fn named_keys(pages: &Pages) -> String {
        let named = pages.columns().iter().enumerate().map(|(at, own)| format!("{own} AS k{at}"));
        named.collect::<Vec<_>>().join(", ")
    }

    /// The end of the next chunk: the key with which one of these sides has `limit` keys, the lesser of
    /// two; and which of them that is. No row where what is left is one chunk.
    pub(crate) fn chunk_end(
        &self,
        sides: &[Side],
        (after, last): (Option<&KeyParts>, Option<&KeyParts>),
        limit: u32,
    ) -> Bound {
        let mut values = Vec::new();
        let offset = i64::from(limit.max(1)) - 1;
        let ends: Vec<String> = sides
            .iter()
            .enumerate()
            .map(|(number, side)| {
                let pages = self.pages(*side);
                let (condition, bound) = pages.between(after, last);
                values.extend(bound);
                values.push(offset.into());
                let (keys, order) = (Self::named_keys(pages), pages.columns().join(", "));
                let table = pages.table();
                format!(
                    "SELECT {}, {number} AS side FROM (SELECT {keys} FROM {table}{condition} \
                     ORDER BY {order} LIMIT 1 OFFSET ?) end{number}",
                    self.keys("")
                )
            })
            .collect();
        let (keys, all) = (self.keys(""), ends.join(" UNION ALL "));
        let forms = self.pages(sides[0]).keyed().forms;
        let read = (0..self.key_count()).map(|at| {
            let read = forms[at].read.around(&format!("k{at}"));
            format!("{read} AS read{at}")
        });
        let read = read.collect::<Vec<_>>().join(", ");
        (format!("SELECT {read}, side FROM ({all}) ends ORDER BY {keys}, side LIMIT 1"), values)
    }

    /// How many keys of old these are.
    pub(crate) fn count(&self, which: Which<'_>) -> Bound {
        let mut values = Vec::new();
        let condition = condition(&self.old, which, &mut values);
        (format!("SELECT count(*) FROM {}{condition}", self.old.table()), values)
    }

    /// Four numbers that are 0 or equal where nothing differs between these keys, in one snapshot: the keys of new, those of
    /// old, those of old that new has, and those whose values differ. `None` where a full join says more at the same cost, and
    /// where one row of new may be that of several keys.
    pub(crate) fn counted(&self, which: Which<'_>) -> Option<Bound> {
        let Which::Between(..) = which else { return None };
        if self.one_row || self.full_join || self.orphans_apart {
            return None;
        }
        let (differ, _) = self.compared("o.", "n.");
        let differ = if differ.is_empty() { "1 = 0".to_owned() } else { differ.join(" OR ") };
        let on = self.join_on();
        let mut values = Vec::new();
        let within = condition(&self.new, which, &mut values);
        let old = self.side(Side::Old, Some(which), &mut values);
        let new = self.side(Side::New, Some(which), &mut values);
        let sql = format!(
            "SELECT (SELECT count(*) FROM {}{within}), count(*), count(n.k0), \
             count(CASE WHEN n.k0 IS NOT NULL AND ({differ}) THEN 1 END) \
             FROM {old} o LEFT JOIN {new} n ON {on}",
            self.new.table()
        );
        Some((sql, values))
    }

    /// What differs: the key, 0 for other values, 1 for missing in new, 2 for missing in old, and a
    /// number for each field that is 1 where it differs. `Between` leaves out what is only in new where
    /// [`orphans_apart`](Self::orphans_apart).
    pub(crate) fn differing(&self, which: Which<'_>) -> Bound {
        if self.one_row {
            return self.differing_in_one_row(which);
        }
        let (differ, flags) = self.compared("o.", "n.");
        let differ: String = differ.iter().map(|one| format!(" OR {one}")).collect();
        let on = self.join_on();
        let mut values = Vec::new();
        let old = self.side(Side::Old, Some(which), &mut values);
        let apart = self.orphans_apart && matches!(which, Which::Between(..));
        let new = self.side(Side::New, (!apart).then_some(which), &mut values);
        if self.full_join && !apart {
            let sides = self.read(Side::Old, "o.").into_iter().zip(self.read(Side::New, "n."));
            let keys: Vec<String> =
                sides.map(|(old, new)| format!("COALESCE({old}, {new})")).collect();
            let sql = format!(
                "SELECT {}, CASE WHEN n.k0 IS NULL THEN 1 WHEN o.k0 IS NULL THEN 2 ELSE 0 END{flags} \
                 FROM {old} o FULL JOIN {new} n ON {on} \
                 WHERE o.k0 IS NULL OR n.k0 IS NULL{differ}",
                keys.join(", ")
            );
            return (sql, values);
        }
        let mut sql = format!(
            "SELECT {}, CASE WHEN n.k0 IS NULL THEN 1 ELSE 0 END{flags} \
             FROM {old} o LEFT JOIN {new} n ON {on} WHERE n.k0 IS NULL{differ}",
            self.read(Side::Old, "o.").join(", ")
        );
        if !apart {
            sql.push_str(&self.union_missing_in_old(which, &mut values));
        }
        (sql, values)
    }

    /// The part of [`differing`](Self::differing) for what is only in new.
    fn union_missing_in_old(&self, which: Which<'_>, values: &mut Vec<SqlValue>) -> String {
        let condition = condition(&self.new, which, values);
        let (own, table) = (Self::named_keys(&self.new), self.new.table());
        let theirs: Vec<String> = self
            .old
            .columns()
            .iter()
            .map(|column| format!("{}.{column}", self.old.table()))
            .collect();
        let there = Keyed { columns: &theirs, forms: self.old.keyed().forms };
        let theirs = there.matching(&self.new.keyed(), |at| format!("n.k{at}"));
        format!(
            " UNION ALL SELECT {}, 2{} FROM (SELECT {own} FROM {table}{condition}) n \
             WHERE NOT EXISTS (SELECT 1 FROM {} WHERE {})",
            self.read(Side::New, "n.").join(", "),
            ", 0".repeat(self.fields.len()),
            self.old.table(),
            theirs
        )
    }

    fn differing_in_one_row(&self, which: Which<'_>) -> Bound {
        let mut values = Vec::new();
        let (differ, flags) = self.compared("", "");
        let condition = condition(&self.old, which, &mut values);
        let word = if condition.is_empty() { "WHERE" } else { "AND" };
        let differ = if differ.is_empty() { "1 = 0".to_owned() } else { differ.join(" OR ") };
        let (keys, table) = (self.old.keyed().selected(), self.old.table());
        (format!("SELECT {keys}, 0{flags} FROM {table}{condition} {word} ({differ})"), values)
    }

    /// The conditions that a field differs, and the columns that say so. Behind a prefix fields are
    /// numbered, as [`side`](Self::side) names them.
    fn compared(&self, old: &str, new: &str) -> (Vec<String>, String) {
        let conditions: Vec<String> = self
            .fields
            .iter()
            .enumerate()
            .map(|(at, field)| {
                let (left, right) = match old.is_empty() {
                    true => (field.old.clone(), field.new.clone()),
                    false => (format!("{old}f{at}"), format!("{new}f{at}")),
                };
                differs(self.quote, &[left, right], field.same)
            })
            .collect();
        let flags = conditions.iter().map(|one| format!(", CASE WHEN {one} THEN 1 ELSE 0 END"));
        let flags = flags.collect();
        (conditions, flags)
    }

    /// Keys and fields of one side, as a table in brackets.
    fn side(&self, side: Side, which: Option<Which<'_>>, values: &mut Vec<SqlValue>) -> String {
        let pages = self.pages(side);
        let mut columns = Self::named_keys(pages);
        for (at, field) in self.fields.iter().enumerate() {
            columns.push_str(&format!(", {} AS f{at}", field.of(side)));
        }
        let condition = which.map_or_else(String::new, |which| condition(pages, which, values));
        format!("(SELECT {columns} FROM {}{condition})", pages.table())
    }

    /// Rows of one side, in the order of keys: the key, then these columns.
    pub(crate) fn rows(
        &self,
        side: Side,
        columns: &[String],
        which: Which<'_>,
    ) -> Result<Bound, Error> {
        let pages = self.pages(side);
        let mut values = Vec::new();
        let mut all = vec![pages.keyed().selected()];
        for name in columns {
            all.push(Identifier::new(name.as_str())?.quoted(self.quote));
        }
        let condition = condition(pages, which, &mut values);
        let (all, table, order) = (all.join(", "), pages.table(), pages.columns().join(", "));
        Ok((format!("SELECT {all} FROM {table}{condition} ORDER BY {order}"), values))
    }

    /// The keys of both sides, as each spells them, for these keys of old.
    pub(crate) fn spellings(&self, keys: &[KeyParts]) -> Bound {
        let mut values = Vec::new();
        let old = self.side(Side::Old, Some(Which::These(keys)), &mut values);
        let new = self.side(Side::New, None, &mut values);
        let mut read = self.read(Side::Old, "o.");
        read.extend(self.read(Side::New, "n."));
        let (read, on) = (read.join(", "), self.join_on());
        (format!("SELECT {read} FROM {old} o JOIN {new} n ON {on}"), values)
    }

    /// Locks the rows of old, and answers with their keys.
    pub(crate) fn lock(&self, keys: &[KeyParts]) -> Bound {
        let mut values = Vec::new();
        let condition = condition(&self.old, Which::These(keys), &mut values);
        let (columns, table) = (self.old.keyed().selected(), self.old.table());
        (format!("SELECT {columns} FROM {table}{condition}{}", self.quote.for_update), values)
    }

    /// The values of a side that a hash is made of: to the letter where that is asked for.
    fn hashed(&self, side: Side, text: &str) -> Vec<String> {
        let value = |field: &Field| match field.same {
            Same::Exactly | Same::Plainly(_) if !text.is_empty() => {
                format!("CAST({} AS {text})", field.of(side))
            }
            _ => field.of(side).to_owned(),
        };
        self.fields.iter().map(value).collect()
    }

    /// The number of rows of one side, and one hash of all of them; `None` where the database has none.
    pub(crate) fn digest<DB: Backend>(&self, side: Side, which: Which<'_>) -> Option<Bound> {
        let pages = self.pages(side);
        let mut all = pages.columns().to_vec();
        all.extend(self.hashed(side, self.text_type()));
        let (_, folded) = DB::Adapter::digest(&all)?;
        let mut values = Vec::new();
        let condition = condition(pages, which, &mut values);
        Some((format!("SELECT count(*), {folded} FROM {}{condition}", pages.table()), values))
    }

    /// The rows of one side: the key, and of each field a hash, or a text that no other value has.
    pub(crate) fn digests<DB: Backend>(&self, side: Side, which: Which<'_>) -> Bound {
        let pages = self.pages(side);
        let mut values = Vec::new();
        let mut columns = vec![pages.keyed().selected()];
        for value in self.hashed(side, self.text_type()) {
            let one = DB::Adapter::digest(std::slice::from_ref(&value));
            columns.push(one.map_or_else(|| DB::Adapter::spelled(&value), |(row, _)| row));
        }
        let condition = condition(pages, which, &mut values);
        let (columns, order) = (columns.join(", "), pages.columns().join(", "));
        (format!("SELECT {columns} FROM {}{condition} ORDER BY {order}", pages.table()), values)
    }

    fn text_type(&self) -> &'static str {
        if self.full_join { "text" } else { "" }
    }
}

impl Field {
    fn of(&self, side: Side) -> &str {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }
}

fn condition(pages: &Pages, which: Which<'_>, values: &mut Vec<SqlValue>) -> String {
    let keys = match which {
        Which::Between(after, last) => {
            let (condition, bound) = pages.between(after, last);
            values.extend(bound);
            return condition;
        }
        Which::These(keys) => keys,
    };
    let (condition, bound) = pages.keyed().among(keys);
    values.extend(bound);
    format!(" WHERE {condition}")
}

#[cfg(all(feature = "postgres", feature = "sqlite"))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::key_source::KeySource;
    use crate::key::{KeyKind, KeyPart};

    fn statements<DB: Backend>(mapping: &Mapping<DB>, new: &str, text: bool) -> Statements {
        let pages = |table: &str| {
            let source = KeySource::table(table).column("id");
            source.pages(dialect::<DB>(), if text { KeyKind::TEXT } else { KeyKind::INTEGER })
        };
        let (old, new) = (pages("old").unwrap(), pages(new).unwrap());
        Statements::new(mapping, &old, &new, text, &Learned::default()).unwrap()
    }

    fn at(id: i64) -> KeyParts {
        vec![KeyPart::Integer(id)]
    }

    #[test]
    fn a_full_join_is_bounded_on_both_sides() {
        let mapping = Mapping::<sqlx::Postgres>::new().same("a", "b");
        let statements = statements(&mapping, "new", false);
        let (sql, values) = statements.differing(Which::Between(Some(&at(5)), Some(&at(9))));
        assert_eq!(
            sql,
            r#"SELECT COALESCE(o.k0, n.k0), CASE WHEN n.k0 IS NULL THEN 1 WHEN o.k0 IS NULL THEN 2 ELSE 0 END, CASE WHEN o.f0 IS DISTINCT FROM n.f0 THEN 1 ELSE 0 END FROM (SELECT "id" AS k0, "a" AS f0 FROM "old" WHERE "id" > ? AND "id" <= ?) o FULL JOIN (SELECT "id" AS k0, "b" AS f0 FROM "new" WHERE "id" > ? AND "id" <= ?) n ON n.k0 = o.k0 WHERE o.k0 IS NULL OR n.k0 IS NULL OR o.f0 IS DISTINCT FROM n.f0"#
        );
        assert_eq!(values, [5_i64, 9, 5, 9].map(SqlValue::from));
    }

    #[test]
    fn one_row_needs_no_join() {
        let mapping = Mapping::<sqlx::Sqlite>::new().same("a", "b");
        let statements = statements(&mapping, "old", false);
        assert!(statements.one_row);
        let (sql, _) = statements.differing(Which::Between(None, None));
        assert!(sql.ends_with(r#"FROM "old" WHERE ("a" IS NOT "b" COLLATE BINARY)"#), "{sql}");
        let (sql, _) = statements.differing(Which::These(&[at(1), at(2)]));
        assert!(sql.contains(r#"WHERE "id" IN (?, ?) AND ("#), "{sql}");
    }

    #[test]
    fn texts_are_joined_by_key_and_orphans_are_a_pass_of_their_own() {
        let mapping = Mapping::<sqlx::Sqlite>::new();
        let apart = statements(&mapping, "new", true);
        assert!(apart.orphans_apart);
        let (sql, values) = apart.differing(Which::Between(Some(&at(5)), Some(&at(9))));
        assert!(!sql.contains("UNION ALL") && values.len() == 2, "{sql}");
        let (sql, values) = apart.differing(Which::These(&[at(1)]));
        assert!(sql.contains("UNION ALL") && values.len() == 3, "{sql}");
        let together = statements(&mapping, "new", false);
        let (sql, values) = together.differing(Which::Between(Some(&at(5)), Some(&at(9))));
        assert!(sql.contains("UNION ALL") && values.len() == 6, "{sql}");
    }

    #[test]
    fn a_chunk_ends_where_the_first_side_is_full() {
        let statements = statements(&Mapping::<sqlx::Sqlite>::new(), "new", false);
        let both = [Side::Old, Side::New];
        let (sql, values) = statements.chunk_end(&both, (Some(&at(5)), None), 10);
        assert_eq!(sql.matches("LIMIT 1 OFFSET ?").count(), 2, "{sql}");
        assert!(sql.ends_with("ends ORDER BY k0, side LIMIT 1"), "{sql}");
        assert_eq!(values.len(), 4);
    }

    #[test]
    fn a_hash_is_made_of_the_key_and_of_texts() {
        let mapping = Mapping::<sqlx::Postgres>::new().column("a", "b").same("c", "d");
        let pg = statements(&mapping, "new", false);
        let (sql, _) = pg.digest::<sqlx::Postgres>(Side::New, Which::Between(None, None)).unwrap();
        assert!(
            sql.contains(r#"hash_record_extended(ROW("id", CAST("b" AS text), "d"), 0)"#),
            "{sql}"
        );
        let lite = statements(&Mapping::<sqlx::Sqlite>::new().column("a", "b"), "new", false);
        assert!(lite.digest::<sqlx::Sqlite>(Side::Old, Which::Between(None, None)).is_none());
        let (sql, _) = lite.digests::<sqlx::Sqlite>(Side::Old, Which::Between(None, None));
        assert!(sql.starts_with(r#"SELECT "id", quote("a") FROM "old""#), "{sql}");
    }
}
