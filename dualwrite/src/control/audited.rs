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
