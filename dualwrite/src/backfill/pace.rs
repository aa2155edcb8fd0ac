//! How many keys the next batch has. A batch costs a fixed time, its round trips and its commit, and a time for each
//! key. The two are told apart by batches of different sizes: else a server that is far away would look like keys
//! that are slow, and batches would shrink to one. Pure.

use std::time::Duration;

use super::decide::{ATTEMPTS, Next};

/// Keys in the first batch, until its time is known.
const FIRST_KEYS: u32 = 500;
/// The keys of a batch may take so many times its fixed cost: four fifths of what batches without end could do.
const FIXED_SHARE: f64 = 4.0;
/// A batch that takes so many times what was expected, or so small a part of it, is under other conditions.
const SURPRISE: f64 = 2.0;
/// How fast a size is approached that two measurements speak for.
const GROWTH_KNOWN: u32 = 4;

/// A batch that was copied, in keys and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    keys: f64,
    nanos: f64,
}

impl Measured {
    /// Whether the sizes are far enough apart to tell what a key costs.
    fn is_twice(self, other: Self) -> bool {
        self.keys >= other.keys * 2.0
    }

    /// A mean that follows the newest.
    fn blend(self, newer: Self) -> Self {
        let near = newer.keys * 4.0 >= self.keys * 3.0 && newer.keys * 3.0 <= self.keys * 4.0;
        let mix = |old: f64, new: f64| (old * 3.0 + new) / 4.0;
        match near {
            true => Self { keys: mix(self.keys, newer.keys), nanos: mix(self.nanos, newer.nanos) },
            false => newer,
        }
    }
}

/// What is known of the costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Costs {
    few: Option<Measured>,
    many: Option<Measured>,
}

impl Costs {
    /// The fixed cost, and that of a key. One measurement alone is taken for keys that cost all of it.
    fn split(&self) -> Option<(f64, f64)> {
        let many = self.many?;
        let most = many.nanos / many.keys;
        let per_key = match self.few {
            Some(few) => {
                ((many.nanos - few.nanos) / (many.keys - few.keys)).clamp(1.0, most.max(1.0))
            }
            None => most,
        };
        Some(((many.nanos - per_key * many.keys).max(0.0), per_key))
    }

    fn are_known(&self) -> bool {
        self.few.is_some()
    }

    fn expected(&self, keys: f64) -> Option<f64> {
        self.split().map(|(fixed, per_key)| fixed + per_key * keys)
    }

    /// Takes a batch in.
    fn add(&mut self, found: Measured, target: f64) {
        let Some(many) = self.many else {
            self.many = Some(found);
            return;
        };
        let alike = !found.is_twice(many) && !many.is_twice(found);
        if (self.are_known() || alike) && self.is_surprise(found, target) {
            *self = Self { few: None, many: Some(found) };
            return;
        }
        match self.few {
            _ if found.is_twice(many) => *self = Self { few: Some(many), many: Some(found) },
            None if many.is_twice(found) => self.few = Some(found),
            None => self.many = Some(many.blend(found)),
            // Between the two it belongs to the nearer one.
            Some(few)
                if found.keys * found.keys <= few.keys * many.keys && many.is_twice(found) =>
            {
                self.few = Some(few.blend(found));
            }
            Some(few) => {
                self.many = Some(many.blend(found));
                self.few = Some(few).filter(|few| found.is_twice(*few));
            }
        }
    }

    fn is_surprise(&self, found: Measured, target: f64) -> bool {
        let Some(expected) = self.expected(found.keys) else { return false };
        (found.nanos > expected * SURPRISE && found.nanos > target)
            || found.nanos * SURPRISE < expected
    }

    /// The keys that a batch should have, and whether the fixed cost decides that.
    fn wanted(&self, target: f64) -> Option<(f64, bool)> {
        let (fixed, per_key) = self.split()?;
        let (rest, share) = (target - fixed, fixed * FIXED_SHARE);
        Some((rest.max(share) / per_key.max(f64::MIN_POSITIVE), share > rest))
    }
}

/// The size of batches, and the memory of failures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    limit: u32,
    most: u32,
    target: Duration,
    costs: Costs,
    attempts: u32,
    /// The last batch failed: the size shrank around a bad row, not for its time.
    halved: bool,
}

impl Pace {
    pub(crate) fn new(most: u32, target: Duration) -> Self {
        let most = most.max(1);
        let costs = Costs::default();
        Self { limit: most.min(FIRST_KEYS), most, target, costs, attempts: 0, halved: false }
    }

    /// Batches shall take so long from now on.
    pub(crate) fn aim(&mut self, target: Duration) {
        self.target = target;
    }

    /// How many keys the next batch may have.
    pub(crate) fn limit(self) -> u32 {
        self.limit
    }

    /// After a batch of so many keys that took so long. Its keys may take the target, or four times the fixed cost
    /// where that is more. While it is not known what a key costs it doubles as long as that fits, and then tries
    /// half as many; after that it shrinks at once and grows up to four times. After failures it doubles, since the
    /// size was not the trouble. The attempts count on until [`committed`](Self::committed).
    pub(crate) fn copied(&mut self, keys: u32, spent: Duration) {
        if self.halved {
            self.limit = self.limit.saturating_mul(2).min(self.most);
            self.halved = self.limit < self.most.min(FIRST_KEYS);
            return;
        }
        let target = self.target.as_nanos() as f64;
        let found = Measured { keys: f64::from(keys.max(1)), nanos: spent.as_nanos() as f64 };
        self.costs.add(found, target);
        let Some((wanted, is_fixed)) = self.costs.wanted(target) else { return };
        let wanted = wanted.clamp(1.0, f64::from(self.most)) as u32;
        if wanted < self.limit {
            self.shrink(wanted, found.nanos > target, is_fixed);
        } else if keys >= self.limit {
            self.grow(wanted);
        }
    }

    fn shrink(&mut self, wanted: u32, is_slow: bool, is_fixed: bool) {
        let is_known = self.costs.are_known();
        // What the fixed cost decides is a rough estimate: small changes are noise.
        let is_noise = is_known && is_fixed && wanted >= self.limit / 4 * 3;
        if is_slow && !is_noise {
            self.limit = if is_known { wanted } else { wanted.min(self.limit / 2) }.max(1);
        }
    }

    fn grow(&mut self, wanted: u32) {
        let double = self.limit.saturating_mul(2);
        self.limit = match self.costs.are_known() {
            true => wanted.min(self.limit.saturating_mul(GROWTH_KNOWN)),
            false if wanted >= double || wanted == self.most => wanted.min(double),
            // Near the target only the costs say more: half as many keys tell what is fixed.
            false => (self.limit / 2).max(1),
        };
    }

    /// A batch is there for good.
    pub(crate) fn committed(&mut self) {
        self.attempts = 0;
    }

    /// `blame`: the copy function itself failed, not the database around it.
    pub(crate) fn failed(&mut self, blame: bool) -> Next {
        self.attempts += 1;
        if self.attempts < ATTEMPTS {
            return Next::Retry;
        }
        self.attempts = 0;
        match (blame, self.limit) {
            (false, _) => Next::Stop,
            (true, 1) => {
                self.halved = true;
                Next::DeadLetter
            }
            (true, _) => {
                self.limit /= 2;
                self.halved = true;
                // A bad row in a thousand is found in ten steps; retrying each of them helps nobody.
                self.attempts = ATTEMPTS - 1;
                Next::Halve
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide::{BATCH_KEYS, BATCH_TIME};
    use super::*;
    use proptest::prelude::*;

    const TARGET: Duration = BATCH_TIME;

    /// Runs batches under these costs; answers with the size of the last one.
    fn runs(pace: &mut Pace, batches: u32, mut cost: impl FnMut(u32) -> Duration) -> u32 {
        let mut last = 0;
        for _ in 0..batches {
            last = pace.limit();
            assert!((1..=BATCH_KEYS).contains(&last));
            pace.copied(last, cost(last));
        }
        last
    }

    fn cost(fixed_us: u64, per_key_ns: u64) -> impl Fn(u32) -> Duration {
        move |keys| {
            Duration::from_micros(fixed_us) + Duration::from_nanos(per_key_ns * u64::from(keys))
        }
    }

    fn rate(keys: u32, cost: &impl Fn(u32) -> Duration) -> f64 {
        f64::from(keys) / cost(keys).as_secs_f64().max(1e-9)
    }

    fn best(cost: &impl Fn(u32) -> Duration) -> f64 {
        (1..=BATCH_KEYS).map(|keys| rate(keys, cost)).fold(0.0, f64::max)
    }

    #[test]
    fn a_bad_row_ends_up_alone_and_the_pace_comes_back() {
        let mut pace = Pace::new(8, TARGET);
        let steps: Vec<Next> = (0..6).map(|_| pace.failed(true)).collect();
        use Next::{DeadLetter, Halve, Retry};
        assert_eq!(steps, [Retry, Retry, Halve, Halve, Halve, DeadLetter]);
        assert_eq!(pace.limit(), 1);
        for expected in [2, 4, 8, 8] {
            pace.copied(1, Duration::ZERO);
            pace.committed();
            assert_eq!(pace.limit(), expected);
        }
    }

    #[test]
    fn a_sick_database_stops_the_worker_and_blames_no_row() {
        let mut pace = Pace::new(8, TARGET);
        assert_eq!(
            [pace.failed(false), pace.failed(false), pace.failed(false)],
            [Next::Retry, Next::Retry, Next::Stop]
        );
        assert_eq!(pace.limit(), 8);
    }

    #[test]
    fn a_batch_grows_gently_and_shrinks_at_once() {
        let mut pace = Pace::new(BATCH_KEYS, TARGET);
        pace.copied(500, TARGET / 10);
        assert_eq!(pace.limit(), 1_000);
        pace.copied(1_000, TARGET / 5);
        assert_eq!(pace.limit(), 4_000, "nothing is fixed, and 5,000 would fit");
        pace.copied(4_000, TARGET * 8);
        assert_eq!(pace.limit(), 500);
        // The last page of a range says what is fixed, and nothing about the size.
        pace.copied(3, Duration::from_micros(10));
        assert_eq!(pace.limit(), 500);
    }

    #[test]
    fn another_time_is_heard_by_the_next_batches() {
        let cost = cost(100, 20_000);
        let mut pace = Pace::new(BATCH_KEYS, TARGET);
        let before = runs(&mut pace, 12, &cost);
        pace.aim(TARGET / 5);
        let after = runs(&mut pace, 12, &cost);
        assert!(cost(after) <= TARGET / 4, "{before}, then {after}");
        pace.aim(TARGET);
        assert!(runs(&mut pace, 12, &cost) >= before * 3 / 4);
    }

    #[test]
    fn a_server_that_is_far_away_gets_large_batches() {
        for delay_ms in [1, 10, 50, 200] {
            for round_trips in [3, 6, 12] {
                let cost = cost(delay_ms * 1_000 * round_trips, 15_000);
                let mut pace = Pace::new(BATCH_KEYS, TARGET);
                runs(&mut pace, 10, &cost);
                let found = rate(pace.limit(), &cost);
                assert!(found >= 0.8 * best(&cost), "{delay_ms} ms: {} keys", pace.limit());
            }
        }
    }

    #[test]
    fn keys_that_become_slow_shrink_a_batch_also_beside_a_fixed_cost() {
        let mut pace = Pace::new(BATCH_KEYS, TARGET);
        runs(&mut pace, 10, cost(30_000, 2_000));
        assert_eq!(pace.limit(), BATCH_KEYS);
        let slow = cost(30_000, 1_000_000);
        runs(&mut pace, 6, &slow);
        assert!(slow(pace.limit()) <= Duration::from_millis(160), "{}", pace.limit());
        let quick = cost(0, 20_000);
        runs(&mut pace, 12, &quick);
        let spent = quick(pace.limit());
        assert!(spent <= TARGET * 5 / 4 && spent >= TARGET / 2, "{spent:?}");
    }

    fn measured(keys: u32, micros: u32) -> Measured {
        Measured { keys: f64::from(keys), nanos: f64::from(micros) * 1_000.0 }
    }

    /// So much is fixed, and a key costs a microsecond.
    fn known(fixed: u32, few: u32, many: u32) -> Costs {
        let found = |keys| Some(measured(keys, fixed + keys));
        Costs { few: found(few), many: found(many) }
    }

    #[test]
    fn a_mean_is_made_of_batches_of_about_one_size() {
        let many = measured(100, 100);
        assert_eq!(many.blend(measured(100, 200)), measured(100, 125));
        for (keys, is_near) in [(74, false), (75, true), (133, true), (134, false)] {
            let found = measured(keys, keys);
            assert_eq!(many.blend(found) != found, is_near, "{keys}");
        }
    }

    #[test]
    fn other_conditions_are_told_from_noise() {
        let costs = Costs { few: None, many: Some(measured(100, 100)) };
        let cases = [
            (201, 200.0, true),
            (200, 100.0, false),
            (250, 250.0, false),
            (250, 300.0, false),
            (50, 0.0, false),
            (49, 0.0, true),
        ];
        for (micros, target_us, expected) in cases {
            let found = costs.is_surprise(measured(100, micros), target_us * 1_000.0);
            assert_eq!(found, expected, "{micros} of {target_us}");
        }
        let mut costs = costs;
        let slow = measured(110, 1_000);
        costs.add(slow, 0.0);
        assert_eq!(costs, Costs { few: None, many: Some(slow) }, "what was known is of no use");
    }

    #[test]
    fn a_batch_belongs_to_the_nearer_of_two() {
        let after = |few, many, keys: u32| {
            let mut costs = known(0, few, many);
            costs.add(measured(keys, keys), f64::MAX);
            [costs.few, costs.many].map(|one| one.map(|one| one.keys))
        };
        for (keys, expected) in [(90, [90, 1_000]), (100, [100, 1_000]), (110, [10, 110])] {
            assert_eq!(after(10, 1_000, keys), expected.map(|keys| Some(f64::from(keys))));
        }
        assert_eq!(after(10, 20, 12), [None, Some(12.0)], "too near to tell a key's cost");
        assert_eq!(after(10, 20, 40), [Some(20.0), Some(40.0)]);
    }

    #[test]
    fn four_times_the_fixed_cost_is_allowed() {
        let wanted = |target_us: f64| known(100, 10, 100).wanted(target_us * 1_000.0);
        assert_eq!(wanted(600.0), Some((500.0, false)));
        assert_eq!(wanted(500.0), Some((400.0, false)));
        assert_eq!(wanted(300.0), Some((400.0, true)));
    }

    #[test]
    fn sizes_shrink_for_a_reason() {
        let shrunk = |costs, wanted, is_slow, is_fixed| {
            let mut pace = Pace { limit: 400, costs, ..Pace::new(BATCH_KEYS, TARGET) };
            pace.shrink(wanted, is_slow, is_fixed);
            pace.limit
        };
        let (known, unknown) = (known(100, 10, 100), Costs::default());
        for (wanted, is_fixed, expected) in
            [(300, true, 400), (299, true, 299), (200, true, 200), (350, false, 350)]
        {
            assert_eq!(shrunk(known, wanted, true, is_fixed), expected, "{wanted}");
            assert_eq!(shrunk(known, wanted, false, is_fixed), 400);
        }
        assert_eq!(shrunk(unknown, 350, true, true), 200);
        assert_eq!(shrunk(unknown, 150, true, false), 150);
    }

    #[test]
    fn sizes_grow_as_far_as_it_is_known_what_a_key_costs() {
        let grown = |costs, most, wanted| {
            let mut pace = Pace { limit: 100, costs, ..Pace::new(most, TARGET) };
            pace.grow(wanted);
            pace.limit
        };
        let unknown = Costs::default();
        for (most, wanted, expected) in
            [(900, 250, 200), (900, 200, 200), (150, 150, 150), (900, 180, 50)]
        {
            assert_eq!(grown(unknown, most, wanted), expected, "{wanted} of {most}");
        }
        assert_eq!(grown(known(100, 10, 100), 900, 800), 400);
        assert_eq!(grown(known(100, 10, 100), 900, 180), 180);
    }

    #[test]
    fn a_batch_that_took_the_very_target_is_not_slow() {
        let mut pace = Pace::new(BATCH_KEYS, TARGET);
        pace.copied(100, TARGET); // the end of a range
        assert_eq!(pace.limit(), 500);
        let mut pace = Pace::new(BATCH_KEYS, TARGET);
        pace.copied(500, TARGET);
        assert_eq!(pace.limit(), 250, "half as many tell what is fixed");
    }

    #[test]
    fn after_failures_the_first_size_is_enough_to_measure_again() {
        let mut pace = Pace::new(BATCH_KEYS, TARGET);
        for _ in 0..2 {
            assert_eq!(pace.failed(true), Next::Retry);
        }
        pace.committed();
        for expected in [Next::Retry, Next::Retry, Next::Halve] {
            assert_eq!(pace.failed(true), expected);
        }
        pace.copied(250, Duration::ZERO);
        assert_eq!(pace.limit(), 500);
        pace.copied(500, TARGET * 2);
        assert_eq!(pace.limit(), 250);
    }

    proptest! {
        #[test]
        fn the_size_finds_the_time(per_key_us in 1_u64..2_000) {
            let cost = cost(0, per_key_us * 1_000);
            let mut pace = Pace::new(BATCH_KEYS, TARGET);
            runs(&mut pace, 60, &cost);
            let spent = cost(pace.limit());
            prop_assert!(spent <= TARGET + Duration::from_micros(per_key_us), "{spent:?}");
            prop_assert!(pace.limit() == BATCH_KEYS || spent >= TARGET / 2, "{spent:?}");
        }

        #[test]
        fn ten_batches_find_the_size(fixed_us in 0_u64..3_000_000, per_key_ns in 1_000_u64..200_000) {
            let cost = cost(fixed_us, per_key_ns);
            let mut pace = Pace::new(BATCH_KEYS, TARGET);
            runs(&mut pace, 10, &cost);
            let (found, fixed) = (cost(pace.limit()), Duration::from_micros(fixed_us));
            let good = rate(pace.limit(), &cost) >= 0.79 * best(&cost);
            prop_assert!(good, "{} keys in {found:?}", pace.limit());
            let bound = TARGET.max(fixed * 5) + Duration::from_nanos(per_key_ns);
            prop_assert!(found <= bound + bound / 3, "{found:?}");
        }

        #[test]
        fn noise_does_not_lead_astray(
            fixed_us in 0_u64..1_000_000,
            per_key_ns in 2_000_u64..100_000,
            noise in proptest::collection::vec(0.85_f64..1.2, 40),
        ) {
            let cost = cost(fixed_us, per_key_ns);
            let mut pace = Pace::new(BATCH_KEYS, TARGET);
            let mut noise = noise.into_iter().cycle();
            let mut noisy = |keys| cost(keys).mul_f64(noise.next().unwrap_or(1.0));
            runs(&mut pace, 15, &mut noisy);
            let mut rates: Vec<f64> = Vec::new();
            for _ in 0..20 {
                rates.push(rate(runs(&mut pace, 1, &mut noisy), &cost));
            }
            rates.sort_by(f64::total_cmp);
            prop_assert!(rates[10] >= 0.6 * best(&cost), "{rates:?} of {}", best(&cost));
        }
    }
}
