//! A transaction is held open, so that nothing gets the fence alone: what needs it not is copied all the same, and
//! a round says what is left.

use std::sync::Arc;

use dualwrite::{ErrorKind, Tx, defaults::FENCE_REFUSALS_MAX};

use super::ramp_down;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World};
use crate::support::sql::Sql;

on_all_databases!(
    a_round_of_repairs_goes_on_to_the_next_key,
    a_round_of_retries_goes_on_to_the_next_key,
    a_repair_of_differences_goes_on_to_the_next_key,
    a_reverse_copy_names_whom_it_waits_for,
);

/// New alone has these, and old lacks them.
const BORN: [u32; 4] = [100, 101, 102, 103];

/// Old lacks four notes and has an old word in one more.
async fn behind<D: Sql>(db: Scratch<D>) -> Arc<World<D>> {
    let world = Arc::new(ramp_down(db, 3, CopyNotes::<D>::both_ways()).await);
    for id in BORN {
        world.db.execute(&format!("INSERT INTO new_note (id, word) VALUES ({id}, 'born')")).await;
    }
    world.db.execute("UPDATE new_note SET word = 'changed' WHERE id = 1").await;
    world
}

/// With one writer at a time, whoever writes has the fence alone, and waits for it as for any lock.
async fn hold<D: Sql>(world: &World<D>) -> Option<Tx<'static, D::Db>> {
    match D::NAME {
        "sqlite" => None,
        _ => Some(world.begin().await),
    }
}

/// In the order in which they are tried: two that are refused, one that is not, two more.
const TRIED: [u32; 5] = [100, 101, 1, 102, 103];

async fn changed_in_old<D: Sql>(world: &World<D>) -> i64 {
    world.db.number("SELECT count(*) FROM old_note WHERE id = 1 AND word = 'changed'").await
}

async fn born_in_old<D: Sql>(world: &World<D>) -> i64 {
    world.db.number("SELECT count(*) FROM old_note WHERE id >= 100").await
}

async fn refusals<D: Sql>(world: &World<D>) -> u64 {
    world.migration.status().await.unwrap().counters.fence_refused
}

/// The instance, and the session of the server.
fn names_the_holder<D: Sql>(world: &World<D>, text: &str) {
    let own = format!("instance `{}`", world.runtime.instance());
    assert!(text.contains(&own) && text.contains("has had one open for "), "{text}");
    assert!(text.contains("session ") && text.contains(" open for "), "{text}");
}

async fn a_round_of_repairs_goes_on_to_the_next_key<D: Sql>(db: Scratch<D>) {
    let world = behind(db).await;
    let held = hold(&world).await;
    let marks: Vec<String> = TRIED
        .iter()
        .enumerate()
        .map(|(at, id)| format!("('notes', 'old', '{id}', {at})"))
        .collect();
    let mark = format!(
        "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) VALUES {}",
        marks.join(", ")
    );
    world.db.execute(&mark).await;
    if let Some(held) = held {
        let refused = world.migration.repair().await.unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Timeout, true));
        assert!(refused.to_string().contains("left 4 or more"), "{refused}");
        names_the_holder(&world, &refused.to_string());
        assert_eq!((changed_in_old(&world).await, born_in_old(&world).await), (1, 0));
        assert!(refusals(&world).await >= u64::from(FENCE_REFUSALS_MAX));
        assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 4);
        held.rollback().await.unwrap();
    }
    world.migration.repair().await.unwrap();
    assert_eq!((changed_in_old(&world).await, born_in_old(&world).await), (1, 4));
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 0);
}

async fn a_round_of_retries_goes_on_to_the_next_key<D: Sql>(db: Scratch<D>) {
    let world = behind(db).await;
    let held = hold(&world).await;
    // Their time has not come for the runtime.
    let letters: Vec<String> = TRIED
        .iter()
        .enumerate()
        .map(|(at, id)| format!("('notes', 'old', '{id}', 1, 'x', 1, {at}, 9000000000000000)"))
        .collect();
    let fail = format!(
        "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, \
         failed_at, next_attempt_at) VALUES {}",
        letters.join(", ")
    );
    world.db.execute(&fail).await;
    if let Some(held) = held {
        let refused = world.migration.retry_dead_letters().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Timeout, "{refused}");
        assert!(refused.to_string().contains("left 4 or more"), "{refused}");
        names_the_holder(&world, &refused.to_string());
        assert_eq!((changed_in_old(&world).await, born_in_old(&world).await), (1, 0));
        assert_eq!(refusals(&world).await, u64::from(FENCE_REFUSALS_MAX));
        held.rollback().await.unwrap();
        assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 4);
    } else {
        assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 5);
    }
    assert_eq!((changed_in_old(&world).await, born_in_old(&world).await), (1, 4));
    assert!(world.migration.dead_letters().await.unwrap().is_empty());
}

async fn a_repair_of_differences_goes_on_to_the_next_key<D: Sql>(db: Scratch<D>) {
    let world = behind(db).await;
    // Behind the others in the order of keys.
    world.db.execute("INSERT INTO old_note (id, word) VALUES (200, 'a stray')").await;
    if let Some(held) = hold(&world).await {
        let report = world.migration.verify().repair().run().await.unwrap();
        assert_eq!((report.copied, report.removed, report.failed), (1, 1, 4), "{report:?}");
        let (key, reason) = &report.failures[0];
        assert_eq!(key, "100");
        assert!(reason.contains("writes in flight did not end"), "{reason}");
        names_the_holder(&world, reason);
        assert_eq!(refusals(&world).await, u64::from(FENCE_REFUSALS_MAX), "the last is not tried");
        held.rollback().await.unwrap();
    }
    world.migration.verify().repair().run().await.unwrap();
    assert_eq!((changed_in_old(&world).await, born_in_old(&world).await), (1, 4));
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

async fn a_reverse_copy_names_whom_it_waits_for<D: Sql>(db: Scratch<D>) {
    let world = super::complete(db, 3).await;
    world.save(100, "born in new").await;
    world.migration.rollback("new is too slow").await.unwrap();
    let Some(held) = hold(&world).await else { return };
    let refused = world.migration.backfill().reverse().run().await.unwrap_err();
    assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Timeout, true));
    names_the_holder(&world, &refused.to_string());
    held.rollback().await.unwrap();
    world.migration.backfill().reverse().run().await.unwrap();
    assert_eq!(world.db.number("SELECT count(*) FROM old_note WHERE id = 100").await, 1);
}
