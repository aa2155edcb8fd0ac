//! The text of a statement with places for the keys: what stands in its braces, and what becomes of that.
//! Pure: texts and values to bind.

use super::identifier::Identifier;
use super::source::{Bound, Extent, Pages};
use crate::error::{Error, ErrorKind};

/// A statement with places for the keys.
pub(crate) struct Template(Vec<Piece>);

enum Piece {
    Text(&'static str),
    Rows,
    /// Quoted columns.
    Keys(Vec<String>),
}

impl Template {
    /// Finds the braces of a statement.
    ///
    /// # Errors
    /// `InvalidInput` that names what is not understood, `WrongKey` for too few or too many columns.
    pub(crate) fn parse(text: &'static str, pages: &Pages) -> Result<Self, Error> {
        let wrong = |message: String| Error::new(ErrorKind::InvalidInput, message);
        if text.contains('?') {
            let message = "a statement of `CopySql` binds nothing: it cannot contain a `?`";
            return Err(wrong(message.to_owned()));
        }
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
            pieces.push(match name.trim() {
                "rows" => Piece::Rows,
                columns => Piece::Keys(key_columns(columns, pages)?),
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
        Ok(Self(pieces))
    }

    /// The statement for some keys; their rows are locked where that is wanted and the database has row
    /// locks.
    pub(crate) fn over(&self, pages: &Pages, extent: Extent<'_>, lock: bool) -> Bound {
        let (mut sql, mut values) = (String::new(), Vec::new());
        for piece in &self.0 {
            let (text, more) = match piece {
                Piece::Text(text) => ((*text).to_owned(), Vec::new()),
                Piece::Rows => pages.rows(extent, lock),
                Piece::Keys(columns) => pages.with_columns(columns.clone()).within(extent),
            };
            sql.push_str(&text);
            values.extend(more);
        }
        (sql, values)
    }
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
        let (sql, values) = template.over(&pages(), Extent::Range(Some(&after), &last), true);
        assert_eq!(
            sql,
            "INSERT INTO v SELECT g.id FROM (SELECT * FROM \"goals\" WHERE \"id\" > ? AND \"id\" <= ? \
             ORDER BY \"id\" FOR UPDATE) g WHERE \"v\".\"goal_id\" > ? AND \"v\".\"goal_id\" <= ?"
        );
        assert_eq!(values.len(), 4);
        let (sql, values) = template.over(&pages(), Extent::Keys(&[after, last]), true);
        assert!(sql.contains("WHERE \"id\" IN (?, ?) ORDER BY \"id\" FOR UPDATE)"), "{sql}");
        assert_eq!(values.len(), 4);
        let key = vec![KeyPart::Integer(5)];
        let (sql, _) = template.over(&pages(), Extent::Keys(&[key]), false);
        assert!(
            sql.contains("FROM (SELECT * FROM \"goals\" WHERE \"id\" IN (?) ORDER BY \"id\") g"),
            "{sql}"
        );
    }

    #[test]
    fn a_brace_of_the_text_is_written_twice() {
        let text = "UPDATE v SET tags = '{{a,b}}', json = '{{\"a\":{{}}}}' WHERE {goal_id}";
        let template = Template::parse(text, &pages()).unwrap();
        let (sql, _) = template.over(&pages(), Extent::Keys(&[vec![KeyPart::Integer(5)]]), true);
        assert_eq!(sql, r#"UPDATE v SET tags = '{a,b}', json = '{"a":{}}' WHERE "goal_id" IN (?)"#);
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
        assert!(message("DELETE FROM v WHERE id = ? AND {id}").contains("`?`"));
    }
}
