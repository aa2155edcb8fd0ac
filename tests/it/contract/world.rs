//! A migration that has come to `Complete`, with a contract, and everything there that it asks for.

use std::time::Duration;

use dualwrite::{
    Backend, Registration, Runtime, Stage,
    contract::{Contract, ContractDecision, EvidenceKind},
    operator::Operator,
};

use crate::support::db::Scratch;
use crate::support::notes::{CopyNotes, World};
use crate::support::sql::Sql;

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) fn contracted<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.contract(contract())
}

/// Complete for an hour; the way back is promised for half of that.
pub(super) fn contract() -> Contract {
    Contract::new().table("old_note").complete_for(HOUR).rollback_window(HOUR / 2)
}

/// The database of a migration whose old table nobody needs any more, and the operator who is to drop it.
pub(super) struct Over<D: Sql> {
    pub(super) db: Scratch<D>,
    pub(super) operator: Operator,
}

/// Takes a service to `Complete`.
pub(super) async fn complete<D: Sql>(
    db: Scratch<D>,
    options: fn(Registration<'_, D::Db>) -> Registration<'_, D::Db>,
) -> World<D> {
    let world = World::copying(db, Stage::DualWrite, 5, options, CopyNotes::both_ways()).await;
    let migration = &world.migration;
    migration.install_trigger().await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
    }
    world
}

/// As if that had been `seconds` ago.
pub(super) async fn age<D: Sql>(db: &Scratch<D>, seconds: i64) {
    let us = seconds * 1_000_000;
    db.execute(&format!(
        "UPDATE dualwrite_migration SET stage_at = stage_at - {us}, watched_at = watched_at - {us}"
    ))
    .await;
    db.execute("DELETE FROM dualwrite_old_read").await;
}

/// All evidence is there, and the service has ended.
pub(super) async fn over<D: Sql>(db: Scratch<D>) -> Over<D> {
    let World { db, runtime, .. } = complete(db, contracted).await;
    runtime.shutdown().await.unwrap();
    age(&db, 2 * 60 * 60).await;
    let operator = Operator::new(db.pool().clone());
    let contract = operator.contract("notes");
    contract.confirm_backup("ada", "restored beside it", "5 rows").await.unwrap();
    contract.approve("grace", "nobody reads it").await.unwrap();
    let over = Over { db, operator };
    over.is_allowed().await;
    over
}

impl<D: Sql> Over<D> {
    pub(super) async fn check(&self) -> ContractDecision {
        self.operator.contract("notes").check().await.unwrap()
    }

    pub(super) async fn is_allowed(&self) {
        let decision = self.check().await;
        let ContractDecision::Allowed { evidence } = &decision else { panic!("{decision:?}") };
        let kinds: Vec<EvidenceKind> = evidence.iter().map(|one| one.kind).collect();
        assert_eq!(kinds, EvidenceKind::ALL);
    }

    /// This alone is missing, a run is refused, and nothing is dropped.
    pub(super) async fn lacks(&self, kind: EvidenceKind) -> String {
        let decision = self.check().await;
        let ContractDecision::Refused { missing } = decision else { panic!("{kind}: allowed") };
        let [one] = missing.as_slice() else { panic!("{kind}: {missing:?}") };
        assert_eq!(one.kind, kind, "{missing:?}");
        if kind != EvidenceKind::Declared {
            let run = self.operator.contract("notes").run().by("ada").because("over").await;
            let error = run.unwrap_err();
            assert_eq!(error.kind(), dualwrite::ErrorKind::Blocked, "{error}");
            assert!(error.to_string().contains(&format!("[{kind}]")), "{error}");
        }
        self.is_untouched().await;
        one.reason.clone()
    }

    /// Nothing was dropped, and the way back is open.
    pub(super) async fn is_untouched(&self) {
        assert_eq!(self.db.number("SELECT count(*) FROM old_note").await, 5);
        let begun = "SELECT count(*) FROM dualwrite_contract WHERE begun_at IS NOT NULL";
        assert_eq!(self.db.number(begun).await, 0);
        let what =
            "SELECT count(*) FROM dualwrite_contract_event WHERE what IN ('begun', 'dropped')";
        assert_eq!(self.db.number(what).await, 0);
    }

    pub(super) async fn execute(&self, sql: &str) {
        self.db.execute(sql).await;
    }

    /// Another instance of the service.
    pub(super) async fn runtime(&self) -> Runtime<D::Db> {
        Runtime::builder(self.db.another_pool(3).await).release("next").start().await.unwrap()
    }
}
