//! Text that others wrote, for terminals and pages. Pure.

use std::borrow::Cow;

/// Whether a character steers a terminal, or the order in which a text is read, in place of being shown.
pub(crate) fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with `\u{fffd}` in the place of what would steer a terminal or turn the order of reading around: control
/// characters, separators of lines, and the controls of bidirectional text.
///
/// ```
/// assert_eq!(dualwrite::printable("red \u{1b}[31m"), "red \u{fffd}[31m");
/// assert_eq!(dualwrite::printable("ada\u{202e}nimda"), "ada\u{fffd}nimda");
/// ```
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect(),
    )
}
