//! Keys: what identifies a record in both stores. A key decides the bucket, names the record in the
//! control tables, and travels to the copy function.

pub(crate) mod bytes;
mod unsigned;

use std::fmt;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, ErrorKind};

/// The most bytes that an encoded key may take in the control tables.
pub const KEY_BYTES_MAX: usize = 512;

/// The type of a key: an integer, a text, a UUID, bytes, or a tuple of up to four of these.
///
/// ```
/// use dualwrite::{Key, KeyKind};
/// assert_eq!(<i64 as Key>::KIND, <u32 as Key>::KIND);
/// assert_eq!(<(i64, String) as Key>::KIND.to_string(), "(integer, text)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyKind(u32);

impl KeyKind {
    /// Every integer type up to 64 bits; of `u64` the values up to `i64::MAX`.
    pub const INTEGER: Self = Self(1);
    /// `str`, `String` and the like.
    pub const TEXT: Self = Self(2);
    /// `uuid::Uuid`.
    pub const UUID: Self = Self(3);
    /// `[u8; N]`, `[u8]` and `Vec<u8>`.
    pub const BYTES: Self = Self(4);

    const fn tuple(parts: &[Self]) -> Self {
        let mut bits = 0;
        let mut index = parts.len();
        while index > 0 {
            index -= 1;
            assert!(parts[index].0 <= 4, "a key tuple cannot hold another tuple");
            bits = (bits << 4) | parts[index].0;
        }
        Self((bits << 4) | 15)
    }

    /// The kinds of the columns, one for a plain key.
    pub fn columns(self) -> impl Iterator<Item = Self> {
        let mut rest = if self.0 & 15 == 15 { self.0 >> 4 } else { self.0 };
        std::iter::from_fn(move || {
            let kind = rest & 15;
            rest >>= 4;
            (kind != 0).then_some(Self(kind))
        })
    }

    const fn name(self) -> &'static str {
        match self.0 {
            1 => "integer",
            2 => "text",
            3 => "uuid",
            _ => "bytes",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & 15 != 15 {
            return f.write_str(self.name());
        }
        f.write_str("(")?;
        for (index, kind) in self.columns().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(kind.name())?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One column of a key as a value that can be stored and bound.
///
/// ```
/// use dualwrite::{Key, KeyPart};
/// assert_eq!(7_i64.parts(), [KeyPart::Integer(7)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyPart {
    /// An integer.
    Integer(i64),
    /// A text.
    Text(String),
    /// A UUID.
    Uuid(Uuid),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An integer above `i64::MAX`. No control table holds it: [`Key::check`] refuses it.
    Beyond(u64),
}

/// What identifies a record. Implemented for integers (up to `i64` and `u64`), strings, UUIDs, bytes (`[u8; N]`,
/// `Vec<u8>`), references to these, and tuples of up to four of these. A newtype derives it ([`macro@crate::Key`]), or delegates:
///
/// ```
/// use dualwrite::{Error, Key, KeyKind, KeyPart, OwnedKey};
///
/// #[derive(Clone)]
/// struct CustomerId(i64);
///
/// impl Key for CustomerId {
///     const KIND: KeyKind = <i64 as Key>::KIND;
///     fn hash(&self, seed: u64) -> u64 { self.0.hash(seed) }
///     fn integer(&self) -> Option<i64> { self.0.integer() }
///     fn push_parts(&self, parts: &mut Vec<KeyPart>) { self.0.push_parts(parts) }
/// }
/// impl OwnedKey for CustomerId {
///     fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
///         i64::take(parts).map(Self)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    label = "must be an integer of up to 64 bits, a string, a UUID, bytes, or a tuple of up to four of these",
    note = "name the field that holds the key, as in `key = customer.id`",
    note = "where `{Self}` is a newtype over one of these, write `#[derive(dualwrite::Key)]` above it"
)]
pub trait Key: Send + Sync {
    /// The type of the key, checked against the migration's on every call.
    const KIND: KeyKind;

    /// The hash of the key, chained from `seed`; see [`Bucket`](crate::Bucket) for the definition.
    fn hash(&self, seed: u64) -> u64;

    /// The value of an integer key, for [`BucketRule::Modulo`](crate::BucketRule::Modulo).
    fn integer(&self) -> Option<i64> {
        None
    }

    /// Checks that the control tables can hold the key.
    ///
    /// # Errors
    /// `WrongKey` for an integer above `i64::MAX`.
    #[inline]
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Appends the columns of the key.
    fn push_parts(&self, parts: &mut Vec<KeyPart>);

    /// The columns of the key.
    fn parts(&self) -> Vec<KeyPart> {
        let mut parts = Vec::new();
        self.push_parts(&mut parts);
        parts
    }
}

/// A key that can be read back from its columns, as copy functions need it.
///
/// ```
/// use dualwrite::{KeyPart, OwnedKey};
/// assert_eq!(<(i64, String)>::take(&mut [KeyPart::Integer(1), KeyPart::Text("a".into())].into_iter())?, (1, "a".into()));
/// # Ok::<(), dualwrite::Error>(())
/// ```
pub trait OwnedKey: Key + Clone + 'static {
    /// Takes the columns of one key.
    ///
    /// # Errors
    /// `WrongKey` where a column is missing or of another type.
    fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error>;
}

/// A key whose types are known by its columns alone.
pub(crate) struct AnyKey(pub(crate) Vec<KeyPart>);

impl Key for AnyKey {
    /// Nobody asks for it: a key of this type is hashed, and nothing else.
    const KIND: KeyKind = KeyKind::TEXT;

    fn hash(&self, seed: u64) -> u64 {
        let part = |seed, part: &KeyPart| match part {
            KeyPart::Integer(value) => Key::hash(value, seed),
            KeyPart::Text(value) => Key::hash(value.as_str(), seed),
            KeyPart::Uuid(value) => Key::hash(value, seed),
            KeyPart::Bytes(value) => Key::hash(value.as_slice(), seed),
            KeyPart::Beyond(value) => Key::hash(value, seed),
        };
        match self.0.as_slice() {
            [only] => part(seed, only),
            parts => parts.iter().fold(seed.wrapping_add(4), part),
        }
    }

    fn integer(&self) -> Option<i64> {
        match self.0.as_slice() {
            [KeyPart::Integer(value)] => Some(*value),
            _ => None,
        }
    }

    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        parts.extend(self.0.iter().cloned());
    }
}

/// The text under which a key is kept in the control tables: a JSON value, or an array of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EncodedKey(pub(crate) String);

impl EncodedKey {
    pub(crate) fn new<K: Key + ?Sized>(key: &K) -> Result<Self, Error> {
        match key.integer() {
            Some(value) if K::KIND == KeyKind::INTEGER => Ok(Self(value.to_string())),
            _ => Self::from_parts(&key.parts()),
        }
    }

    pub(crate) fn from_parts(parts: &[KeyPart]) -> Result<Self, Error> {
        if parts.iter().any(|part| matches!(part, KeyPart::Beyond(_))) {
            return Err(unsigned::beyond());
        }
        let mut values = parts.iter().map(|part| match part {
            KeyPart::Integer(value) => serde_json::Value::from(*value),
            KeyPart::Text(value) => serde_json::Value::from(value.as_str()),
            KeyPart::Uuid(value) => serde_json::Value::from(value.to_string()),
            KeyPart::Bytes(value) => serde_json::Value::from(bytes::hex(value)),
            KeyPart::Beyond(value) => serde_json::Value::from(*value),
        });
        let text = match (values.next(), parts.len()) {
            (Some(only), 1) => only.to_string(),
            (first, _) => {
                serde_json::Value::Array(first.into_iter().chain(values).collect()).to_string()
            }
        };
        if text.len() > KEY_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::WrongKey,
                format!("a key of {} bytes is too long; at most {KEY_BYTES_MAX}", text.len()),
            ));
        }
        Ok(Self(text))
    }

    pub(crate) fn parts(&self, kind: KeyKind) -> Result<Vec<KeyPart>, Error> {
        let wrong = || Error::new(ErrorKind::WrongKey, format!("a stored key is no {kind}"));
        let values = match serde_json::from_str(&self.0).map_err(|_| wrong())? {
            serde_json::Value::Array(values) => values,
            value => vec![value],
        };
        let kinds: Vec<KeyKind> = kind.columns().collect();
        if kinds.len() != values.len() {
            return Err(wrong());
        }
        let part = |(kind, value): (KeyKind, serde_json::Value)| match (kind, value) {
            (KeyKind::INTEGER, serde_json::Value::Number(n)) => n.as_i64().map(KeyPart::Integer),
            (KeyKind::TEXT, serde_json::Value::String(text)) => Some(KeyPart::Text(text)),
            (KeyKind::UUID, serde_json::Value::String(text)) => {
                Uuid::parse_str(&text).ok().map(KeyPart::Uuid)
            }
            (KeyKind::BYTES, serde_json::Value::String(text)) => {
                bytes::from_hex(&text).map(KeyPart::Bytes)
            }
            _ => None,
        };
        kinds.into_iter().zip(values).map(|pair| part(pair).ok_or_else(wrong)).collect()
    }
}

fn wrong_part(expected: &str) -> Error {
    Error::new(ErrorKind::WrongKey, format!("a key column is not of the type {expected}"))
}

macro_rules! integer_keys {
    ($($int:ty)*) => {$(
        impl Key for $int {
            const KIND: KeyKind = KeyKind::INTEGER;
            #[inline]
            fn hash(&self, seed: u64) -> u64 {
                xxh3_64_with_seed(&i64::from(*self).to_le_bytes(), seed.wrapping_add(1))
            }
            #[inline]
            fn integer(&self) -> Option<i64> {
                Some(i64::from(*self))
            }
            fn push_parts(&self, parts: &mut Vec<KeyPart>) {
                parts.push(KeyPart::Integer(i64::from(*self)));
            }
        }
        impl OwnedKey for $int {
            fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
                match parts.next() {
                    Some(KeyPart::Integer(value)) => {
                        <$int>::try_from(value).map_err(|_| wrong_part(stringify!($int)))
                    }
                    _ => Err(wrong_part("integer")),
                }
            }
        }
    )*};
}
integer_keys!(i8 i16 i32 i64 u8 u16 u32);

impl Key for str {
    const KIND: KeyKind = KeyKind::TEXT;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        xxh3_64_with_seed(self.as_bytes(), seed.wrapping_add(2))
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        parts.push(KeyPart::Text(self.to_owned()));
    }
}

impl Key for String {
    const KIND: KeyKind = KeyKind::TEXT;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        self.as_str().hash(seed)
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        self.as_str().push_parts(parts);
    }
}

impl OwnedKey for String {
    fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
        match parts.next() {
            Some(KeyPart::Text(text)) => Ok(text),
            _ => Err(wrong_part("text")),
        }
    }
}

impl Key for Uuid {
    const KIND: KeyKind = KeyKind::UUID;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        xxh3_64_with_seed(self.as_bytes(), seed.wrapping_add(3))
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        parts.push(KeyPart::Uuid(*self));
    }
}

impl OwnedKey for Uuid {
    fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
        match parts.next() {
            Some(KeyPart::Uuid(value)) => Ok(value),
            _ => Err(wrong_part("uuid")),
        }
    }
}

impl<K: Key + ?Sized> Key for &K {
    const KIND: KeyKind = K::KIND;
    #[inline]
    fn hash(&self, seed: u64) -> u64 {
        (**self).hash(seed)
    }
    #[inline]
    fn integer(&self) -> Option<i64> {
        (**self).integer()
    }
    #[inline]
    fn check(&self) -> Result<(), Error> {
        (**self).check()
    }
    fn push_parts(&self, parts: &mut Vec<KeyPart>) {
        (**self).push_parts(parts);
    }
}

macro_rules! tuple_keys {
    ($($name:ident . $index:tt),*) => {
        impl<$($name: Key),*> Key for ($($name,)*) {
            const KIND: KeyKind = KeyKind::tuple(&[$($name::KIND),*]);
            #[inline]
            fn hash(&self, seed: u64) -> u64 {
                let seed = seed.wrapping_add(4);
                $(let seed = self.$index.hash(seed);)*
                seed
            }
            #[inline]
            fn check(&self) -> Result<(), Error> {
                $(self.$index.check()?;)*
                Ok(())
            }
            fn push_parts(&self, parts: &mut Vec<KeyPart>) {
                $(self.$index.push_parts(parts);)*
            }
        }
        impl<$($name: OwnedKey),*> OwnedKey for ($($name,)*) {
            fn take(parts: &mut dyn Iterator<Item = KeyPart>) -> Result<Self, Error> {
                Ok(($($name::take(parts)?,)*))
            }
        }
    };
}
tuple_keys!(A.0, B.1);
tuple_keys!(A.0, B.1, C.2);
tuple_keys!(A.0, B.1, C.2, D.3);

#[cfg(test)]
mod tests {
    use super::*;

    impl EncodedKey {
        fn decode<K: OwnedKey>(&self) -> Result<K, Error> {
            K::take(&mut self.parts(K::KIND)?.into_iter())
        }
    }
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_survives_its_encoding(number: i64, text in ".{0,80}", bytes: [u8; 16]) {
            let id = Uuid::from_bytes(bytes);
            let key = (number, text.clone(), id);
            prop_assert_eq!(EncodedKey::new(&key).unwrap().decode::<(i64, String, Uuid)>().unwrap(), key);
            prop_assert_eq!(EncodedKey::new(&number).unwrap().decode::<i64>().unwrap(), number);
            prop_assert_eq!(EncodedKey::new(text.as_str()).unwrap().decode::<String>().unwrap(), text);
        }
    }

    #[test]
    fn a_key_of_columns_alone_has_the_same_hash() {
        let id = Uuid::from_u128(7);
        let key = (5_i64, "a".to_owned(), id);
        assert_eq!(AnyKey(key.parts()).hash(3), key.hash(3));
        assert_eq!(AnyKey("x".parts()).hash(3), "x".hash(3));
        assert_eq!(AnyKey(7_i64.parts()).integer(), Some(7));
    }

    #[test]
    fn a_stored_key_of_another_type_is_refused() {
        let text = EncodedKey::new("7").unwrap();
        assert_eq!(text.decode::<i64>().unwrap_err().kind(), ErrorKind::WrongKey);
        assert_eq!(
            EncodedKey::new(&300).unwrap().decode::<u8>().unwrap_err().kind(),
            ErrorKind::WrongKey
        );
        assert_eq!(EncodedKey::new(&"x".repeat(600)).unwrap_err().kind(), ErrorKind::WrongKey);
    }
}
