//! The old column of one row: its constraints are relaxed before `Complete`, and it is dropped alone.

use std::marker::PhantomData;
use std::time::Duration;

use dualwrite::{
    BoxError, Copied, CopyKeys, Gate, Runtime, Stage, Tx, contract::Contract, copy::KeySource,
    operator::Operator,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(constraints_of_an_old_column_are_relaxed_and_it_is_dropped);

struct CopyEmail<D>(PhantomData<fn() -> D>);

impl<D: Sql> CopyKeys for CopyEmail<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("customer").column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(self.source())
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        for id in keys {
            D::run(tx, &format!("UPDATE customer SET email_address = email WHERE id = {id}"))
                .await?;
        }
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }

    async fn differing(&self, _: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Vec<i64>, BoxError> {
        Ok(Vec::new())
    }
}

async fn constraints_of_an_old_column_are_relaxed_and_it_is_dropped<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(60) NOT NULL, \
         email_address VARCHAR(60));
         CREATE INDEX customer_email ON customer (email);
         INSERT INTO customer (id, email) VALUES (1, 'a@example.com')",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let contract = Contract::new()
        .column("customer", "email")
        .complete_for(Duration::ZERO)
        .rollback_window(Duration::ZERO)
        .unwatched("a test")
        .without_backup("a test");
    let registration = runtime.migration("email").backfill(CopyEmail::<D>(PhantomData));
    let migration = registration.contract(contract.clone()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        migration.advance(stage).await.unwrap();
    }
    let refused = migration.advance(Stage::Complete).await.unwrap_err();
    // `Drained` may stand beside it, until this instance's next acknowledgement.
    let blockers = refused.blockers().iter().filter(|blocker| blocker.gate != Gate::Drained);
    assert_eq!(
        blockers.map(|blocker| blocker.gate).collect::<Vec<_>>(),
        [Gate::Relaxed],
        "{refused}"
    );
    assert!(refused.to_string().contains("customer.email is NOT NULL"), "{refused}");

    match D::NAME {
        "sqlite" => {
            let refused = migration.contract().relaxing().await.unwrap_err().to_string();
            assert!(refused.contains("old_filled"), "{refused}");
            let filled = migration.advance(Stage::Complete).because("new fills old");
            filled.overriding(Gate::Relaxed).await.unwrap();
        }
        _ => {
            for statement in migration.contract().relaxing().await.unwrap() {
                db.execute(&statement).await;
            }
            // On MySQL and MariaDB the table was rebuilt, which withdraws the proof.
            assert!(migration.verify().run().await.unwrap().is_clean());
            migration.advance(Stage::Complete).await.unwrap();
            // What new alone writes is taken.
            db.execute("INSERT INTO customer (id, email_address) VALUES (2, 'b@example.com')")
                .await;
        }
    }
    runtime.shutdown().await.unwrap();
    let operator = Operator::new(db.pool().clone());
    assert_eq!(operator.contracts().await.unwrap(), ["email"]);
    let contract = operator.contract("email");
    contract.approve("grace", "over").await.unwrap();
    let done = contract.run().by("ada").because("over").await.unwrap();
    assert!(done.ended, "{done:?}");
    assert!(D::rows(db.pool(), "SELECT email FROM customer").await.is_err(), "it is gone");
    assert!(db.number("SELECT count(email_address) FROM customer").await >= 1);
}
