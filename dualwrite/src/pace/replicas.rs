//! How far replicas are behind, whatever replicates them: a number is counted up on the primary, and looked
//! for on each. (The way of `pt-heartbeat` and gh-ost, without their need for clocks that agree: only the
//! clock of this process counts.)

pub(crate) mod trail;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::clock::{self, Clock};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Borrowed};
use crate::error::Error;
use trail::{Behind, Trail};

/// The most replicas that a runtime watches.
pub const REPLICAS_MAX: usize = 8;
/// How often they are looked at, however many workers want to know.
const EVERY_NS: u64 = 1_000_000_000;
/// For how long one may keep us waiting.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A replica of the database that the migration is in.
#[derive(Clone, Debug)]
pub(crate) struct Replica<DB: Backend> {
    pub(crate) name: Arc<str>,
    pub(crate) pool: sqlx::Pool<DB>,
}

/// The replicas of a process, watched for one of its migrations.
#[derive(Debug)]
pub(crate) struct Replicas<DB: Backend> {
    watched: Arc<[Replica<DB>]>,
    /// Whose number it is.
    instance: String,
    last: Mutex<Observation>,
}

#[derive(Debug, Default)]
struct Observation {
    trail: Trail,
    at: Option<u64>,
    found: Vec<Behind>,
}

impl<DB: Backend> Replicas<DB> {
    pub(crate) fn new(watched: Arc<[Replica<DB>]>, instance: &str) -> Self {
        Self { watched, instance: instance.to_owned(), last: Mutex::default() }
    }

    /// How far each was behind within the last second.
    ///
    /// # Errors
    /// Those of the primary.
    pub(crate) async fn poll(
        &self,
        primary: &sqlx::Pool<DB>,
        migration: &str,
        clock: &Clock,
    ) -> sqlx::Result<Vec<Behind>> {
        if self.watched.is_empty() {
            return Ok(Vec::new());
        }
        let mut last = self.last.lock().await;
        if last.at.is_some_and(|at| clock.now().saturating_sub(at) < EVERY_NS) {
            return Ok(last.found.clone());
        }
        let key = [self.instance.as_str().into(), migration.into()];
        let beat = last.trail.next();
        let sql =
            "UPDATE dualwrite_acknowledgement SET trail = ? WHERE instance = ? AND migration = ?";
        let [instance, name] = key.clone();
        let values = [beat.into(), instance, name];
        if DB::Adapter::execute(&mut *primary.acquire().await?, sql, &values).await? == 0 {
            return Ok(Vec::new()); // the runtime was shut down
        }
        last.trail.sent(clock.now());

        let answers = join_all(self.watched.iter().map(|replica| async {
            let answer = clock::limit(ANSWER_WITHIN, beat_of(replica, &key)).await;
            let seen = answer.map_err(|()| sqlx::Error::PoolTimedOut).flatten();
            (Arc::clone(&replica.name), seen)
        }));
        let mut found = Vec::with_capacity(self.watched.len());
        for (replica, seen) in answers.await {
            let lag = match seen {
                Ok(seen) => Some(last.trail.lag(seen, clock.now())),
                Err(error) => {
                    warn_once(migration, &replica, &last.found, &error);
                    None
                }
            };
            found.push(Behind { replica, lag });
        }
        last.at = Some(clock.now());
        last.found.clone_from(&found);
        Ok(found)
    }
}

/// Once for as long as it lasts: not where it was silent before.
fn warn_once(migration: &str, replica: &Arc<str>, before: &[Behind], error: &sqlx::Error) {
    let silent = Behind { replica: Arc::clone(replica), lag: None };
    if !before.contains(&silent) {
        let error = Error::without_values(error);
        tracing::warn!(migration, replica = &**replica, error, "no word of a replica");
    }
}

/// The last number that has arrived there; 0 where none has.
async fn beat_of<DB: Backend>(
    replica: &Replica<DB>,
    key: &[crate::database::SqlValue],
) -> sqlx::Result<u64> {
    let sql = "SELECT trail FROM dualwrite_acknowledgement WHERE instance = ? AND migration = ?";
    let mut conn = Borrowed::of(&replica.pool).await?;
    let rows = conn.fetch(sql, key).await?;
    conn.give_back();
    rows.first().map_or(Ok(0), |row| row.unsigned(0))
}
