//! The guide shows what adopting the library has changed in the service: the difference of the two folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use similar::TextDiff;

const GUIDE: &str = "../../dualwrite/src/docs/service.md";
const BEGINS: &str = "```diff\n";
/// Two screens.
const CHANGED_MAX: usize = 110;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(here(folder)).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn difference() -> String {
    let text = |path: &str| fs::read_to_string(here(path)).unwrap_or_default();
    let mut all = String::new();
    for name in names("before").union(&names("after")) {
        let [before, after] = ["before", "after"].map(|folder| format!("{folder}/{name}"));
        let (old, new) = (text(&before), text(&after));
        let diff = TextDiff::from_lines(&old, &new);
        all += &diff.unified_diff().context_radius(0).header(&before, &after).to_string();
    }
    all
}

#[test]
fn the_guide_shows_the_diff_of_the_two_releases() {
    let guide = fs::read_to_string(here(GUIDE)).unwrap();
    let (head, rest) = guide.split_once(BEGINS).expect("a block with the difference");
    let (shown, tail) = rest.split_once("```").expect("its end");
    let difference = difference();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(here(GUIDE), format!("{head}{BEGINS}{difference}```{tail}")).unwrap();
    } else {
        assert_eq!(shown, difference, "record it again with UPDATE=1");
    }
}

#[test]
fn the_diff_fits_on_two_screens() {
    let is_header = |line: &str| line.starts_with("---") || line.starts_with("+++");
    let difference = difference();
    let lines = difference.lines().filter(|line| !is_header(line));
    let changed = lines.filter(|line| line.starts_with(['+', '-'])).count();
    assert!(changed <= CHANGED_MAX, "{changed} lines");
}

/// What callers see is one file, which both releases compile.
#[test]
fn callers_of_the_repository_are_the_same_in_both_releases() {
    for release in ["before", "after"] {
        assert!(!names(release).contains("http.rs"), "{release}");
        let service = fs::read_to_string(here(&format!("{release}/service.rs"))).unwrap();
        assert!(service.contains("#[path = \"../src/http.rs\"]\nmod http;"), "{service}");
    }
    assert!(!fs::read_to_string(here("src/http.rs")).unwrap().contains("dualwrite::"));
    let before = names("before").into_iter().map(|name| format!("before/{name}"));
    for file in before {
        assert!(!fs::read_to_string(here(&file)).unwrap().contains("dualwrite"), "{file}");
    }
}
