//! How sure one can be of a share that was counted in a sample.

/// The interval that the true share lies in, when `hits` of `samples` were counted, for a deviation of so
/// many standard errors: the score interval (Wilson, "Probable inference, the law of succession, and
/// statistical inference", JASA 22, 1927). All that is possible, 0 to 1, without samples.
pub(crate) fn share_between(hits: u64, samples: u64, deviation: f64) -> (f64, f64) {
    if samples == 0 {
        return (0.0, 1.0);
    }
    let n = samples as f64;
    let (p, z2) = ((hits as f64 / n).min(1.0), deviation * deviation);
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = deviation / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// By how much the first share at least exceeds the second, each as (hits, samples); negative where it may
/// as well be smaller. The hybrid score interval for a difference of proportions (Newcombe, "Interval
/// estimation for the difference between independent proportions", Statistics in Medicine 17, 1998, his
/// method 10).
pub(crate) fn excess_at_least(
    (hits, samples): (u64, u64),
    (other_hits, other_samples): (u64, u64),
    deviation: f64,
) -> f64 {
    let share = |hits: u64, samples: u64| hits as f64 / samples.max(1) as f64;
    let (p, q) = (share(hits, samples), share(other_hits, other_samples));
    let (low, _) = share_between(hits, samples, deviation);
    let (_, high) = share_between(other_hits, other_samples, deviation);
    p - q - ((p - low).powi(2) + (high - q).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4
    }

    #[test]
    fn intervals_are_those_of_the_papers() {
        // Newcombe 1998, table I of the paper on single proportions: 81/263, 15/148, 0/20, 1/29.
        for (hits, samples, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (found_low, found_high) = share_between(hits, samples, 1.959_964);
            assert!(near(found_low, low) && near(found_high, high), "{hits}/{samples}");
        }
        // Newcombe 1998, table II of the paper on differences, method 10.
        for (a, b, low) in [
            ((56, 70), (48, 80), 0.0524),
            ((9, 10), (3, 10), 0.1705),
            ((10, 10), (0, 20), 0.6791),
            ((0, 10), (0, 10), -0.2775),
        ] {
            assert!(near(excess_at_least(a, b, 1.959_964), low), "{a:?} {b:?}");
        }
    }

    proptest! {
        #[test]
        fn an_interval_holds_what_was_counted(hits in 0_u64..1000, more in 0_u64..1000, z in 0.5..6.0) {
            let samples = hits + more + 1;
            let (low, high) = share_between(hits, samples, z);
            let share = hits as f64 / samples as f64;
            prop_assert!(0.0 <= low && low <= share + 1e-12);
            prop_assert!(share <= high + 1e-12 && high <= 1.0);
        }

        #[test]
        fn equal_shares_never_exceed_each_other(hits in 0_u64..500, more in 0_u64..500, times in 1_u64..9) {
            let one = (hits, hits + more + 1);
            let other = (one.0 * times, one.1 * times);
            prop_assert!(excess_at_least(one, other, 1.0) <= 1e-12);
        }
    }
}
