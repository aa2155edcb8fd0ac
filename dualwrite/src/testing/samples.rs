//! Keys and values that a [`MigrationTest`](crate::testing::MigrationTest) draws from, unless it is given some.

use uuid::Uuid;

/// A key that can be made from a number, so that a test needs no list of keys.
///
/// ```
/// use dualwrite::testing::NumberedKey;
/// assert_eq!(i64::numbered(3), 3);
/// assert_eq!(String::numbered(3), "key-3");
/// ```
#[diagnostic::on_unimplemented(
    message = "a migration test does not know keys of the type `{Self}`",
    note = "implement `dualwrite::testing::NumberedKey` for it, or begin with `MigrationTest::over(&migration, keys, values)`"
)]
pub trait NumberedKey: Ord + Clone + std::fmt::Debug {
    /// The key of this number, another one for each.
    fn numbered(number: u16) -> Self;
}

macro_rules! numbered {
    ($($kind:ty)*) => {$(
        impl NumberedKey for $kind {
            fn numbered(number: u16) -> Self {
                number.into()
            }
        }
    )*};
}
numbered!(i32 i64 u32 u64);

impl NumberedKey for String {
    fn numbered(number: u16) -> Self {
        format!("key-{number}")
    }
}

impl NumberedKey for Uuid {
    fn numbered(number: u16) -> Self {
        Self::from_u64_pair(0x6475_616c_7772_4000, 0x8000_0000_0000_0000 | u64::from(number))
    }
}

impl<A: NumberedKey, B: NumberedKey> NumberedKey for (A, B) {
    fn numbered(number: u16) -> Self {
        (A::numbered(number / 3), B::numbered(number))
    }
}

/// Values that find conversions which lose something: NULL, empty, spaces, cases, quotes, beyond ASCII, beyond 32 bits.
///
/// ```
/// use dualwrite::testing::SampleValues;
/// assert!(Option::<String>::samples().contains(&None));
/// ```
#[diagnostic::on_unimplemented(
    message = "a migration test does not know values of the type `{Self}`",
    note = "implement `dualwrite::testing::SampleValues` for it, or begin with `MigrationTest::over(&migration, keys, values)`"
)]
pub trait SampleValues: Sized {
    /// The values; at least two that differ.
    fn samples() -> Vec<Self>;
}

impl SampleValues for String {
    fn samples() -> Vec<Self> {
        let samples = [
            "ada@example.com",
            "",
            "Grüße 🙂",
            "O'Brien \"x\"",
            "ADA@Example.com",
            " spaces ",
            "100 %_\\",
            "7",
            "a longer text, of 42 characters altogether",
        ];
        samples.map(str::to_owned).to_vec()
    }
}

impl SampleValues for i64 {
    fn samples() -> Vec<Self> {
        // The last but one is the first integer that a double cannot hold.
        vec![1, 0, -1, 99, 1_999, 4_294_967_297, 9_007_199_254_740_993, -250]
    }
}

impl SampleValues for i32 {
    fn samples() -> Vec<Self> {
        vec![1, 0, -1, 99, 1_999, 70_000, 16_777_217, -250]
    }
}

impl SampleValues for bool {
    fn samples() -> Vec<Self> {
        vec![true, false]
    }
}

impl SampleValues for f64 {
    fn samples() -> Vec<Self> {
        vec![1.0, 0.0, -1.5, 19.99, 0.25]
    }
}

impl SampleValues for Uuid {
    fn samples() -> Vec<Self> {
        (1..=4).map(Self::numbered).collect()
    }
}

impl<T: SampleValues> SampleValues for Option<T> {
    fn samples() -> Vec<Self> {
        let mut samples: Vec<Self> = T::samples().into_iter().map(Some).collect();
        samples.insert(1, None);
        samples
    }
}

macro_rules! tuples {
    ($($kind:ident $at:tt),+) => {
        impl<$($kind: SampleValues + Clone),+> SampleValues for ($($kind,)+) {
            fn samples() -> Vec<Self> {
                let parts = ($($kind::samples(),)+);
                let most = [$(parts.$at.len()),+].into_iter().max().unwrap_or(0);
                // Of different lengths, so that values meet others the second time.
                (0..most + 1).map(|at| ($(parts.$at[(at + at / most) % parts.$at.len()].clone(),)+)).collect()
            }
        }
    };
}
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_make_different_keys() {
        fn different<K: NumberedKey>() {
            let keys: BTreeSet<K> = (1..=50).map(K::numbered).collect();
            assert_eq!(keys.len(), 50);
        }
        different::<i64>();
        different::<String>();
        different::<Uuid>();
        different::<(i64, String)>();
    }

    #[test]
    fn samples_of_several_fields_have_all_values_of_each() {
        let samples = <(Option<String>, bool)>::samples();
        let texts: BTreeSet<_> = samples.iter().map(|sample| sample.0.clone()).collect();
        assert_eq!(texts.len(), Option::<String>::samples().len());
        let flags: BTreeSet<_> = samples.iter().map(|sample| sample.1).collect();
        assert_eq!(flags.len(), 2);
    }
}
