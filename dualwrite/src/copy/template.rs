//! The text of a statement with places for the keys: what stands in its braces, and what becomes of that.
//! Pure: texts and values to bind.

use super::source::{Bound, Extent, Pages};
use crate::database::Identifier;
use crate::database::{Scanned, verbatim};
use crate::error::{Error, ErrorKind};

/// A statement with places for the keys.
pub(crate) struct Template {
    text: &'static str,
    pieces: Vec<Piece>,
}

enum Piece {
    Text(&'static str),
    Rows,
    /// Quoted columns, and the table or alias before the first of them.
    Keys(Vec<String>, Option<&'static str>),
}

impl Template {
    /// Finds the braces of a statement.
    ///
    /// # Errors
    /// `InvalidInput` that names what is not understood, `WrongKey` for too few or too many columns.
    pub(crate) fn parse(text: &'static str, pages: &Pages) -> Result<Self, Error> {
        let wrong = |message: String| Error::new(ErrorKind::InvalidInput, message);
        let scanned = pages.dialect().scan(text);
        check_places(text, &scanned)?;
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            pieces.push(Piece::Text(before));
            if rest[at..].starts_with("{{") || rest[at..].starts_with("}}") {
                pieces.push(Piece::Text(&rest[at..=at]));
                rest = &rest[at + 2..];
                continue;
            }
            if rest[at..].starts_with('}') {
                let message =
                    format!("`{before}}}` closes nothing: a brace of the text is written `}}}}`");
                return Err(wrong(message));
            }
            let Some((name, after)) = after.split_once('}') else {
                let message = format!(
                    "`{{{after}` is not closed: add a `}}`, or write `{{{{` for a brace of the text"
                );
                return Err(wrong(message));
            };
            if scanned.is_opaque(text.len() - rest.len() + at) {
                let message = format!(
                    "`{{{name}}}` stands in a literal, a quoted name or a comment, where nothing is put in; a \
                     brace of the text is written twice, `{{{{`"
                );
                return Err(wrong(message));
            }
            pieces.push(match name.trim() {
                "rows" => Piece::Rows,
                columns => {
                    let qualifier = columns.split_once('.').map(|(table, _)| table.trim());
                    Piece::Keys(key_columns(columns, pages)?, qualifier)
                }
            });
            rest = after;
        }
        pieces.push(Piece::Text(rest));
        if !pieces.iter().any(|piece| !matches!(piece, Piece::Text(_))) {
            let message = format!(
                "`{text}` would run over the whole table: say which rows, by `{{rows}}` or `{{column}}`"
            );
            return Err(wrong(message));
        }
        Ok(Self { text, pieces })
    }

    /// The statement for some keys of `pages`; their rows are locked where that is wanted and the database has row
    /// locks. A column in braces that is of the `other` side is compared as that side's keys are.
    pub(crate) fn over(
        &self,
        (pages, other): (&Pages, Option<&Pages>),
        extent: Extent<'_>,
        lock: bool,
    ) -> Bound {
        let (mut sql, mut values) = (String::new(), Vec::new());
        for piece in &self.pieces {
            let (text, more) = match piece {
                Piece::Text(text) => (verbatim(text).into_owned(), Vec::new()),
                Piece::Rows => pages.rows(extent, lock),
                Piece::Keys(columns, qualifier) => {
                    let is_others = |other: &&Pages| self.is_of(other, *qualifier);
                    let pages = other.filter(is_others).unwrap_or(pages);
                    pages.with_columns(columns.clone()).within(extent)
                }
            };
            sql.push_str(&text);
            values.extend(more);
        }
        (sql, values)
    }

    /// Whether a column is of this table: by its name or alias; without one, where the statement changes it.
    fn is_of(&self, pages: &Pages, qualifier: Option<&str>) -> bool {
        let name = pages.name().name;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let words: Vec<&str> =
            self.text.split(|c| !plain(c)).filter(|word| !word.is_empty()).collect();
        let Some(qualifier) = qualifier else {
            let changed =
                words.iter().skip_while(|word| !is_one_of(word, &["from", "update", "into"]));
            return changed.skip(1).find(|word| !is_one_of(word, &["only"]))
                == Some(&name.as_str());
        };
        let named = words.iter().enumerate().filter(|(_, word)| **word == name);
        let mut aliases = named.filter_map(|(at, _)| {
            let mut next = words[at + 1..].iter().filter(|word| !is_one_of(word, &["as"]));
            next.next()
        });
        qualifier == name || aliases.any(|alias| *alias == qualifier)
    }
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|one| word.eq_ignore_ascii_case(one))
}

/// A text of a user binds nothing, so it holds no places for values; what only looks like one, in a literal or as
/// an operator, is left alone.
pub(crate) fn check_places(text: &str, scanned: &Scanned) -> Result<(), Error> {
    let Some(parameter) = &scanned.parameter else { return Ok(()) };
    let message = format!(
        "`{text}` binds nothing, and has a place for a value, `{parameter}`: write the value into the text"
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// The columns in a pair of braces, quoted, a table before them or not.
fn key_columns(text: &str, pages: &Pages) -> Result<Vec<String>, Error> {
    let quoted = |name: &str| -> Result<String, Error> {
        let parts = name.trim().split('.').map(|part| {
            Identifier::new(part).map(|name| name.quoted(pages.dialect())).map_err(|_| {
                let message =
                    format!("`{{{text}}}` is neither `{{rows}}` nor the names of key columns; a brace of the \
                     text is written twice, `{{{{`");
                Error::new(ErrorKind::InvalidInput, message)
            })
        });
        Ok(parts.collect::<Result<Vec<_>, _>>()?.join("."))
    };
    let columns = text.split(',').map(quoted).collect::<Result<Vec<_>, _>>()?;
    if columns.len() != pages.width() {
        let message = format!(
            "`{{{text}}}` names {} columns, and the key has {}",
            columns.len(),
            pages.width()
        );
        return Err(Error::new(ErrorKind::WrongKey, message));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::super::key_source::KeySource;
    use super::*;
    use crate::key::{KeyKind, KeyPart};

    fn pages() -> Pages {
        let source = KeySource::table("goals").column("id");
        source.pages(&super::super::source::tests::PLAIN, KeyKind::INTEGER).unwrap()
    }

    #[test]
    fn rows_and_keys_are_put_in_bounded_on_both_sides() {
        let text = "INSERT INTO v SELECT g.id FROM {rows} g WHERE {v.goal_id}";
        let template = Template::parse(text, &pages()).unwrap();
        let (after, last) = (vec![KeyPart::Integer(5)], vec![KeyPart::Integer(9)]);
        let (sql, values) =
            template.over((&pages(), None), Extent::Range(Some(&after), &last), true);
        assert_eq!(
            sql,
            "INSERT INTO v SELECT g.id FROM (SELECT * FROM \"goals\" WHERE \"id\" > ? AND \"id\" <= ? \
             ORDER BY \"id\" FOR UPDATE) g WHERE \"v\".\"goal_id\" > ? AND \"v\".\"goal_id\" <= ?"
        );
        assert_eq!(values.len(), 4);
        let (sql, values) = template.over((&pages(), None), Extent::Keys(&[after, last]), true);
        assert!(sql.contains("WHERE \"id\" IN (?, ?) ORDER BY \"id\" FOR UPDATE)"), "{sql}");
        assert_eq!(values.len(), 4);
        let key = vec![KeyPart::Integer(5)];
        let (sql, _) = template.over((&pages(), None), Extent::Keys(&[key]), false);
        assert!(
            sql.contains("FROM (SELECT * FROM \"goals\" WHERE \"id\" IN (?) ORDER BY \"id\") g"),
            "{sql}"
        );
    }

    #[test]
    fn a_column_belongs_to_the_table_that_is_changed_or_named() {
        let is_of = |text, table: &str, qualifier| {
            let source = KeySource::table(table).column("id");
            let kind = KeyKind::INTEGER;
            let pages = source.pages(&super::super::source::tests::PLAIN, kind).unwrap();
            Template { text, pieces: Vec::new() }.is_of(&pages, qualifier)
        };
        let delete = "DELETE FROM v WHERE {id} AND NOT EXISTS (SELECT 1 FROM goals AS g WHERE 1)";
        assert!(is_of(delete, "v", None) && !is_of(delete, "goals", None));
        assert!(is_of(delete, "goals", Some("g")) && is_of(delete, "goals", Some("goals")));
        let update = "UPDATE ONLY goals SET a = 1 FROM v w WHERE {w.id}";
        assert!(is_of(update, "goals", None) && is_of(update, "v", Some("w")));
        assert!(!is_of(update, "goals", Some("w")));
    }

    #[test]
    fn a_brace_of_the_text_is_written_twice() {
        let text = "UPDATE v SET tags = '{{a,b}}', json = '{{\"a\":{{}}}}' WHERE {goal_id}";
        let template = Template::parse(text, &pages()).unwrap();
        let (sql, _) =
            template.over((&pages(), None), Extent::Keys(&[vec![KeyPart::Integer(5)]]), true);
        let sql = pages().dialect().statement(&sql);
        assert_eq!(
            sql,
            r#"UPDATE v SET tags = '{a,b}', json = '{"a":{}}' WHERE "goal_id" IN ($1)"#
        );
    }

    #[test]
    fn places_of_the_text_and_of_ours_do_not_meet() {
        let text = "UPDATE v SET a = '{{now}} ? $1' || $$?{{now}}$$ /* ? */ WHERE b ?| c AND {id}";
        let template = Template::parse(text, &pages()).unwrap();
        let (sql, values) =
            template.over((&pages(), None), Extent::Keys(&[vec![KeyPart::Integer(5)]]), true);
        assert_eq!(
            pages().dialect().statement(&sql),
            "UPDATE v SET a = '{now} ? $1' || $$?{now}$$ /* ? */ WHERE b ?| c AND \"id\" IN ($1)"
        );
        assert_eq!(values.len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let message = |text| Template::parse(text, &pages()).err().unwrap().to_string();
        assert!(message("DELETE FROM v").contains("whole table"));
        assert!(message("DELETE FROM v WHERE {a b}").contains("`{a b}`"));
        assert!(
            message("UPDATE v SET json = '{\"a\":1}' WHERE {id}").ends_with("written twice, `{{`")
        );
        assert!(message("DELETE FROM v WHERE {a, b}").contains("2 columns"));
        assert!(message("DELETE FROM v WHERE {id").contains("not closed"));
        assert!(message("DELETE FROM v WHERE id} = 1 AND {id}").contains("written `}}`"));
        assert!(message("DELETE FROM v WHERE id = $2 AND {id}").contains("`$2`"));
        assert!(
            message("DELETE FROM v WHERE a = '{id}' AND {id}")
                .contains("`{id}` stands in a literal")
        );
        assert!(message("DELETE FROM v -- {rows}\nWHERE {id}").contains("`{rows}` stands in"));
    }
}
