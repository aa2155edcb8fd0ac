//! The port to the dead letters: keys that could not be copied, when they are tried again, and who waived
//! them.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::error::Error;
use crate::key::EncodedKey;
use crate::stages::position::Generation;
use crate::stages::stage::Side;

/// A key that could not be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The side that it could not be copied to.
    pub side: Side,
    /// The key, as JSON.
    pub key: String,
    /// The generation that it failed in last.
    pub generation: u64,
    /// What the copy function said last.
    pub error: String,
    /// How often it was tried.
    pub attempts: u64,
    /// When it failed last, by the database's clock.
    #[serde(rename = "failed_at_us", with = "crate::moment::as_micros")]
    pub failed_at: SystemTime,
    /// From when on it is tried again, by that clock.
    #[serde(rename = "next_attempt_at_us", with = "crate::moment::as_micros")]
    pub next_attempt_at: SystemTime,
    /// Who said that it need not be copied.
    pub waiver: Option<Waived>,
}

impl DeadLetter {
    /// A key of exact mode, whose times are not kept.
    pub(crate) fn of_outbox(side: Side, key: String, attempts: u64, error: String) -> Self {
        Self {
            side,
            key,
            generation: 0,
            error,
            attempts,
            failed_at: SystemTime::UNIX_EPOCH,
            next_attempt_at: SystemTime::UNIX_EPOCH,
            waiver: None,
        }
    }
}

/// The word of an operator that a key need not be copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Waived {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
}

/// Dead letters.
pub(crate) trait DeadLetters: Send + Sync {
    /// Puts a key into the dead letters, or counts another attempt. A waiver stays.
    fn record_dead_letter<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        generation: Generation,
        key: &'a EncodedKey,
        error: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// The dead letters, oldest first; `due`: those alone that are to be tried again now.
    fn dead_letters<'a>(
        &'a self,
        name: &'a str,
        due: bool,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>, Error>>;

    /// Takes a letter to try it: no other instance does before `pause` is over. Returns whether it is ours;
    /// it is not where somebody took it since it was read.
    fn claim_dead_letter<'a>(
        &'a self,
        name: &'a str,
        letter: &'a DeadLetter,
        pause: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Takes a key out of the dead letters; with a number, only if it was tried so often and not since.
    /// Returns whether there was one.
    fn remove_dead_letter<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        key: &'a EncodedKey,
        attempts: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Stores who waived a key, and why. Returns whether it is in the dead letters.
    fn waive<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        key: &'a EncodedKey,
        actor: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Those of these keys that were waived, for whichever side.
    fn waived<'a>(
        &'a self,
        name: &'a str,
        keys: &'a [EncodedKey],
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>>;
}
