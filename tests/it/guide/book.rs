//! The input of mdBook, made from the pages: links of rustdoc become links between files or to docs.rs.
//!
//! `cargo test --test it guide::book` writes it; `mdbook build target/tmp/book` makes the book.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Pages, pages};

const SETTINGS: &str = include_str!("book.toml");
const REFERENCE: &str = "https://docs.rs/dualwrite/latest/dualwrite/";

/// The page that a link of the index stands for.
fn page_of(target: &str) -> Option<&str> {
    match target.split('#').next()? {
        "macro@crate::Dual" => Some("dual"),
        "macro@crate::Compare" => Some("compare"),
        target => target.strip_prefix("crate::guide::"),
    }
}

/// The parts of the index: headings, and below each the titles and names of its pages.
fn listed(index: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<_>)> = Vec::new();
    for line in index.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            found.push((heading.to_owned(), Vec::new()));
        } else if let Some((title, rest)) =
            line.strip_prefix("- [").and_then(|line| line.split_once("]("))
        {
            let (target, sentence) =
                rest.split_once("): ").unwrap_or_else(|| panic!("no sentence: {line}"));
            assert!(sentence.ends_with('.'), "{line}");
            let page = page_of(target).unwrap_or_else(|| panic!("no page: {line}"));
            found.last_mut().unwrap().1.push((title.to_owned(), page.to_owned()));
        }
    }
    found
}

/// A heading as its address, by the rule of rustdoc and mdBook.
fn anchor(heading: &str) -> String {
    let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(is_kept)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        inside ^= line.starts_with("```");
        if !inside && line.starts_with('#') {
            found.insert(anchor(line.trim_start_matches('#')));
        }
    }
    found
}

/// One page for mdBook. Links that lead nowhere are added to `wrong`.
fn converted(name: &str, title: &str, pages: &Pages, wrong: &mut Vec<String>) -> String {
    let mut out = format!("# {title}\n\n");
    let (mut inside, text) = (false, &pages[name]);
    let demote = !text.starts_with("# ");
    for (number, line) in text.lines().enumerate() {
        if number == 0 && !demote {
            continue; // the title
        }
        if line.starts_with("```") {
            inside = !inside;
            out += if inside && line == "```" { "```rust" } else { line };
        } else if inside {
            out += line;
        } else {
            if demote && line.starts_with('#') {
                out.push('#');
            }
            out += &links(name, line, pages, wrong);
        }
        out.push('\n');
    }
    out
}

fn links(name: &str, line: &str, pages: &Pages, wrong: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("](") {
        let (target, after) = after.split_once(')').unwrap_or((after, ""));
        // `shadow::cohort()` has a pair of its own.
        let (target, after) = match target.strip_suffix('(') {
            Some(target) => (target, after.strip_prefix(')').unwrap_or(after)),
            None => (target, after),
        };
        let (base, anchor) = target.split_once('#').unwrap_or((target, ""));
        let page = if base.is_empty() { Some(name) } else { page_of(target) };
        let new = match page {
            Some(page) if !pages.contains_key(page) => {
                wrong.push(format!("{name}: there is no page `{page}`"));
                String::new()
            }
            Some(page) => {
                if !anchor.is_empty() && !anchors(&pages[page]).contains(anchor) {
                    wrong.push(format!("{name}: `{page}` has no heading `#{anchor}`"));
                }
                let mark = if anchor.is_empty() { "" } else { "#" };
                format!("{page}.md{mark}{anchor}")
            }
            None if base.starts_with("https://") => target.to_owned(),
            None if base == "crate" => REFERENCE.to_owned(),
            None => format!("{REFERENCE}?search={}", base.rsplit("::").next().unwrap_or(base)),
        };
        _ = write!(out, "{before}]({new})");
        rest = after;
    }
    out + rest
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let pages = pages();
    let parts = listed(&pages["index"]);
    let mut listed: BTreeMap<&str, u32> = BTreeMap::new();
    let mut summary = "# Summary\n\n[dualwrite](index.md)\n".to_owned();
    let mut titles = vec![("index", "dualwrite")];
    for (heading, pages) in &parts {
        _ = write!(summary, "\n# {heading}\n\n");
        for (title, page) in pages {
            *listed.entry(page).or_default() += 1;
            titles.push((page, title));
            _ = writeln!(summary, "- [{title}]({page}.md)");
        }
    }
    for name in pages.keys().filter(|name| *name != "index") {
        assert_eq!(listed.get(name.as_str()), Some(&1), "`{name}` is to be in index.md once");
    }
    assert_eq!(listed.len() + 1, pages.len(), "index.md lists a page that does not exist");

    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book/src");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.with_file_name("book.toml"), SETTINGS).unwrap();
    fs::write(source.join("SUMMARY.md"), summary).unwrap();
    let mut wrong = Vec::new();
    for (name, title) in titles {
        let text = converted(name, title, &pages, &mut wrong);
        assert!(!text.contains("](crate::"), "{name} has a link that is not converted");
        fs::write(source.join(format!("{name}.md")), text).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
