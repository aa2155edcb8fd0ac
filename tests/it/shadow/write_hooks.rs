//! What a service hears of compared writes, and what it says of them.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use dualwrite::{
    compare::Shown,
    shadow::{ShadowFinding, ShadowReport, ShadowRules, cohort, with_context},
};

use super::writes::{Broken, compared, service_with};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes as _};
use crate::support::sql::Sql;
use crate::support::wait::soon;

on_all_databases!(
    a_write_that_left_a_difference_is_reported_once_it_is_compared,
    a_write_that_cannot_be_compared_is_told_from_a_comparison_that_panics,
    a_predicate_of_the_call_says_which_writes_are_compared,
);

type Heard = Arc<Mutex<Vec<ShadowReport>>>;

fn hearing() -> (Heard, ShadowRules) {
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    let rules = ShadowRules::default();
    (heard, rules.on_report(move |report| hears.lock().unwrap().push(report.clone())))
}

async fn one(heard: &Heard) -> ShadowReport {
    soon("the report", async || heard.lock().unwrap().pop()).await
}

#[derive(Debug, PartialEq)]
struct Tenant(u32);

async fn a_write_that_left_a_difference_is_reported_once_it_is_compared<D: Sql>(db: Scratch<D>) {
    let (heard, rules) = hearing();
    let copy = CopyNotes::<D>::new();
    let (runtime, migration, notes) = service_with(&db, copy, Some("wrong"), rules).await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    let save = cohort("large", notes.save(&mut tx, 7, "right"));
    with_context(Tenant(4), save).await.unwrap();
    tx.commit().await.unwrap();
    let report = one(&heard).await;
    assert_eq!((&*report.migration, &*report.method), ("notes", "Notes::save"));
    assert_eq!((report.key.as_deref(), report.cohort.as_deref()), (Some("7"), Some("large")));
    assert_eq!(report.context.get(), Some(&Tenant(4)));
    let ShadowFinding::Different(fields) = report.found else { panic!("{report:?}") };
    let hidden = Some(Shown::Redacted);
    assert_eq!((&*fields[0].field, &fields[0].old, &fields[0].new), ("*", &hidden, &hidden));
    assert!(heard.lock().unwrap().is_empty() && fields.len() == 1);
    runtime.shutdown().await.unwrap();
}

async fn a_write_that_cannot_be_compared_is_told_from_a_comparison_that_panics<D: Sql>(
    db: Scratch<D>,
) {
    for panics in [false, true] {
        db.execute("DROP TABLE IF EXISTS old_note; DROP TABLE IF EXISTS new_note").await;
        let (heard, rules) = hearing();
        let broken = Broken::<D> { panics, database: PhantomData };
        let (runtime, migration, notes) =
            service_with(&db, broken, None, rules.panic_texts()).await;
        let mut tx = migration.begin(db.pool()).await.unwrap();
        notes.save(&mut tx, 7, "right").await.unwrap();
        tx.commit().await.unwrap();
        let expected = match panics {
            true => ShadowFinding::Panicked { text: Some("a bug in the service".to_owned()) },
            false => ShadowFinding::MirrorFailed { text: None },
        };
        assert_eq!(one(&heard).await.found, expected);
        migration.step_back(dualwrite::Stage::Off).await.unwrap();
        runtime.shutdown().await.unwrap();
    }
}

async fn a_predicate_of_the_call_says_which_writes_are_compared<D: Sql>(db: Scratch<D>) {
    let rules = ShadowRules::default().run_if(|call| {
        assert_ne!(call.key, Some("13"), "a bug in the service");
        call.method == "Notes::save" && call.context.get().is_some_and(|Tenant(id)| *id == 4)
    });
    let copy = CopyNotes::<D>::new();
    let (runtime, migration, notes) = service_with(&db, copy, None, rules).await;
    let mut tx = migration.begin(db.pool()).await.unwrap();
    for (id, tenant) in [(1, 4), (2, 5), (13, 4)] {
        with_context(Tenant(tenant), notes.save(&mut tx, id, "word")).await.unwrap();
    }
    with_context(Tenant(4), notes.remove(&mut tx, 1)).await.unwrap();
    notes.save(&mut tx, 3, "word").await.unwrap();
    tx.commit().await.unwrap();
    let saved = compared(&migration, "save").await;
    assert_eq!((saved.equal, saved.panicked, saved.total()), (1, 1, 2));
    assert_eq!(compared(&migration, "remove").await.total(), 0);
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 4, "the caller does not notice");
    runtime.shutdown().await.unwrap();
}
