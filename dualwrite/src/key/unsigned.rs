//! Keys of the type `u64`. No control table, and no PostgreSQL or SQLite, holds an integer above `i64::MAX`: a write
//! of such a key is refused, and a row that has one is named.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Key, KeyKind, KeyPart, OwnedKey, wrong_part};
use crate::error::{Error, ErrorKind};

const BEYOND: &str = "the key is an integer above 9223372036854775807, which the control tables cannot hold; number the \
                      records below that, or give the migration a key of another column";

impl Key for u64 {
    const KIND: KeyKind = KeyKind::INTEGER;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        xxh3_64_with_seed(&self.to_le_bytes(), seed.wrapping_add(1))
    }
    #[inline]
    fn integer(&self) -> Option<i64> {
        i64::try_from(*self).ok()
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        parts.push(match i64::try_from(*self) {
            Ok(value) => KeyPart::Integer(value),
            Err(_) => KeyPart::Beyond(*self),
        });
    }
    #[inline]
    fn check(&self) -> Result<(), Error> {
        match i64::try_from(*self) {
            Ok(_) => Ok(()),
            Err(_) => Err(beyond()),
        }
    }
}

impl OwnedKey for u64 {
    fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
        match parts.next() {
            Some(KeyPart::Integer(value)) => Self::try_from(value).map_err(|_| wrong_part("u64")),
            _ => Err(wrong_part("integer")),
        }
    }
}

#[cold]
pub(super) fn beyond() -> Error {
    Error::new(ErrorKind::WrongKey, BEYOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::EncodedKey;

    #[test]
    fn what_fits_is_the_same_key_as_a_signed_one() {
        let largest = i64::MAX as u64;
        for key in [0, 7, largest] {
            let signed = i64::try_from(key).unwrap();
            assert_eq!(key.hash(9), signed.hash(9));
            assert_eq!(EncodedKey::new(&key).unwrap(), EncodedKey::new(&signed).unwrap());
            key.check().unwrap();
        }
        assert_eq!(u64::take(&mut largest.parts().into_iter()).unwrap(), largest);
        u64::take(&mut (-1_i64).parts().into_iter()).unwrap_err();
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let key = i64::MAX as u64 + 1;
        for refused in [
            key.check().unwrap_err(),
            (1_i64, &key).check().unwrap_err(),
            EncodedKey::new(&key).unwrap_err(),
        ] {
            assert_eq!(refused.kind(), ErrorKind::WrongKey);
            assert!(refused.to_string().contains("9223372036854775807"), "{refused}");
        }
    }
}
