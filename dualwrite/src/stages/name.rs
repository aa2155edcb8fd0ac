//! Names of migrations.

use crate::error::{Error, ErrorKind};
use crate::printable::printable;

/// The most bytes of the name of a migration, and of a release.
pub(crate) const NAME_BYTES_MAX: usize = 100;

/// Refuses what is no name for a migration.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    // `.` and `..` are other addresses than the migration's, and a name that begins with `-` is an option.
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        let name = printable(name);
        let message = format!(
            "`{name}` is no name for a migration; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `.`, `_`, `-`, the \
             first of them a letter or a digit"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_small_letters_digits_and_three_signs() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for name in ["a", "7", "customer-email", "a.b_c-2", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let too_long = "a".repeat(NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "-a", "_a", "A", "aB", "a b", "a/b", "é", "a\n", &too_long] {
            let error = check_name(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
            assert!(error.to_string().contains("is no name for a migration"), "{error}");
        }
    }
}
