//! Which fields the database has no equality for: two collations on MySQL and MariaDB, `json` on PostgreSQL. Such a
//! field of [`Mapping::same`](crate::Mapping::same) is compared as one of [`Mapping::column`](crate::Mapping::column).

use super::statements::{differs, spelled};
use crate::copy::mapping::{MappedField, Same};
use crate::copy::run::{SqlCopier, dialect};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::Error;

/// Asks, on a connection outside of a transaction, which an error would end.
pub(crate) async fn learn<DB: Backend>(copier: &SqlCopier<DB>) -> Result<(), Error> {
    if copier.elsewhere().is_some() || !dialect::<DB>().server {
        return Ok(());
    }
    let Some(mapping) = &copier.mapping else { return Ok(()) };
    let asked: Vec<(usize, &MappedField)> = mapping
        .fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.same != Same::Exactly)
        .collect();
    let mut exactly = vec![false; mapping.fields.len()];
    let all: Vec<&MappedField> = asked.iter().map(|(_, field)| *field).collect();
    if !are_compared(copier, &all).await? {
        for (at, field) in asked {
            exactly[at] = !are_compared(copier, &[field]).await?;
        }
    }
    copier.exactly.set(exactly);
    Ok(())
}

/// Whether the database takes the statement that compares these fields.
async fn are_compared<DB: Backend>(
    copier: &SqlCopier<DB>,
    fields: &[&MappedField],
) -> Result<bool, Error> {
    if fields.is_empty() {
        return Ok(true);
    }
    let (mut old, mut new, mut conditions) = (Vec::new(), Vec::new(), Vec::new());
    let new_table = copier.new_pages.as_ref().unwrap_or(&copier.pages).table();
    let old_table = copier.pages.table();
    for (at, field) in fields.iter().enumerate() {
        let (of_old, of_new) = (spelled::<DB>(&field.old)?, spelled::<DB>(&field.new)?);
        let sides = [format!("o.f{at}"), format!("n.f{at}")];
        conditions.push(differs(dialect::<DB>(), &sides, field.same));
        // Of two collations PostgreSQL complains when it compares, and before it makes a union.
        conditions.push(format!(
            "EXISTS (SELECT {of_old} FROM {old_table} UNION SELECT {of_new} FROM {new_table})"
        ));
        old.push(format!("{of_old} AS f{at}"));
        new.push(format!("{of_new} AS f{at}"));
    }
    let sql = format!(
        "SELECT 1 FROM (SELECT {} FROM {}) o CROSS JOIN (SELECT {} FROM {new_table}) n WHERE 1 = 0 AND ({})",
        old.join(", "),
        old_table,
        new.join(", "),
        conditions.join(" OR ")
    );
    let failed = |error| Error::database("asking how fields are compared", error);
    let mut conn = copier.pool.acquire().await.map_err(failed)?;
    match DB::Adapter::fetch(&mut conn, &sql, &[]).await {
        Ok(_) => Ok(true),
        Err(error) if error.as_database_error().is_some() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}
