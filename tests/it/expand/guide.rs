//! The statements of the guide are those that are generated, and each of them is run.

use std::marker::PhantomData;
use std::time::Duration;

use dualwrite::{Runtime, Stage, contract::Contract, expand::Expand, operator::Operator};

use super::world::CopyEmail;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(every_statement_of_the_guide_is_generated_and_run);

const GUIDE: &str = include_str!("../../../dualwrite/src/docs/alter_to_drop.md");

/// The statements of the guide for one database, in their order.
fn statements(database: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for block in GUIDE.split("\n```sql ").skip(1) {
        let (kind, rest) = block.split_once('\n').unwrap();
        if kind == database {
            let text = rest.split("\n```").next().unwrap();
            found.extend(text.lines().map(|line| line.strip_suffix(';').unwrap()));
        }
    }
    found
}

async fn every_statement_of_the_guide_is_generated_and_run<D: Sql>(db: Scratch<D>) {
    let table = "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(60) NOT NULL)";
    let collation = D::sql("", "", " DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin");
    db.execute(&format!(
        "{table}{collation};
         CREATE UNIQUE INDEX customer_email ON customer (email);
         INSERT INTO customer (id, email) VALUES (1, 'a@example.com')"
    ))
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let contract = Contract::new()
        .column("customer", "email")
        .complete_for(Duration::ZERO)
        .rollback_window(Duration::ZERO)
        .unwatched("a test")
        .without_backup("a test");
    let contract = if D::NAME == "sqlite" { contract.old_filled() } else { contract };
    let registration = runtime.migration("customer-email").contract(contract);
    let migration = registration
        .expand(Expand::new().rename("customer", "email", "email_address"))
        .backfill(CopyEmail::<D>(PhantomData))
        .register()
        .await
        .unwrap();
    let guide = statements(D::NAME);
    assert_eq!(guide.len(), 4, "{guide:?}");

    let plan = migration.expand().plan().await.unwrap();
    let up: Vec<&str> = plan.statements.iter().map(|statement| &*statement.up).collect();
    let (expand, rest) = guide.split_at(2);
    assert_eq!(up, expand);
    for statement in expand {
        db.execute(statement).await;
    }
    assert!(migration.expand().check().await.unwrap().is_ready());
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    let relaxing = migration.contract().relaxing().await.unwrap();
    let (relax, drops) = rest.split_at(relaxing.len());
    assert_eq!(relaxing, relax);
    for statement in relax {
        db.execute(statement).await;
    }
    assert!(migration.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
    }
    runtime.shutdown().await.unwrap();

    let operator = Operator::new(db.pool().clone());
    let contract = operator.contract("customer-email");
    contract.approve("grace", "over").await.unwrap();
    assert_eq!(contract.plan().await.unwrap().statements, drops);
    let done = contract.run().by("ada").because("over").await.unwrap();
    assert!(done.ended && done.statements == drops, "{done:?}");
    assert_eq!(db.number("SELECT count(email_address) FROM customer").await, 1);
}
