//! How fields are compared, asked of the database. It has no equality for some: two collations on MySQL and MariaDB, `json`
//! on PostgreSQL; such a field of [`Mapping::same`](crate::Mapping::same) is compared as one of
//! [`Mapping::column`](crate::Mapping::column). And of two columns of one type the catalogue says that their own equality,
//! which is fast, is exact.

use super::statements::{differs, spelled};
use crate::copy::learn::Connection;
use crate::copy::mapping::{Mapped, MappedField, Same};
use crate::copy::run::{SqlCopier, dialect};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::Error;
use crate::preflight::schema::{Column, PlainEquality, Table};

/// What was learned of each field of the mapping.
pub(crate) type Equalities = Vec<Option<Same>>;

/// Asks, on a connection outside of a transaction, which an error would end.
pub(crate) async fn learn<DB: Backend>(copier: &SqlCopier<DB>) -> Result<Equalities, Error> {
    let (None, Some(mapping)) = (copier.elsewhere(), &copier.mapping) else {
        return Ok(Vec::new());
    };
    let exactly = are_exact(copier, &mapping.fields).await?;
    let mut conn = copier.pool.acquire().await.map_err(failed)?;
    let plain = match plainly(copier, &mut conn, &exactly).await {
        Ok(plain) => plain,
        Err(error) if error.is_of_lost_connection() => return Err(error),
        // A column is not there yet. The comparison itself says which one.
        Err(_) => vec![None; exactly.len()],
    };
    let known = exactly.into_iter().zip(plain);
    let learned: Equalities = known
        .map(|(exact, plain)| plain.map(Same::Plainly).or(exact.then_some(Same::Exactly)))
        .collect();
    copier.learned.set(learned.clone());
    Ok(learned)
}

/// The same on the connection of a transaction, where nothing is known yet. It asks for nothing that the database may refuse
/// because of a type, as that would end the transaction on PostgreSQL.
pub(crate) async fn learn_in<DB: Backend>(
    copier: &SqlCopier<DB>,
    conn: &mut Connection<DB>,
) -> Result<(), Error> {
    let (None, Some(mapping)) = (copier.elsewhere(), &copier.mapping) else { return Ok(()) };
    if !copier.learned.is_known() {
        let exactly: Vec<bool> =
            mapping.fields.iter().map(|field| field.same == Same::Exactly).collect();
        let plain = plainly(copier, conn, &exactly).await?;
        copier.learned.set(plain.into_iter().map(|plain| plain.map(Same::Plainly)).collect());
    }
    Ok(())
}

fn failed(error: sqlx::Error) -> Error {
    Error::database("asking the catalogue how fields are compared", error)
}

/// Which fields are compared exactly: by the mapping, or because the database has no equality for them.
async fn are_exact<DB: Backend>(
    copier: &SqlCopier<DB>,
    fields: &[MappedField],
) -> Result<Vec<bool>, Error> {
    let mut exactly: Vec<bool> = fields.iter().map(|field| field.same == Same::Exactly).collect();
    if !dialect::<DB>().server {
        return Ok(exactly);
    }
    let others: Vec<&MappedField> =
        fields.iter().filter(|field| field.same != Same::Exactly).collect();
    if !are_compared(copier, &others).await? {
        for (field, exactly) in fields.iter().zip(&mut exactly) {
            *exactly = *exactly || !are_compared(copier, &[field]).await?;
        }
    }
    Ok(exactly)
}

/// How these fields are compared exactly, where less is enough for it than for any two.
async fn plainly<DB: Backend>(
    copier: &SqlCopier<DB>,
    conn: &mut Connection<DB>,
    exactly: &[bool],
) -> Result<Vec<Option<PlainEquality>>, Error> {
    let fields = copier.mapping.as_ref().map_or(&[][..], |mapping| &mapping.fields);
    let mut found = vec![None; fields.len()];
    let exactly = fields.iter().enumerate().filter(|(at, _)| exactly[*at]);
    let exactly: Vec<(usize, &MappedField)> = exactly.collect();
    if exactly.is_empty() {
        return Ok(found);
    }
    let [old, new] = tables::<DB>(copier, conn).await.map_err(failed)?;
    let mut others = Vec::new();
    for (at, field) in exactly {
        let columns = column(old.as_ref(), &field.old).zip(column(new.as_ref(), &field.new));
        found[at] = columns.and_then(|(old, new)| DB::Adapter::compared_plainly(old, new));
        if found[at].is_none() {
            others.push((at, scalars(copier, field)?));
        }
    }
    let queries: Vec<[String; 2]> = others.iter().map(|(_, queries)| queries.clone()).collect();
    let types = DB::Adapter::compared_by_type(conn, &queries).await.map_err(failed)?;
    for ((at, _), equality) in others.into_iter().zip(types) {
        found[at] = equality;
    }
    Ok(found)
}

/// The columns of a view are expressions, whose values need not be as their type says.
fn column<'t>(table: Option<&'t Table>, mapped: &Mapped) -> Option<&'t Column> {
    let Mapped::Column(name) = mapped else { return None };
    let table = table.filter(|table| !table.is_view)?;
    table.columns.iter().find(|column| column.name == *name)
}

/// Queries that have the type of the field on either side, and no row.
fn scalars<DB: Backend>(copier: &SqlCopier<DB>, field: &MappedField) -> Result<[String; 2], Error> {
    let new = copier.new_pages.as_ref().unwrap_or(&copier.pages);
    let query = |value: String, table: &str| format!("SELECT {value} FROM {table} LIMIT 0");
    Ok([
        query(spelled::<DB>(&field.old)?, copier.pages.table()),
        query(spelled::<DB>(&field.new)?, new.table()),
    ])
}

async fn tables<DB: Backend>(
    copier: &SqlCopier<DB>,
    conn: &mut Connection<DB>,
) -> sqlx::Result<[Option<Table>; 2]> {
    let new = copier.new_pages.as_ref().unwrap_or(&copier.pages);
    let names = [copier.pages.name(), new.name()];
    let mut tables = DB::Adapter::catalogue(conn, &names).await?.into_iter();
    Ok([tables.next().flatten(), tables.next().flatten()])
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

    let mut conn = copier.pool.acquire().await.map_err(failed)?;
    match DB::Adapter::fetch(&mut conn, &sql, &[]).await {
        Ok(_) => Ok(true),
        Err(error) if error.as_database_error().is_some() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}
