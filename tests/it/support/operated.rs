//! Backfills for operators to look at, that nothing moves meanwhile.

use dualwrite::{
    Error, ErrorKind, Side, Stage,
    operator::{Command, CommandOptions, Operator},
};

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

/// Commands to the backfill of a migration, by somebody who is no instance. Each answers whether it holds then.
#[derive(Clone, Copy)]
pub(crate) struct Backfill<'o> {
    operator: &'o Operator,
    name: &'o str,
    side: Side,
    workers: u32,
    rate: Option<u64>,
}

pub(crate) fn backfill<'o>(operator: &'o Operator, name: &'o str) -> Backfill<'o> {
    Backfill { operator, name, side: Side::New, workers: 1, rate: None }
}

impl Backfill<'_> {
    pub(crate) fn reverse(self) -> Self {
        Self { side: Side::Old, ..self }
    }

    pub(crate) fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    pub(crate) fn rate(self, keys: u64) -> Self {
        Self { rate: Some(keys), ..self }
    }

    /// Answers `false` where it was started already.
    pub(crate) async fn start(&self, by: &str, because: &str) -> Result<bool, Error> {
        let Self { side, workers, rate, .. } = *self;
        let options = CommandOptions::new(by, because);
        let start = Command::BackfillStart { side, workers, rate };
        match self.operator.command(self.name, &start, &options).await {
            Ok(outcome) => Ok(outcome.text.starts_with("started;")),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn pause(&self) -> Result<bool, Error> {
        self.give(Command::BackfillPause(self.side)).await
    }

    pub(crate) async fn resume(&self) -> Result<bool, Error> {
        self.give(Command::BackfillResume(self.side)).await
    }

    pub(crate) async fn cancel(&self) -> Result<bool, Error> {
        self.give(Command::BackfillCancel(self.side)).await
    }

    pub(crate) async fn set_rate(&self, keys: Option<u64>) -> Result<bool, Error> {
        self.give(Command::BackfillRate(self.side, keys)).await
    }

    async fn give(&self, command: Command) -> Result<bool, Error> {
        let options = CommandOptions::new("ada", "a test");
        match self.operator.command(self.name, &command, &options).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }
}
