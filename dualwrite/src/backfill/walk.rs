//! A walk over keys beside the backfill: a rehearsal that writes nothing, or a range that is copied now.
//! It claims nothing and stores no progress.

use serde::Serialize;

use super::decide::check_stage;
use crate::backend::Backend;
use crate::backend::sealed::Adapter as _;
use crate::copy::CopyKeys;
use crate::copy::run::{SqlCopier, typed_key};
use crate::copy::source::{KeyParts, key_of};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::shared::Shared;
use crate::stage::Side;

/// Keys in a transaction.
const PAGE: u32 = 500;
/// How many keys that failed a report names.
pub const FAILURES_NAMED_MAX: usize = 100;

/// What a walk over keys did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Walk {
    /// Keys whose row in new was, or would be, written or removed.
    pub migrated: u64,
    /// Keys that need nothing.
    pub skipped: u64,
    /// Keys that cannot be copied.
    pub failed: u64,
    /// The first [`FAILURES_NAMED_MAX`] of them, as JSON, with what the copy function said.
    pub failures: Vec<(String, String)>,
}

/// Where a walk goes, and whether what it does stays.
pub(crate) struct Way {
    pub(crate) from: Option<KeyParts>,
    pub(crate) to: Option<KeyParts>,
    pub(crate) keep: bool,
}

pub(crate) async fn walk<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    way: Way,
) -> Result<Walk, Error> {
    let mut walk = Walk::default();
    // The first key belongs to the range, and pages begin after a key: it is a page of its own.
    if let Some(first) = &way.from {
        one(copier, shared, first, &way, &mut walk).await?;
    }
    let mut after = way.from.clone();
    loop {
        let keys = page(copier, shared, after.as_ref(), &way, PAGE, &mut walk).await?;
        match keys.last() {
            Some(last) => after = Some(last.clone()),
            None => return Ok(walk),
        }
    }
}

/// Copies the next page; where that fails, its keys one by one. Answers with the keys.
async fn page<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    after: Option<&KeyParts>,
    way: &Way,
    limit: u32,
    walk: &mut Walk,
) -> Result<Vec<KeyParts>, Error> {
    let (sql, values) = copier.pages.page(after, way.to.as_ref(), limit, true);
    let (keys, done) = attempt(copier, shared, &sql, &values, way).await?;
    match done {
        Ok((migrated, skipped)) => {
            walk.migrated += migrated;
            walk.skipped += skipped;
        }
        Err(_) => {
            for key in &keys {
                one(copier, shared, key, way, walk).await?;
            }
        }
    }
    Ok(keys)
}

async fn one<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    key: &KeyParts,
    way: &Way,
    walk: &mut Walk,
) -> Result<(), Error> {
    let (sql, values) = copier.pages.row(key, true);
    match attempt(copier, shared, &sql, &values, way).await?.1 {
        Ok((migrated, skipped)) => {
            walk.migrated += migrated;
            walk.skipped += skipped;
        }
        Err(error) => {
            walk.failed += 1;
            if walk.failures.len() < FAILURES_NAMED_MAX {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let key = EncodedKey::from_parts(key)?.0;
                walk.failures.push((key, cause.unwrap_or_default()));
            }
        }
    }
    Ok(())
}

/// The keys that a locking query finds, copied in a transaction that is kept or not; the inner error is the
/// copy function's.
async fn attempt<C: CopyKeys>(
    copier: &SqlCopier<C>,
    shared: &Shared,
    sql: &str,
    values: &[crate::backend::SqlValue],
    way: &Way,
) -> Result<(Vec<KeyParts>, Result<(u64, u64), Error>), Error> {
    let (mut tx, position) = copier.begin(shared).await?;
    if way.keep {
        check_stage(position, Side::New, &shared.name)?;
        // Where new answers, a key may be stale in old alone; `copy` looks at that, for each key.
        if position.reaches().reads() == Side::New {
            let message = format!(
                "a range is not copied at {position}, where new answers already; copy single keys"
            );
            return Err(Error::new(ErrorKind::Blocked, message).of(&shared.name));
        }
    }
    let rows = <C::Database as Backend>::Adapter::fetch(tx.connection(), sql, values).await;
    let rows = rows.map_err(|error| Error::database("reading keys", error).of(&shared.name))?;
    let kind = <C::Key as Key>::KIND;
    let keys: Vec<KeyParts> =
        rows.into_iter().map(|row| key_of(row, kind)).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        tx.rollback().await?;
        return Ok((keys, Ok((0, 0))));
    }
    let typed = keys.iter().map(typed_key).collect::<Result<Vec<C::Key>, Error>>()?;
    match copier.copy_locked(shared, &mut tx, &typed).await {
        Ok(copied) => {
            if way.keep {
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            Ok((keys, Ok((copied.migrated, copied.skipped))))
        }
        Err(error) if error.kind() == ErrorKind::CopyFailed => {
            tx.rollback().await?;
            Ok((keys, Err(error)))
        }
        Err(error) => Err(error),
    }
}
