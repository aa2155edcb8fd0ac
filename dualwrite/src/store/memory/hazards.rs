//! Hazards in memory.

use futures_util::future::BoxFuture;

use super::{MemoryControl, done};
use crate::control::Control as _;
use crate::control::hazards::Hazards;
use crate::error::Error;
use crate::moment;
use crate::preflight::finding::Preflight;
use crate::preflight::report::{Kept, PreflightReport};
use crate::stages::hazard::{Hazard, HazardScan, changes};
use crate::stages::stale::StaleKind;

impl Hazards for MemoryControl {
    fn record_hazards<'a>(
        &'a self,
        name: &'a str,
        scan: &'a HazardScan,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let (reshaped, withdraws) = self.with(name, |entry| {
                let known = entry.shape.clone();
                let reshaped = scan.shape.is_some() && known.is_some() && known != scan.shape;
                entry.shape = scan.shape.clone().or(known);
                let changes = changes(&entry.hazards, &scan.hazards);
                entry.hazards.retain(|one| !changes.gone.contains(&one.name));
                for found in changes.store {
                    match entry.hazards.iter_mut().find(|one| one.name == found.name) {
                        Some(one) => *one = Hazard { stopped: one.stopped.take(), ..found },
                        None => entry.hazards.push(found),
                    }
                }
                entry.hazards.sort_by(|one, other| one.name.cmp(&other.name));
                (reshaped, changes.withdraws)
            })?;
            if reshaped {
                self.mark_stale(name, StaleKind::Reshaped).await?;
            }
            if withdraws {
                self.mark_stale(name, StaleKind::Writer).await?;
            }
            Ok(())
        })
    }

    fn hazards<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Hazard>, Error>> {
        done(self.with(name, |entry| entry.hazards.clone()))
    }

    fn record_preflight<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        found: &'a Preflight,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let at = moment::from_nanos(self.clock.now());
        let report = Kept::of(found).by(instance, at);
        done(self.with(name, |entry| entry.preflight = Some(report)))
    }

    fn preflight<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<PreflightReport>, Error>> {
        done(self.with(name, |entry| entry.preflight.clone()))
    }
}
