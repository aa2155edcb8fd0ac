//! Splits a script into statements, each with its line. Quotes, comments, dollar quotes and the bodies of
//! triggers and procedures are kept whole.

use super::level::SqlDialect;

/// One statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its text, from its first word, without the final `;`.
    pub(super) text: String,
    /// The line of its first word, from 1.
    pub(super) line: usize,
    /// Comments that stand before it, and in it.
    pub(super) comments: Vec<String>,
    /// Its body has an end: nothing behind it was taken for a part of it.
    pub(super) is_whole: bool,
}

/// The statements of a script. A piece that holds comments alone is left out.
pub(super) fn split(script: &str, dialect: SqlDialect) -> Vec<Piece> {
    let mut splitter =
        Splitter { text: script, dialect, at: 0, line: 1, delimiter: ";".to_owned() };
    let mut pieces = Vec::new();
    while let Some(piece) = splitter.next_piece() {
        pieces.push(piece);
    }
    pieces
}

struct Splitter<'s> {
    text: &'s str,
    dialect: SqlDialect,
    at: usize,
    line: usize,
    /// As the command-line clients of MySQL and MariaDB can set it.
    delimiter: String,
}

/// What is known of the statement under way.
#[derive(Default)]
struct Draft {
    start: Option<(usize, usize)>,
    comments: Vec<String>,
    words: Vec<String>,
    /// `BEGIN` and `CASE` that have no `END` yet, in a body.
    depth: usize,
    /// Parentheses that are open.
    parentheses: usize,
}

impl Draft {
    /// Whether it defines something with a body of statements, in which `;` ends nothing.
    fn has_body(&self, dialect: SqlDialect) -> bool {
        has_body(self.words.iter().map(String::as_str), dialect)
    }

    fn word(&mut self, word: &str, behind: &str, dialect: SqlDialect) {
        if behind.ends_with('.') {
            return; // the name of a column
        }
        let word = word.to_ascii_uppercase();
        let before = self.words.last().map_or("", String::as_str);
        // In parentheses it is the name of a column or an argument.
        let begins = match dialect {
            SqlDialect::Postgres => word == "ATOMIC" && before == "BEGIN",
            _ => word == "BEGIN" && self.parentheses == 0,
        };
        if self.has_body(dialect) {
            // `END IF`, `END LOOP` and their like close what `IF … THEN` opened, which is not counted.
            match &*word {
                _ if begins => self.depth += 1,
                "CASE" if before != "END" => self.depth += 1,
                "IF" | "LOOP" | "WHILE" | "REPEAT" | "FOR" if before == "END" => self.depth += 1,
                "END" => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        } else if word == "NOT" && before == "BEGIN" && dialect == SqlDialect::Mysql {
            self.depth += 1; // BEGIN NOT ATOMIC
        }
        if self.words.len() < 8 {
            self.words.push(word);
        } else if let Some(last) = self.words.last_mut() {
            *last = word;
        }
    }

    fn sign(&mut self, sign: char) {
        match sign {
            '(' => self.parentheses += 1,
            ')' => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
    }
}

/// Whether a statement that begins with these words, in upper case, defines something with a body of statements.
pub(super) fn has_body<'w>(mut words: impl Iterator<Item = &'w str>, dialect: SqlDialect) -> bool {
    let first = words.next().unwrap_or_default();
    if first == "BEGIN" {
        return dialect == SqlDialect::Mysql && words.next() == Some("NOT");
    }
    if first != "CREATE" {
        return false;
    }
    let before = ["OR", "REPLACE", "TEMP", "TEMPORARY", "AGGREGATE"];
    let next = words.find(|word| !before.contains(word));
    // The name of an account is up to two words.
    let next = match next {
        Some("DEFINER") => words.take(4).find(|word| ROUTINES.contains(word)),
        next => next,
    };
    let next = next.unwrap_or_default();
    match dialect {
        SqlDialect::Postgres => ["FUNCTION", "PROCEDURE"].contains(&next),
        SqlDialect::Mysql => ROUTINES.contains(&next),
        SqlDialect::Sqlite => next == "TRIGGER",
    }
}

const ROUTINES: &[&str] = &["TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"];

impl<'s> Splitter<'s> {
    fn rest(&self) -> &'s str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.text[self.at..self.at + bytes];
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count();
        self.at += bytes;
    }

    fn next_piece(&mut self) -> Option<Piece> {
        let mut draft = Draft::default();
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return self.finish(draft, self.at);
            };
            if draft.start.is_none() && self.takes_delimiter() {
                continue;
            }
            if draft.depth == 0 && rest.starts_with(&*self.delimiter) {
                let end = self.at;
                self.advance(self.delimiter.len());
                match self.finish(std::mem::take(&mut draft), end) {
                    Some(piece) => return Some(piece),
                    None => continue,
                }
            }
            if let Some(length) = comment(rest, self.dialect) {
                let text = rest[..length].to_owned();
                // MySQL executes what stands in `/*! … */`, and MariaDB what stands in `/*M! … */`.
                let is_executed = text.starts_with("/*!") || text.starts_with("/*M!");
                if is_executed && self.dialect == SqlDialect::Mysql {
                    draft.start.get_or_insert((self.at, self.line));
                }
                draft.comments.push(text);
                self.advance(length);
                continue;
            }
            if first.is_whitespace() {
                self.advance(first.len_utf8());
                continue;
            }
            draft.start.get_or_insert((self.at, self.line));
            if let Some(length) = quoted(rest, self.dialect, &self.text[..self.at]) {
                self.advance(length);
            } else if first.is_alphabetic() || first == '_' {
                let length = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
                    .unwrap_or(rest.len());
                draft.word(&rest[..length], &self.text[..self.at], self.dialect);
                self.advance(length);
            } else {
                draft.sign(first);
                self.advance(first.len_utf8());
            }
        }
    }

    /// Takes a line `DELIMITER //`, as scripts for the command-line clients have it.
    fn takes_delimiter(&mut self) -> bool {
        let rest = self.rest();
        let line = rest.lines().next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let named = words.next().is_some_and(|word| word.eq_ignore_ascii_case("delimiter"));
        if self.dialect != SqlDialect::Mysql || !named {
            return false;
        }
        if let Some(delimiter) = words.next() {
            self.delimiter = delimiter.to_owned();
        }
        self.advance(line.len());
        true
    }

    fn finish(&self, draft: Draft, end: usize) -> Option<Piece> {
        let (start, line) = draft.start?;
        let text = self.text[start..end].trim_end();
        let text = match self.dialect {
            SqlDialect::Mysql => text.replace("/*M!", "/*!"), // for those who read it
            _ => text.to_owned(),
        };
        let is_whole = draft.depth == 0;
        (!text.is_empty()).then_some(Piece { text, line, comments: draft.comments, is_whole })
    }
}

/// The length of a comment that begins here.
fn comment(rest: &str, dialect: SqlDialect) -> Option<usize> {
    let ends = |c: char| c == '\n' || c == '\r' && dialect == SqlDialect::Postgres;
    let to_line_end = || Some(rest.find(ends).unwrap_or(rest.len()));
    if let Some(behind) = rest.strip_prefix("--") {
        // MySQL takes `--` without a space after it for two minus signs.
        let spaced = behind.chars().next().is_none_or(char::is_whitespace);
        return if spaced || dialect != SqlDialect::Mysql { to_line_end() } else { None };
    }
    if rest.starts_with('#') && dialect == SqlDialect::Mysql {
        return to_line_end();
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (1_usize, 2);
    while depth > 0 {
        let nests = dialect == SqlDialect::Postgres && rest[at..].starts_with("/*");
        if nests {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest[at..].chars().next()?.len_utf8();
        }
    }
    Some(at)
}

/// The length of a quoted text or name that begins here, behind `before`.
fn quoted(rest: &str, dialect: SqlDialect, before: &str) -> Option<usize> {
    let first = rest.chars().next()?;
    match first {
        '\'' | '"' | '`' => {
            let escapes = match dialect {
                SqlDialect::Mysql => first != '`',
                SqlDialect::Postgres => first == '\'' && is_prefixed(before),
                SqlDialect::Sqlite => false,
            };
            Some(closed_by(rest, first, escapes))
        }
        '[' if dialect == SqlDialect::Sqlite => rest.find(']').map(|at| at + 1),
        '$' if dialect == SqlDialect::Postgres => {
            let end = rest[1..].find('$')? + 2;
            let tag = &rest[..end];
            let plain = tag[1..end - 1].chars().all(|c| c.is_alphanumeric() || c == '_');
            let close = rest[end..].find(tag).filter(|_| plain)?;
            Some(end + close + end)
        }
        _ => None,
    }
}

/// Whether the word before a text is `E` alone.
fn is_prefixed(before: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    before.strip_suffix(['e', 'E']).is_some_and(|rest| !rest.ends_with(in_word))
}

fn closed_by(rest: &str, quote: char, escapes: bool) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => _ = chars.next(),
                _ => return at + c.len_utf8(),
            }
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str, dialect: SqlDialect) -> Vec<String> {
        split(script, dialect).into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn a_semicolon_in_quotes_comments_or_dollar_quotes_ends_nothing() {
        let script = "SELECT ';' -- ; \n, $x$ ; $$ ; $x$ /* ; /* ; */ ; */; SELECT \"a;b\";;\n";
        let found = split(script, SqlDialect::Postgres);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[1].text, "SELECT \"a;b\"");
        assert_eq!((found[0].line, found[1].line), (1, 2));
        assert_eq!(texts(r"SELECT 'a\';b'; SELECT `;`", SqlDialect::Mysql).len(), 2);
        assert_eq!(texts(r"SELECT 'a\'; SELECT E'\';'", SqlDialect::Postgres).len(), 2);
    }

    #[test]
    fn the_body_of_a_trigger_stays_whole() {
        let script = "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; SELECT CASE WHEN 1 THEN 2 END; \
                      END; DROP TABLE c";
        assert_eq!(texts(script, SqlDialect::Sqlite).len(), 2);
        let script = "CREATE PROCEDURE p() BEGIN IF 1 THEN DELETE FROM b; END IF; END; SELECT 1";
        assert_eq!(texts(script, SqlDialect::Mysql).len(), 2);
        let script =
            "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; END//\nDELIMITER ;\nSELECT 1;";
        assert_eq!(texts(script, SqlDialect::Mysql).len(), 2);
    }

    #[test]
    fn a_name_like_begin_swallows_nothing() {
        let script = "CREATE TYPE event AS (id int, begin timestamptz); DROP TABLE a";
        assert_eq!(texts(script, SqlDialect::Postgres).len(), 2);
        let script = "CREATE PROCEDURE p(begin INT) SELECT 1; DROP TABLE a";
        assert_eq!(texts(script, SqlDialect::Mysql).len(), 2);
        let script =
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END; DROP TABLE a";
        assert_eq!(texts(script, SqlDialect::Postgres).len(), 2);
        // What has no end is not whole, and judged as what nobody reads.
        let script = "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DROP TABLE c";
        let found = split(script, SqlDialect::Sqlite);
        assert!(found.len() == 1 && !found[0].is_whole, "{found:?}");
    }

    #[test]
    fn comments_end_where_the_server_ends_them() {
        assert_eq!(texts("-- a\rDROP TABLE b", SqlDialect::Postgres), ["DROP TABLE b"]);
        assert!(texts("-- a\rDROP TABLE b", SqlDialect::Mysql).is_empty());
        assert_eq!(texts("/*M!100000 DROP TABLE b */", SqlDialect::Mysql).len(), 1);
        assert!(texts("/*M!100000 DROP TABLE b */", SqlDialect::Sqlite).is_empty());
        assert_eq!(texts("SELECT 1 LIKE'\\'; DROP TABLE b; --'", SqlDialect::Postgres).len(), 2);
    }

    #[test]
    fn lines_are_those_of_the_first_word() {
        let script = "-- a\n\n  /* b */ SELECT 1;\n\nSELECT\n2";
        let lines: Vec<usize> =
            split(script, SqlDialect::Sqlite).iter().map(|piece| piece.line).collect();
        assert_eq!(lines, [3, 5]);
    }
}
