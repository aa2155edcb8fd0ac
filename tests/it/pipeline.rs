//! The pipeline of the guide: each step of both workflows is run against a service.

use std::time::Duration;

use dualwrite::{
    Dual, DualTable as _, Migration, Runtime, Stage, contract::Contract, expand::Expand,
    operator::Operator,
};
use sqlx::migrate::{Migrate, Migrator};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;
use crate::tool::run_on;

on_all_databases!(every_step_of_the_guide_is_run, a_smoke_test_that_fails_takes_the_migration_back,);

const GUIDE: &str = include_str!("../../dualwrite/src/docs/pipeline.md");
const HOUR: Duration = Duration::from_secs(60 * 60);

#[derive(Dual)]
#[dual(table = "customer", key = "id")]
struct Customer {
    id: i64,
    #[dual(new = email_address)]
    email: String,
    email_address: Option<String>,
}

/// The jobs of one workflow: each with its steps, and those for a failure.
fn jobs(workflow: usize) -> Vec<(Vec<&'static str>, Vec<&'static str>)> {
    let text = GUIDE.split("```yaml\n").nth(1 + workflow).unwrap().split("```").next().unwrap();
    let mut found: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    let mut after_failure = false;
    for line in text.lines().map(str::trim) {
        if line == "steps:" {
            found.push((Vec::new(), Vec::new()));
        } else if line == "- if: failure()" {
            after_failure = true;
        } else if let Some(step) = line.strip_prefix("- run: ").or(line.strip_prefix("run: ")) {
            let (steps, failing) = found.last_mut().unwrap();
            if after_failure {
                failing.push(step)
            } else {
                steps.push(step)
            }
            after_failure = false;
        }
    }
    found
}

/// The words of a command, as a shell reads them.
fn words(step: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in step.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.iter().map(|word| word.replace("$ACTOR", "ada")).collect()
}

/// The service, and what its pipeline can do.
struct Service<D: Sql> {
    db: Scratch<D>,
    folder: tempfile::TempDir,
    running: Option<(Runtime<D::Db>, Migration)>,
    /// The smoke test of this stage fails.
    broken: Option<Stage>,
}

fn contract<D: Sql>() -> Contract {
    Contract::new().column("customer", "email").complete_for(HOUR).rollback_window(HOUR / 2)
}

impl<D: Sql> Service<D>
where
    <D::Db as sqlx::Database>::Connection: Migrate,
    Customer: dualwrite::copy::ConvertColumns<D::Db>,
{
    async fn new(db: Scratch<D>) -> Self {
        db.execute(
            "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(60));
             INSERT INTO customer (id, email) VALUES (1, 'a@example.com'), (2, 'b@example.com')",
        )
        .await;
        let folder = tempfile::tempdir().unwrap();
        let mut service = Self { db, folder, running: None, broken: None };
        // Somebody has generated, reviewed and committed them.
        service.deploy("both").await;
        let (_, migration) = service.running.as_ref().unwrap();
        let into = service.folder.path().join("migrations");
        std::fs::create_dir(&into).unwrap();
        for file in migration.expand().plan().await.unwrap().files(1) {
            std::fs::write(into.join(&file.name), &file.text).unwrap();
        }
        service.deploy("previous").await;
        service
    }

    async fn deploy(&mut self, release: &str) {
        if let Some((runtime, _)) = self.running.take() {
            runtime.shutdown().await.unwrap();
        }
        if release == "previous" {
            return; // it knows nothing of the migration
        }
        let pool = self.db.another_pool(4).await;
        let builder = Runtime::builder(pool).release(release).poll(Duration::from_millis(50));
        let runtime = builder.start().await.unwrap();
        let registration = runtime.migration("customer-email").contract(contract::<D>());
        let registration = match release {
            "new-only" => registration.new_only(),
            _ => registration.expand(Expand::of::<Customer>()).backfill(Customer::copy_columns()),
        };
        let migration = registration.register().await.unwrap();
        self.running = Some((runtime, migration));
    }

    async fn smoke(&self, stage: &str) -> bool {
        let stage: Stage = stage.parse().unwrap();
        let (_, migration) = self.running.as_ref().unwrap();
        let pool = self.db.pool();
        // An instance hears of a move with its next look.
        crate::support::wait::until("the instance is there", async || {
            migration.position().stage == stage
        })
        .await;
        let report = migration.smoke(pool).at(stage).run().await;
        self.broken != Some(stage) && report.into_result().is_ok()
    }

    /// Whether the step has ended well.
    async fn step(&mut self, step: &str) -> Result<(), String> {
        let words = words(step);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let done = match words.as_slice() {
            ["cargo", "test"] => true,
            ["sqlx", "migrate", "run", "--source", source] => {
                let migrator = Migrator::new(self.folder.path().join(source)).await.unwrap();
                migrator.run(self.db.pool()).await.is_ok()
            }
            ["./deploy", release] => {
                self.deploy(release).await;
                true
            }
            ["./smoke", stage] => self.smoke(stage).await,
            ["dualwrite", arguments @ ..] => return self.tool(arguments).await,
            other => panic!("a step that no test knows: {other:?}"),
        };
        if done { Ok(()) } else { Err(step.to_owned()) }
    }

    async fn tool(&self, arguments: &[&str]) -> Result<(), String> {
        let folder = self.folder.path().join("migrations");
        let own: Vec<&str> = arguments
            .iter()
            .map(|word| match *word {
                "migrations" => folder.to_str().unwrap(),
                "./backup" => "true",
                word => word,
            })
            .collect();
        let mut last = String::new();
        // An instance reads the catalogue, and tells what it has heard, with its next looks.
        for _ in 0..40 {
            let (code, out, err) = run_on(&self.db.url(), &own).await;
            if code == dualwrite_cli::DONE {
                return Ok(());
            }
            last = format!("{own:?}: {code}: {out}{err}");
            if code != dualwrite_cli::REFUSED || own[0] == "contract" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Err(last)
    }
}

async fn every_step_of_the_guide_is_run<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
    Customer: dualwrite::copy::ConvertColumns<D::Db>,
{
    let mut service = Service::new(db).await;
    let [to_complete, to_the_drop] = [jobs(0), jobs(1)];
    assert_eq!((to_complete.len(), to_the_drop.len()), (3, 1));
    let mut count = 0;
    for step in to_complete.iter().flat_map(|(steps, _)| steps) {
        service.step(step).await.unwrap();
        count += 1;
    }
    // Days go by; the contract asks for an hour.
    let us = 2 * 3_600_000_000_i64;
    let aged = format!(
        "UPDATE dualwrite_migration SET stage_at = stage_at - {us}, watched_at = watched_at - {us}"
    );
    service.db.execute(&aged).await;
    service.db.execute("DELETE FROM dualwrite_old_read").await;
    for step in to_the_drop.iter().flat_map(|(steps, _)| steps) {
        service.step(step).await.unwrap();
        count += 1;
    }
    assert_eq!(count, 30, "the guide has other steps than this test was written for");
    assert!(D::rows(service.db.pool(), "SELECT email FROM customer").await.is_err(), "it is gone");
    let copied = "SELECT count(*) FROM customer WHERE email_address LIKE '%@example.com'";
    assert_eq!(service.db.number(copied).await, 2);
    let events = Operator::new(service.db.pool().clone());
    let events = events.contract("customer-email").events().await.unwrap();
    assert!(events.iter().all(|event| event.actor == "ada"), "{events:?}");
    service.deploy("previous").await;
}

async fn a_smoke_test_that_fails_takes_the_migration_back<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
    Customer: dualwrite::copy::ConvertColumns<D::Db>,
{
    let mut service = Service::new(db).await;
    service.broken = Some(Stage::Live);
    'jobs: for (steps, failing) in jobs(0) {
        for step in steps {
            let Err(failed) = service.step(step).await else { continue };
            assert_eq!(failed, "./smoke live");
            assert_eq!(failing.len(), 1);
            service.step(failing[0]).await.unwrap();
            break 'jobs;
        }
    }
    let operator = Operator::new(service.db.pool().clone());
    let position = operator.migration("customer-email").await.unwrap().position;
    assert!(!position.contains("live") && !position.contains("complete"), "{position}");
    let newest = operator.events("customer-email").await.unwrap().swap_remove(0);
    assert_eq!(newest.reason, "the pipeline failed");
    assert_eq!(service.db.number("SELECT count(email) FROM customer").await, 2);
    service.deploy("previous").await;
}
