//! A definition of an old column, said of the new one: names are replaced, texts in quotes stay. Pure.

use std::iter::Peekable;
use std::str::Chars;

/// A part of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name, without its quotes, and whether it had any.
    Name(String, bool),
    Text(String),
    Space,
    Other(char),
}

/// What stands between quotes, behind the first of them: a quote that is doubled is one of the text.
fn unquoted(quote: char, rest: &mut Peekable<Chars<'_>>) -> String {
    let mut inner = String::new();
    while let Some(next) = rest.next() {
        if next == quote && rest.next_if_eq(&quote).is_none() {
            break;
        }
        inner.push(next);
    }
    inner
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' | '`' => {
                let inner = unquoted(c, &mut rest);
                found.push(match c {
                    '\'' => Token::Text(inner),
                    _ => Token::Name(inner, true),
                });
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(next) =
                    rest.next_if(|c| c.is_alphanumeric() || *c == '_' || *c == '$')
                {
                    word.push(next);
                }
                found.push(Token::Name(word, false));
            }
            c if c.is_whitespace() => {
                if found.last() != Some(&Token::Space) {
                    found.push(Token::Space);
                }
            }
            c => found.push(Token::Other(c)),
        }
    }
    found
}

/// Whether a token names the column, and is not the name of a function.
fn names(all: &[Token], at: usize, column: &str) -> bool {
    let Token::Name(name, quoted) = &all[at] else { return false };
    let is_call = !quoted && all[at + 1..].first() == Some(&Token::Other('('));
    // A type behind `::`.
    let is_type = at >= 2 && all[at - 1] == Token::Other(':') && all[at - 2] == Token::Other(':');
    name.eq_ignore_ascii_case(column) && !is_call && !is_type
}

/// Whether a definition names a column.
pub(crate) fn mentions(text: &str, column: &str) -> bool {
    let all = tokens(text);
    (0..all.len()).any(|at| names(&all, at, column))
}

/// The definition with the new column in the place of the old one. `quote` is that of the database.
pub(crate) fn image(text: &str, old: &str, new: &str, quote: char) -> String {
    let all = tokens(text);
    let mut out = String::new();
    for (at, token) in all.iter().enumerate() {
        match token {
            _ if names(&all, at, old) => out.push_str(&quoted(new, quote)),
            Token::Name(name, true) => out.push_str(&quoted(name, quote)),
            Token::Name(name, false) => out.push_str(name),
            Token::Text(inner) => out.push_str(&format!("'{}'", inner.replace('\'', "''"))),
            Token::Space => out.push(' '),
            Token::Other(c) => out.push(*c),
        }
    }
    out
}

fn quoted(name: &str, quote: char) -> String {
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}

/// Whether two definitions say the same, however names are quoted and blanks are set.
pub(crate) fn alike(left: &str, right: &str) -> bool {
    let plain = |text: &str| {
        let mut found = Vec::new();
        for token in tokens(text) {
            match token {
                Token::Space => {}
                Token::Name(name, _) => found.push(Token::Name(name.to_lowercase(), false)),
                token => found.push(token),
            }
        }
        found
    };
    plain(left) == plain(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_texts_stay() {
        let check = "CHECK (((email)::text ~~ 'email%'::text) AND (lower(email) <> \"Email2\"))";
        assert_eq!(
            image(check, "email", "mail", '"'),
            "CHECK (((\"mail\")::text ~~ 'email%'::text) AND (lower(\"mail\") <> \"Email2\"))"
        );
        assert_eq!(image("(`a`, `b`)", "b", "c", '`'), "(`a`, `c`)");
        assert_eq!(image("CHECK (a <> 'it''s')", "a", "b", '"'), "CHECK (\"b\" <> 'it''s')");
        assert_eq!(image("USING btree (lower(lower))", "lower", "x", '"'), {
            "USING btree (lower(\"x\"))"
        });
        assert_eq!(image("CHECK ((date > '2020'::date))", "date", "day", '"'), {
            "CHECK ((\"day\" > '2020'::date))"
        });
    }

    #[test]
    fn a_definition_is_known_again_whatever_its_quotes() {
        assert!(alike("USING btree (\"a\",  b)", "USING btree (a, \"B\")"));
        assert!(!alike("USING btree (a)", "USING btree (a, b)"));
        assert!(!alike("CHECK (a <> 'x')", "CHECK (a <> 'X')"));
        assert!(
            mentions("CHECK (email <> '')", "EMAIL") && !mentions("CHECK (x <> 'email')", "email")
        );
    }
}
