//! Triggers beside a contract: those of the application that name what is to go, and those of this library that recorded
//! its writers.

use std::time::Duration;

use dualwrite::{
    ErrorKind, Registration, Runtime,
    contract::{Contract, ContractDecision, EvidenceKind},
    operator::Operator,
};

use super::world::{age, complete};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::World;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_trigger_that_names_what_goes_is_told_before_the_contract,
    a_trigger_that_recorded_writers_goes_with_the_column,
    who_has_the_table_open_is_named_before_a_statement_waits,
);

/// What the contract says of dependents.
async fn dependents(operator: &Operator, name: &str) -> String {
    let decision = operator.contract(name).check().await.unwrap();
    let ContractDecision::Refused { missing } = decision else { panic!("{decision:?}") };
    let found = missing.into_iter().filter(|one| one.kind == EvidenceKind::Dependents);
    found.map(|one| one.reason).collect()
}

async fn a_trigger_that_names_what_goes_is_told_before_the_contract<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(60), mail VARCHAR(60), name VARCHAR(60));
         CREATE TABLE letter (id BIGINT PRIMARY KEY, name VARCHAR(60));
         CREATE TABLE fax (id BIGINT PRIMARY KEY, name VARCHAR(60))",
    )
    .await;
    let make = |name: &str, table: &str, body: &str| {
        D::sql(
            "CREATE TRIGGER {name} AFTER INSERT ON {table} FOR EACH ROW BEGIN {body}; END",
            "CREATE FUNCTION {name}_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
             CREATE TRIGGER {name} AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}_f()",
            "CREATE TRIGGER {name} AFTER INSERT ON {table} FOR EACH ROW BEGIN {body}; END",
        )
        .replace("{name}", name)
        .replace("{table}", table)
        .replace("{body}", body)
    };
    for (name, table, body) in [
        ("notes_mail", "customer", "INSERT INTO letter (id, name) VALUES (NEW.id, NEW.email)"),
        ("reads_mail", "letter", "UPDATE customer SET email = 'x' WHERE id = 0"),
        ("writes_fax", "letter", "DELETE FROM fax WHERE id = 0"),
        ("others", "customer", "INSERT INTO letter (id, name) VALUES (-NEW.id, NEW.name)"),
        ("own", "fax", "DELETE FROM letter WHERE id = 0"),
    ] {
        db.execute(&make(name, table, body)).await;
    }
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let contract = Contract::new().column("customer", "email").table("fax");
    runtime.migration("email").contract(contract).register().await.unwrap();
    let operator = Operator::new(db.pool().clone());
    let found = dependents(&operator, "email").await;
    for (name, object) in
        [("notes_mail", "customer.email"), ("reads_mail", "customer.email"), ("writes_fax", "fax")]
    {
        assert!(found.contains(name) && found.contains(object), "{name}: {found}");
    }
    // One names another column, and one goes with its table.
    assert!(!found.contains("others") && !found.contains("own "), "{found}");
    for (name, table) in
        [("notes_mail", "customer"), ("reads_mail", "letter"), ("writes_fax", "letter")]
    {
        let on = if D::NAME == "postgres" { format!(" ON {table}") } else { String::new() };
        db.execute(&format!("DROP TRIGGER {name}{on}")).await;
    }
    assert_eq!(dependents(&operator, "email").await, "");
    runtime.shutdown().await.unwrap();
}

fn column<DB: dualwrite::Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    let contract = Contract::new().column("old_note", "word").old_filled();
    let contract = contract.complete_for(Duration::ZERO).rollback_window(Duration::ZERO);
    registration.contract(contract.without_backup("a test"))
}

fn watches<D: Sql>() -> &'static str {
    D::sql(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'dualwrite_watch_%'",
        "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'dualwrite_watch_%') + \
         (SELECT count(*) FROM pg_proc WHERE proname LIKE 'dualwrite_watch_%')",
        "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE() \
         AND trigger_name LIKE 'dualwrite_watch_%'",
    )
}

async fn a_trigger_that_recorded_writers_goes_with_the_column<D: Sql>(db: Scratch<D>) {
    let World { db, runtime, .. } = complete(db, column).await;
    runtime.shutdown().await.unwrap();
    age(&db, 60).await;
    assert!(db.number(watches::<D>()).await > 0);
    let operator = Operator::new(db.pool().clone());
    let contract = operator.contract("notes");
    contract.approve("grace", "over").await.unwrap();
    let run = contract.run().by("ada").because("over").await.unwrap();
    assert!(run.ended, "{run:?}");
    assert_eq!(db.number(watches::<D>()).await, 0, "{:?}", run.statements);
    db.execute("INSERT INTO old_note (id) VALUES (77)").await;
}

/// Makes the server say who has a table open, where it does so on demand.
async fn shows_holders<D: Sql>(db: &Scratch<D>) -> bool {
    let install = "INSTALL PLUGIN IF NOT EXISTS METADATA_LOCK_INFO SONAME 'metadata_lock_info'";
    match D::NAME {
        "sqlite" => false,
        "postgres" => true,
        _ => D::execute(db.pool(), install).await.is_ok(),
    }
}

async fn who_has_the_table_open_is_named_before_a_statement_waits<D: Sql>(db: Scratch<D>) {
    if !shows_holders(&db).await {
        return;
    }
    let World { db, runtime, .. } = complete(db, column).await;
    runtime.shutdown().await.unwrap();
    age(&db, 60).await;
    let operator = Operator::new(db.pool().clone());
    let contract = operator.contract("notes");
    contract.approve("grace", "over").await.unwrap();
    let mut held = db.pool().acquire().await.unwrap();
    D::run_on(&mut held, "BEGIN").await.unwrap();
    D::run_on(&mut held, "SELECT count(*) FROM old_note").await.unwrap();
    let open = D::sql(
        "",
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND clock_timestamp() - xact_start > interval '1 second' AND pid <> pg_backend_pid()",
        "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p \
         ON p.id = t.trx_mysql_thread_id AND p.db = DATABASE() WHERE TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) >= 1",
    );
    until("it has been open for longer than a statement waits", async || db.number(open).await > 0)
        .await;
    let run = contract.run().by("ada").because("over").attempts(2);
    let late = run.lock_timeout(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
    for told in ["was not begun", "session ", "has the table old_note open"] {
        assert!(late.to_string().contains(told), "{told}: {late}");
    }
    D::run_on(&mut held, "ROLLBACK").await.unwrap();
    assert!(contract.run().by("ada").because("over").await.unwrap().ended);
}
