//! Stores samples of mismatches beside the caller, while there is room and time. Every mismatch of which
//! nothing is kept counts, whyever that is.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::clock;
use crate::control::Sample;
use crate::shared::Shared;

/// What is not kept yet; where it goes away, also halfway, it counts as dropped.
struct Left<'s> {
    shared: &'s Shared,
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
pub(super) fn drop_samples(shared: &Shared, samples: u64) {
    shared.counters.samples_dropped.fetch_add(samples, Relaxed);
}

/// Keeps what there is room for.
pub(super) async fn keep(shared: &Shared, limit: Duration, samples: &[Sample]) {
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
