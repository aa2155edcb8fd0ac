//! Migrations in exact mode as operators see them: from either database, by the page, its JSON and the tool.

use std::time::Duration;

use dualwrite::operator::{Caller, Command, CommandOptions, MigrationOverview, Operator};
use dualwrite::{Closed, Epoch, Error, ErrorKind, Move, Runtime, Side, Stage, exact::Exact};

use super::carts::{CartDb, Carts, NAME, Pair, cart, on_pairs, quiet, save};
use crate::page::{Browser, page_for};
use crate::support::db::{Scratch, TestDb};
use crate::support::wait::until;
use crate::tool::{prints, run_on};

on_pairs!(
    an_operator_moves_it_from_either_database_and_the_audit_says_who,
    dead_letters_are_listed_retried_and_waived,
    a_stale_command_and_one_without_an_instance_are_refused,
    a_full_outbox_stops_the_recording_and_no_caller,
    calls_of_the_service_leave_a_line_in_the_audit_of_both_databases,
    a_name_is_in_exact_mode_or_registered_with_a_runtime,
    of_two_kinds_that_are_made_at_once_one_gets_the_name,
);

const CHECKED: &str = "DROP TABLE cart; CREATE TABLE cart (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, \
                       count BIGINT NOT NULL, CHECK (count <> 13))";

fn operator<D: TestDb>(db: &Scratch<D>) -> Operator {
    Operator::new(db.pool().clone())
}

fn by_ada() -> CommandOptions {
    CommandOptions::new("ada", "it is time")
}

async fn give(operator: &Operator, command: Command) -> Result<String, Error> {
    operator.command(NAME, &command, &by_ada()).await.map(|outcome| outcome.text)
}

fn start_copy() -> Command {
    Command::BackfillStart { side: Side::New, workers: 1, rate: None }
}

fn to(stage: Stage) -> Command {
    Command::Move(Move::Advance(stage), Vec::new())
}

/// Waits until what an instance has reported is so.
async fn reported(operator: &Operator, what: &str, is_so: impl Fn(&MigrationOverview) -> bool) {
    let is_so = async || is_so(&operator.migration(NAME).await.unwrap());
    until(format_args!("reported: {what}"), is_so).await;
}

async fn at(operator: &Operator, stage: Stage) {
    reported(operator, stage.as_str(), |found| {
        let state = found.exact.as_ref().and_then(|exact| exact.state.as_ref());
        state.is_some_and(|state| state.stage == stage && state.open)
    })
    .await;
}

async fn an_operator_moves_it_from_either_database_and_the_audit_says_who<O, N>(pair: Pair<O, N>)
where
    O: CartDb,
    N: CartDb,
{
    pair.old.execute("INSERT INTO cart (id, text, count) VALUES (1, 'before', 1)").await;
    let carts = pair.start().await;
    let (old, new) = (operator(&pair.old), operator(&pair.new));
    at(&old, Stage::Off).await;
    at(&new, Stage::Off).await;
    let url = pair.new.url();
    let audited = ["--by", "ada", "--because", "it is time"];
    let said =
        prints(&url, &[&["advance", NAME, "--to", "dual_write"][..], &audited].concat()).await;
    assert!(said.contains("it is at dual_write now"), "{said}");
    at(&old, Stage::DualWrite).await;
    let gates = old.readiness(NAME, None).await.unwrap();
    assert_eq!(gates.len(), 1, "{gates:?}");
    assert_eq!(give(&old, to(Stage::Live)).await.unwrap_err().kind(), ErrorKind::Blocked);

    give(&old, start_copy()).await.unwrap();
    reported(&old, "it is copied", |found| {
        found.exact.as_ref().is_some_and(|exact| exact.state.as_ref().is_some_and(|s| s.copied))
    })
    .await;
    give(&new, Command::Verify).await.unwrap();
    reported(&old, "it is verified", |found| {
        let found = found.exact.as_ref().and_then(|exact| exact.verification.as_ref());
        found.is_some_and(|found| found.compared == 1 && found.different == 0)
    })
    .await;
    let dry = old.command(NAME, &to(Stage::Live), &by_ada().dry_run(true)).await.unwrap();
    assert!(dry.text.contains("hand the authority over") && dry.blockers.is_empty(), "{dry:?}");
    assert_eq!(carts.status().await.unwrap().stage, Stage::DualWrite);
    assert!(give(&old, to(Stage::Live)).await.unwrap().contains("it is at live now"));
    assert_eq!(carts.status().await.unwrap().primary, Side::New);
    at(&old, Stage::Live).await;
    let rollback = Command::Move(Move::Rollback, Vec::new());
    assert!(give(&old, rollback).await.unwrap().contains("it is at dual_write now"));
    assert_eq!(carts.status().await.unwrap().primary, Side::Old);

    let audit = old.audit(NAME).await.unwrap();
    let kinds: Vec<String> = audit.iter().map(|line| line.kind.to_string()).collect();
    assert_eq!(kinds, ["move", "move", "backfill_start"], "newest first");
    assert!(audit.iter().all(|line| line.actor == "ada" && line.reason == "it is time"));
    assert_eq!(new.audit(NAME).await.unwrap().len(), 2, "a command is recorded where it was given");
    let jobs = old.jobs(NAME).await.unwrap();
    assert!(jobs.iter().all(|job| job.done && !job.failed), "{jobs:?}");
    shown_alike(&pair, &old).await;
    carts.shutdown().await;
}

/// The page, its JSON and the tool say the same.
async fn shown_alike<O: CartDb, N: CartDb>(pair: &Pair<O, N>, operator: &Operator) {
    at(operator, Stage::DualWrite).await;
    let url = pair.old.url();
    let listed = prints(&url, &["list"]).await;
    assert!(listed.contains("carts  dual_write, epoch"), "{listed}");
    let status = prints(&url, &["status", NAME]).await;
    for part in ["exact; this is the database of the old side", "primary", "outbox", "verified"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let page = Browser(page_for(operator.clone(), Caller::operator("ada")));
    let view = page.get("/view/carts").await.text;
    for part in ["dual_write", "Roll back to off", "backfill-start", "newest verification"] {
        assert!(view.contains(part), "{part}: {view}");
    }
    for command in ["kill-on", "ramp", "copy"] {
        assert!(!view.contains(&format!("commands/{command}\"")), "exact mode has no {command}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&page.get("/migrations/carts").await.text).unwrap();
    assert_eq!(json["exact"]["state"]["primary"], "old");
    assert_eq!(json["exact"]["side"], "old");
    let (code, _, err) =
        run_on(&url, &["ramp", NAME, "--percent", "5", "--by", "ada", "--because", "no"]).await;
    assert_ne!(code, dualwrite_cli::DONE, "{err}");
}

async fn dead_letters_are_listed_retried_and_waived<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::DualWrite).await;
    pair.new.execute(CHECKED).await;
    let operator = operator(&pair.old);
    for id in [1, 2] {
        save(&carts, id, Some(&cart("refused", 13))).await.unwrap();
    }
    reported(&operator, "two dead letters", |found| found.dead_letters == 2).await;
    assert_eq!(operator.migration(NAME).await.unwrap().attention(), Some("dead letters"));
    let letters = operator.dead_letters(NAME).await.unwrap();
    assert_eq!(letters.iter().map(|one| &*one.key).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(letters[0].side, Side::New);
    let gates = operator.readiness(NAME, None).await.unwrap();
    assert!(gates[0].reason.contains("dead-letters-retry"), "{gates:?}");

    let waive = |key: &str| Command::DeadLettersWaive(Side::New, key.to_owned());
    give(&operator, waive("1")).await.unwrap();
    reported(&operator, "one dead letter", |found| found.dead_letters == 1).await;
    let refused = give(&operator, waive("1")).await.unwrap_err();
    assert!(refused.to_string().contains("not among the dead letters"), "{refused}");
    assert_eq!(pair.old.number("SELECT count(*) FROM dualwrite_outbox").await, 1);

    pair.new.execute(&CHECKED.replace("13", "14")).await;
    give(&operator, Command::DeadLettersRetry).await.unwrap();
    quiet(&carts).await;
    let [old, new] = pair.all().await;
    assert!(old.contains_key(&1) && !new.contains_key(&1), "what was waived is missing");
    assert!(new.contains_key(&2));
    give(&operator, Command::Repair).await.unwrap();
    until("it is repaired", async || pair.all().await[1].contains_key(&1)).await;
    let audit = operator.audit(NAME).await.unwrap();
    assert!(audit.iter().any(|line| line.detail.as_deref().is_some_and(|it| it.contains("key 1"))));
    carts.shutdown().await;
}

async fn a_stale_command_and_one_without_an_instance_are_refused<O, N>(pair: Pair<O, N>)
where
    O: CartDb,
    N: CartDb,
{
    let carts = pair.at(Stage::DualWrite).await;
    let operator = operator(&pair.old);
    at(&operator, Stage::DualWrite).await;
    let stale = by_ada().expecting(Epoch(1));
    let refused = operator.command(NAME, &to(Stage::Live), &stale).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(carts.status().await.unwrap().stage, Stage::DualWrite);
    let unknown = operator.command("nobody", &Command::Verify, &by_ada()).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownMigration);
    let kill = give(&operator, Command::KillOn).await.unwrap_err();
    assert_eq!(kill.kind(), ErrorKind::Unsupported);
    assert!(kill.to_string().contains("backfill-start"), "{kill}");
    carts.shutdown().await;

    pair.old.execute("UPDATE dualwrite_relay SET reported_at = reported_at - 60000000").await;
    let overview = operator.migration(NAME).await.unwrap();
    assert_eq!((overview.instances, overview.attention()), (0, Some("no live instance")));
    let nobody = give(&operator, Command::Verify).await.unwrap_err();
    assert!(nobody.to_string().contains("no instance has reported"), "{nobody}");
    let audit = operator.audit(NAME).await.unwrap();
    assert!(audit.iter().all(|line| line.actor != "ada"), "what was refused is not recorded");
}

async fn a_full_outbox_stops_the_recording_and_no_caller<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts: Carts<O, N> = pair.start_with(|builder| builder.outbox_max(1_000)).await;
    carts.advance(Stage::DualWrite).await.unwrap();
    carts.copy().await.unwrap();
    // The mirror is down for all that the relay knows: nothing is applied.
    pair.new.execute("DROP TABLE cart").await;
    save(&carts, 0, Some(&cart("kept", 0))).await.unwrap();
    let rows: Vec<String> = (1..1_000)
        .map(|n| format!("('f{n}', 'carts', '{n}', 'put', '{{\"text\":\"x\",\"count\":1}}', 1, 1)"))
        .collect();
    let columns = "(id, aggregatetype, aggregateid, type, payload, version, since)";
    let insert = format!("INSERT INTO dualwrite_outbox {columns} VALUES {}", rows.join(", "));
    pair.old.execute(&insert).await;
    until("it is full", async || carts.status().await.unwrap().stage == Stage::Off).await;
    assert_eq!(pair.old.number("SELECT count(*) FROM dualwrite_outbox").await, 0);
    save(&carts, 1, Some(&cart("goes on", 1))).await.unwrap();
    assert_eq!(pair.old.number("SELECT count(*) FROM cart").await, 2);
    carts.shutdown().await;
}

async fn calls_of_the_service_leave_a_line_in_the_audit_of_both_databases<O, N>(pair: Pair<O, N>)
where
    O: CartDb,
    N: CartDb,
{
    let carts = pair.at(Stage::Live).await;
    carts.advance(Stage::Live).await.unwrap(); // nothing happens, and nothing is to be told
    let hour = Duration::from_secs(3_600);
    carts.close(Closed::Writes, hour, "ada", "moving house").await.unwrap();
    carts.open("grace", "moved").await.unwrap();
    carts.repair().await.unwrap();
    assert_eq!(carts.rollback().await.unwrap(), Stage::DualWrite);
    for operator in [operator(&pair.old), operator(&pair.new)] {
        let audit = operator.audit(NAME).await.unwrap();
        let mut kinds: Vec<String> = audit.iter().map(|line| line.kind.to_string()).collect();
        kinds.reverse();
        let expected = ["move", "backfill_start", "move", "close", "open", "repair", "move"];
        assert_eq!(kinds, expected, "oldest first");
        let said = |kind: &str| audit.iter().find(|line| line.kind.to_string() == kind).unwrap();
        let closed = said("close");
        assert_eq!((&*closed.actor, &*closed.reason), ("ada", "moving house"));
        assert_eq!(closed.detail.as_deref(), Some("close writes for about 1h"));
        assert_eq!(said("open").actor, "grace");
        assert!(said("repair").actor.starts_with("service, instance "), "{:?}", said("repair"));
        assert!(said("move").detail.as_ref().unwrap().contains("dual_write"), "{audit:?}");
    }
    carts.shutdown().await;
}

/// A command names a migration by its name alone.
async fn a_name_is_in_exact_mode_or_registered_with_a_runtime<O, N>(pair: Pair<O, N>)
where
    O: CartDb,
    N: CartDb,
{
    let runtime = Runtime::builder(pair.new.another_pool(4).await).start().await.unwrap();
    runtime.migration(NAME).register().await.unwrap();
    let Err(refused) = pair.builder().await.start().await else { panic!("the name is taken") };
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    for part in [NAME, "`Runtime`", "the new database", "take another name"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    runtime.shutdown().await.unwrap();
    pair.new.execute("DELETE FROM dualwrite_migration").await;

    let carts = pair.start().await;
    let runtime = Runtime::builder(pair.old.another_pool(4).await).start().await.unwrap();
    let Err(refused) = runtime.migration(NAME).register().await else { panic!("it is taken") };
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    for part in [NAME, "exact mode", "take another name"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    runtime.migration("others").register().await.unwrap();
    runtime.shutdown().await.unwrap();
    carts.shutdown().await;
}

/// In either database, and nothing is left of the other one.
async fn of_two_kinds_that_are_made_at_once_one_gets_the_name<O, N>(pair: Pair<O, N>)
where
    O: CartDb,
    N: CartDb,
{
    let on_old = Runtime::builder(pair.old.another_pool(3).await).start().await.unwrap();
    let on_new = Runtime::builder(pair.new.another_pool(3).await).start().await.unwrap();
    let (old, new) = (pair.old.another_pool(4).await, pair.new.another_pool(4).await);
    let left = async |table: &str, name: &str| {
        let column = if table == "dualwrite_migration" { "name" } else { "migration" };
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = '{name}'");
        [pair.old.number(&sql).await, pair.new.number(&sql).await]
    };
    let mut won = [0, 0];
    for round in 0..12 {
        let name = format!("raced-{round}");
        let exact = Exact::between(&*name, (old.clone(), O::SIDE), (new.clone(), N::SIDE)).start();
        let plain = async {
            match round % 2 {
                0 => on_old.migration(&*name).register().await.map(drop),
                _ => on_new.migration(&*name).register().await.map(drop),
            }
        };
        let rows = match tokio::join!(exact, plain) {
            (Ok(exact), Err(refused)) => {
                assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
                assert!(refused.to_string().contains("exact mode"), "{refused}");
                exact.shutdown().await;
                won[0] += 1;
                [[0, 0], [1, 1]]
            }
            (Err(refused), Ok(())) => {
                assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
                assert!(refused.to_string().contains("`Runtime`"), "{refused}");
                won[1] += 1;
                [if round % 2 == 0 { [1, 0] } else { [0, 1] }, [0, 0]]
            }
            (exact, plain) => panic!("{name}: {:?}, {plain:?}", exact.map(drop)),
        };
        let tables = ["dualwrite_migration", "dualwrite_authority"];
        let found = [left(tables[0], &name).await, left(tables[1], &name).await];
        assert_eq!(found, rows, "{name}, {won:?}");
    }
    on_old.shutdown().await.unwrap();
    on_new.shutdown().await.unwrap();
}
