//! Buckets: a stable number for every key, which decides whether the ramp has reached it.

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::stages::position::Percent;

/// The place of a key on the ramp, 0 to 9,999. A key behaves as the next stage as soon as the ramp in
/// basis points is greater than its bucket, so raising a ramp only ever adds keys.
///
/// The bucket is part of the library's stable contract and never changes between releases:
/// `salt = xxh3_64(name of the migration)`; the hash of a column is `xxh3_64` of its bytes with the
/// seed `seed + tag`, where an integer is its 8 little-endian bytes as `i64` (tag 1), a text its UTF-8
/// bytes (tag 2), a UUID its 16 bytes (tag 3), bytes are
/// themselves (tag 5); a plain key starts from `seed = salt`, a tuple from
/// `salt + 4` and each column's hash is the next one's seed. `bucket = hash × 10000 / 2⁶⁴`, rounded down.
/// (xxh3: Yann Collet, the 64-bit variant of xxHash 0.8.)
///
/// ```
/// use dualwrite::{Bucket, Percent, salt};
/// let bucket = Bucket::of(&42_i64, salt("customer-email"));
/// assert!(bucket.is_below(Percent::FULL) && !bucket.is_below(Percent::ZERO));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u16);

/// The salt of a migration: keys of different migrations fall into unrelated buckets, so that the same
/// few customers are not the first ones each time.
///
/// ```
/// assert_ne!(dualwrite::salt("a"), dualwrite::salt("b"));
/// ```
#[must_use]
pub fn salt(migration: &str) -> u64 {
    xxh3_64(migration.as_bytes())
}

impl Bucket {
    /// The lowest bucket: in the ramp as soon as there is one.
    pub const FIRST: Self = Self(0);

    /// The bucket of a key by hash.
    #[inline]
    #[must_use]
    pub fn of<K: Key + ?Sized>(key: &K, salt: u64) -> Self {
        let hash = key.hash(salt);
        Self(((u128::from(hash) * u128::from(Percent::SCALE)) >> 64) as u16)
    }

    /// A given bucket.
    ///
    /// # Errors
    /// `InvalidInput` above 9,999.
    pub fn new(number: u16) -> Result<Self, Error> {
        if number >= Percent::SCALE {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("bucket {number} is out of range; buckets are 0 to 9999"),
            ));
        }
        Ok(Self(number))
    }

    /// The number of this bucket.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether a ramp has reached this bucket.
    #[inline]
    #[must_use]
    pub const fn is_below(self, ramp: Percent) -> bool {
        self.0 < ramp.basis_points()
    }
}

/// How a migration assigns buckets to keys.
///
/// ```
/// use dualwrite::{BucketRule, Percent};
/// let ramp = Percent::new(5)?;
/// assert!(BucketRule::Modulo.bucket(&104_i64, 0)?.is_below(ramp));   // 104 % 100 < 5
/// assert!(!BucketRule::Modulo.bucket(&105_i64, 0)?.is_below(ramp));
/// assert!(BucketRule::Modulo.bucket("x", 0).is_err());
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketRule {
    /// By hash, salted with the migration's name.
    #[default]
    Hash,
    /// The plain convention `id % 100 < percent`, for integer keys. Whole percents are exact; a part
    /// of a percent counts as a whole one.
    Modulo,
}

impl BucketRule {
    /// The bucket of a key.
    ///
    /// # Errors
    /// `WrongKey` for `Modulo` where the key is no integer.
    #[inline]
    pub fn bucket<K: Key + ?Sized>(self, key: &K, salt: u64) -> Result<Bucket, Error> {
        match self {
            Self::Hash => Ok(Bucket::of(key, salt)),
            Self::Modulo => match key.integer() {
                Some(id) => Ok(Bucket((id.rem_euclid(100) * 100) as u16)),
                None => Err(no_integer::<K>()),
            },
        }
    }
}

#[cold]
fn no_integer<K: Key + ?Sized>() -> Error {
    Error::new(
        ErrorKind::WrongKey,
        format!(
            "`id % 100` needs an integer key, and this one is {}; use BucketRule::Hash",
            K::KIND
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    /// These numbers are the contract: a change here would move live keys between stages. They were
    /// computed with another implementation (python-xxhash), from the definition in the docs.
    #[test]
    fn buckets_never_drift_between_releases() {
        let salt = salt("customer-email");
        assert_eq!(salt, SALT);
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let found = [
            Bucket::of(&0_i64, salt).0,
            Bucket::of(&1_i64, salt).0,
            Bucket::of(&42_u8, salt).0,
            Bucket::of(&-1_i32, salt).0,
            Bucket::of(&i64::MAX, salt).0,
            Bucket::of("", salt).0,
            Bucket::of("ada@example.com", salt).0,
            Bucket::of(&String::from("Zürich"), salt).0,
            Bucket::of(&id, salt).0,
            Bucket::of(&(1_i64, "a"), salt).0,
            Bucket::of(&(1_i32, 2_i64, id), salt).0,
            Bucket::of(&("a", "b", "c", "d"), salt).0,
        ];
        assert_eq!(found, VECTORS);
    }
    const SALT: u64 = 3_016_473_116_840_022_250;
    const VECTORS: [u16; 12] =
        [4127, 7690, 2551, 1228, 4797, 6728, 9201, 7818, 4022, 7134, 3579, 2050];

    #[test]
    fn a_tuple_is_not_its_parts_run_together() {
        let salt = salt("x");
        assert_ne!(("ab", "c").hash(salt), ("a", "bc").hash(salt));
        assert_ne!("1".hash(salt), 1_i64.hash(salt));
    }

    #[test]
    fn buckets_are_spread_evenly() {
        let salt = salt("spread");
        let reached = (0..100_000_i64)
            .filter(|id| Bucket::of(id, salt).is_below(Percent::new(5).unwrap()))
            .count();
        assert!((4_700..5_300).contains(&reached), "{reached}");
    }

    proptest! {
        #[test]
        fn raising_a_ramp_only_adds_keys(id: i64, low in 0_u16..=10_000, more in 0_u16..=10_000, modulo: bool) {
            let rule = if modulo { BucketRule::Modulo } else { BucketRule::Hash };
            let bucket = rule.bucket(&id, 7).unwrap();
            let low_ramp = Percent::from_basis_points(low).unwrap();
            let high_ramp = Percent::from_basis_points(low.saturating_add(more).min(10_000)).unwrap();
            prop_assert!(!bucket.is_below(low_ramp) || bucket.is_below(high_ramp));
            prop_assert!(!bucket.is_below(Percent::ZERO) && bucket.is_below(Percent::FULL));
        }

        #[test]
        fn modulo_is_the_plain_convention(id in 0_i64.., percent in 0_u16..=100) {
            let reached = BucketRule::Modulo.bucket(&id, 0).unwrap().is_below(Percent::new(percent).unwrap());
            prop_assert_eq!(reached, id % 100 < i64::from(percent));
        }
    }
}
