//! A second look, under the lock of a copy: whatever differs then, differs. Few keys in a transaction, so
//! that no writer waits long.

use crate::copy::erased::comparison_failed;
use crate::database::Backend;
use std::collections::HashSet;
use std::time::Duration;

use super::apart::{compare_keys, unreadable};
use super::mapped::Suspect;
use super::plan::Plan;
use super::statements::Which;
use crate::clock;
use crate::copy::source::KeyParts;
use crate::error::{Error, ErrorKind};
use crate::stages::position::Position;
use crate::stages::stage::{Side, Stage};
use crate::stages::verification::KeyDifferenceKind;
use crate::transaction::Tx;

/// Keys that are locked at once.
const KEYS: usize = 50;
/// How often rows may be inserted while they are looked at, and a transaction be chosen to fail.
const ATTEMPTS: u32 = 4;
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A verification may run while every write goes to both sides, whatever the key.
pub(crate) fn check_stage(position: Position, name: &str) -> Result<(), Error> {
    if position.stage.writes_both() && position.reaches() != Stage::Complete {
        return Ok(());
    }
    let message =
        format!("a verification cannot run at {position}: the two sides drift apart there");
    Err(Error::new(ErrorKind::Blocked, message).of(name))
}

/// What came of suspects under the lock.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// Those that really differ.
    pub(crate) differing: Vec<Suspect>,
    /// Those that are on neither side: deleted since, or never found again under the key that was read.
    pub(crate) nowhere: Vec<KeyParts>,
}

/// Looks at suspects under the lock.
pub(crate) async fn confirm<DB: Backend>(
    plan: &Plan<'_, DB>,
    suspects: &[Suspect],
) -> Result<Confirmed, Error> {
    let mut confirmed = Confirmed::default();
    let keys: Vec<KeyParts> = suspects.iter().map(|suspect| suspect.key.clone()).collect();
    let mut left: Vec<&[KeyParts]> = keys.chunks(KEYS).rev().collect();
    while let Some(keys) = left.pop() {
        match confirm_or_retry(plan, keys).await {
            Ok(found) => {
                confirmed.differing.extend(found.differing);
                confirmed.nowhere.extend(found.nowhere);
            }
            // A value that does not fit the mapping: each row for itself, and that one differs.
            Err(error) if error.is_about_data() => match keys {
                [one] => confirmed.differing.push(unreadable(one)),
                _ => left.extend(keys.chunks(1).rev()),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(confirmed)
}

/// Tries again a few times where the database chose the transaction to fail.
async fn confirm_or_retry<DB: Backend>(
    plan: &Plan<'_, DB>,
    keys: &[KeyParts],
) -> Result<Confirmed, Error> {
    let mut attempt = 1;
    loop {
        match confirm_these(plan, keys).await {
            Err(error) if error.kind() == ErrorKind::Serialization && attempt < ATTEMPTS => {
                attempt += 1;
                clock::sleep(RETRY_PAUSE).await;
            }
            confirmed => return confirmed,
        }
    }
}

async fn confirm_these<DB: Backend>(
    plan: &Plan<'_, DB>,
    keys: &[KeyParts],
) -> Result<Confirmed, Error> {
    let (mut tx, position) = plan.copier.begin(plan.shared).await?;
    check_stage(position, &plan.shared.name)?;
    let (differing, held) = differing_locked(plan, &mut tx, keys).await?;
    let found: HashSet<&KeyParts> = differing.iter().map(|suspect| &suspect.key).collect();
    let mut nowhere: Vec<KeyParts> = keys.to_vec();
    nowhere.retain(|key| !held.contains(key) && !found.contains(key));
    if !nowhere.is_empty() {
        let there = in_new(plan, &mut tx, &nowhere).await?;
        nowhere.retain(|key| !there.contains(key));
    }
    tx.rollback().await?;
    Ok(Confirmed { differing, nowhere })
}

/// Those of these keys that new has.
async fn in_new<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    keys: &[KeyParts],
) -> Result<HashSet<KeyParts>, Error> {
    let mut there = match plan.mapping().and_then(|mapping| mapping.elsewhere.as_ref()) {
        Some((pool, _)) => {
            let acquired = pool.acquire().await;
            Some(acquired.map_err(plan.failed("connecting to the server of the new side"))?)
        }
        None => None,
    };
    let mut found = HashSet::new();
    for key in keys {
        let row = plan.statements.pages(Side::New).row(key, false);
        let rows = match &mut there {
            Some(there) => plan.keys(there, &row).await?,
            None => plan.keys(tx.connection(), &row).await?,
        };
        found.extend((!rows.is_empty()).then(|| key.clone()));
    }
    Ok(found)
}

/// What differs among these keys, in their order, with the rows of old locked; and the keys that old has.
///
/// Nobody can lock a row that is not there. So where old seems to lack a key, it is looked for again
/// afterwards: a row that was inserted meanwhile is looked at once more, now locked.
pub(crate) async fn differing_locked<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    keys: &[KeyParts],
) -> Result<(Vec<Suspect>, HashSet<KeyParts>), Error> {
    let mut attempt = 1;
    loop {
        let held = lock(plan, tx, keys).await?;
        let mut found = differing(plan, tx, keys, &held).await?;
        let missing: Vec<KeyParts> = found
            .iter()
            .filter(|suspect| suspect.kind == KeyDifferenceKind::MissingInOld)
            .map(|suspect| suspect.key.clone())
            .collect();
        let inserted = match missing.is_empty() {
            true => HashSet::new(),
            false => lock(plan, tx, &missing).await?,
        };
        if inserted.is_empty() || attempt == ATTEMPTS {
            found.retain(|suspect| !inserted.contains(&suspect.key));
            return Ok((in_order(found, keys), held));
        }
        attempt += 1;
    }
}

fn in_order(mut found: Vec<Suspect>, keys: &[KeyParts]) -> Vec<Suspect> {
    let place = |suspect: &Suspect| keys.iter().position(|key| *key == suspect.key);
    found.sort_by_cached_key(|suspect| place(suspect).unwrap_or(keys.len()));
    found
}

/// Locks these keys of old; answers with those that are there.
pub(super) async fn lock<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    keys: &[KeyParts],
) -> Result<HashSet<KeyParts>, Error> {
    let held = plan.keys(tx.connection(), &plan.statements.lock(keys)).await?;
    Ok(held.into_iter().collect())
}

async fn differing<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    keys: &[KeyParts],
    held: &HashSet<KeyParts>,
) -> Result<Vec<Suspect>, Error> {
    let which = Which::These(keys);
    match plan.mapping() {
        Some(_) => compare_keys(plan, tx.connection(), which, false).await,
        None => asked(plan, tx, keys, held).await,
    }
}

/// Without a mapping: what the copy function says, and which side lacks the key.
async fn asked<DB: Backend>(
    plan: &Plan<'_, DB>,
    tx: &mut Tx<'_, DB>,
    keys: &[KeyParts],
    held: &HashSet<KeyParts>,
) -> Result<Vec<Suspect>, Error> {
    let found = plan.copier.copy.differing(tx, keys).await;
    let found = found.map_err(|error| comparison_failed(error).of(&plan.shared.name))?;
    let mut suspects = Vec::new();
    for key in found {
        let in_new = match &plan.copier.new_pages {
            Some(pages) => !plan.keys(tx.connection(), &pages.row(&key, false)).await?.is_empty(),
            None => true,
        };
        let kind = match (held.contains(&key), in_new) {
            (false, _) => KeyDifferenceKind::MissingInOld,
            (true, false) => KeyDifferenceKind::MissingInNew,
            (true, true) => KeyDifferenceKind::Different,
        };
        suspects.push(Suspect { kind, ..Suspect::of(key) });
    }
    Ok(suspects)
}
