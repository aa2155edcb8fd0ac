//! A drawn pair of tables: their columns, their statements, and the oracle, which knows nothing of the library.

use std::marker::PhantomData;

use dualwrite::{CopySql, Mapping, OwnedKey, copy::KeySource};
use uuid::Uuid;

use super::columns::{Kind, Value, integer, key_types, other_types, uuid, values, word};
use crate::support::db::Scratch;
use crate::support::dice::Dice;
use crate::support::sql::Sql;

/// A key that can be drawn, with its literals.
pub(super) trait DrawnKey:
    OwnedKey + Clone + std::fmt::Debug + Send + Sync + 'static
{
    const KINDS: &'static [Kind];

    fn draw(dice: &mut Dice, columns: &[&'static str]) -> (Self, Vec<String>);
}

macro_rules! drawn_key {
    ($($key:ty, $kind:ident, |$dice:ident, $column:ident| $draw:expr;)*) => {$(
        impl DrawnKey for $key {
            const KINDS: &'static [Kind] = &[Kind::$kind];

            fn draw($dice: &mut Dice, columns: &[&'static str]) -> (Self, Vec<String>) {
                let $column = columns[0];
                let (key, literal) = $draw;
                (key, vec![literal])
            }
        }
    )*};
}
drawn_key! {
    i64, Integer, |dice, _column| integer(dice);
    String, Text, |dice, _column| word(dice);
    Uuid, Uuid, |dice, column| uuid(dice, column);
}

macro_rules! drawn_pair {
    ($($a:ty, $a_kind:ident, $b:ty, $b_kind:ident;)*) => {$(
        impl DrawnKey for ($a, $b) {
            const KINDS: &'static [Kind] = &[Kind::$a_kind, Kind::$b_kind];

            fn draw(dice: &mut Dice, columns: &[&'static str]) -> (Self, Vec<String>) {
                let (a, mut literals) = <$a>::draw(dice, &columns[..1]);
                let (b, more) = <$b>::draw(dice, &columns[1..]);
                literals.extend(more);
                ((a, b), literals)
            }
        }
    )*};
}
drawn_pair! {
    i64, Integer, i64, Integer;
    i64, Integer, String, Text;
    String, Text, i64, Integer;
    String, Text, String, Text;
    Uuid, Uuid, String, Text;
}

/// The columns of values; a mapping must be a plain function, so there are always as many.
const VALUES: usize = 3;

pub(super) struct Schema<D, K> {
    keys: Vec<&'static str>,
    /// Those of new, which may be of another type.
    new_keys: Vec<&'static str>,
    /// By a unique index whose columns take NULL, or by the primary key.
    by_index: bool,
    values: Vec<&'static Value>,
    nullable: Vec<bool>,
    types: PhantomData<fn() -> (D, K)>,
}

impl<D: Sql, K: DrawnKey> Schema<D, K> {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let keys: Vec<&'static str> =
            K::KINDS.iter().map(|kind| *dice.pick(key_types(*kind, D::NAME))).collect();
        let new_key = |column: &&'static str| match other_types(D::NAME, column) {
            others if !others.is_empty() && dice.one_in(2) => *dice.pick(others),
            _ => *column,
        };
        let new_keys = keys.iter().map(new_key).collect();
        let by_index = dice.one_in(4);
        let values = (0..VALUES).map(|_| dice.pick(values(D::NAME))).collect();
        let nullable = (0..VALUES).map(|_| dice.one_in(2)).collect();
        Self { keys, new_keys, by_index, values, nullable, types: PhantomData }
    }

    /// For the message of a failed test.
    pub(super) fn shown(&self) -> String {
        let values: Vec<_> = self.values.iter().zip(&self.nullable).collect();
        let values: Vec<_> = values
            .iter()
            .map(|(value, null)| {
                format!("{} → {}{}", value.old, value.new, if **null { " NULL" } else { "" })
            })
            .collect();
        let (old, new) = (&self.keys, &self.new_keys);
        let by = if self.by_index { "a unique index" } else { "the primary key" };
        format!("{}: keys {old:?} → {new:?} by {by}, values {}", D::NAME, values.join(", "))
    }

    pub(super) fn key(&self, dice: &mut Dice) -> (K, Vec<String>) {
        K::draw(dice, &self.keys)
    }

    pub(super) fn tables(&self) -> String {
        let table = |name: &str, is_new: bool| {
            let keys = if is_new { &self.new_keys } else { &self.keys };
            let (null, by) = match self.by_index {
                true => ("", "UNIQUE"),
                false => ("NOT NULL", "PRIMARY KEY"),
            };
            let mut columns: Vec<String> = keys
                .iter()
                .enumerate()
                .map(|(number, column)| format!("k{number} {column} {null}"))
                .collect();
            for (number, value) in self.values.iter().enumerate() {
                let column = if is_new { value.new } else { value.old };
                let null = if self.nullable[number] { "NULL" } else { "NOT NULL" };
                columns.push(format!("v{number} {column} {null}"));
            }
            format!("CREATE TABLE {name} ({}, {by} ({}))", columns.join(", "), self.key_names())
        };
        format!("{}; {}", table("old_row", false), table("new_row", true))
    }

    fn key_names(&self) -> String {
        let names: Vec<_> = (0..self.keys.len()).map(|number| format!("k{number}")).collect();
        names.join(", ")
    }

    /// What an insert does where the key is there.
    fn otherwise(&self) -> String {
        let set = |value: fn(usize) -> String| {
            let each: Vec<_> =
                (0..VALUES).map(|number| format!("v{number} = {}", value(number))).collect();
            each.join(", ")
        };
        match D::NAME {
            "mysql" => {
                format!("ON DUPLICATE KEY UPDATE {}", set(|number| format!("VALUES(v{number})")))
            }
            _ => {
                let excluded = set(|number| format!("excluded.v{number}"));
                format!("ON CONFLICT ({}) DO UPDATE SET {excluded}", self.key_names())
            }
        }
    }

    /// A statement that writes the row of this key, or removes it; `{table}` stands for the table.
    pub(super) fn statement(&self, dice: &mut Dice, key: &[String]) -> String {
        if dice.one_in(4) {
            let each =
                key.iter().enumerate().map(|(number, literal)| format!("k{number} = {literal}"));
            return format!(
                "DELETE FROM {{table}} WHERE {}",
                each.collect::<Vec<_>>().join(" AND ")
            );
        }
        self.upsert(dice, key)
    }

    pub(super) fn upsert(&self, dice: &mut Dice, key: &[String]) -> String {
        let values = self.values.iter().zip(&self.nullable).map(|(value, nullable)| {
            if *nullable && dice.one_in(3) { "NULL" } else { value.literal(dice) }
        });
        let values: Vec<&str> = key.iter().map(String::as_str).chain(values).collect();
        let columns: Vec<_> = (0..VALUES).map(|number| format!("v{number}")).collect();
        let columns = format!("{}, {}", self.key_names(), columns.join(", "));
        format!(
            "INSERT INTO {{table}} ({columns}) VALUES ({}) {}",
            values.join(", "),
            self.otherwise()
        )
    }

    pub(super) fn copy(&self) -> CopySql<D::Db, K> {
        let source = |table: &str| {
            let source = KeySource::table(table);
            (0..self.keys.len()).fold(source, |source, number| source.column(format!("k{number}")))
        };
        let always = D::sql("WHERE true", "", "");
        let copying =
            format!("INSERT INTO new_row SELECT * FROM {{rows}} o {always} {}", self.otherwise());
        let same: Vec<_> =
            (0..self.keys.len()).map(|number| format!("o.k{number} = new_row.k{number}")).collect();
        let removing = format!(
            "DELETE FROM new_row WHERE {{{}}} AND NOT EXISTS (SELECT 1 FROM old_row o WHERE {})",
            self.key_names(),
            same.join(" AND ")
        );
        CopySql::new(source("old_row"))
            .new_source(source("new_row"))
            .copying(copying.leak())
            .removing(removing.leak())
            .compared_by(|| Mapping::new().column("v0", "v0").column("v1", "v1").column("v2", "v2"))
    }

    /// Rows of old, rows of new, and pairs of rows that are the same to the letter.
    pub(super) async fn counts(&self, db: &Scratch<D>) -> [i64; 3] {
        let mut same: Vec<String> =
            (0..self.keys.len()).map(|number| format!("o.k{number} = n.k{number}")).collect();
        same.extend(self.values.iter().enumerate().map(|(number, value)| {
            let is_text = value.old.contains("TEXT") || value.old.contains("CHAR");
            match (D::NAME, is_text) {
                ("sqlite", _) => format!("o.v{number} COLLATE BINARY IS n.v{number}"),
                ("postgres", _) => format!("CAST(o.v{number} AS text) COLLATE \"C\" IS NOT DISTINCT FROM CAST(n.v{number} AS text)"),
                (_, true) => format!("BINARY o.v{number} <=> BINARY n.v{number}"),
                (_, false) => format!("o.v{number} <=> n.v{number}"),
            }
        }));
        let pairs =
            format!("SELECT count(*) FROM old_row o JOIN new_row n ON {}", same.join(" AND "));
        [
            db.number("SELECT count(*) FROM old_row").await,
            db.number("SELECT count(*) FROM new_row").await,
            db.number(&pairs).await,
        ]
    }
}

/// What the drawn types need on PostgreSQL.
pub(super) const POSTGRES_TYPES: &str = "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; \
     CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
     CREATE COLLATION german (provider = icu, locale = 'de'); \
     CREATE DOMAIN label AS varchar(20) CHECK (VALUE <> '')";
