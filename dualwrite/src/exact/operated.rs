//! What operators and instances leave for each other in one of the two databases, and what is closed there.

use std::time::Duration;

use futures_util::FutureExt as _;

use crate::control::commands::{Job, JobKind};
use crate::error::{Error, ErrorKind, Maintenance};
use crate::exact::alone::alone;
use crate::exact::half::Half;
use crate::exact::port::{Asked, Operated};
use crate::exact::side::ExactSide;
use crate::key::EncodedKey;
use crate::rollout::command::NewRolloutCommand;
use crate::store::exact::{authority, operated};

impl<S: ExactSide> Operated for Half<S> {
    fn jobs(&self) -> Asked<'_, Vec<Job>> {
        Box::pin(self.run("reading the jobs", async move |conn| {
            operated::jobs::<S::Database>(conn, &self.name).await
        }))
    }

    fn take_job<'a>(
        &'a self,
        kind: JobKind,
        instance: &'a str,
        lease: Duration,
    ) -> Asked<'a, bool> {
        Box::pin(self.run("taking a job", async move |conn| {
            operated::take_job::<S::Database>(conn, &self.name, kind, (instance, lease)).await
        }))
    }

    fn end_job<'a>(
        &'a self,
        kind: JobKind,
        instance: &'a str,
        ended: (bool, &'a str),
    ) -> Asked<'a, ()> {
        Box::pin(self.run("ending a job", async move |conn| {
            operated::end_job::<S::Database>(conn, &self.name, kind, instance, ended).await
        }))
    }

    fn lag(&self) -> Asked<'_, u64> {
        Box::pin(self.run("reading how far the outbox is behind", async move |conn| {
            operated::lag::<S::Database>(conn, &self.name).await
        }))
    }

    fn report<'a>(&'a self, report: &'a str) -> Asked<'a, ()> {
        Box::pin(self.run("reporting", async move |conn| {
            operated::report::<S::Database>(conn, &self.name, report).await
        }))
    }

    fn verified<'a>(&'a self, found: &'a str) -> Asked<'a, ()> {
        Box::pin(self.run("keeping what a verification found", async move |conn| {
            operated::verified::<S::Database>(conn, &self.name, found).await
        }))
    }

    fn closed(&self) -> Asked<'_, Option<Maintenance>> {
        Box::pin(async { Ok(self.found().await?.ok_or_else(|| self.gone())?.maintenance) })
    }

    fn maintain<'a>(
        &'a self,
        maintenance: Option<&'a Maintenance>,
        line: Option<&'a NewRolloutCommand>,
    ) -> Asked<'a, ()> {
        Box::pin(async move {
            let doing = "closing or opening calls";
            let name = &*self.name;
            let work = || {
                async move {
                    let mut lent = self.connections.begin().await?;
                    authority::hold_alone::<S::Database>(&mut lent, name).await?;
                    operated::maintain::<S::Database>(&mut lent, name, maintenance).await?;
                    if let Some(line) = line {
                        operated::audit::<S::Database>(&mut lent, name, line).await?;
                    }
                    lent.commit().await
                }
                .boxed()
            };
            alone(&self.connections, (name, self.which), doing, work).await
        })
    }

    fn audit<'a>(&'a self, line: &'a NewRolloutCommand) -> Asked<'a, ()> {
        Box::pin(self.run("leaving a line in the audit", async move |conn| {
            operated::audit::<S::Database>(conn, &self.name, line).await
        }))
    }

    fn now_us(&self) -> Asked<'_, i64> {
        Box::pin(self.run("reading the database's clock", async move |conn| {
            operated::now::<S::Database>(conn).await
        }))
    }

    fn skip<'a>(&'a self, key: &'a EncodedKey, version: u64) -> Asked<'a, ()> {
        Box::pin(async move {
            let mut tx = self.begin_to_hold().await?;
            if self.hold(&mut tx).await?.primary {
                tx.rollback().await?;
                let message = "a hand-over has just made the other side the mirror; refresh, and repeat the command";
                return Err(Error::new(ErrorKind::Conflict, message).of(&self.name));
            }
            let skipped =
                operated::skip::<S::Database>(tx.connection(), &self.name, key, version).await;
            skipped.map_err(|error| self.failed("waiving a key", error))?;
            tx.commit().await
        })
    }

    fn waive<'a>(&'a self, key: &'a EncodedKey) -> Asked<'a, bool> {
        Box::pin(async move {
            let mut tx = self.begin_to_hold().await?;
            self.hold(&mut tx).await?;
            let waived = operated::waive::<S::Database>(tx.connection(), &self.name, key).await;
            let waived = waived.map_err(|error| self.failed("waiving a key", error))?;
            tx.commit().await.map(|()| waived)
        })
    }
}
