//! Everything that a view of one migration shows, in at most twelve statements.

use crate::control::traffic::TrafficReport;
use crate::error::Error;
use crate::gate::Blocker;
use crate::migration::rollout::RolloutStatus;
use crate::operator::exact::against;
use crate::operator::moves::declared;
use crate::operator::{MigrationOverview, Operator};
use crate::stages::exact::stage_before;
use crate::stages::facts::{Facts, InstanceReport};
use crate::stages::moves::{Move, destination};
use crate::stages::position::Position;
use crate::stages::readiness::blockers;
use crate::stages::stage::Stage;

/// One migration with what surrounds it.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) overview: MigrationOverview,
    pub(crate) position: Position,
    /// The next stage, and what stands against going there.
    pub(crate) next: Option<(Stage, Vec<Blocker>)>,
    /// Where a rollback leads.
    pub(crate) back: Option<Stage>,
    pub(crate) rollout: Option<RolloutStatus>,
    pub(crate) traffic: TrafficReport,
    pub(crate) instances: Vec<InstanceReport>,
}

impl Operator {
    /// What a view of one migration shows.
    pub(crate) async fn details(&self, name: &str) -> Result<Details, Error> {
        self.control.check_version().await?;
        let (overview, facts) = match self.overview_and_facts(name).await {
            Ok(found) => found,
            Err(error) => return self.exact_details(name).await?.ok_or(error),
        };
        let rollout = self.control.plan(name).await?.as_ref().map(RolloutStatus::of);
        let traffic = TrafficReport::of(&self.control.traffic(name).await?);
        Ok(Details {
            next: next(&facts),
            back: back(&facts),
            position: facts.position,
            instances: facts.instances,
            overview,
            rollout,
            traffic,
        })
    }
}

impl Operator {
    /// The same of one in exact mode.
    async fn exact_details(&self, name: &str) -> Result<Option<Details>, Error> {
        let Some(overview) = self.exact_overview(name).await? else { return Ok(None) };
        let state = overview.exact.as_ref().and_then(|exact| exact.state.as_ref());
        let stage = state.map_or(Stage::Off, |state| state.stage);
        Ok(Some(Details {
            position: Position { stage, epoch: overview.epoch, ..Position::start() },
            next: state.and_then(against),
            back: stage_before(stage),
            rollout: None,
            traffic: TrafficReport::default(),
            instances: Vec::new(),
            overview,
        }))
    }
}

fn next(facts: &Facts) -> Option<(Stage, Vec<Blocker>)> {
    let stage = facts.position.stage.next()?;
    let requested = Move::Advance(stage);
    let to = destination(facts.position, facts.new.generation, requested).ok()?;
    let against = match declared(facts, to) {
        Ok(terms) => blockers(facts, requested, to, &terms),
        Err(blocker) => vec![blocker],
    };
    Some((stage, against))
}

fn back(facts: &Facts) -> Option<Stage> {
    let to = destination(facts.position, facts.new.generation, Move::Rollback).ok()?;
    Some(to.stage)
}
