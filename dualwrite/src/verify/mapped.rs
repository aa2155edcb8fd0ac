//! A look at some keys by the mapping: in SQL, in Rust, or both.

use std::collections::{HashMap, HashSet};

use futures_util::future::join;

use super::plan::Plan;
use super::statements::Which;
use crate::copy::mapping::{RowMapping, UNREADABLE};
use crate::copy::source::{Bound, KeyParts};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::{Error, ErrorKind, Plain};
use crate::key::{EncodedKey, KEY_BYTES_MAX, KeyPart};
use crate::preflight::form::Spelling;
use crate::stages::stage::Side;
use crate::stages::verification::{KeyDifference, KeyDifferenceKind};

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
        let key = named(&self.key)?.0;
        Ok(KeyDifference { key, kind: self.kind, fields: self.fields })
    }
}

/// A key as reports name it: one that is too long to be recorded by the beginnings of its texts.
pub(super) fn named(key: &KeyParts) -> Result<EncodedKey, Error> {
    let mut chars = KEY_BYTES_MAX;
    let mut named = EncodedKey::from_parts(key);
    while named.is_err() && chars > 1 {
        chars /= 2;
        let shorten = |part: &KeyPart| match part {
            KeyPart::Text(text) if text.chars().count() > chars => {
                KeyPart::Text(text.chars().take(chars).chain(['…']).collect())
            }
            KeyPart::Bytes(bytes) if bytes.len() > chars => {
                KeyPart::Bytes(bytes.iter().take(chars).copied().collect())
            }
            part => part.clone(),
        };
        named = EncodedKey::from_parts(&key.iter().map(shorten).collect::<KeyParts>());
    }
    named
}

/// Keys that one statement looks up: every database takes so many values, also in keys of four columns.
const LOOKUP_KEYS: usize = 500;

type Connection<DB> = <DB as sqlx::Database>::Connection;
type Row<DB> = <DB as sqlx::Database>::Row;

/// What differs among these keys, in one database. `at_once`: on a second connection too, where there is
/// one to spare; never in a transaction.
pub(crate) async fn compare_mapped<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
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

async fn in_sql<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    which: Which<'_>,
) -> Result<Vec<Suspect>, Error> {
    let failed = plan.failed(
        "comparing a chunk; where a type has no equality, name its field by an expression of the mapping that \
         turns it into a text",
    );
    // Most chunks are equal, and to count is faster than to ask twice for what one side lacks.
    if let Some((sql, values)) = plan.statements.counted(which) {
        let rows = DB::Adapter::fetch(conn, &sql, &values).await.map_err(&failed)?;
        let numbers = rows[0].0.iter().enumerate().map(|(at, _)| rows[0].integer(at));
        let numbers = numbers.collect::<sqlx::Result<Vec<_>>>().map_err(&failed)?;
        if let [new, old, both, 0] = numbers[..]
            && new == old
            && old == both
        {
            return Ok(Vec::new());
        }
    }
    let (sql, values) = plan.statements.differing(which);
    let rows = DB::Adapter::fetch(conn, &sql, &values).await;
    let kind = plan.copier.pages.kind;
    let keys = kind.columns().count();
    let sides = [Side::Old, Side::New].map(|side| plan.statements.pages(side));
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
        found.push(Suspect { key: sides[0].key_of_either(sides[1], row)?, kind: what, fields });
    }
    Ok(found)
}

async fn in_rust<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    which: Which<'_>,
    mapping: &RowMapping<DB>,
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
    if statements.orphans_apart && matches!(which, Which::Between(..)) {
        // What lies between these keys by the order of new may be other keys: each is looked up.
        let old = fetch(plan, conn, old).await?;
        let mut new = Vec::with_capacity(old.len());
        for rows in old.chunks(LOOKUP_KEYS) {
            let keys = rows.iter().map(|row| key(plan, Side::Old, row));
            let keys = keys.collect::<Result<Vec<_>, Error>>()?;
            let rows = statements.rows(Side::New, &mapping.new, Which::These(&keys))?;
            new.extend(fetch(plan, conn, rows).await?);
        }
        let spelled = spellings(plan, conn, &old, &new).await?;
        let mut found = pair(plan, mapping, &old, &new, &spelled)?;
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
    let (old, new) = (old?, new?);
    let spelled = spellings(plan, conn, &old, &new).await?;
    pair(plan, mapping, &old, &new, &spelled)
}

/// Keys of new that are those of old in another spelling, with the spelling of old.
type Spellings = HashMap<KeyParts, KeyParts>;

async fn spellings<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    old: &[Row<DB>],
    new: &[Row<DB>],
) -> Result<Spellings, Error> {
    let mut spelled = Spellings::new();
    if plan.copier.spelling() == Spelling::Exact && plan.statements.alike {
        return Ok(spelled);
    }
    let there = new.iter().map(|row| key(plan, Side::New, row));
    let there = there.collect::<Result<HashSet<_>, Error>>()?;
    let mut alone = Vec::new();
    for row in old {
        let key = key(plan, Side::Old, row)?;
        alone.extend((!there.contains(&key)).then_some(key));
    }
    let sides = [Side::Old, Side::New].map(|side| plan.statements.pages(side));
    for keys in alone.chunks(LOOKUP_KEYS) {
        let (sql, values) = plan.statements.spellings(keys);
        let rows = DB::Adapter::fetch(conn, &sql, &values).await;
        for mut row in rows.map_err(plan.failed("looking for other spellings of keys"))? {
            let theirs = SqlRow(row.0.split_off(sides[0].width()));
            let theirs = sides[1].key_of_either(sides[0], theirs)?;
            spelled.insert(theirs, sides[0].key_of_either(sides[1], row)?);
        }
    }
    Ok(spelled)
}

async fn fetch<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    (sql, bound): Bound,
) -> Result<Vec<Row<DB>>, Error> {
    let mut values = <DB as sqlx::Database>::Arguments::default();
    for value in &bound {
        DB::Adapter::push_value(&mut values, value).map_err(|error| {
            let message = "a key cannot be bound";
            Error::new(ErrorKind::WrongKey, message).caused_by(error).of(&plan.shared.name)
        })?;
    }
    let rows = DB::Adapter::fetch_typed(conn, &sql, values).await;
    rows.map_err(plan.failed("reading rows to compare"))
}

fn key_columns<DB: Backend>(row: &Row<DB>, count: usize) -> Result<SqlRow, Error> {
    let row = DB::Adapter::key_columns(row, count);
    row.map_err(|error| Error::database("reading a key", error))
}

fn key<DB: Backend>(plan: &Plan<'_, DB>, side: Side, row: &Row<DB>) -> Result<KeyParts, Error> {
    let pages = plan.statements.pages(side);
    pages.key_of(key_columns::<DB>(row, pages.width())?)
}

/// Rows of both sides, each in the order of keys. They go in step as long as the keys are the same; from
/// the first gap on, rows of new are looked up by key, so the two orders need not agree.
fn pair<DB: Backend>(
    plan: &Plan<'_, DB>,
    mapping: &RowMapping<DB>,
    old: &[Row<DB>],
    new: &[Row<DB>],
    spelled: &Spellings,
) -> Result<Vec<Suspect>, Error> {
    let mut found = Vec::new();
    let (mut at, count) = (0, plan.copier.pages.kind.columns().count());
    while let (Some(left), Some(right)) = (old.get(at), new.get(at)) {
        if key_columns::<DB>(left, count)?.0 != key_columns::<DB>(right, count)?.0 {
            break;
        }
        found.extend(judge(plan, mapping, left, right)?);
        at += 1;
    }
    let mut rest = HashMap::new();
    for row in &new[at..] {
        let key = key(plan, Side::New, row)?;
        rest.insert(spelled.get(&key).cloned().unwrap_or(key), row);
    }
    for left in &old[at..] {
        let key = key(plan, Side::Old, left)?;
        match rest.remove(&key) {
            Some(right) => found.extend(judge(plan, mapping, left, right)?),
            None => {
                found.push(Suspect { kind: KeyDifferenceKind::MissingInNew, ..Suspect::of(key) })
            }
        }
    }
    let orphans = rest.into_keys();
    found.extend(
        orphans.map(|key| Suspect { kind: KeyDifferenceKind::MissingInOld, ..Suspect::of(key) }),
    );
    Ok(found)
}

fn judge<DB: Backend>(
    plan: &Plan<'_, DB>,
    mapping: &RowMapping<DB>,
    old: &Row<DB>,
    new: &Row<DB>,
) -> Result<Option<Suspect>, Error> {
    let fields = match (mapping.judge)(old, new) {
        Ok(fields) if fields.is_empty() => return Ok(None),
        Ok(fields) => fields,
        // This row's own fault; all else is the mapping's.
        Err(sqlx::Error::ColumnDecode { .. }) => vec![UNREADABLE.to_owned()],
        Err(sqlx::Error::Decode(cause)) if !cause.is::<Plain>() => vec![UNREADABLE.to_owned()],
        Err(error) => {
            let message = "a row does not fit the types of the mapping";
            let error = Error::new(ErrorKind::CopyFailed, message).caused_by(error);
            return Err(error.of(&plan.shared.name));
        }
    };
    Ok(Some(Suspect { fields, ..Suspect::of(key(plan, Side::Old, old)?) }))
}
