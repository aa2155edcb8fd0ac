//! A write in converging mode: what is there when, and what is left.

use std::sync::Arc;
use std::time::Duration;

use dualwrite::{
    Closed, ErrorKind, Side, Stage,
    converging::{MirrorFailure, Overflow},
    operator::{Command, CommandOptions, Operator},
};
use futures_util::future::join_all;
use tokio::sync::Notify;

use super::stores::{Carts, Fault, Service, Strike, quick, quiet, rows};
use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::wait::{ends, until};

use MirrorFailure::{AnswerNow, Report};

on_all_databases!(
    a_write_goes_to_both_sides_and_leaves_no_mark,
    the_mark_is_there_before_the_first_side_is_written,
    writes_at_once_are_each_marked_before_their_first_side,
    a_mark_that_fails_fails_no_write_beside_it,
    a_caller_that_is_dropped_stops_nothing,
    a_mirror_that_fails_is_reported_or_left_to_the_repair,
    a_primary_whose_outcome_is_unknown_is_copied_as_it_is,
    a_refusal_of_the_primary_leaves_nothing,
    a_mirror_that_is_down_converges_when_it_is_up,
    a_key_that_cannot_be_copied_is_a_dead_letter_and_blocks_moves,
    more_writes_than_the_bound_wait_or_are_refused,
    a_shutdown_waits_for_writes_in_flight,
    a_write_in_a_transaction_is_refused,
    closing_waits_for_a_write_in_flight_and_refuses_the_next,
    a_whole_migration_there_and_back,
);

async fn a_write_goes_to_both_sides_and_leaves_no_mark<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    service.save(1, Some("one"), Report).await.unwrap();
    service.save(2, Some("two"), AnswerNow).await.unwrap();
    service.save(1, None, Report).await.unwrap();
    quiet(&db).await;
    assert_eq!(carts.old.all().await, carts.new.all().await);
    assert_eq!(carts.new.all().await.into_values().collect::<Vec<_>>(), ["two"]);
    let counted = service.migration.status().await.unwrap().counters;
    assert_eq!((counted.converging_writes, counted.converging_unsettled), (3, 0));
}

async fn the_mark_is_there_before_the_first_side_is_written<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let db = Arc::new(db);
    let marks = |_: Side| {
        let db = Arc::clone(&db);
        move || async move { Ok::<_, Fault>(rows(&db, "mark").await) }
    };
    let write = service.migration.converging_write("save", &1_i64);
    let seen = write.old(marks(Side::Old)).new(marks(Side::New)).run().await.unwrap();
    assert_eq!(seen, 1);
    quiet(&db).await;
}

/// Marks of this key.
async fn marked<D: TestDb>(db: &Scratch<D>, key: i64) -> i64 {
    rows(db, &format!("mark WHERE key_text = '{key}'")).await
}

async fn writes_at_once_are_each_marked_before_their_first_side<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let db = Arc::new(db);
    let writes = (0..50_i64).map(|key| {
        let side = || {
            let db = Arc::clone(&db);
            move || async move { Ok::<_, Fault>(marked(&db, key).await) }
        };
        let (old, new) = (side(), side());
        let writing = service.migration.clone();
        async move { writing.converging_write("save", &key).old(old).new(new).run().await }
    });
    for seen in join_all(writes).await {
        assert_eq!(seen.unwrap(), 1);
    }
    quiet(&db).await;
    let counted = service.migration.status().await.unwrap().counters;
    assert_eq!((counted.converging_writes, counted.converging_unsettled), (50, 0));
}

async fn a_mark_that_fails_fails_no_write_beside_it<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    db.execute("CREATE UNIQUE INDEX one_mark ON dualwrite_mark (key_text)").await;
    let columns = "(migration, id, key_text, instance, since)";
    let sql = format!(
        "INSERT INTO dualwrite_mark {columns} VALUES ('{}', 'x', '7', 'x', 9000000000000000)",
        service.migration.name()
    );
    db.execute(&sql).await;
    let writes = (0..30_i64).map(|key| {
        let side = |side: Side| {
            let carts = carts.clone();
            move || async move { carts.put(side, key, Some("kept".to_owned())).await }
        };
        let (old, new) = (side(Side::Old), side(Side::New));
        let writing = service.migration.clone();
        async move { writing.converging_write("save", &key).old(old).new(new).run().await }
    });
    for (key, written) in join_all(writes).await.into_iter().enumerate() {
        assert_eq!(written.is_err(), key == 7, "{key}: {written:?}");
    }
    assert_eq!((carts.old.all().await.len(), carts.new.all().await.len()), (29, 29));
    db.execute("DELETE FROM dualwrite_mark WHERE id = 'x'").await;
    quiet(&db).await;
}

async fn a_caller_that_is_dropped_stops_nothing<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let old = {
        let (carts, reached, go) = (carts.clone(), Arc::clone(&reached), Arc::clone(&go));
        move || async move {
            reached.notify_one();
            go.notified().await;
            carts.put(Side::Old, 1, Some("kept".to_owned())).await
        }
    };
    let new = {
        let carts = carts.clone();
        move || async move { carts.put(Side::New, 1, Some("kept".to_owned())).await }
    };
    let write = service.migration.converging_write("save", &1_i64).old(old).new(new).run();
    tokio::select! {
        _ = write => panic!("it waits for the primary"),
        () = reached.notified() => {}
    }
    go.notify_one();
    until("both sides have it", async || carts.new.all().await.len() == 1).await;
    quiet(&db).await;
    assert_eq!(carts.old.all().await, carts.new.all().await);
}

async fn a_mirror_that_fails_is_reported_or_left_to_the_repair<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let strikes = [Strike::Fail, Strike::FailAfter, Strike::Panic, Strike::Hang, Strike::HangAfter];
    for (id, strike) in (0..).zip(strikes) {
        carts.new_faults.strike_next(strike);
        let error = service.save(id, Some("reported"), Report).await.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::MirrorFailed), "{strike:?}");
        carts.new_faults.strike_next(strike);
        service.save(id + 100, Some("answered"), AnswerNow).await.unwrap();
    }
    quiet(&db).await;
    assert_eq!(carts.old.all().await, carts.new.all().await);
    assert_eq!(carts.new.all().await.len(), 10);
    let counted = service.migration.status().await.unwrap().counters;
    assert_eq!((counted.mirror_failed, counted.converging_unsettled), (10, 10));
}

async fn a_primary_whose_outcome_is_unknown_is_copied_as_it_is<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    for (id, strike) in
        (0..).zip([Strike::Fail, Strike::FailAfter, Strike::Hang, Strike::HangAfter])
    {
        carts.old_faults.strike_next(strike);
        let error = service.save(id, Some("perhaps"), Report).await.unwrap_err();
        let is_timeout = matches!(strike, Strike::Hang | Strike::HangAfter);
        assert_eq!(error.kind(), is_timeout.then_some(ErrorKind::Timeout), "{strike:?}");
    }
    carts.old_faults.strike_next(Strike::PanicAfter);
    let (migration, too) = (service.migration.clone(), carts.clone());
    let panicking = tokio::spawn(async move {
        super::stores::save(&migration, &too, 4, Some("perhaps"), Report).await
    });
    assert!(panicking.await.unwrap_err().is_panic());
    quiet(&db).await;
    assert_eq!(carts.old.all().await, carts.new.all().await);
    assert_eq!(carts.new.all().await.into_keys().collect::<Vec<_>>(), [1, 3, 4]);
}

async fn a_refusal_of_the_primary_leaves_nothing<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let refused = service
        .migration
        .converging_write("save", &1_i64)
        .old(|| async { Err::<(), _>(Fault::Store("taken".to_owned())) })
        .new(|| async { panic!("the mirror is not written") })
        .refused_where(|error: &Fault| matches!(error, Fault::Store(_)))
        .run()
        .await;
    assert!(matches!(refused, Err(Fault::Store(_))));
    quiet(&db).await;
    let counted = service.migration.status().await.unwrap().counters;
    assert_eq!((counted.converging_unsettled, counted.dirty_repaired), (0, 0));
}

async fn a_mirror_that_is_down_converges_when_it_is_up<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    carts.new_faults.down(true);
    for id in 0..20 {
        service.save(id, Some("kept"), AnswerNow).await.unwrap();
    }
    until("copies fail", async || {
        service.migration.status().await.unwrap().counters.copies_failed >= 10
    })
    .await;
    until("no write is in flight", async || rows(&db, "mark").await == 0).await;
    assert_eq!(rows(&db, "unsettled").await, 20);
    carts.new_faults.down(false);
    quiet(&db).await;
    assert_eq!(carts.old.all().await, carts.new.all().await);
}

async fn a_key_that_cannot_be_copied_is_a_dead_letter_and_blocks_moves<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::with(db.pool(), &carts, quick(&carts).copy_attempts(1)).await;
    service.go_to(Stage::Shadow).await;
    carts.new_faults.down(true);
    service.save(1, Some("kept"), AnswerNow).await.unwrap();
    until("a dead letter", async || !service.migration.dead_letters().await.unwrap().is_empty())
        .await;
    let letter = &service.migration.dead_letters().await.unwrap()[0];
    assert_eq!((letter.key.as_str(), letter.side), ("1", Side::New));
    let error = service.migration.step_back(Stage::DualWrite).await;
    error.unwrap(); // that changes no write
    let error = service.migration.step_back(Stage::Off).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
    assert!(error.to_string().contains("1 keys wait to be copied"), "{error}");
    carts.new_faults.down(false);
    until("it is copied", async || service.migration.repair().await.is_ok_and(|many| many > 0))
        .await;
    quiet(&db).await;
    assert!(service.migration.dead_letters().await.unwrap().is_empty());
    service.migration.step_back(Stage::Off).await.unwrap();
}

async fn more_writes_than_the_bound_wait_or_are_refused<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let bound = quick(&carts).in_flight(1, Overflow::Refuse).primary_limit(Duration::from_secs(30));
    let service = Service::with(db.pool(), &carts, bound).await;
    service.go_to(Stage::DualWrite).await;
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = {
        let (reached, go) = (Arc::clone(&reached), Arc::clone(&go));
        move || async move {
            reached.notify_one();
            go.notified().await;
            Ok::<_, Fault>(())
        }
    };
    let new = || async { Ok(()) };
    let write = service.migration.converging_write("hold", &1_i64).old(held).new(new).run();
    let refused = async {
        reached.notified().await;
        let error = service.save(2, Some("refused"), Report).await.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::Timeout));
        go.notify_one();
    };
    let (written, ()) = tokio::join!(write, refused);
    written.unwrap();
    let counted = service.migration.status().await.unwrap().counters;
    assert_eq!(counted.converging_refused, 1);
    assert!(carts.old.all().await.is_empty());
}

async fn a_shutdown_waits_for_writes_in_flight<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let Service { runtime, migration, .. } = service;
    let slow = |side| {
        let carts = carts.clone();
        move || async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            carts.put(side, 1, Some("kept".to_owned())).await
        }
    };
    let write = migration.converging_write("save", &1_i64);
    let write = write.old(slow(Side::Old)).new(slow(Side::New)).on_mirror_failure(AnswerNow).run();
    ends("the primary", write).await.unwrap();
    runtime.shutdown().await.unwrap();
    assert_eq!(carts.old.all().await, carts.new.all().await);
    assert_eq!((rows(&db, "mark").await, rows(&db, "unsettled").await), (0, 0));
}

/// Nothing would mark its key.
async fn a_write_in_a_transaction_is_refused<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let mut tx = service.migration.begin(db.pool()).await.unwrap();
    let write = service.migration.write("save", &mut tx, &1_i64);
    let write = write.old(|_| Box::pin(async { Ok::<_, Fault>(()) }));
    let refused = write.new(|_| Box::pin(async { Ok(()) })).run().await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::Unsupported));
    assert!(refused.to_string().contains("converging_write"), "{refused}");
    tx.rollback().await.unwrap();
    let plain = service.runtime.migration("plain").register().await.unwrap();
    let write = plain.converging_write("save", &1_i64).old(|| async { Ok::<_, Fault>(()) });
    let refused = write.new(|| async { Ok(()) }).run().await.unwrap_err();
    assert!(refused.to_string().contains(".converging(…)"), "{refused}");
}

async fn a_whole_migration_there_and_back<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    for id in 0..50 {
        carts.old.put(id, Some("before")).await.unwrap();
    }
    carts.new.put(99, Some("left over")).await.unwrap();
    let service = Service::at(db.pool(), &carts, Stage::Off).await;
    for (id, stage) in (50..).zip(Stage::ALL) {
        service.go_to(stage).await;
        service.save(id, Some(stage.as_str()), Report).await.unwrap();
        service.save(1, Some(stage.as_str()), Report).await.unwrap();
        quiet(&db).await;
        match stage {
            Stage::Off => assert_eq!(carts.old.all().await.len(), 51),
            Stage::Complete => assert_eq!(carts.new.all().await.len(), 56),
            _ => {}
        }
    }
    assert_ne!(carts.old.all().await, carts.new.all().await, "new alone was written");
    service.migration.rollback("back").await.unwrap();
    service.migration.backfill().reverse().run().await.unwrap();
    assert!(service.migration.verify().run().await.unwrap().proven);
    assert_eq!(carts.old.all().await, carts.new.all().await);
    service.migration.rollback("back").await.unwrap();
    assert_eq!(service.migration.position().stage, Stage::Shadow);
    carts.new.put(1, Some("by hand")).await.unwrap();
    let report = service.migration.verify().run().await.unwrap();
    assert_eq!((report.differing, report.keys.as_slice()), (1, &["1".to_owned()][..]));
    quiet(&db).await;
    assert!(service.migration.verify().run().await.unwrap().proven);
    assert_eq!(carts.old.all().await, carts.new.all().await);
}

async fn closing_waits_for_a_write_in_flight_and_refuses_the_next<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let patient = quick(&carts).primary_limit(Duration::from_secs(30));
    let service = Service::with(db.pool(), &carts, patient).await;
    service.go_to(Stage::DualWrite).await;
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = |side: Side| {
        let (carts, reached, go) = (carts.clone(), Arc::clone(&reached), Arc::clone(&go));
        move || async move {
            if side == Side::Old {
                reached.notify_one();
                go.notified().await;
            }
            carts.put(side, 1, Some("in flight".to_owned())).await
        }
    };
    let (migration, old, new) = (service.migration.clone(), held(Side::Old), held(Side::New));
    let write = tokio::spawn(async move {
        migration.converging_write("save", &1_i64).old(old).new(new).run().await
    });
    reached.notified().await;
    let (operator, name) = (Operator::new(db.pool().clone()), service.migration.name().to_owned());
    let closing = tokio::spawn(async move {
        let close = Command::Close { closed: Closed::Writes, lasts: Duration::from_secs(60) };
        operator.command(&name, &close, &CommandOptions::new("ada", "new disks")).await
    });
    until("it is closed", async || {
        service.migration.refresh().await.unwrap();
        service.migration.position().closed == Closed::Writes
    })
    .await;
    assert!(!closing.is_finished(), "a write is in flight");
    let refused = service.save(2, Some("late"), Report).await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::Maintenance));
    go.notify_one();
    write.await.unwrap().unwrap();
    let outcome = closing.await.unwrap().unwrap();
    assert!(!outcome.text.contains("in flight"), "{outcome:?}");
    quiet(&db).await;
    assert_eq!(carts.old.all().await, carts.new.all().await);
    assert_eq!(carts.new.all().await.len(), 1);
}
