//! Stores samples of mismatches beside the caller, while there is room and time. Every mismatch of which
//! nothing is kept counts, whyever that is.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::clock;
use crate::control::Sample;
use crate::copier::joined::Joined;

/// What is not kept yet; where it goes away, also halfway, it counts as dropped.
struct Left<'s> {
    shared: &'s Joined,
    samples: u64,
    /// The field whose sample has its place, and is not known to be stored.
    trying: Option<&'s str>,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        drop_samples(self.shared, self.samples);
        if let Some(field) = self.trying {
            self.shared.may_sample_again(field);
        }
    }
}

/// Keeps nothing of so many mismatches.
pub(crate) fn drop_samples(shared: &Joined, samples: u64) {
    shared.counters.samples_dropped.fetch_add(samples, Relaxed);
}

/// Keeps what there is room for.
pub(crate) async fn keep(shared: &Joined, limit: Duration, samples: &[Sample]) {
    let storing = async {
        let mut left = Left { shared, samples: samples.len() as u64, trying: None };
        for sample in samples.iter().filter(|sample| shared.may_sample(&sample.field)) {
            left.trying = Some(&sample.field);
            match shared.control.sample(&shared.name, sample).await {
                Ok(kept) => {
                    left.trying = None;
                    left.samples -= u64::from(kept);
                }
                Err(error) => {
                    left.trying = None;
                    shared.may_sample_again(&sample.field);
                    let migration = &*shared.name;
                    tracing::warn!(migration, %error, "a mismatch could not be stored");
                }
            }
        }
    };
    if clock::limit(limit, storing).await.is_err() {
        let migration = &*shared.name;
        tracing::warn!(migration, "mismatches could not be stored in time");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;
    use crate::clock::Clock;
    use crate::control::{Control as _, Heartbeat};
    use crate::runtime::{Inner, LEASE, SHUTDOWN};
    use crate::shadow::samples::SAMPLES_PER_FIELD_MAX;
    use crate::stages::stage::Stage;
    use crate::state::Options;
    use crate::store::memory::MemoryControl;

    fn sample(field: &str) -> Sample {
        let (method, field) = ("Notes::find".to_owned(), field.to_owned());
        Sample { method, field, key: None, old: None, new: None }
    }

    /// Control tables that do not answer: what is given up counts, and its place is free again.
    #[tokio::test(start_paused = true)]
    async fn what_is_not_kept_in_time_counts_and_takes_no_room() {
        let control = Arc::new(MemoryControl::new(Clock::system()));
        let heartbeat = Heartbeat {
            instance: "a".to_owned(),
            release: "a".to_owned(),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            lease: LEASE,
        };
        let inner = Inner::new(
            Arc::clone(&control) as _,
            Clock::system(),
            heartbeat,
            SHUTDOWN,
            tokio::runtime::Handle::current(),
        );
        let prepared = inner.prepare("notes", Options::default(), None).unwrap();
        let migration = inner.register(vec![prepared]).await.unwrap().remove(0);
        let shared = migration.shared();
        let limit = Duration::from_secs(2);
        let dropped = || shared.counters.samples_dropped.load(Relaxed);
        control.is_stuck.store(true, SeqCst);
        for _ in 0..=SAMPLES_PER_FIELD_MAX {
            keep(shared, limit, &[sample("a"), sample("b")]).await;
        }
        let given_up = 2 * u64::from(SAMPLES_PER_FIELD_MAX + 1);
        assert_eq!(dropped(), given_up);

        control.is_stuck.store(false, SeqCst);
        for _ in 0..=SAMPLES_PER_FIELD_MAX {
            keep(shared, limit, &[sample("a")]).await;
        }
        assert_eq!(dropped(), given_up + 1, "one found no room");
        let kept = control.samples("notes").await.unwrap();
        assert_eq!(kept.len() as u32, SAMPLES_PER_FIELD_MAX);
    }
}
