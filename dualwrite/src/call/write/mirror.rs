//! What becomes of a mirror write that failed: undone at its savepoint, where the mirror may fall behind, and
//! its key marked dirty in the caller's own transaction, so that either both stand or none.

use std::time::Duration;

use crate::call::write::decide;
use crate::clock;
use crate::copier::joined::Joined;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SAVEPOINT, SqlValue, on_unsure};
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::stages::lineage::Mark;
use crate::stages::position::Epoch;
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::store::marks;
use crate::transaction::Tx;

/// How long undoing a mirror write may take. It takes longer only where the server still runs a statement
/// of a mirror write that was given up, and the connection waits for its end.
const UNDO_TIMEOUT: Duration = Duration::from_secs(2);

/// Undoes the mirror write, if it may fall behind. Returns whether it did. `given_up`: a statement of it may
/// still be under way.
#[expect(clippy::manual_async_fn, reason = "`+ Send` is said here, and not proven anew by callers")]
pub(super) fn undo<DB: Backend>(
    shared: &Joined,
    tx: &mut Tx<'_, DB>,
    given_up: bool,
) -> impl Future<Output = Result<bool, Error>> + Send {
    async move {
        if !given_up {
            return undo_at_rest(shared, tx).await;
        }
        let failed = |error| Error::database(UNDOING, error);
        let undone = on_unsure(async {
            let undone = undo_at_rest(shared, tx).await?;
            let in_step = DB::Adapter::is_in_step(tx.connection()).await;
            Ok((undone, in_step.map_err(failed)?))
        });
        let undone = clock::limit(UNDO_TIMEOUT, undone).await;
        match undone.map(|undone| undone.map_err(failed).flatten()) {
            Ok(Ok((undone, true))) => Ok(undone),
            Ok(Err(error)) => Err(error),
            Ok(Ok((_, false))) | Err(()) => Err(Error::new(
                ErrorKind::Timeout,
                "a statement of a mirror write that was given up still runs on the server, so the write \
                 cannot go on; set a lock timeout or a statement timeout below the limit of the mirror write",
            )),
        }
    }
}

const UNDOING: &str = "undoing a mirror write";

fn undo_at_rest<DB: Backend>(
    shared: &Joined,
    tx: &mut Tx<'_, DB>,
) -> impl Future<Output = Result<bool, Error>> + Send {
    let failed = |error| Error::database(UNDOING, error);
    async move {
        let undo = "ROLLBACK TO SAVEPOINT dualwrite_mirror";
        match DB::Adapter::run(tx.connection(), undo).await {
            // The error cost the whole transaction: it is the caller's to begin again.
            Err(error) if DB::Adapter::is_transaction_gone(&error) => return Ok(false),
            undone => undone.map_err(failed)?,
        }
        let Some(pin) = tx.pin(&shared.name).cloned() else { return Ok(false) };
        let own = if shared.mark() == pin.mark() { pin.position.epoch } else { Epoch(0) };
        let others = slowest::<DB>(tx.connection(), shared, pin.mark()).await.map_err(failed)?;
        Ok(decide::may_forgive(pin.position, own.min(others.unwrap_or(own))))
    }
}

/// Remembers that these keys must be copied again, in the caller's own transaction: either both stand or
/// none.
#[expect(clippy::manual_async_fn, reason = "`+ Send` is said here, and not proven anew by callers")]
pub(super) fn mark_all<DB: Backend>(
    shared: &Joined,
    keys: &[EncodedKey],
    side: Side,
    tx: &mut Tx<'_, DB>,
) -> impl Future<Output = Result<(), Error>> + Send {
    async move {
        for key in keys {
            let marked = mark_dirty::<DB>(tx.connection(), &shared.name, side, &key.0).await;
            marked.map_err(|error| Error::database("marking a key dirty", error))?;
            shared.mark_dirty();
        }
        Ok(())
    }
}

/// Remembers that the sides may differ under a key that cannot be recorded: the next verification must look.
#[expect(clippy::manual_async_fn, reason = "`+ Send` is said here, and not proven anew by callers")]
pub(super) fn mark_table<DB: Backend>(
    shared: &Joined,
    tx: &mut Tx<'_, DB>,
) -> impl Future<Output = Result<(), Error>> + Send {
    async move {
        let marked = marks::mark::<DB>(tx.connection(), &shared.name, StaleKind::Key).await;
        marked.map_err(|error| Error::database("marking a table", error))
    }
}

/// The epoch that every other live instance has seen; 0 of one that has seen a position that is not the one in
/// force, which the fence holds.
async fn slowest<DB: Backend>(
    conn: &mut DB::Connection,
    shared: &Joined,
    now: Mark,
) -> sqlx::Result<Option<Epoch>> {
    let sql = format!(
        "SELECT min(CASE WHEN a.seen_token = ? AND i.server = {} THEN a.seen_epoch ELSE 0 END) \
         FROM dualwrite_acknowledgement a JOIN dualwrite_instance i ON i.id = a.instance \
         WHERE a.migration = ? AND a.instance <> ? AND i.expires_at > {{now}}",
        DB::Adapter::DIALECT.identity
    );
    let values = [SqlValue::from(now.token.0), (&*shared.name).into(), (&*shared.instance).into()];
    let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
    let seen = rows.first().map(|row| row.optional_integer(0)).transpose()?.flatten();
    Ok(seen.and_then(|seen| u64::try_from(seen).ok()).map(Epoch))
}

/// The savepoint is never released before COMMIT, which saves a round trip; the next one takes its place.
pub(super) async fn set_savepoint<DB: Backend>(tx: &mut Tx<'_, DB>) -> sqlx::Result<()> {
    let sql = match tx.mirror_savepoint().exists() && !DB::Adapter::DIALECT.savepoint_replaces {
        true => "RELEASE SAVEPOINT dualwrite_mirror;SAVEPOINT dualwrite_mirror",
        false => SAVEPOINT,
    };
    DB::Adapter::run(tx.connection(), sql).await?;
    tx.mirror_savepoint_set();
    Ok(())
}

async fn mark_dirty<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    key: &str,
) -> sqlx::Result<()> {
    let sql = format!(
        "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) VALUES (?, ?, ?, {{now}}){}",
        DB::Adapter::DIALECT.upsert("migration, side, key_text", &["marked_at"])
    );
    let values = [SqlValue::from(migration), side.as_str().into(), key.into()];
    DB::Adapter::execute(conn, &sql, &values).await.map(drop)
}
