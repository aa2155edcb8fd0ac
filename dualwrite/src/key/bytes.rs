//! Keys that are bytes: `BYTEA`, `BINARY`, `VARBINARY`, `BLOB`.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Key, KeyKind, KeyPart, OwnedKey, wrong_part};
use crate::error::Error;

impl Key for [u8] {
    const KIND: KeyKind = KeyKind::BYTES;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        xxh3_64_with_seed(self, seed.wrapping_add(5))
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        parts.push(KeyPart::Bytes(self.to_owned()));
    }
}

impl Key for Vec<u8> {
    const KIND: KeyKind = KeyKind::BYTES;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        self.as_slice().hash(seed)
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        self.as_slice().push_parts(parts);
    }
}

impl OwnedKey for Vec<u8> {
    fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
        match parts.next() {
            Some(KeyPart::Bytes(bytes)) => Ok(bytes),
            _ => Err(wrong_part("bytes")),
        }
    }
}

impl<const N: usize> Key for [u8; N] {
    const KIND: KeyKind = KeyKind::BYTES;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        self.as_slice().hash(seed)
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        self.as_slice().push_parts(parts);
    }
}

impl<const N: usize> OwnedKey for [u8; N] {
    fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
        let bytes = Vec::<u8>::take(parts)?;
        bytes.try_into().map_err(|_| wrong_part(&format!("[u8; {N}]: it has another length")))
    }
}

/// Two small digits for each byte, as every database writes them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A `String` takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of such a text.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::EncodedKey;

    #[test]
    fn bytes_are_stored_as_small_digits_and_come_back() {
        let key = vec![0x00, 0x7f, 0xff, 0x0a];
        let stored = EncodedKey::new(&key).unwrap();
        assert_eq!(stored.0, "\"007fff0a\"");
        let parts = stored.parts(KeyKind::BYTES).unwrap();
        assert_eq!(Vec::take(&mut parts.clone().into_iter()).unwrap(), key);
        assert_eq!(<[u8; 4]>::take(&mut parts.clone().into_iter()).unwrap(), key.as_slice());
        let other = <[u8; 5]>::take(&mut parts.into_iter()).unwrap_err();
        assert!(other.to_string().contains("[u8; 5]: it has another length"), "{other}");
        assert_eq!(EncodedKey::new(&[0_u8; 0]).unwrap().0, "\"\"");
        for wrong in ["\"0\"", "\"0g\"", "7"] {
            EncodedKey(wrong.to_owned()).parts(KeyKind::BYTES).unwrap_err();
        }
    }

    #[test]
    fn a_key_of_bytes_is_none_of_another_kind() {
        assert_eq!(<([u8; 2], i64)>::KIND.to_string(), "(bytes, integer)");
        assert_ne!([1_u8; 3].hash(1), "\u{1}\u{1}\u{1}".hash(1));
        assert_eq!([1_u8; 3].hash(1), vec![1_u8; 3].hash(1));
    }
}
