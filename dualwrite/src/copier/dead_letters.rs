//! Tries dead letters again: keys that could not be copied.

use crate::control::dead_letters::DeadLetter;
use crate::copier::joined::Joined;
use crate::copy::exclusive::Refusals;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::stages::position::Generation;
use crate::stages::retry::retry_after;

/// Dead letters that are listed, or tried in one go, at the most.
pub(crate) const DEAD_LETTERS_MAX: u32 = 10_000;
/// Dead letters that one round of the maintenance tries at the most; the next round goes on.
pub(crate) const DEAD_LETTERS_A_ROUND: u32 = 100;

/// How often all are tried one after the other, as long as some are copied.
const PASSES_MAX: usize = 10;

/// Tries letters again, whether or not their time has come. Returns how many were copied. A row may refer to another
/// that is a letter too, before or behind it: as long as some are copied they are tried once more, the other way round.
pub(crate) async fn retry_all(shared: &Joined) -> Result<u64, Error> {
    let mut copied = 0;
    for pass in 0..PASSES_MAX {
        let mut letters =
            shared.control.dead_letters(&shared.name, false, DEAD_LETTERS_MAX).await?;
        if pass % 2 == 1 {
            letters.reverse();
        }
        let all = letters.len() as u64;
        let now = retry(shared, letters).await?;
        copied += now;
        if now == 0 || now == all {
            break;
        }
    }
    Ok(copied)
}

/// Tries those again whose time has come.
pub(crate) async fn retry_due(shared: &Joined) -> Result<u64, Error> {
    let letters = shared.control.dead_letters(&shared.name, true, DEAD_LETTERS_A_ROUND).await?;
    retry(shared, letters).await
}

async fn retry(shared: &Joined, letters: Vec<DeadLetter>) -> Result<u64, Error> {
    let copier = shared.copier()?;
    let (control, name) = (&shared.control, &shared.name);
    let (mut copied, mut refusals) = (0, Refusals::default());
    let mut letters = letters.into_iter();
    for letter in letters.by_ref() {
        // The next try is fixed before this one: of several instances one tries, and one that dies in the
        // middle is followed by another when that time has come.
        let pause = retry_after(letter.attempts.saturating_add(1));
        if !control.claim_dead_letter(name, &letter, pause).await? {
            continue;
        }
        let (key, side) = (EncodedKey(letter.key), letter.side);
        match copier.copy_key(shared, &key, side).await {
            // Not where it failed again meanwhile, elsewhere: that letter is a new one.
            Ok(Some(_)) => {
                control.remove_dead_letter(name, side, &key, Some(letter.attempts)).await?;
                copied += 1;
            }
            Ok(None) => {} // this stage does not copy to that side
            Err(error) if error.kind() == ErrorKind::CopyFailed => {
                let generation = Generation(letter.generation);
                control.record_dead_letter(name, side, generation, &key, &error.cause()).await?;
            }
            Err(error) => refusals.take(shared, error).await?,
        }
        if refusals.are_enough() {
            break;
        }
    }
    if copied > 0 {
        tracing::info!(migration = &**name, copied, "dead letters were copied after all");
    }
    refusals.end(copied, letters.len()).map_err(|error| error.of(name))
}
