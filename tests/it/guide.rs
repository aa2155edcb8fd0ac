//! The guide: every page is listed, every link leads somewhere, every command and every diff is real, and the tutorial is
//! carried out. The test also writes the input of mdBook, from the same files.

mod book;
mod pages;
mod settings;
mod tutorial;

use std::collections::BTreeMap;
use std::fs;

use crate::tidy::source::workspace;

/// A page: its name, and its text.
type Pages = BTreeMap<String, String>;

/// All pages; `index` is the first one.
fn pages() -> Pages {
    let folder = workspace("dualwrite/src/docs");
    let mut found = Pages::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        found.insert(name, fs::read_to_string(path).unwrap());
    }
    assert!(found.len() > 25, "the pages were not found");
    found
}

/// A fenced block of a page: what stands behind the fence, and its lines.
struct Block<'a> {
    kind: &'a str,
    lines: Vec<&'a str>,
}

/// The fenced blocks of a page, in their order.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut found, mut open): (Vec<Block<'_>>, bool) = (Vec::new(), false);
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(kind) => {
                open = true;
                found.push(Block { kind, lines: Vec::new() });
            }
            None if open => found.last_mut().unwrap().lines.push(line),
            None => {}
        }
    }
    assert!(!open, "a fence is not closed");
    found
}

/// The words of a command, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted && words.last().is_some_and(String::is_empty) => break,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
