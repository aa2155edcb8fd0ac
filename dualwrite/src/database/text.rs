//! SQL text of users inside statements of this library. Statements of ours are written with `?` for a value and
//! `{now}` for the clock; a user's text may hold both and mean something else. So it is marked when it is put in,
//! and `Dialect::statement` tells the two apart in its one pass. Pure.

use std::borrow::Cow;
use std::ops::Range;

/// What follows stands for a character of a user's text.
pub(super) const MARK: char = '\u{1}';
const MARKED: [(char, char); 3] = [('?', 'q'), ('{', 'b'), (MARK, 'm')];

/// A user's text, so that nothing in it is taken for a place of ours.
pub(crate) fn verbatim(text: &str) -> Cow<'_, str> {
    if !text.contains(['?', '{', MARK]) {
        return Cow::Borrowed(text);
    }
    let mut marked = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match MARKED.iter().find(|(plain, _)| *plain == c) {
            Some((_, code)) => marked.extend([MARK, *code]),
            None => marked.push(c),
        }
    }
    Cow::Owned(marked)
}

/// A user's expression in parentheses. A comment at its end does not reach ours.
pub(crate) fn expression(text: &str) -> String {
    let end = if text.contains("--") || text.contains('#') { "\n" } else { "" };
    format!("({}{end})", verbatim(text))
}

/// The character that this code stands for.
pub(super) fn unmarked(code: char) -> char {
    MARKED.iter().find(|(_, known)| *known == code).map_or(code, |(plain, _)| *plain)
}

/// The lexical rules that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    Postgres,
    MySql,
    Sqlite,
}

/// What a user's text consists of, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// String literals, quoted names and comments.
    pub(crate) opaque: Vec<Range<usize>>,
    /// The first place for a value outside of these: nothing would be bound to it.
    pub(crate) parameter: Option<String>,
}

impl Scanned {
    /// Whether this place is inside a literal, a quoted name or a comment.
    pub(crate) fn is_opaque(&self, at: usize) -> bool {
        self.opaque.iter().any(|range| range.contains(&at))
    }
}

/// Reads a text as the database will.
pub(super) fn scan(text: &str, rules: Rules) -> Scanned {
    let (mut scanned, mut at) = (Scanned::default(), 0);
    while let Some(c) = text[at..].chars().next() {
        if let Some(length) = opaque(&text[..at], &text[at..], rules) {
            scanned.opaque.push(at..at + length);
            at += length;
        } else if is_word(c) {
            at += word(&text[at..]);
        } else {
            if scanned.parameter.is_none() {
                scanned.parameter = parameter(&text[at..], rules);
            }
            at += operator(&text[at..], c);
        }
    }
    scanned
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A name, a keyword or a number. All three databases take a `$` inside one.
fn word(rest: &str) -> usize {
    rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len())
}

/// A cast is one operator: its second colon begins no parameter.
fn operator(rest: &str, c: char) -> usize {
    if rest.starts_with("::") { 2 } else { c.len_utf8() }
}

/// The length of the literal, quoted name or comment that begins here.
fn opaque(before: &str, rest: &str, rules: Rules) -> Option<usize> {
    let backslash = match rules {
        Rules::MySql => true,
        Rules::Postgres => is_escape_string(before),
        Rules::Sqlite => false,
    };
    match rest.chars().next()? {
        '\'' => Some(quoted(rest, '\'', backslash)),
        '"' => Some(quoted(rest, '"', rules == Rules::MySql)),
        '`' if rules != Rules::Postgres => Some(quoted(rest, '`', false)),
        '[' if rules == Rules::Sqlite => Some(until(rest, "]")),
        '#' if rules == Rules::MySql => Some(until(rest, "\n")),
        '$' if rules == Rules::Postgres => dollar_quoted(rest),
        '-' if is_line_comment(rest, rules) => Some(until(rest, "\n")),
        '/' if rest.starts_with("/*") => Some(block_comment(rest, rules == Rules::Postgres)),
        _ => None,
    }
}

/// `E'…'` of PostgreSQL.
fn is_escape_string(before: &str) -> bool {
    let mut before = before.chars().rev();
    before.next().is_some_and(|c| c == 'e' || c == 'E') && !before.next().is_some_and(is_word)
}

/// MySQL wants a blank after the two dashes.
fn is_line_comment(rest: &str, rules: Rules) -> bool {
    let Some(after) = rest.strip_prefix("--") else { return false };
    rules != Rules::MySql
        || after.chars().next().is_none_or(|c| c.is_whitespace() || c.is_control())
}

fn until(rest: &str, end: &str) -> usize {
    rest.find(end).map_or(rest.len(), |at| at + end.len())
}

/// Up to the closing quote; two of them are one of the text.
fn quoted(rest: &str, quote: char, backslash: bool) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslash {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// `$$…$$` or `$tag$…$tag$`.
fn dollar_quoted(rest: &str) -> Option<usize> {
    let (tag, _) = rest[1..].split_once('$')?;
    let starts_well = !tag.starts_with(|c: char| c.is_ascii_digit());
    if !starts_well || !tag.chars().all(is_word) {
        return None;
    }
    let fence = &rest[..tag.len() + 2];
    let after = &rest[fence.len()..];
    Some(after.find(fence).map_or(rest.len(), |at| at + 2 * fence.len()))
}

fn block_comment(rest: &str, nests: bool) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") && (nests || depth == 0) {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The place for a value that begins here.
fn parameter(rest: &str, rules: Rules) -> Option<String> {
    let mut chars = rest.chars();
    let (first, second) = (chars.next()?, chars.next());
    let is_one = match (rules, first) {
        (Rules::Postgres, '$') => second.is_some_and(|c| c.is_ascii_digit()),
        (Rules::MySql | Rules::Sqlite, '?') => true,
        (Rules::Sqlite, ':' | '@' | '$') => second.is_some_and(is_word),
        _ => false,
    };
    is_one.then(|| rest[..first.len_utf8() + word(&rest[first.len_utf8()..])].to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Rules::{MySql, Postgres, Sqlite};
    use super::*;

    fn opaque(text: &str, rules: Rules) -> Vec<String> {
        scan(text, rules).opaque.into_iter().map(|range| text[range].to_owned()).collect()
    }

    #[test]
    fn literals_names_and_comments_are_found_as_each_database_reads_them() {
        assert_eq!(
            opaque(r#"a = 'it''s ?' AND "?" = E'\'?' -- ?"#, Postgres),
            ["'it''s ?'", "\"?\"", r"'\'?'", "-- ?"]
        );
        assert_eq!(opaque("$$ $1 '$$ || $t$ $$ $1 $t$", Postgres), ["$$ $1 '$$", "$t$ $$ $1 $t$"]);
        assert_eq!(opaque("/* a /* ? */ b */ c", Postgres), ["/* a /* ? */ b */"]);
        assert_eq!(opaque("/* a /* ? */ b", Sqlite), ["/* a /* ? */"]);
        assert_eq!(opaque(r"'\'?' # ?", MySql), [r"'\'?'", "# ?"]);
        assert_eq!(opaque("a--1 -- ?", MySql), ["-- ?"]);
        assert_eq!(opaque(r"'\' || [a ?] || `?`", Sqlite), [r"'\'", "[a ?]", "`?`"]);
        assert_eq!(opaque("'never closed ?", Sqlite), ["'never closed ?"]);
    }

    #[test]
    fn places_for_values_are_found_outside_of_them() {
        let found = |text, rules| scan(text, rules).parameter;
        assert_eq!(found("tags ? 'a' AND tags ?| x AND b::text = '$1'", Postgres), None);
        assert_eq!(found("a$1 = $$ $1 $$ AND b = $12", Postgres).as_deref(), Some("$12"));
        assert_eq!(found("a = '?' AND b = ?", MySql).as_deref(), Some("?"));
        assert_eq!(found("a := @b", MySql), None);
        assert_eq!(found("a = '?' /* :x */ AND b = :name", Sqlite).as_deref(), Some(":name"));
        for text in ["a = ?1", "a = @x", "a = $x"] {
            assert!(found(text, Sqlite).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_to_its_end(text in any::<String>()) {
            for rules in [Postgres, MySql, Sqlite] {
                for range in scan(&text, rules).opaque {
                    prop_assert!(text.get(range).is_some());
                }
            }
        }
    }
}
