//! How long a function is, and how deep its blocks are. rustfmt's indentation tells both.

use super::source::Sources;

/// A function has fewer lines than this, from its signature to its last brace.
const LINES_END: usize = 50;
/// The most blocks around one statement, the body of the function not among them.
const DEPTH_MAX: usize = 4;

/// Functions that may be longer, by module and name, each with its reason in a comment.
const MAY_BE_LONG: &[(&str, &str)] = &[];

struct Function {
    name: String,
    lines: usize,
    depth: usize,
}

/// The functions of a text without comments.
fn functions(code: &str) -> Vec<Function> {
    let lines: Vec<&str> = code.lines().map(str::trim_end).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = name(line.trim_start()) else { continue };
        let Some(length) = length(&lines[at..], indent(line)) else { continue };
        let depth = depth(&lines[at + 1..at + length]);
        found.push(Function { name: name.to_owned(), lines: length, depth });
    }
    found
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name of the function that begins on this line.
fn name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualifiers = ["pub", "const", "async", "unsafe", "extern", "\"C\"", "in"];
    let is_qualifier =
        |word: &str| qualifiers.contains(&word) || word.starts_with("pub(") || word.ends_with(')');
    let is_function = before.split_whitespace().all(is_qualifier);
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (is_function && end > 0).then(|| &after[..end])
}

/// How many lines the function has that begins on the first of these, or `None` where it has no body.
fn length(lines: &[&str], own: usize) -> Option<usize> {
    if lines[0].ends_with('}') {
        return Some(1);
    }
    let end = lines.iter().position(|line| {
        indent(line) == own && !line.is_empty() && (line.ends_with(';') || *line.trim() == *"}")
    })?;
    lines[end].ends_with('}').then_some(end + 1)
}

/// The most blocks around one line of the body: those of control flow, arms, closures and `async`. Literals, matches
/// of patterns and macros are none.
fn depth(body: &[&str]) -> usize {
    let own = body.last().map_or(0, |last| indent(last));
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut deepest = 0;
    for line in body.iter().filter(|line| !line.is_empty()) {
        let (at, text) = (indent(line), line.trim());
        let closes = text.starts_with(['}', ')']);
        open.retain(|(begun, _)| *begun < at || (*begun == at && !closes));
        if text.ends_with('{') && at > own {
            open.push((at, is_block(text)));
            deepest = deepest.max(open.iter().filter(|(_, is_block)| *is_block).count());
        }
    }
    deepest
}

/// Whether what this line opens is a block of statements.
fn is_block(line: &str) -> bool {
    let ends = ["=> {", "| {", "async {", "async move {", "= {", "const {"]
        .iter()
        .any(|end| line.ends_with(end));
    let flow = ["if", "else", "match", "for", "while", "loop", "unsafe"];
    let word = |c: char| !c.is_alphanumeric() && c != '_';
    let typed_closure = line.contains('|') && line.contains("->");
    ends || line == "{" || typed_closure || line.split(word).any(|word| flow.contains(&word))
}

/// The functions of the libraries; tests and the model, which only tests are made of, are left out.
fn of_libraries() -> Vec<(String, Function)> {
    let mut found = Vec::new();
    for (folder, left_out) in [("dualwrite/src", "model"), ("dualwrite-macros/src", "tests")] {
        for (module, code) in Sources::of(folder).iter() {
            if !module.split('/').any(|part| part == left_out || part == "tests") {
                let own = functions(code).into_iter();
                found.extend(own.map(|function| (module.to_owned(), function)));
            }
        }
    }
    assert!(found.len() > 3_000, "the functions were not found: {}", found.len());
    found
}

#[test]
fn no_function_is_too_long() {
    let all = of_libraries();
    let is_known = |module: &str, name: &str| MAY_BE_LONG.contains(&(module, name));
    let long = |lines: usize| lines >= LINES_END;
    let wrong: Vec<String> = all
        .iter()
        .filter(|(module, one)| long(one.lines) && !is_known(module, &one.name))
        .map(|(module, one)| format!("{module}: {} has {} lines", one.name, one.lines))
        .collect();
    assert!(
        wrong.is_empty(),
        "cut them into parts with names, under {LINES_END} lines: {wrong:#?}"
    );
    for (module, name) in MAY_BE_LONG {
        let is_long =
            |(of, one): &(String, Function)| of == module && one.name == *name && long(one.lines);
        assert!(all.iter().any(is_long), "{module}: {name} is not long: take it off the list");
    }
}

#[test]
fn no_function_is_nested_too_deep() {
    let wrong: Vec<String> = of_libraries()
        .iter()
        .filter(|(_, one)| one.depth > DEPTH_MAX)
        .map(|(module, one)| {
            format!("{module}: {} has {} blocks in one another", one.name, one.depth)
        })
        .collect();
    assert!(wrong.is_empty(), "make functions of the inner ones, up to {DEPTH_MAX}: {wrong:#?}");
}

#[test]
fn lines_and_blocks_of_functions_are_counted() {
    let code = "\
impl Example {
    pub(crate) async fn deep<T>(
        &self,
    ) -> Option<T>
    where
        T: Clone,
    {
        while let Some(one) = self.next() {
            match one {
                One { field } => {
                    let other = Other {
                        field,
                    };
                    self.each(|one| {
                        keep(one, other)
                    });
                }
            }
        }
        if self.is_empty()
            && self.has_ended()
        {
            return None;
        }
    }

    fn declared(&self) -> bool;

    fn short(&self) -> bool { true }
}
";
    let found = functions(code);
    let counts = found.iter().map(|one| (one.name.as_str(), one.lines, one.depth));
    assert_eq!(counts.collect::<Vec<_>>(), [("deep", 24, 4), ("short", 1, 0)]);
}
