//! Names that were replaced do not come back.

use std::fs;

use super::source::{files, workspace};

/// Retired identifier, and what to write.
const RETIRED: &[(&str, &str)] = &[
    ("BackfillOrders", "BackfillControl"),
    ("Moving", "Transition"),
    ("Bury", "DeadLetter"),
    ("OrderKind", "RolloutCommandKind"),
    ("OrderedSample", "SampleOverride"),
    ("RolloutOrder", "RolloutCommand"),
    ("Unjudged", "Inconclusive"),
    ("VerifyOrder", "VerifyCommand"),
    ("Waiving", "Waiver"),
    ("afresh(", "restart("),
    ("begin_alone", "begin_exclusive"),
    ("begin_moving", "begin_transition"),
    ("bury", "record_dead_letter"),
    ("buried", "has_dead_letter, or say what failed"),
    ("contract_notes", "nothing: the column is gone"),
    ("dualwrite_order", "dualwrite_command"),
    ("exhume", "remove_dead_letter"),
    ("look_for_hazards", "find_hazards"),
    ("mend", "repair"),
    ("mended", "repaired"),
    ("nudge", "wake"),
    ("rehearsal", "dry run"),
    ("strays", "orphans"),
    ("unbury", "remove_dead_letters"),
];

const FOLDERS: &[&str] = &[
    "dualwrite/src",
    "dualwrite/migrations",
    "dualwrite-cli",
    "dualwrite-macros/src",
    "tests",
    "benches",
    "examples",
];
const DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// Whether a word stands in a text, and not in another one.
fn stands(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !(before.is_some_and(is_part) || after.is_some_and(is_part) && word.ends_with(is_part))
    })
}

#[test]
fn a_word_is_found_at_its_boundaries() {
    assert!(
        stands("fn mend(", "mend")
            && stands("`Moving`", "Moving")
            && stands(".afresh()", "afresh(")
    );
    assert!(
        !stands("recommend", "mend")
            && !stands("mending", "mend")
            && !stands("MovingAverage", "Moving")
    );
}

#[test]
fn retired_names_do_not_come_back() {
    let all = FOLDERS.iter().flat_map(|folder| files(&workspace(folder)));
    let all = all.chain(DOCUMENTS.iter().map(|document| workspace(document)));
    let kinds = ["rs", "md", "sql", "stderr"];
    let is_text = |path: &std::path::PathBuf| {
        path.extension().and_then(|kind| kind.to_str()).is_some_and(|kind| kinds.contains(&kind))
    };
    let (mut count, mut wrong) = (0, Vec::new());
    for path in all.filter(is_text).filter(|path| !path.ends_with("tidy/words.rs")) {
        count += 1;
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            for (retired, instead) in RETIRED.iter().filter(|(retired, _)| stands(line, retired)) {
                let at = format!("{}:{}", path.display(), number + 1);
                wrong.push(format!("{at}: `{retired}`; write `{instead}`"));
            }
        }
    }
    assert!(count > 200, "the sources were not found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
