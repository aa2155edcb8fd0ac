//! What of a file is prose: sentences of Markdown, and the literals of a source.

/// A sentence, and the line in which it begins.
#[derive(Debug)]
pub(super) struct Sentence {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Lines of Markdown without what is code: fenced blocks are gone, code in a line is one word.
pub(super) fn prose(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut inside) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            found.push((number + 1, String::new()));
        } else if !inside {
            found.push((number + 1, without_code(line)));
        }
    }
    found
}

/// Code becomes `x`, and the target of a link goes away.
fn without_code(line: &str) -> String {
    let mut out = String::new();
    for (number, part) in line.split('`').enumerate() {
        out += if number % 2 == 0 { part } else { "`x`" };
    }
    let mut plain = String::new();
    let mut rest = out.as_str();
    while let Some((before, after)) = rest.split_once("](") {
        plain += before;
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    plain + rest
}

/// Cells, items and headings end a sentence, and so does an empty line.
pub(super) fn sentences(lines: &[(usize, String)]) -> Vec<Sentence> {
    let mut found = Vec::new();
    let mut open = Sentence { line: 0, text: String::new() };
    for (number, line) in lines {
        let begin = line.trim_start();
        let numbered = begin.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
        let is_item = begin.starts_with("- ") || numbered;
        if begin.is_empty() || begin.starts_with(['#', '|']) || is_item {
            end(&mut open, &mut found);
        }
        for (index, cell) in line.split('|').enumerate() {
            if index > 0 {
                end(&mut open, &mut found);
            }
            for word in cell.split_whitespace() {
                if open.text.is_empty() {
                    open.line = *number;
                }
                open.text += word;
                open.text.push(' ');
                let ending = word.trim_end_matches([')', '*', '"', '_', ']']);
                if ending.ends_with(['.', ':', ';', '?', '!']) {
                    end(&mut open, &mut found);
                }
            }
        }
        if begin.starts_with('#') {
            end(&mut open, &mut found);
        }
    }
    end(&mut open, &mut found);
    found
}

fn end(open: &mut Sentence, found: &mut Vec<Sentence>) {
    if !open.text.trim().is_empty() {
        found.push(Sentence { line: open.line, text: std::mem::take(&mut open.text) });
    }
}

/// The literals of a source that are texts for readers: of several words, outside of comments and tests, without SQL.
pub(super) fn literals(source: &str) -> Vec<Sentence> {
    let body = source.split("#[cfg(test)]\nmod tests").next().unwrap_or(source);
    let (mut found, mut open): (Vec<Sentence>, Option<Sentence>) = (Vec::new(), None);
    for (number, line) in body.lines().enumerate() {
        if open.is_none() && line.trim_start().starts_with("//") {
            continue;
        }
        let mut rest = line.replace("\\\"", "'").replace("'\"'", "' '");
        if open.is_some() {
            rest = rest.trim_start().to_owned();
        }
        for (index, part) in rest.split('"').enumerate() {
            if index > 0 {
                match open.take() {
                    Some(sentence) => found.push(sentence),
                    None => open = Some(Sentence { line: number + 1, text: String::new() }),
                }
            }
            if let Some(sentence) = &mut open {
                sentence.text += part.strip_suffix('\\').unwrap_or(part);
            }
        }
    }
    let is_text = |one: &Sentence| one.text.trim().contains(' ') && !is_sql(&one.text);
    found.retain(is_text);
    for one in &mut found {
        one.text = without_code(&one.text);
    }
    found
}

fn is_sql(text: &str) -> bool {
    ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", " FROM ", " WHERE ", "CREATE "]
        .iter()
        .any(|word| text.contains(word))
}
