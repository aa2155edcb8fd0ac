//! A look at some keys by the mapping: in SQL, in Rust, or both.

use std::collections::HashMap;

use futures_util::future::join;

use super::chunk::Plan;
use super::decide::{KeyDifference, KeyDifferenceKind};
use super::statements::Which;
use crate::copy::CopyKeys;
use crate::copy::mapping::{RowMapping, UNREADABLE};
use crate::copy::source::{Bound, KeyParts, key_of};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::stages::stage::Side;

/// A key that seems to differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) key: KeyParts,
    pub(crate) kind: KeyDifferenceKind,
    pub(crate) fields: Vec<String>,
}

impl Suspect {
    pub(crate) fn of(key: KeyParts) -> Self {
        Self { key, kind: KeyDifferenceKind::Different, fields: Vec::new() }
    }

    pub(crate) fn report(self) -> Result<KeyDifference, Error> {
        let key = EncodedKey::from_parts(&self.key)?.0;
        Ok(KeyDifference { key, kind: self.kind, fields: self.fields })
    }
}

/// Keys that one statement looks up: every database takes so many values, also in keys of four columns.
const LOOKED_UP: usize = 500;

type Connection<C> = <<C as CopyKeys>::Database as sqlx::Database>::Connection;
type Row<C> = <<C as CopyKeys>::Database as sqlx::Database>::Row;

/// What differs among these keys, in one database. `at_once`: on a second connection too, where there is
/// one to spare; never in a transaction.
pub(crate) async fn look<C: CopyKeys>(
    plan: &Plan<'_, C>,
    conn: &mut Connection<C>,
    which: Which<'_>,
    at_once: bool,
) -> Result<Vec<Suspect>, Error> {
    let rows = plan.mapping().and_then(|mapping| mapping.rows.as_ref());
    if rows.is_some() && plan.statements.field_count() == 0 {
        return match rows {
            Some(rows) => in_rust(plan, conn, which, rows, at_once).await,
            None => Ok(Vec::new()),
        };
    }
    let found = in_sql(plan, conn, which).await?;
    match rows {
        Some(rows) => Ok(merge(found, in_rust(plan, conn, which, rows, at_once).await?)),
        None => Ok(found),
    }
}

/// Two looks at the same keys.
fn merge(mut found: Vec<Suspect>, more: Vec<Suspect>) -> Vec<Suspect> {
    let known: HashMap<KeyParts, usize> =
        found.iter().enumerate().map(|(at, suspect)| (suspect.key.clone(), at)).collect();
    for suspect in more {
        match known.get(&suspect.key) {
            Some(at) => found[*at].fields.extend(suspect.fields),
            None => found.push(suspect),
        }
    }
    found
}

async fn in_sql<C: CopyKeys>(
    plan: &Plan<'_, C>,
    conn: &mut Connection<C>,
    which: Which<'_>,
) -> Result<Vec<Suspect>, Error> {
    let failed = plan.failed(
        "comparing a chunk; the fields of the mapping must be comparable, and text keys have one \
         collation on both sides",
    );
    let (sql, values) = plan.statements.differing(which);
    let rows = <C::Database as Backend>::Adapter::fetch(conn, &sql, &values).await;
    let kind = <C::Key as Key>::KIND;
    let keys = kind.columns().count();
    let mut found = Vec::new();
    for row in rows.map_err(&failed)? {
        let what = match row.integer(keys).map_err(&failed)? {
            1 => KeyDifferenceKind::MissingInNew,
            2 => KeyDifferenceKind::MissingInOld,
            _ => KeyDifferenceKind::Different,
        };
        let mut fields = Vec::new();
        let named = plan.mapping().map_or(&[][..], |mapping| &mapping.fields);
        for (field, value) in named.iter().zip(&row.0[keys + 1..]) {
            let differs = what == KeyDifferenceKind::Different && *value == SqlValue::from(1_i64);
            if differs && !fields.contains(&field.name) {
                fields.push(field.name.clone());
            }
        }
        found.push(Suspect { key: key_of(row, kind)?, kind: what, fields });
    }
    Ok(found)
}

async fn in_rust<C: CopyKeys>(
    plan: &Plan<'_, C>,
    conn: &mut Connection<C>,
    which: Which<'_>,
    mapping: &RowMapping<C::Database>,
    at_once: bool,
) -> Result<Vec<Suspect>, Error> {
    let statements = &plan.statements;
    if statements.one_row {
        let rows = fetch(plan, conn, statements.rows(Side::Old, &mapping.both, which)?).await?;
        let mut found = Vec::new();
        for row in &rows {
            found.extend(judge(plan, mapping, row, row)?);
        }
        return Ok(found);
    }
    let old = statements.rows(Side::Old, &mapping.old, which)?;
    if statements.strays_apart && matches!(which, Which::Between(..)) {
        // What lies between these keys by the order of new may be other keys: each is looked up.
        let old = fetch(plan, conn, old).await?;
        let mut new = Vec::with_capacity(old.len());
        for rows in old.chunks(LOOKED_UP) {
            let keys = rows.iter().map(key::<C>).collect::<Result<Vec<_>, Error>>()?;
            let rows = statements.rows(Side::New, &mapping.new, Which::These(&keys))?;
            new.extend(fetch(plan, conn, rows).await?);
        }
        let mut found = pair(plan, mapping, &old, &new)?;
        // A pass of its own looks for these.
        found.retain(|suspect| suspect.kind != KeyDifferenceKind::MissingInOld);
        return Ok(found);
    }
    let new = statements.rows(Side::New, &mapping.new, which)?;
    let second = if at_once { plan.copier.pool.try_acquire() } else { None };
    let (old, new) = match second {
        Some(mut second) => join(fetch(plan, conn, old), fetch(plan, &mut second, new)).await,
        None => (fetch(plan, conn, old).await, fetch(plan, conn, new).await),
    };
    pair(plan, mapping, &old?, &new?)
}

async fn fetch<C: CopyKeys>(
    plan: &Plan<'_, C>,
    conn: &mut Connection<C>,
    (sql, bound): Bound,
) -> Result<Vec<Row<C>>, Error> {
    let mut values = <C::Database as sqlx::Database>::Arguments::default();
    for value in &bound {
        <C::Database as Backend>::Adapter::push_value(&mut values, value).map_err(|error| {
            let message = "a key cannot be bound";
            Error::new(ErrorKind::WrongKey, message).caused_by(error).of(&plan.shared.name)
        })?;
    }
    let rows = <C::Database as Backend>::Adapter::fetch_typed(conn, &sql, values).await;
    rows.map_err(plan.failed("reading rows to compare"))
}

fn key_columns<C: CopyKeys>(row: &Row<C>, count: usize) -> Result<SqlRow, Error> {
    let row = <C::Database as Backend>::Adapter::key_columns(row, count);
    row.map_err(|error| Error::database("reading a key", error))
}

fn key<C: CopyKeys>(row: &Row<C>) -> Result<KeyParts, Error> {
    let kind = <C::Key as Key>::KIND;
    key_of(key_columns::<C>(row, kind.columns().count())?, kind)
}

/// Rows of both sides, each in the order of keys. They go in step as long as the keys are the same; from
/// the first gap on, rows of new are looked up by key, so the two orders need not agree.
fn pair<C: CopyKeys>(
    plan: &Plan<'_, C>,
    mapping: &RowMapping<C::Database>,
    old: &[Row<C>],
    new: &[Row<C>],
) -> Result<Vec<Suspect>, Error> {
    let mut found = Vec::new();
    let (mut at, count) = (0, <C::Key as Key>::KIND.columns().count());
    while let (Some(left), Some(right)) = (old.get(at), new.get(at)) {
        if key_columns::<C>(left, count)?.0 != key_columns::<C>(right, count)?.0 {
            break;
        }
        found.extend(judge(plan, mapping, left, right)?);
        at += 1;
    }
    let mut rest = HashMap::new();
    for row in &new[at..] {
        rest.insert(key::<C>(row)?, row);
    }
    for left in &old[at..] {
        let key = key::<C>(left)?;
        match rest.remove(&key) {
            Some(right) => found.extend(judge(plan, mapping, left, right)?),
            None => {
                found.push(Suspect { kind: KeyDifferenceKind::MissingInNew, ..Suspect::of(key) })
            }
        }
    }
    let strays = rest.into_keys();
    found.extend(
        strays.map(|key| Suspect { kind: KeyDifferenceKind::MissingInOld, ..Suspect::of(key) }),
    );
    Ok(found)
}

fn judge<C: CopyKeys>(
    plan: &Plan<'_, C>,
    mapping: &RowMapping<C::Database>,
    old: &Row<C>,
    new: &Row<C>,
) -> Result<Option<Suspect>, Error> {
    let fields = match (mapping.judge)(old, new) {
        Ok(fields) if fields.is_empty() => return Ok(None),
        Ok(fields) => fields,
        // This row's own fault; all else is the mapping's.
        Err(sqlx::Error::ColumnDecode { .. }) => vec![UNREADABLE.to_owned()],
        Err(error) => {
            let message = "a row does not fit the types of the mapping";
            let error = Error::new(ErrorKind::CopyFailed, message).caused_by(error);
            return Err(error.of(&plan.shared.name));
        }
    };
    Ok(Some(Suspect { fields, ..Suspect::of(key::<C>(old)?) }))
}
