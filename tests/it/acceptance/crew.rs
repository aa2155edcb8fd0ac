//! The callers of the service: tasks that read, write and copy without a pause for the whole life of the
//! migrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::sync::{RwLock, RwLockWriteGuard, Semaphore, watch};
use tokio::task::JoinHandle;

use super::service::{Instance, Trouble};
use crate::support::dice::Dice;
use crate::support::sql::Sql;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Reads,
    Writes,
    Copies,
}

struct Worker {
    role: Role,
    task: JoinHandle<()>,
    /// Operations done.
    done: watch::Receiver<u64>,
}

pub(super) struct Crew {
    workers: Vec<Worker>,
    common: Arc<Common>,
}

struct Common {
    /// Held for reading during an operation, for writing while nobody may work.
    road: RwLock<()>,
    stop: AtomicBool,
    contended: AtomicU64,
    /// What the others may do; every write allows some more, so that the processors are not busy with
    /// reads alone.
    turns: Semaphore,
}

/// Operations of the others that a write allows.
const TURNS: usize = 10;

/// What the crew did.
#[derive(Debug)]
#[allow(dead_code, reason = "for the eyes")]
pub(super) struct Tally {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) copies: u64,
    /// Operations that the database broke off in favour of another, tried again.
    pub(super) contended: u64,
}

impl Crew {
    /// On each instance as many workers of each role as are told.
    pub(super) fn start<D: Sql>(instances: &[Arc<Instance<D>>], roles: &[(Role, usize)]) -> Self {
        let common = Arc::new(Common {
            road: RwLock::default(),
            stop: AtomicBool::new(false),
            contended: AtomicU64::new(0),
            turns: Semaphore::new(0),
        });
        let mut workers = Vec::new();
        for instance in instances {
            for &(role, count) in roles {
                for _ in 0..count {
                    let seed = workers.len() as u64;
                    let (tell, done) = watch::channel(0);
                    let (instance, common) = (Arc::clone(instance), Arc::clone(&common));
                    let task = tokio::spawn(work(role, instance, common, tell, Dice::new(seed)));
                    workers.push(Worker { role, task, done });
                }
            }
        }
        Self { workers, common }
    }

    /// Waits until every worker has done this many more operations. Ends early where one has failed:
    /// `stop` says how.
    pub(super) async fn works_on(&mut self, operations: u64) -> bool {
        let goals: Vec<u64> = self.workers.iter().map(|w| *w.done.borrow() + operations).collect();
        for (worker, goal) in self.workers.iter_mut().zip(goals) {
            if worker.done.wait_for(|done| *done >= goal).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Lets the operations under way end, and nobody begin another until the guard is dropped.
    pub(super) async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.common.road.write().await
    }

    /// Sends everybody home.
    ///
    /// # Panics
    /// With the panic of the first worker that failed.
    pub(super) async fn stop(self) -> Tally {
        self.common.stop.store(true, SeqCst);
        self.common.turns.close();
        let mut tally = Tally { reads: 0, writes: 0, copies: 0, contended: 0 };
        for worker in self.workers {
            if let Err(error) = worker.task.await {
                std::panic::resume_unwind(error.into_panic());
            }
            *match worker.role {
                Role::Reads => &mut tally.reads,
                Role::Writes => &mut tally.writes,
                Role::Copies => &mut tally.copies,
            } += *worker.done.borrow();
        }
        tally.contended = self.common.contended.load(SeqCst);
        tally
    }
}

async fn work<D: Sql>(
    role: Role,
    instance: Arc<Instance<D>>,
    common: Arc<Common>,
    tell: watch::Sender<u64>,
    mut dice: Dice,
) {
    loop {
        if role != Role::Writes {
            match common.turns.acquire().await {
                Ok(turn) => turn.forget(),
                Err(_) => return, // closed: the day is over
            }
        }
        let _road = common.road.read().await;
        if common.stop.load(SeqCst) {
            return;
        }
        let done = match role {
            Role::Reads => instance.read(&mut dice).await,
            Role::Writes => instance.write(&mut dice).await,
            Role::Copies => instance.copy(&mut dice).await,
        };
        match done {
            Ok(()) => {
                if role == Role::Writes {
                    common.turns.add_permits(TURNS);
                }
                tell.send_modify(|done| *done += 1);
            }
            Err(Trouble { contended: true, .. }) => drop(common.contended.fetch_add(1, SeqCst)),
            Err(Trouble { text, .. }) => {
                let customers = instance.customers.migration.position();
                let tracks = instance.tracks.migration.position();
                panic!("{role:?}, customers at {customers}, tracks at {tracks}: {text}");
            }
        }
    }
}
