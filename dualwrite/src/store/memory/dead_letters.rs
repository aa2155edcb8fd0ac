//! Dead letters in memory.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use crate::control::dead_letters::{DeadLetter, DeadLetters, Waived};
use crate::error::Error;
use crate::key::EncodedKey;
use crate::moment::from_nanos;
use crate::stages::position::Generation;
use crate::stages::retry::retry_after;
use crate::stages::stage::Side;
use crate::store::memory::{Entry, MemoryControl, done};

fn after(nanos: u64, pause: Duration) -> SystemTime {
    let now = from_nanos(nanos);
    now.checked_add(pause).unwrap_or(now)
}

impl Entry {
    pub(super) fn dead_letters_for(&self, side: Side, waived: bool) -> u64 {
        let counts =
            |letter: &&DeadLetter| letter.side == side && letter.waiver.is_some() == waived;
        self.dead_letters.iter().filter(counts).count() as u64
    }

    /// What a record says of the letters.
    pub(super) fn count_dead_letters(&mut self, now: u64) {
        let record = &mut self.record;
        record.has_dead_letter = self.dead_letters.iter().any(|letter| letter.side == Side::New);
        record.letters = !self.dead_letters.is_empty();
        record.due =
            self.dead_letters.iter().any(|letter| letter.next_attempt_at <= from_nanos(now));
    }

    /// What was waived in an older generation is not waived any more.
    pub(super) fn forget_waivers(&mut self, side: Side, now: u64) {
        for letter in self.dead_letters.iter_mut().filter(|letter| letter.side == side) {
            (letter.waiver, letter.next_attempt_at) = (None, from_nanos(now));
        }
    }

    fn letter(&mut self, side: Side, key: &str) -> Option<&mut DeadLetter> {
        self.dead_letters
            .iter_mut()
            .find(|letter| (letter.side, letter.key.as_str()) == (side, key))
    }
}

impl DeadLetters for MemoryControl {
    fn record_dead_letter<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        generation: Generation,
        key: &'a EncodedKey,
        error: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let now = self.clock.now();
        done(self.with(name, |entry| match entry.letter(side, &key.0) {
            Some(letter) => {
                letter.attempts += 1;
                (letter.error, letter.generation) = (error.to_owned(), generation.0);
                letter.failed_at = from_nanos(now);
            }
            None => entry.dead_letters.push(DeadLetter {
                side,
                key: key.0.clone(),
                generation: generation.0,
                error: error.to_owned(),
                attempts: 1,
                failed_at: from_nanos(now),
                next_attempt_at: after(now, retry_after(1)),
                waiver: None,
            }),
        }))
    }

    fn dead_letters<'a>(
        &'a self,
        name: &'a str,
        due: bool,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>, Error>> {
        let now = from_nanos(self.clock.now());
        done(self.with(name, |entry| {
            let wanted = |letter: &&DeadLetter| !due || letter.next_attempt_at <= now;
            let mut letters: Vec<DeadLetter> =
                entry.dead_letters.iter().filter(wanted).cloned().collect();
            letters.sort_by_key(|letter| letter.failed_at);
            letters.truncate(limit as usize);
            letters
        }))
    }

    fn claim_dead_letter<'a>(
        &'a self,
        name: &'a str,
        letter: &'a DeadLetter,
        pause: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let until = after(self.clock.now(), pause);
        done(self.with(name, |entry| match entry.letter(letter.side, &letter.key) {
            Some(known) if known.next_attempt_at == letter.next_attempt_at => {
                known.next_attempt_at = until;
                true
            }
            _ => false,
        }))
    }

    fn remove_dead_letter<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        key: &'a EncodedKey,
        attempts: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(self.with(name, |entry| {
            let before = entry.dead_letters.len();
            entry.dead_letters.retain(|letter| {
                (letter.side, &letter.key) != (side, &key.0)
                    || attempts.is_some_and(|attempts| letter.attempts != attempts)
            });
            entry.dead_letters.len() < before
        }))
    }

    fn waive<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        key: &'a EncodedKey,
        actor: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let at = from_nanos(self.clock.now());
        done(self.with(name, |entry| {
            let letter = entry.letter(side, &key.0);
            letter.is_some_and(|letter| {
                let (actor, reason) = (actor.to_owned(), reason.to_owned());
                letter.waiver = Some(Waived { actor, reason, at });
                true
            })
        }))
    }

    fn waived<'a>(
        &'a self,
        name: &'a str,
        keys: &'a [EncodedKey],
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>> {
        done(self.with(name, |entry| {
            let waived = |key: &&EncodedKey| {
                entry
                    .dead_letters
                    .iter()
                    .any(|letter| letter.key == key.0 && letter.waiver.is_some())
            };
            keys.iter().filter(waived).cloned().collect()
        }))
    }
}
