//! The words of a statement, for what the parser does not read. A quoted name or text is never a keyword.

use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Token, Tokenizer};

use super::level::SqlDialect;

/// One token that counts: comments and white space are gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// A word without quotes, in upper case, and as written.
    Word(String, String),
    /// A quoted name.
    Name(String),
    /// A text.
    Text(String),
    /// Anything else, as written.
    Other(String),
}

impl Part {
    /// Whether it is this keyword, in upper case.
    pub(super) fn is_word(&self, wanted: &str) -> bool {
        matches!(self, Self::Word(word, _) if word == wanted)
    }
}

pub(super) fn parser_dialect(dialect: SqlDialect) -> &'static dyn Dialect {
    match dialect {
        SqlDialect::Postgres => &PostgreSqlDialect {},
        SqlDialect::Mysql => &MySqlDialect {},
        SqlDialect::Sqlite => &SQLiteDialect {},
    }
}

/// The tokens of a statement; `None` where it cannot be cut into tokens.
pub(super) fn parts(text: &str, dialect: SqlDialect) -> Option<Vec<Part>> {
    let tokens = Tokenizer::new(parser_dialect(dialect), text).tokenize().ok()?;
    Some(tokens.into_iter().filter_map(part).collect())
}

fn part(token: Token) -> Option<Part> {
    Some(match token {
        Token::Whitespace(_) | Token::EOF => return None,
        Token::Word(word) if word.quote_style.is_none() => {
            Part::Word(word.value.to_ascii_uppercase(), word.value)
        }
        Token::Word(word) => Part::Name(word.value),
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::DoubleQuotedString(text) => Part::Text(text),
        Token::DollarQuotedString(text) => Part::Text(text.value),
        other => Part::Other(other.to_string()),
    })
}

/// A place in the tokens of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'p>(pub(super) &'p [Part]);

impl<'p> Cursor<'p> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next token as a keyword, empty where it is none.
    pub(super) fn word(&self) -> &'p str {
        match self.0.first() {
            Some(Part::Word(upper, _)) => upper,
            _ => "",
        }
    }

    pub(super) fn starts(&self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(index, word)| match self.0.get(index) {
            Some(Part::Word(upper, _)) => upper == word,
            Some(Part::Other(sign)) => sign == word,
            _ => false,
        })
    }

    pub(super) fn starts_any(&self, choices: &[&str]) -> bool {
        choices.iter().any(|words| self.starts(words))
    }

    /// Passes these words if they come next.
    pub(super) fn take(&mut self, words: &str) -> bool {
        let found = self.starts(words);
        if found {
            self.0 = &self.0[words.split(' ').count()..];
        }
        found
    }

    /// Passes whichever of these comes next.
    pub(super) fn take_any(&mut self, choices: &[&str]) -> bool {
        choices.iter().any(|words| self.take(words))
    }

    /// Passes a name, with its schema; answers with it as the database knows it, without quotes.
    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            match self.0.first()? {
                Part::Word(_, written) => name.push_str(&written.to_ascii_lowercase()),
                Part::Name(written) => name.push_str(written),
                _ => return None,
            }
            self.0 = &self.0[1..];
            if !self.take(".") {
                return Some(name);
            }
            name.push('.');
        }
    }

    /// Whether a keyword stands anywhere outside of parentheses.
    pub(super) fn has(&self, word: &str) -> bool {
        self.top_level().any(|part| matches!(part, Part::Word(upper, _) if upper == word))
    }

    /// Whether keywords stand side by side anywhere.
    pub(super) fn has_run(&self, words: &str) -> bool {
        (0..self.0.len()).any(|from| Cursor(&self.0[from..]).starts(words))
    }

    fn top_level(&self) -> impl Iterator<Item = &'p Part> {
        let mut depth = 0_usize;
        self.0.iter().filter(move |part| {
            if let Part::Other(sign) = part {
                match &**sign {
                    "(" => depth += 1,
                    ")" => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            depth == 0
        })
    }

    /// The parts between commas outside of parentheses.
    pub(super) fn split_at_commas(&self) -> Vec<&'p [Part]> {
        let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
        for (index, part) in self.0.iter().enumerate() {
            if let Part::Other(sign) = part {
                match &**sign {
                    "(" | "[" => depth += 1,
                    ")" | "]" => depth = depth.saturating_sub(1),
                    "," if depth == 0 => {
                        found.push(&self.0[from..index]);
                        from = index + 1;
                    }
                    _ => {}
                }
            }
        }
        found.push(&self.0[from..]);
        found
    }
}

/// The tokens as SQL again.
pub(super) fn to_sql(parts: &[Part], dialect: SqlDialect) -> String {
    let quote = if dialect == SqlDialect::Mysql { '`' } else { '"' };
    let doubled = |text: &str, quote: char| text.replace(quote, &format!("{quote}{quote}"));
    let spelled = parts.iter().map(|part| match part {
        Part::Word(_, written) => written.clone(),
        Part::Other(written) => written.clone(),
        Part::Name(name) => format!("{quote}{}{quote}", doubled(name, quote)),
        Part::Text(text) => format!("'{}'", doubled(text, '\'')),
    });
    spelled.collect::<Vec<_>>().join(" ")
}
