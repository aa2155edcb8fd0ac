//! Records on their way through the outbox.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};

/// A record as JSON. What JSON changes on the way there and back is refused: the mirror would have something else.
pub(crate) fn write<R: Serialize + DeserializeOwned>(record: &R) -> Result<String, Error> {
    let refused = |message: &str| Err(Error::new(ErrorKind::InvalidInput, message));
    let Ok(text) = serde_json::to_string(record) else {
        return refused("`Record` cannot be written as JSON; see its `Serialize`");
    };
    let again = serde_json::from_str::<R>(&text).ok();
    let again = again.and_then(|record| serde_json::to_value(&record).ok());
    // As values: maps may come in another order.
    if again.is_some() && again == serde_json::to_value(record).ok() {
        return Ok(text);
    }
    refused(
        "`Record` is not the same after it was written as JSON and read again (NaN, or a float with all its digits?); \
         keep such a field as text in `Record`",
    )
}

/// A record as JSON, to be compared.
pub(crate) fn shown<R: Serialize>(record: &R) -> Result<String, Error> {
    serde_json::to_string(record).map_err(|_| {
        let message = "`Record` cannot be written as JSON; see its `Serialize`";
        Error::new(ErrorKind::InvalidInput, message)
    })
}

/// The record of a payload.
pub(crate) fn read<R: DeserializeOwned>(text: &str) -> Result<R, Error> {
    serde_json::from_str(text).map_err(|_| {
        let message = "a payload of the outbox is no `Record` of this release; deploy the release that wrote it, or let \
                       `Record` read what it wrote";
        Error::new(ErrorKind::CopyFailed, message)
    })
}

/// Whether two payloads say the same.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || value(one).is_some_and(|one| Some(one) == value(other))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn what_json_does_not_keep_is_refused() {
        assert!(write(&f64::NAN).is_err());
        assert_eq!(write(&0.1_f64).unwrap(), "0.1");
        assert_eq!(write(&Some(i64::MAX)).unwrap(), i64::MAX.to_string());
        let map: HashMap<u8, u8> = (0..50).map(|number| (number, number)).collect();
        assert_eq!(read::<HashMap<u8, u8>>(&write(&map).unwrap()).unwrap(), map);
        assert!(is_same(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#));
        assert!(!is_same("1", "2"));
    }
}
