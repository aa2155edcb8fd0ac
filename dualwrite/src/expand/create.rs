//! The checks in the text of a `CREATE TABLE`, where no catalogue lists them. Pure.

use super::shape::RuleDef;

/// All checks, with their names where they have one.
pub(crate) fn checks(text: &str) -> Vec<RuleDef> {
    let (mut found, mut name, mut rest) = (Vec::new(), String::new(), text);
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(piece(rest));
        rest = behind;
        if word.eq_ignore_ascii_case("constraint") {
            let own = rest.trim_start();
            name = own[..piece(own)].trim_matches(['"', '`', '[', ']']).to_owned();
        } else if word == "," {
            name.clear();
        } else if word.eq_ignore_ascii_case("check") && rest.trim_start().starts_with('(') {
            let (inner, behind) = closed(rest.trim_start());
            let text = format!("CHECK {inner}");
            found.push(RuleDef { name: std::mem::take(&mut name), valid: true, text });
            rest = behind;
        }
    }
    found
}

/// The length of the word, the quoted text, the comment or the sign that begins here.
fn piece(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    let up_to = |end: &str| text[1..].find(end).map_or(text.len(), |at| at + 1 + end.len());
    match first {
        // A doubled quote begins another quoted text at once.
        '\'' => up_to("'"),
        '"' => up_to("\""),
        '`' => up_to("`"),
        '[' => up_to("]"),
        '-' if text.starts_with("--") => up_to("\n"),
        '/' if text.starts_with("/*") => up_to("*/"),
        c if c.is_alphanumeric() || c == '_' => {
            text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(text.len())
        }
        c => c.len_utf8(),
    }
}

/// What stands in parentheses at the beginning, and what stands behind.
fn closed(text: &str) -> (&str, &str) {
    let (mut at, mut depth) = (0, 0_u32);
    while at < text.len() {
        let length = piece(&text[at..]);
        match &text[at..at + length] {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += length;
        if depth == 0 {
            break;
        }
    }
    text.split_at(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_found_with_their_names() {
        let text = "CREATE TABLE t (a INT CHECK (a > 0), -- CHECK (no)
            check_in TEXT, b TEXT CONSTRAINT \"b_it\" CHECK(b <> ')' AND (b) <> 'it''s'),
            CONSTRAINT `both` CHECK ((`a` < `b`)), UNIQUE (a))";
        let found = checks(text);
        let texts: Vec<&str> = found.iter().map(|rule| &*rule.text).collect();
        assert_eq!(
            texts,
            ["CHECK (a > 0)", "CHECK (b <> ')' AND (b) <> 'it''s')", "CHECK ((`a` < `b`))"]
        );
        let names: Vec<&str> = found.iter().map(|rule| &*rule.name).collect();
        assert_eq!(names, ["", "b_it", "both"]);
        assert!(checks("CREATE TABLE t (a TEXT DEFAULT 'CHECK (a)', \"CHECK\" INT)").is_empty());
    }
}
