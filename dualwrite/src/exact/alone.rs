//! Work on the row of authority of one database while nobody writes there.

use futures_util::future::BoxFuture;

use crate::clock;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::exact::options::STATEMENT_LIMIT;
use crate::stages::stage::Side;
use crate::store::connections::Connections;
use crate::transaction::exclusive::{FENCE_ATTEMPTS, FENCE_PAUSE, HELD_OPEN};

/// Tries it as often as it takes until writes in flight have ended, up to [`FENCE_ATTEMPTS`] times. `work` holds the row
/// alone in a transaction of its own, for about a second at the most.
pub(super) async fn alone<'a, DB: Backend, T>(
    connections: &Connections<DB>,
    (migration, side): (&str, Side),
    doing: &str,
    work: impl Fn() -> BoxFuture<'a, sqlx::Result<T>> + Send,
) -> Result<T, Error> {
    for attempt in 1.. {
        let _turn = connections.turn(doing).await?;
        match clock::limit(STATEMENT_LIMIT, work()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) if DB::Adapter::is_lock_timeout(&error) => {
                if attempt == FENCE_ATTEMPTS {
                    let message = format!(
                        "writes in flight on the {} side did not end within {FENCE_ATTEMPTS} attempts of a second \
                         each; {HELD_OPEN}",
                        side
                    );
                    let error = Error::new(ErrorKind::Timeout, message).caused_by(error);
                    return Err(error.of(migration));
                }
            }
            Ok(Err(error)) => {
                let doing = format!("{doing}, on the {side} side");
                return Err(Error::database(&doing, error).of(migration));
            }
            Err(()) => return Err(connections.too_late(doing).of(migration)),
        }
        clock::sleep(FENCE_PAUSE).await; // writers that queue behind it go ahead
    }
    unreachable!("the last attempt returns")
}
