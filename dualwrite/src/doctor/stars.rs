//! Whether a statement asks for every column of a table without naming them. Pure.

/// Whether it has a `*` or `t.*` in the place of columns: a `count(*)` or a product is none.
pub(crate) fn reads_every_column(text: &str) -> bool {
    let text = without_quoted(text);
    text.match_indices('*').any(|(at, _)| {
        let before = text[..at].trim_end();
        let word: String = before.chars().rev().take_while(|c| c.is_alphanumeric()).collect();
        let word = word.chars().rev().collect::<String>().to_ascii_uppercase();
        before.ends_with(['.', ',']) || ["SELECT", "RETURNING", "DISTINCT", "ALL"].contains(&&*word)
    })
}

/// Without what stands in quotes and comments; a quoted name is a name.
fn without_quoted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (end, stands_for) = match c {
            '\'' => (rest[1..].find('\'').map(|at| at + 2), "x"),
            '"' => (rest[1..].find('"').map(|at| at + 2), "x"),
            '`' => (rest[1..].find('`').map(|at| at + 2), "x"),
            '-' if rest.starts_with("--") => (rest.find('\n'), " "),
            '/' if rest.starts_with("/*") => (rest.find("*/").map(|at| at + 2), " "),
            c => {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        plain.push_str(stands_for);
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_every_column_where_columns_stand() {
        for text in [
            "SELECT * FROM customer",
            "select\n*\nfrom customer",
            "SELECT c.* FROM customer c",
            "SELECT id, * FROM customer",
            "SELECT DISTINCT * FROM customer",
            "INSERT INTO customer (id) VALUES ($1) RETURNING *",
            "SELECT /* all */ * FROM customer",
            "SELECT \"customer\".* FROM customer",
        ] {
            assert!(reads_every_column(text), "{text}");
        }
        for text in [
            "SELECT count(*) FROM customer",
            "SELECT price * 2 FROM customer",
            "SELECT 'SELECT * FROM customer'",
            "SELECT id -- SELECT *\nFROM customer",
            "/* SELECT * */ SELECT id FROM customer",
            "SELECT id FROM \"a.*\"",
            "",
            "'",
        ] {
            assert!(!reads_every_column(text), "{text}");
        }
    }
}
