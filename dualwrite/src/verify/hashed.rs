//! New on another server: one hash per chunk and side, at once; a chunk whose hashes differ is split until
//! few enough keys are left to list them, each with a hash per field.

use std::collections::HashMap;

use futures_util::future::join;

use super::mapped::Suspect;
use super::plan::Plan;
use super::statements::Which;
use crate::copy::source::{Bound, KeyParts, Pages};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::Error;
use crate::stages::stage::Side;
use crate::stages::verification::KeyDifferenceKind;

/// Keys that are listed at once.
const LISTED_MAX: u64 = 1_000;

type Connection<DB> = <DB as sqlx::Database>::Connection;

/// What differs among these keys of two servers.
pub(crate) async fn compare_hashed<DB: Backend>(
    plan: &Plan<'_, DB>,
    here: &mut Connection<DB>,
    there: &sqlx::Pool<DB>,
    which: Which<'_>,
) -> Result<Vec<Suspect>, Error> {
    let acquired = there.acquire().await;
    let mut there = acquired.map_err(plan.failed("connecting to the server of the new side"))?;
    let Which::Between(mut after, last) = which else {
        return listed(plan, here, &mut there, which).await;
    };
    let mut found = Vec::new();
    let mut reached: KeyParts;
    loop {
        let rest = Which::Between(after, last);
        let Some(counts) = differing_counts(plan, here, &mut there, rest).await? else {
            return Ok(found);
        };
        if counts.iter().all(|count| *count <= LISTED_MAX) {
            found.extend(listed(plan, here, &mut there, rest).await?);
            return Ok(found);
        }
        // At most so many keys on the side that has more, in its own order.
        let side = if counts[0] >= counts[1] { Side::Old } else { Side::New };
        let split = plan.statements.chunk_end(&[side], (after, last), LISTED_MAX as u32);
        let conn = if side == Side::Old { &mut *here } else { &mut *there };
        let Some(middle) = plan.keys(conn, &split).await?.pop() else {
            found.extend(listed(plan, here, &mut there, rest).await?);
            return Ok(found);
        };
        let part = Which::Between(after, Some(&middle));
        if differing_counts(plan, here, &mut there, part).await?.is_some() {
            found.extend(listed(plan, here, &mut there, part).await?);
        }
        reached = middle;
        after = Some(&reached);
    }
}

/// The numbers of keys of old and of new, where their hashes differ.
async fn differing_counts<DB: Backend>(
    plan: &Plan<'_, DB>,
    here: &mut Connection<DB>,
    there: &mut Connection<DB>,
    which: Which<'_>,
) -> Result<Option<[u64; 2]>, Error> {
    let digest = |side| plan.statements.digest::<DB>(side, which);
    let (Some(old), Some(new)) = (digest(Side::Old), digest(Side::New)) else {
        return Ok(Some([0, 0])); // nothing to ask for: the rows are listed
    };
    let (old, new) = join(fetch(plan, here, &old), fetch(plan, there, &new)).await;
    let (old, new) = (old?, new?);
    if old[0].0 == new[0].0 {
        return Ok(None);
    }
    let count = |rows: &[SqlRow]| rows[0].unsigned(0).map_err(plan.failed("counting keys"));
    Ok(Some([count(&old)?, count(&new)?]))
}

async fn fetch<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    (sql, values): &Bound,
) -> Result<Vec<SqlRow>, Error> {
    let rows = DB::Adapter::fetch(conn, sql, values).await;
    rows.map_err(plan.failed("hashing a chunk"))
}

async fn listed<DB: Backend>(
    plan: &Plan<'_, DB>,
    here: &mut Connection<DB>,
    there: &mut Connection<DB>,
    which: Which<'_>,
) -> Result<Vec<Suspect>, Error> {
    let digests = |side| plan.statements.digests::<DB>(side, which);
    let (old, new) = (digests(Side::Old), digests(Side::New));
    let (old, new) = join(fetch(plan, here, &old), fetch(plan, there, &new)).await;
    let old = by_key(plan.statements.pages(Side::Old), old?)?;
    let new = by_key(plan.statements.pages(Side::New), new?)?;
    Ok(compare(plan, old, new))
}

type Listed = Vec<(KeyParts, Vec<SqlValue>)>;

fn by_key(pages: &Pages, rows: Vec<SqlRow>) -> Result<Listed, Error> {
    let keys = pages.width();
    let split = |mut row: SqlRow| {
        let values = row.0.split_off(keys);
        Ok((pages.key_of(row)?, values))
    };
    rows.into_iter().map(split).collect()
}

fn compare<DB: Backend>(plan: &Plan<'_, DB>, old: Listed, new: Listed) -> Vec<Suspect> {
    let mut rest: HashMap<KeyParts, Vec<SqlValue>> = new.into_iter().collect();
    let named = plan.mapping().map_or(&[][..], |mapping| &mapping.fields);
    let mut found = Vec::new();
    for (key, values) in old {
        let Some(other) = rest.remove(&key) else {
            found.push(Suspect { kind: KeyDifferenceKind::MissingInNew, ..Suspect::of(key) });
            continue;
        };
        let differing = named.iter().zip(values.iter().zip(&other)).filter(|(_, (a, b))| a != b);
        let fields: Vec<String> = differing.map(|(field, _)| field.name.clone()).collect();
        if !fields.is_empty() {
            found.push(Suspect { fields, ..Suspect::of(key) });
        }
    }
    let orphans = rest.into_keys();
    found.extend(
        orphans.map(|key| Suspect { kind: KeyDifferenceKind::MissingInOld, ..Suspect::of(key) }),
    );
    found
}
