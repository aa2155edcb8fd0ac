//! The runbook of the guide: all that it says one types is typed, and what one sees then is seen.

use std::path::Path;
use std::time::Duration;

use dualwrite::operator::COMMANDS;
use service_example::{Database, Load, Process, Release, tool, verdict};
use tokio::time::{sleep, timeout};

use crate::support::db::{Scratch, TestDb, on_all_databases};

on_all_databases!(what_the_runbook_types_does_what_it_says);

const GUIDE: &str = include_str!("../../../../dualwrite/src/docs/runbook.md");
/// For what is typed to show what it shall: instances tell what they have seen with their heartbeats.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const WHOLE: Duration = Duration::from_secs(400);

/// What a section has one do.
#[derive(Debug)]
enum Block {
    /// Commands, each with the lines that it prints.
    Console(Vec<(&'static str, Vec<&'static str>)>),
    Sql(&'static str),
}

fn sections() -> Vec<(&'static str, Vec<Block>)> {
    GUIDE.split("\n# ").skip(1).map(|text| (text.lines().next().unwrap(), blocks(text))).collect()
}

fn blocks(section: &'static str) -> Vec<Block> {
    let fenced = section.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| match block.split_once('\n').unwrap() {
            ("console", text) => Block::Console(commands(text)),
            ("sql", text) => Block::Sql(text),
            (other, _) => panic!("a block that no test knows: {other}"),
        })
        .collect()
}

fn commands(text: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut commands = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("$ dualwrite ") {
            Some(command) => commands.push((command, Vec::new())),
            None => commands.last_mut().expect("a command").1.push(line),
        }
    }
    commands
}

/// The words of a command, as a shell reads them.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate();
    let words = parts.flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    let mut words: Vec<String> = words.collect();
    if COMMANDS.iter().any(|spec| spec.name == words[0]) {
        words.extend(["--by".to_owned(), "ada".to_owned()]); // as the variable says
    }
    words
}

/// Whether a line is as the guide shows it, where `…` stands for anything.
fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Whether all lines that are shown are printed, in their order.
fn shows(printed: &str, shown: &[&str]) -> bool {
    let mut lines = printed.lines();
    shown.iter().all(|shown| lines.any(|line| is_like(line, shown)))
}

/// Types a command until it shows what it shall.
async fn type_in(url: &str, command: &str, shown: &[&str]) {
    let words = words(command);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut last = String::new();
    let typing = async {
        loop {
            let (code, out, err) = tool(url, &words).await.unwrap();
            last = format!("exit code {code}\n{out}{err}");
            // What was done is not done twice.
            let is_done =
                code == dualwrite_cli::DONE && COMMANDS.iter().any(|c| c.name == words[0]);
            let is_shown = shows(&format!("{out}{err}"), shown);
            assert!(!is_done || is_shown, "$ dualwrite {command}\n{last}");
            if is_shown {
                println!("$ dualwrite {command}\n{last}");
                return;
            }
            sleep(RETRY_PAUSE).await;
        }
    };
    let typed = timeout(PATIENCE, typing).await;
    assert!(typed.is_ok(), "$ dualwrite {command}\n{last}");
}

async fn follow(db: &Scratch<impl TestDb>, url: &str, blocks: &[Block]) {
    for block in blocks {
        match block {
            Block::Sql(sql) => db.execute(sql).await,
            Block::Console(commands) => {
                for (command, shown) in commands {
                    type_in(url, command, shown).await;
                }
            }
        }
    }
}

/// The control tables of before a move.
const KEPT: [&str; 4] =
    ["dualwrite_migration", "dualwrite_event", "dualwrite_instance", "dualwrite_acknowledgement"];

async fn keep(db: &Scratch<impl TestDb>) {
    for table in KEPT {
        db.execute(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).await;
    }
}

/// In one transaction, as what a standby has comes in one moment.
async fn put_back<D: TestDb>(db: &Scratch<D>) {
    let mut sql = "BEGIN;".to_owned();
    for table in KEPT {
        let own_numbers = D::NAME == "postgres" && table == "dualwrite_event";
        let overriding = if own_numbers { "OVERRIDING SYSTEM VALUE " } else { "" };
        sql += &format!(
            "DELETE FROM {table}; INSERT INTO {table} {overriding}SELECT * FROM kept_{table};"
        );
    }
    db.execute(&(sql + "COMMIT")).await;
}

/// Where nobody answers.
fn nowhere<D: TestDb>() -> &'static str {
    D::sql(
        "sqlite:///nowhere/shop.db",
        "postgres://nobody@127.0.0.1:1/shop",
        "mysql://nobody@127.0.0.1:1/shop",
    )
}

async fn what_the_runbook_types_does_what_it_says<D: TestDb>(db: Scratch<D>) {
    timeout(WHOLE, follow_all(db)).await.expect("it ends");
}

async fn follow_all<D: TestDb>(db: Scratch<D>) {
    let url = &*db.url();
    let database = Database::open(url).await.unwrap();
    database.create(200, 6).await.unwrap();
    // An import of long ago, which the new table does not take.
    db.execute("INSERT INTO purchase (customer, amount_cents) VALUES ('import', -5)").await;
    let start = |release| Process::start(Path::new(env!("CARGO_BIN_EXE_service")), url, release);
    let old = start(Release::Before).await.unwrap();
    let load = Load::start(old.address).await.unwrap();

    let sections = sections();
    let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    let known =
        ["A rolling deployment", "A dead letter", "A rollback", "A failing mirror", "A failover"];
    assert_eq!(names, known, "the runbook has other sections than this test was written for");
    let [deployment, dead_letter, rollback, mirror, failover] = &sections[..] else {
        panic!("five sections");
    };

    database.expand().await.unwrap();
    let first = start(Release::After).await.unwrap();
    load.add(first.address);
    load.remove(old.address).await.unwrap();
    old.stop().await.unwrap();
    let second = start(Release::After).await.unwrap();
    load.add(second.address);
    for (_, blocks) in [deployment, dead_letter, rollback] {
        follow(&db, url, blocks).await;
    }
    // While the column has another name, some writes come.
    let (broken, rest) = mirror.1.split_at(1);
    follow(&db, url, broken).await;
    let before = load.figures().writes;
    let written = async {
        while load.figures().writes < before + 50 {
            sleep(RETRY_PAUSE).await
        }
    };
    timeout(PATIENCE, written).await.expect("the mirror hurts no caller");
    follow(&db, url, rest).await;

    let figures = load.stop(&database).await.unwrap();
    assert_eq!((figures.failed, figures.wrong), (0, 0), "no caller has noticed anything");
    assert!(verdict(&database, figures).await.unwrap(), "nothing was lost");

    // Five minutes go by: those of a new process have no failures.
    for process in [first, second] {
        process.stop().await.unwrap();
    }
    let first = start(Release::After).await.unwrap();
    let second = start(Release::After).await.unwrap();

    let (away, back) = failover.1.split_at(1);
    follow(&db, nowhere::<D>(), away).await;
    keep(&db).await;
    tool(url, &["advance", "orders", "--to", "live", "--by", "ada", "--because", "lost"])
        .await
        .unwrap();
    put_back(&db).await;
    follow(&db, url, back).await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[test]
fn a_line_is_like_what_is_shown() {
    assert!(is_like("orders: shadow, epoch 5", "orders: shadow, epoch …"));
    assert!(is_like("a 1 b 2 c", "a … b … c") && is_like("anything", "…"));
    assert!(!is_like("a 1 b", "a … c") && !is_like("a 1", "b …") && !is_like("a b", "a"));
    assert!(shows("one\ntwo\nthree", &["one", "th…"]) && !shows("one\ntwo", &["two", "one"]));
}
