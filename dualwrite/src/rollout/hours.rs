//! [`Hours`]: hours of the day in which something may happen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Hours of the day, in UTC by the database's clock: from the first up to and without the last. 22 and 6
/// are the night; two equal hours are no time at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hours(pub(crate) u8, pub(crate) u8);

impl Hours {
    /// Whether the hour is one of them.
    pub(crate) fn contain(self, hour: u8) -> bool {
        let Self(from, until) = self;
        if from <= until { (from..until).contains(&hour) } else { hour >= from || hour < until }
    }

    /// Whether both are hours of a day, and some hour is contained.
    pub(crate) fn is_sound(self) -> bool {
        self.0 <= 24 && self.1 <= 24 && (0..24).any(|hour| self.contain(hour))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:00 to {:02}:00 UTC", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_span_midnight() {
        let contained = |from, until| -> Vec<u8> {
            (0..24).filter(|hour| Hours(from, until).contain(*hour)).collect()
        };
        assert_eq!(contained(1, 4), [1, 2, 3]);
        assert_eq!(contained(22, 2), [0, 1, 22, 23]);
        assert_eq!(contained(0, 24).len(), 24);
        assert!(Hours(22, 6).is_sound() && !Hours(3, 3).is_sound() && !Hours(1, 25).is_sound());
    }
}
