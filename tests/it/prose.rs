//! How the project speaks: words and patterns that must not come back, in the documents, in the guide, and in the texts of
//! errors, gates and commands; and sentences that are too long to be read once. `prose/words.txt` is the list.

mod text;

use std::path::PathBuf;

use crate::tidy::source::{files, workspace};
use text::{Sentence, literals, prose, sentences};

const LIST: &str = include_str!("prose/words.txt");
const DOCUMENTS: &[&str] =
    &["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "dualwrite-cli/README.md"];
/// Sources whose literals are what users see.
const SOURCES: &[&str] = &["dualwrite/src", "dualwrite-cli/src", "dualwrite-macros/src"];
/// The most words of a sentence. Names in code count as one.
const WORDS_MAX: usize = 40;

/// A pattern, and what to write.
struct Pattern {
    words: Vec<String>,
    instead: &'static str,
}

fn patterns() -> Vec<Pattern> {
    let lines =
        LIST.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pattern = |line: &'static str| {
        let (words, instead) =
            line.split_once(" => ").unwrap_or_else(|| panic!("no ` => `: {line}"));
        Pattern { words: words.split_whitespace().map(str::to_lowercase).collect(), instead }
    };
    lines.map(pattern).collect()
}

fn plain(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '`').to_lowercase()
}

impl Pattern {
    /// Whether these words stand in the sentence, one behind the other.
    fn is_in(&self, words: &[String]) -> bool {
        let same = |(wanted, found): (&String, &String)| wanted == "*" || wanted == found;
        words.windows(self.words.len()).any(|window| self.words.iter().zip(window).all(same))
    }
}

/// Everything that is read: where it stands, and whether its length counts.
fn read() -> Vec<(PathBuf, Vec<Sentence>, bool)> {
    let guide = files(&workspace("dualwrite/src/docs"));
    let documents = DOCUMENTS.iter().map(|path| workspace(path)).chain(guide);
    let documents = documents.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, sentences(&prose(&text)), true)
    });
    let sources = SOURCES.iter().flat_map(|folder| files(&workspace(folder)));
    let sources = sources.filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
    let sources = sources.filter(|path| !path.components().any(|part| part.as_os_str() == "tests"));
    let sources = sources.map(|path| {
        let found = literals(&std::fs::read_to_string(&path).unwrap());
        (path, found, false)
    });
    documents.chain(sources).collect()
}

#[test]
fn words_and_patterns_do_not_come_back() {
    let patterns = patterns();
    let (mut count, mut wrong) = (0, Vec::new());
    for (path, sentences, _) in read() {
        for sentence in sentences {
            count += 1;
            let words: Vec<String> = sentence.text.split_whitespace().map(plain).collect();
            for pattern in patterns.iter().filter(|pattern| pattern.is_in(&words)) {
                let at = format!("{}:{}", path.display(), sentence.line);
                wrong.push(format!(
                    "{at}: `{}`; write: {}",
                    pattern.words.join(" "),
                    pattern.instead
                ));
            }
        }
    }
    assert!(count > 4_000, "the texts were not found: {count}");
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn sentences_are_short_enough_to_be_read_once() {
    let mut wrong = Vec::new();
    for (path, sentences, _) in read().into_iter().filter(|(.., counts)| *counts) {
        for sentence in sentences {
            let words = sentence.text.split_whitespace().count();
            if words > WORDS_MAX {
                let begin: Vec<&str> = sentence.text.split_whitespace().take(9).collect();
                wrong.push(format!(
                    "{}:{}: {words} words: {} …",
                    path.display(),
                    sentence.line,
                    begin.join(" ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "split them:\n{}", wrong.join("\n"));
}

#[test]
fn a_pattern_is_found_across_lines_and_not_in_code() {
    let patterns = patterns();
    let found = |text: &str| {
        let sentences = sentences(&prose(text));
        let words = |one: &Sentence| one.text.split_whitespace().map(plain).collect::<Vec<_>>();
        let all: Vec<_> = sentences.iter().map(words).collect();
        all.iter().any(|words| patterns.iter().any(|pattern| pattern.is_in(words)))
    };
    assert!(found("A switch that bears no\nname of a migration kills nothing."));
    assert!(
        found("| `kill` | goes back as far as\n")
            || found("| x | takes it back as far as loses data |")
    );
    assert!(!found("```\nold answers\n```"));
    assert!(!found("`old answers` is code, and the old side answers."));
}
