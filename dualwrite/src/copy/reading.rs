//! Reads keys out of rows. What is no key of the kind that the copy function has is named: table, column, and what
//! kind of value stands there, never the value.

use uuid::Uuid;

use super::source::{KeyParts, Pages};
use crate::database::{SqlRow, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, KeyKind, KeyPart};
use crate::preflight::form::{KeyForm, Spelling, UuidAs};

impl Pages {
    /// The key at the beginning of a row.
    ///
    /// # Errors
    /// `WrongKey` that names table and column.
    pub(crate) fn key_of(&self, row: SqlRow) -> Result<KeyParts, Error> {
        let forms = self.keyed().forms;
        let kinds = self.kind.columns();
        let columns = row.0.into_iter().zip(kinds).zip(forms.iter()).enumerate();
        let part = |(at, ((value, kind), form)): (usize, ((SqlValue, KeyKind), &KeyForm))| {
            part_of(value, kind, form).map_err(|held| self.wrong(at, kind, &held))
        };
        columns.map(part).collect()
    }

    /// The same where the columns may come from either side, read as [`neutral`](crate::database::Dialect::neutral)
    /// texts where the two are not alike.
    pub(crate) fn key_of_either(&self, other: &Self, row: SqlRow) -> Result<KeyParts, Error> {
        let (own, there) = (self.keyed().forms, other.keyed().forms);
        let forms = own.iter().zip(there.iter()).map(|(own, there)| {
            let is_plain = own.read.is_empty() && own.uuid == UuidAs::Native;
            if is_plain { there } else { own }
        });
        let columns = row.0.into_iter().zip(self.kind.columns()).zip(forms).enumerate();
        let part = |(at, ((value, kind), form)): (usize, ((SqlValue, KeyKind), &KeyForm))| {
            part_of(value, kind, form).map_err(|held| self.wrong(at, kind, &held))
        };
        columns.map(part).collect()
    }

    /// A key as it is recorded.
    ///
    /// # Errors
    /// `WrongKey` that names table and columns, where it is too long.
    pub(crate) fn recorded(&self, key: &KeyParts) -> Result<EncodedKey, Error> {
        EncodedKey::from_parts(key).map_err(|error| {
            let (table, columns) = (self.name(), self.key().join("`, `"));
            let message = format!(
                "table `{table}`, column `{columns}`: {error}; such a row cannot be copied; correct or remove it, or use \
                 another key"
            );
            Error::new(ErrorKind::WrongKey, message)
        })
    }

    #[cold]
    fn wrong(&self, at: usize, kind: KeyKind, held: &str) -> Error {
        let (table, column) = (self.name(), &self.key()[at]);
        let message = format!(
            "table `{table}`, column `{column}` holds {held} in some row, and the key is {kind}: such a row \
             cannot be copied; correct or remove it, or use another key"
        );
        Error::new(ErrorKind::WrongKey, message)
    }
}

/// A column of a key, or what kind of value it is instead.
fn part_of(value: SqlValue, kind: KeyKind, form: &KeyForm) -> Result<KeyPart, String> {
    let value = match value {
        SqlValue::Bytes(bytes)
            if kind == KeyKind::UUID && bytes.len() == 16 && form.uuid == UuidAs::Native =>
        {
            return Uuid::from_slice(&bytes).map(KeyPart::Uuid).map_err(|_| "bytes".to_owned());
        }
        SqlValue::Bytes(bytes) if kind == KeyKind::BYTES => return Ok(KeyPart::Bytes(bytes)),
        SqlValue::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => SqlValue::Text(Some(text)),
            Err(_) => return Err("bytes that are no UTF-8".to_owned()),
        },
        value => value,
    };
    match (value, kind) {
        (SqlValue::Integer(None) | SqlValue::Text(None), _) => Err("NULL".to_owned()),
        (SqlValue::Integer(Some(value)), KeyKind::INTEGER) => Ok(KeyPart::Integer(value)),
        (SqlValue::Text(Some(text)), KeyKind::INTEGER) if !form.read.is_empty() => {
            let whole = whole(&text).map(KeyPart::Integer);
            whole.ok_or_else(|| match text.parse::<u64>() {
                Ok(_) => "an integer above 9223372036854775807, the largest of 64 bits".to_owned(),
                Err(_) => "a number that is no integer of 64 bits".to_owned(),
            })
        }
        (SqlValue::Text(Some(text)), KeyKind::TEXT) => Ok(KeyPart::Text(text)),
        (SqlValue::Uuid(value), KeyKind::UUID) => Ok(KeyPart::Uuid(value)),
        (SqlValue::Uuid(value), KeyKind::TEXT) => Ok(KeyPart::Text(value.to_string())),
        (SqlValue::Text(Some(text)), KeyKind::UUID) => uuid_of(&text, form),
        (SqlValue::Integer(Some(_)), _) => Err("an integer".to_owned()),
        (SqlValue::Other(type_name), _) => Err(format!("a value of the type {type_name}")),
        (SqlValue::Text(_), _) => Err("a text".to_owned()),
        (SqlValue::Uuid(_), _) => Err("a UUID".to_owned()),
        (SqlValue::Bytes(_), _) => Err("bytes".to_owned()),
        (SqlValue::Real(_), _) => Err("a value of the type REAL".to_owned()),
    }
}

/// A whole number, written with a fraction of zeros or without.
fn whole(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    fraction.chars().all(|digit| digit == '0').then(|| whole.parse().ok()).flatten()
}

/// A UUID that is found again under the spelling in which it will be bound.
fn uuid_of(text: &str, form: &KeyForm) -> Result<KeyPart, String> {
    if form.uuid == UuidAs::Native {
        return Err("a UUID as a text, among others that are bytes".to_owned());
    }
    let text = text.trim_end_matches(' ');
    let value = Uuid::parse_str(text).map_err(|_| "a text that is no UUID".to_owned())?;
    let bound = value.to_string();
    let folds = matches!(form.spelling, Spelling::AsciiCase | Spelling::Loose);
    match bound == text || (folds && bound.eq_ignore_ascii_case(text)) {
        true => Ok(KeyPart::Uuid(value)),
        false => Err("a UUID that is not written in small letters with hyphens".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::form::Wrap;

    #[test]
    fn what_is_no_key_is_named_by_its_kind() {
        let form = KeyForm::default();
        let held = |value, kind| part_of(value, kind, &KeyForm::default()).unwrap_err();
        assert_eq!(held(SqlValue::Text(None), KeyKind::TEXT), "NULL");
        assert_eq!(held(SqlValue::Bytes(vec![0xff]), KeyKind::TEXT), "bytes that are no UTF-8");
        assert_eq!(held(SqlValue::Integer(Some(7)), KeyKind::TEXT), "an integer");
        assert_eq!(held(SqlValue::from("7"), KeyKind::INTEGER), "a text");
        let upper = "6BA7B810-9DAD-11D1-80B4-00C04FD430C8";
        assert!(held(SqlValue::from(upper), KeyKind::UUID).contains("as a text"));
        let text = KeyForm { uuid: UuidAs::Text, ..form };
        let exact = part_of(SqlValue::from(upper), KeyKind::UUID, &text).unwrap_err();
        assert!(exact.contains("small letters"), "{exact}");
        let loose = KeyForm { spelling: Spelling::Loose, ..text };
        assert!(part_of(SqlValue::from(upper), KeyKind::UUID, &loose).is_ok());
    }

    #[test]
    fn a_number_read_as_a_text_is_whole_or_named() {
        let form = KeyForm { read: Wrap::new("CAST(", " AS text)"), ..KeyForm::default() };
        let read = |text: &str| part_of(SqlValue::from(text), KeyKind::INTEGER, &form);
        assert_eq!(read("12.00"), Ok(KeyPart::Integer(12)));
        assert_eq!(read("-3"), Ok(KeyPart::Integer(-3)));
        for wrong in ["1.5", "NaN", "9223372036854775808"] {
            assert!(read(wrong).unwrap_err().contains("64 bits"), "{wrong}");
        }
    }
}
