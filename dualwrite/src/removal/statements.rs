//! The statements of a removal: another name, the old name again, and the way to drop. Pure.

use super::declared::Removal;
use crate::contract::declared::{Contract, OldObject};
use crate::contract::relax::{quoted, quoted_table};
use crate::database::Dialect;
use crate::preflight::schema::{Column, TableName};

/// Names have 63 bytes on PostgreSQL.
const NAME_BYTES_MAX: usize = 63;

/// Whether the database puts something into the column by itself. MariaDB says that the default is NULL where there is none.
pub(crate) fn fills_itself(column: &Column) -> bool {
    let default = column.default.as_ref().is_some_and(|text| !text.eq_ignore_ascii_case("null"));
    default || column.is_generated || !column.extra.is_empty()
}

/// The name that something has while it is out of the way.
pub(crate) fn gone_name(name: &str) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    let ending = format!("_gone_{:08x}", hash & 0xffff_ffff);
    let mut kept = name.to_owned();
    while kept.len() + ending.len() > NAME_BYTES_MAX {
        kept.pop();
    }
    kept + &ending
}

/// The same object by that name.
pub(crate) fn renamed(object: &OldObject) -> OldObject {
    match &object.column {
        Some(column) => OldObject { column: Some(gone_name(column)), ..object.clone() },
        None => {
            let name = object.table_name();
            let schema = name.schema.map(|schema| schema + ".").unwrap_or_default();
            OldObject { table: schema + &gone_name(&name.name), column: None }
        }
    }
}

/// All of them by that name, for whoever reads the catalogue or drops them.
pub(crate) fn all_renamed(removal: &Removal) -> Contract {
    removal.objects().iter().map(renamed).fold(Contract::new(), |contract, object| {
        match object.column {
            Some(column) => contract.column(object.table, column),
            None => contract.table(object.table),
        }
    })
}

/// The statement that gives an object the name of the other one.
pub(crate) fn rename(from: &OldObject, to: &OldObject, dialect: &Dialect) -> String {
    let (own, other) = (from.table_name(), to.table_name());
    let table = quoted_table(&own, dialect);
    match (&from.column, &to.column) {
        (Some(from), Some(to)) => {
            let (from, to) = (quoted(from, dialect), quoted(to, dialect));
            format!("ALTER TABLE {table} RENAME COLUMN {from} TO {to}")
        }
        _ => {
            // Elsewhere it stays in its schema by itself.
            let schema = other.schema.filter(|_| dialect.on_duplicate_key);
            let other = quoted_table(&TableName { schema, name: other.name }, dialect);
            format!("ALTER TABLE {table} RENAME TO {other}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_out_of_the_way_is_short_enough_and_its_own() {
        let long = "a".repeat(70);
        assert!(gone_name(&long).len() <= NAME_BYTES_MAX);
        assert_ne!(gone_name(&long), gone_name(&"a".repeat(69)));
        assert!(gone_name("fax").starts_with("fax_gone_"));
        let table = OldObject { table: "shop.fax".into(), column: None };
        assert!(renamed(&table).table.starts_with("shop.fax_gone_"));
        let column = OldObject { table: "shop.fax".into(), column: Some("number".into()) };
        assert_eq!(renamed(&column).table, "shop.fax");
        assert!(renamed(&column).column.unwrap().starts_with("number_gone_"));
    }
}
