//! Backfills for operators to look at, that nothing moves meanwhile.

use dualwrite::{ErrorKind, Stage};

use super::db::Scratch;
use super::notes::{World, plain};
use super::sql::Sql;

/// A service whose backfill of four notes met one that cannot be copied, and ended there.
pub(crate) async fn halted<D: Sql>(db: Scratch<D>) -> World<D> {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.db.execute("INSERT INTO old_note (id, word) VALUES (4, 'poison')").await;
    let backfill = world.migration.backfill().batch(1).stop_after_failures(0);
    assert_eq!(backfill.run().await.unwrap_err().kind(), ErrorKind::Halted);
    world
}

/// A service at `Off`: what is started waits there.
pub(crate) async fn off<D: Sql>(db: Scratch<D>) -> World<D> {
    World::with(db, Stage::Off, 3, plain).await
}
