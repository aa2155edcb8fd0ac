//! Who and why, as the audit keeps it. Pure.

use crate::error::{Error, ErrorKind};
use crate::printable::steers;
use crate::stages::name::NAME_BYTES_MAX;

/// The most characters of a reason, which is what fits into the columns of every database.
const REASON_CHARS_MAX: usize = 2_000;

pub(crate) fn check_named(what: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let message = format!("the {what} must have 1 to {NAME_BYTES_MAX} bytes");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    if name.chars().any(steers) {
        let message = format!("the {what} has control characters; leave them out");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// What an operator gives as the reason, for the audit.
pub(crate) fn check_reason(because: &str) -> Result<(), Error> {
    let refused = |message: &str| Err(Error::new(ErrorKind::InvalidInput, message));
    if because.trim().is_empty() {
        return refused("the reason is missing; the audit needs it");
    }
    if because.chars().count() > REASON_CHARS_MAX {
        return refused("the reason is too long; the audit has room for 2,000 characters");
    }
    if because.chars().any(steers) {
        return refused("the reason has control characters; leave them out");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_character_that_steers_a_terminal_is_refused() {
        let steering = (0..0x3000).filter_map(char::from_u32).filter(|c| steers(*c));
        for c in steering.chain(['\n', '\r', '\t', '\0', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}'])
        {
            for refused in
                [check_reason(&format!("a{c}b")), check_named("actor", &format!("a{c}b"))]
            {
                let refused = refused.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{c:?}");
                assert!(refused.to_string().contains("control characters"), "{c:?}: {refused}");
            }
        }
    }

    #[test]
    fn a_reason_is_neither_empty_nor_endless() {
        for empty in ["", " ", "   "] {
            assert!(check_reason(empty).unwrap_err().to_string().contains("missing"));
        }
        let most = "ß".repeat(REASON_CHARS_MAX);
        check_reason(&most).unwrap();
        assert!(check_reason(&(most + "ß")).unwrap_err().to_string().contains("too long"));
        check_named("actor", &"a".repeat(NAME_BYTES_MAX)).unwrap();
        for name in [String::new(), "a".repeat(NAME_BYTES_MAX + 1), "ß".repeat(NAME_BYTES_MAX)] {
            assert!(check_named("actor", &name).unwrap_err().to_string().contains("actor"));
        }
    }

    proptest! {
        #[test]
        fn whatever_can_be_read_is_a_reason(text in "[^\\p{C}\\p{Z}]{1,40}") {
            prop_assert!(check_reason(&text).is_ok());
        }
    }
}
