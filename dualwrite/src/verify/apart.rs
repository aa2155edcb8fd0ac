//! A look at keys that the database cannot compare together, because a value among them does not fit an expression of
//! the mapping: by halves, until such a row stands alone and is counted as different.

use super::hashed;
use super::mapped::{Suspect, compare_mapped};
use super::plan::Plan;
use super::statements::Which;
use crate::copy::mapping::UNREADABLE;
use crate::copy::run::dialect;
use crate::copy::source::KeyParts;
use crate::database::Backend;
use crate::error::Error;

/// Keys that one statement looks up.
const LOOKUP_KEYS: usize = 500;

type Connection<DB> = <DB as sqlx::Database>::Connection;

/// A row whose values cannot be read as what the mapping says.
pub(crate) fn unreadable(key: &KeyParts) -> Suspect {
    Suspect { fields: vec![UNREADABLE.to_owned()], ..Suspect::of(key.clone()) }
}

/// What differs among these keys; `at_once`: on a second connection too, never in a transaction.
pub(crate) async fn compare_keys<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    which: Which<'_>,
    at_once: bool,
) -> Result<Vec<Suspect>, Error> {
    match plan.mapping().and_then(|mapping| mapping.elsewhere.as_ref()) {
        Some((there, _)) => hashed::compare_hashed(plan, conn, there, which).await,
        None => compare_mapped(plan, conn, which, at_once).await,
    }
}

/// The same where that failed for the data's sake. Not in a transaction, which an error may end.
pub(crate) async fn compare_apart<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    (after, last): (Option<&KeyParts>, Option<&KeyParts>),
) -> Result<Vec<Suspect>, Error> {
    let keys = keys(plan, conn, (after, last)).await?;
    let mut left: Vec<&[KeyParts]> = keys.chunks(LOOKUP_KEYS).collect();
    let mut found = Vec::new();
    while let Some(some) = left.pop() {
        match compare_keys(plan, conn, Which::These(some), false).await {
            Ok(suspects) => found.extend(suspects),
            Err(error) if !error.is_about_data() => return Err(error),
            Err(_) => match some {
                [] => {}
                [one] => found.push(unreadable(one)),
                _ => left.extend(<[_; 2]>::from(some.split_at(some.len() / 2))),
            },
        }
    }
    Ok(found)
}

/// The keys of both sides.
async fn keys<DB: Backend>(
    plan: &Plan<'_, DB>,
    conn: &mut Connection<DB>,
    (after, last): (Option<&KeyParts>, Option<&KeyParts>),
) -> Result<Vec<KeyParts>, Error> {
    let mut keys = plan.keys(conn, &plan.copier.pages.page(after, last, u32::MAX, false)).await?;
    let of_new = match plan.mapping().and_then(|mapping| mapping.elsewhere.as_ref()) {
        Some((there, source)) => {
            let pages = source.pages(dialect::<DB>(), plan.copier.pages.kind)?;
            let acquired = there.acquire().await;
            let mut there =
                acquired.map_err(plan.failed("connecting to the server of the new side"))?;
            plan.keys(&mut there, &pages.page(after, last, u32::MAX, false)).await?
        }
        None => match &plan.copier.new_pages {
            Some(pages) => plan.keys(conn, &pages.page(after, last, u32::MAX, false)).await?,
            None => Vec::new(),
        },
    };
    let known: std::collections::HashSet<KeyParts> = keys.iter().cloned().collect();
    keys.extend(of_new.into_iter().filter(|key| !known.contains(key)));
    Ok(keys)
}
