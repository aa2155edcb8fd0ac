//! What the pages say: commands that exist, diffs that lead to code which is compiled, one shape for how-to pages.

use super::{Block, blocks, pages, words};

/// How-to pages, and the parts that each of them has.
const HOW_TO: &[&str] = &[
    "rename_a_column",
    "change_a_type",
    "split_a_table",
    "generated_ids",
    "several_migrations",
    "another_database",
    "after_complete",
];
const PARTS: &[&str] = &["# Order", "# What one sees", "# The way back", "```diff"];

#[test]
fn how_to_pages_have_order_diff_view_and_way_back() {
    let pages = pages();
    for name in HOW_TO {
        for part in PARTS {
            assert!(pages[*name].contains(part), "{name} has no `{part}`");
        }
    }
}

/// Code as it is compared: without the line's indent, and without the mark of a line that rustdoc hides.
fn plain(line: &str) -> &str {
    let line = line.trim();
    line.strip_prefix("# ").unwrap_or(line).trim()
}

#[test]
fn diffs_lead_to_code_that_is_compiled() {
    let mut count = 0;
    for (name, text) in pages() {
        let blocks = blocks(&text);
        let compiled = blocks.iter().filter(|block| matches!(block.kind, "" | "rust"));
        let compiled: Vec<&str> =
            compiled.flat_map(|block| &block.lines).map(|line| plain(line)).collect();
        let diffs = blocks.iter().filter(|block| block.kind == "diff");
        // A diff of files is compared with them where they are.
        let of_code = |block: &&Block<'_>| !block.lines.iter().any(|line| line.starts_with("+++ "));
        for block in diffs.filter(of_code) {
            count += 1;
            for line in &block.lines {
                let (mark, code) = line.split_at(line.len().min(1));
                let (is_old, code) = (mark == "-", code.trim());
                let stays = |line: &&str| line[..1] != *"-" && line[1..].trim() == code;
                let written_again =
                    is_old && block.lines.iter().filter(|l| !l.is_empty()).any(stays);
                if code.is_empty() || written_again {
                    continue;
                }
                let there = compiled.contains(&code);
                assert!(
                    there != is_old,
                    "{name}: `{line}` is {}",
                    if is_old { "still there" } else { "not compiled" }
                );
            }
        }
    }
    assert!(count > 8, "the diffs were not found");
}

/// Commands of the tool, in a block or in a sentence, as they would be typed. Forms such as `dualwrite list NAME [--json]`
/// are left out.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("- run: "));
    let in_blocks = lines.filter(|line| line.starts_with("dualwrite "));
    let in_sentences =
        text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("dualwrite "));
    let is_typed = |command: &&str| !command.contains(['[', '…', '|', '(', '<', '\n']);
    in_blocks.chain(in_sentences).filter(is_typed).map(str::to_owned).collect()
}

#[tokio::test]
async fn commands_of_the_pages_exist() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("sqlite://{}/nowhere.db", folder.path().display());
    let readme = std::fs::read_to_string(crate::tidy::source::workspace("README.md")).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for (name, text) in pages().into_iter().chain([("README".to_owned(), readme)]) {
        for command in commands(&text) {
            let mut words = words(&command);
            // A sentence that names the first words of a command names it, and does not type it.
            let is_typed = words.iter().any(|word| word.starts_with("--"));
            if command.contains("--because") && !command.contains("--by") {
                words.extend(["--by".to_owned(), "ada".to_owned()]); // DUALWRITE_ACTOR
            }
            match words.iter().position(|word| word == "--database") {
                Some(at) => words[at + 1].clone_from(&nowhere),
                None => drop(words.splice(1..1, ["--database".to_owned(), nowhere.clone()])),
            }
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let code = dualwrite_cli::run(&words, &mut out, &mut err).await;
            let said = String::from_utf8_lossy(&err).into_owned();
            let unknown = said.contains("unrecognized");
            count += 1;
            if code == dualwrite_cli::WRONG_USE && (is_typed || unknown) {
                wrong.push(format!("{name}: {command}: {said}"));
            }
        }
    }
    assert!(count > 80, "the commands were not found: {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
