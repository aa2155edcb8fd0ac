//! [`RolloutPlan`]: a rollout as data. What it says; [`decide`](super::decide) says what follows.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::rollout::hours::Hours;
use crate::rollout::pace::BackfillPace;
use crate::stages::position::{Percent, Position};
use crate::stages::stage::Stage;

/// The most steps of a plan.
pub const STEPS_MAX: usize = 100;
/// The most bytes of an approval's name.
const NAME_BYTES_MAX: usize = 100;

/// A rollout as data: positions in order, how long each lasts, and what is asked before the next one.
/// Give it to [`Rollout::start`](crate::migration::Rollout::start).
///
/// ```
/// use std::time::Duration;
/// use dualwrite::{Percent, rollout::{RolloutPlan, RolloutStep}, Stage};
///
/// let hour = Duration::from_secs(3600);
/// let plan = RolloutPlan::new()
///     .backfill()
///     .verify()
///     .hours(8, 18)
///     .step(RolloutStep::stage(Stage::DualWrite).soak(hour))
///     .step(RolloutStep::stage(Stage::Shadow).soak(24 * hour))
///     .step(RolloutStep::ramp(Percent::new(1)?).soak(hour))
///     .step(RolloutStep::ramp(Percent::new(25)?).soak(hour))
///     .step(RolloutStep::ramp(Percent::FULL).soak(24 * hour))
///     .step(RolloutStep::stage(Stage::Live).approval("owner").soak(7 * 24 * hour))
///     .step(RolloutStep::stage(Stage::RampDown).soak(24 * hour))
///     .step(RolloutStep::stage(Stage::Complete).approval("dba"));
/// plan.check()?;
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct RolloutPlan {
    #[serde(default)]
    pub(crate) backfill: bool,
    #[serde(default, skip_serializing_if = "BackfillPace::is_default")]
    pub(crate) pace: BackfillPace,
    #[serde(default)]
    pub(crate) verify: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hours: Option<Hours>,
    pub(crate) steps: Vec<RolloutStep>,
}

/// One step of a [`RolloutPlan`]: a position, what is asked before it is taken, and how long it lasts.
///
/// ```
/// use dualwrite::{Percent, rollout::RolloutStep};
/// let step = RolloutStep::ramp(Percent::new(5)?).soak(std::time::Duration::from_secs(3600));
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct RolloutStep {
    /// `None` until it is known which step comes before.
    pub(crate) stage: Option<Stage>,
    pub(crate) ramp: Percent,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) soak_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hours: Option<Hours>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) ignores_health: bool,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl RolloutPlan {
    /// A plan without steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// The instance that leads runs the backfill before `Shadow`; otherwise an operator does, and the plan
    /// waits for it.
    pub fn backfill(mut self) -> Self {
        self.backfill = true;
        self
    }

    /// [`backfill`](Self::backfill), with the most keys a second, of all workers together; see
    /// [`Backfill::rate`](crate::migration::Backfill::rate). While it runs, [`set_rate`](crate::migration::Backfill::set_rate) changes
    /// it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dualwrite::rollout::RolloutPlan;
    ///
    /// let plan = RolloutPlan::new()
    ///     .backfill_rate(5_000)
    ///     .backfill_workers(2)
    ///     .backfill_batch_time(Duration::from_millis(20));
    /// # let _ = plan;
    /// ```
    pub fn backfill_rate(mut self, keys: u64) -> Self {
        self.pace.rate = Some(keys);
        self.backfill()
    }

    /// [`backfill`](Self::backfill), with so many workers in the process that leads, at most
    /// [`WORKERS_MAX`](crate::defaults::WORKERS_MAX); see [`Backfill::workers`](crate::migration::Backfill::workers).
    pub fn backfill_workers(mut self, workers: u32) -> Self {
        self.pace.workers = Some(workers);
        self.backfill()
    }

    /// [`backfill`](Self::backfill), with the time that a transaction shall take, to the millisecond; see
    /// [`Backfill::batch_time`](crate::migration::Backfill::batch_time).
    pub fn backfill_batch_time(mut self, target: Duration) -> Self {
        self.pace = self.pace.with_batch_time(target);
        self.backfill()
    }

    /// The instance that leads runs the verification before `Shadow`, and again where a later step needs one.
    pub fn verify(mut self) -> Self {
        self.verify = true;
        self
    }

    /// The hours of the day, in UTC by the database's clock, in which a step is taken: from the first up to
    /// and without the last; 22 and 6 are the night. A step's own hours go before these.
    pub fn hours(mut self, from: u8, until: u8) -> Self {
        self.hours = Some(Hours(from, until));
        self
    }

    /// Adds a step. A [ramp](RolloutStep::ramp) is one of the stage of the step before.
    pub fn step(mut self, mut step: RolloutStep) -> Self {
        step.stage = step.stage.or_else(|| self.steps.last().and_then(|before| before.stage));
        self.steps.push(step);
        self
    }

    /// The number of steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it can be followed: each step must be one move further than the step before.
    ///
    /// # Errors
    /// `InvalidInput` that names the step, counted from 1.
    pub fn check(&self) -> Result<(), Error> {
        self.find_problem().map_or(Ok(()), |problem| Err(refused(problem.text)))
    }

    /// What keeps it from being followed.
    pub(crate) fn find_problem(&self) -> Option<Problem> {
        let whole = |field, text: String| Some(Problem { step: None, field, text });
        if self.steps.is_empty() || self.steps.len() > STEPS_MAX {
            return whole("step", format!("a plan has 1 to {STEPS_MAX} steps"));
        }
        if self.hours.is_some_and(|hours| !hours.is_sound()) {
            return whole("hours", "the plan's hours contain no hour of the day".to_owned());
        }
        if let Err(text) = self.pace.check() {
            return whole("backfill", text);
        }
        let mut before: Option<(Stage, Percent)> = None;
        for (index, step) in self.steps.iter().enumerate() {
            let checked = step.check().and_then(|to| match before {
                Some(before) => check_order(before, to).map(|()| to),
                None => Ok(to),
            });
            match checked {
                Ok(to) => before = Some(to),
                Err((field, problem)) => {
                    let text = format!("step {} of the plan: {problem}", index + 1);
                    return Some(Problem { step: Some(index), field, text });
                }
            }
        }
        None
    }

    /// How many steps have been taken where the migration stands here.
    pub(crate) fn fits(&self, position: Position) -> usize {
        let here = (position.stage, position.ramp);
        self.steps.iter().filter(|step| step.target().is_some_and(|to| to <= here)).count()
    }

    /// The hours in which a step may be taken.
    pub(crate) fn hours_of(&self, step: &RolloutStep) -> Option<Hours> {
        step.hours.or(self.hours)
    }

    /// For the control tables.
    pub(crate) fn to_text(&self) -> Result<String, Error> {
        serde_json::to_string(self)
            .map_err(|error| refused("the plan cannot be stored".to_owned()).caused_by(error))
    }

    /// From the control tables. What a newer release has put there and this one does not know is refused:
    /// it may be a condition.
    pub(crate) fn from_text(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| {
            let message = "this release does not understand the stored plan; instances of the release \
                           that stored it go on with it";
            Error::new(ErrorKind::NewerControlTables, message).caused_by(error)
        })
    }
}

/// What is wrong with a plan, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Counted from 0; `None` for the plan as a whole.
    pub(crate) step: Option<usize>,
    /// The field, as TOML has it.
    pub(crate) field: &'static str,
    pub(crate) text: String,
}

/// A field of a step, and what is wrong with it.
type Fault = (&'static str, String);

fn check_order(before: (Stage, Percent), to: (Stage, Percent)) -> Result<(), Fault> {
    let field = if to.0 == before.0 { "ramp" } else { "stage" };
    if to <= before {
        return Err((field, format!("it must be further than {}", shown(before))));
    }
    let next = before.0.next();
    if to.0 != before.0 && Some(to.0) != next {
        let next = next.map_or("", Stage::as_str);
        let text = format!("{} does not follow {}; the next stage is {next}", to.0, before.0);
        return Err((field, text));
    }
    if to.0 != before.0 && to.1 > Percent::ZERO {
        return Err(("ramp", format!("{} itself must be a step before it ramps", to.0)));
    }
    Ok(())
}

impl RolloutStep {
    fn new(stage: Option<Stage>, ramp: Percent) -> Self {
        Self { stage, ramp, soak_ms: 0, approval: None, hours: None, ignores_health: false }
    }

    /// All keys in this stage.
    pub fn stage(stage: Stage) -> Self {
        Self::new(Some(stage), Percent::ZERO)
    }

    /// This share of the keys as in the next stage, the others in the stage of the step before.
    pub fn ramp(ramp: Percent) -> Self {
        Self::new(None, ramp)
    }

    /// A ramp whose stage is said: for the first step of a plan.
    pub fn ramp_in(stage: Stage, ramp: Percent) -> Self {
        Self::new(Some(stage), ramp)
    }

    /// How long it lasts at least before the next step, to the millisecond. Counted from when the step was
    /// taken, also while the plan is paused.
    pub fn soak(mut self, soak: Duration) -> Self {
        self.soak_ms = u64::try_from(soak.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// It is taken only when this approval was given in the stage before; see
    /// [`Migration::approve`](crate::Migration::approve).
    pub fn approval(mut self, name: impl Into<String>) -> Self {
        self.approval = Some(name.into());
        self
    }

    /// The hours in which it is taken, instead of the plan's; see [`RolloutPlan::hours`].
    pub fn hours(mut self, from: u8, until: u8) -> Self {
        self.hours = Some(Hours(from, until));
        self
    }

    /// The next step is taken whatever the health at this one.
    pub fn ignoring_health(mut self) -> Self {
        self.ignores_health = true;
        self
    }

    pub(crate) fn soaks(&self) -> Duration {
        Duration::from_millis(self.soak_ms)
    }

    /// Where it stands.
    pub(crate) fn target(&self) -> Option<(Stage, Percent)> {
        self.stage.map(|stage| (stage, self.ramp))
    }

    fn check(&self) -> Result<(Stage, Percent), Fault> {
        let wrong = |field, text: &str| Err((field, text.to_owned()));
        let Some(to) = self.target() else {
            return wrong("ramp", "a ramp needs the stage it is in; say it, or put a stage before");
        };
        if to.0 == Stage::Complete && to.1 > Percent::ZERO {
            return wrong("ramp", "complete has no stage to ramp toward");
        }
        if to == (Stage::Off, Percent::ZERO) {
            return wrong("stage", "a migration starts at off; begin with dual_write");
        }
        if self.hours.is_some_and(|hours| !hours.is_sound()) {
            return wrong("hours", "its hours contain no hour of the day");
        }
        match &self.approval {
            Some(name) if name.is_empty() || name.len() > NAME_BYTES_MAX => Err((
                "approval",
                format!("the name of an approval has 1 to {NAME_BYTES_MAX} bytes"),
            )),
            _ => Ok(to),
        }
    }
}

impl fmt::Display for RolloutStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target() {
            Some(target) => f.write_str(&shown(target)),
            None => write!(f, "a ramp of {}", self.ramp),
        }
    }
}

fn shown((stage, ramp): (Stage, Percent)) -> String {
    match stage.next() {
        Some(next) if ramp > Percent::ZERO => format!("{stage}, {ramp} as {next}"),
        _ => stage.to_string(),
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(value: u16) -> Percent {
        Percent::new(value).unwrap()
    }

    fn problem(plan: RolloutPlan) -> String {
        plan.check().unwrap_err().to_string()
    }

    #[test]
    fn steps_that_do_not_follow_each_other_are_refused_by_number() {
        let start = RolloutPlan::new().step(RolloutStep::stage(Stage::DualWrite));
        let jump = start.clone().step(RolloutStep::stage(Stage::Live));
        assert_eq!(
            problem(jump),
            "step 2 of the plan: live does not follow dual_write; the next stage is shadow"
        );
        let back = start.clone().step(RolloutStep::stage(Stage::DualWrite));
        assert!(problem(back).contains("step 2 of the plan: it must be further than dual_write"));
        let ramp = start.clone().step(RolloutStep::ramp_in(Stage::Shadow, percent(1)));
        assert!(problem(ramp).contains("shadow itself must be a step"));
        let hours = start.clone().step(RolloutStep::stage(Stage::Shadow).hours(3, 3));
        assert!(problem(hours).contains("contain no hour"));
        assert!(problem(RolloutPlan::new()).contains("1 to 100 steps"));
        assert!(
            problem(RolloutPlan::new().step(RolloutStep::ramp(percent(1))))
                .contains("needs the stage")
        );
        start.step(RolloutStep::ramp(percent(50))).check().unwrap();
    }

    #[test]
    fn the_step_that_fits_is_the_last_one_not_beyond() {
        let plan = RolloutPlan::new()
            .step(RolloutStep::stage(Stage::Shadow))
            .step(RolloutStep::ramp(percent(1)))
            .step(RolloutStep::ramp(percent(5)))
            .step(RolloutStep::stage(Stage::Live));
        let at = |stage, ramp| Position::start().with_stage(stage).with_ramp(percent(ramp));
        let fits = |stage, ramp| plan.fits(at(stage, ramp));
        assert_eq!(fits(Stage::DualWrite, 100), 0);
        assert_eq!(fits(Stage::Shadow, 0), 1);
        assert_eq!(fits(Stage::Shadow, 3), 2);
        assert_eq!(fits(Stage::Shadow, 100), 3);
        assert_eq!(fits(Stage::RampDown, 0), 4);
    }

    #[test]
    fn a_pace_of_nothing_is_refused() {
        let plan = || RolloutPlan::new().step(RolloutStep::stage(Stage::DualWrite));
        plan().backfill_rate(1).backfill_workers(1).check().unwrap();
        assert!(problem(plan().backfill_rate(0)).contains("rate is no key a second"));
        assert!(problem(plan().backfill_workers(0)).contains("workers are none"));
        let short = plan().backfill_batch_time(Duration::from_micros(999));
        assert!(problem(short).contains("below a millisecond"));
        assert!(!plan().to_text().unwrap().contains("pace"), "older releases know none");
    }

    #[test]
    fn what_is_stored_is_read_again_and_what_is_not_known_is_refused() {
        let plan = RolloutPlan::new()
            .backfill_rate(7)
            .backfill_batch_time(Duration::from_millis(20))
            .hours(22, 6)
            .step(RolloutStep::stage(Stage::Shadow).soak(Duration::from_millis(1500)))
            .step(RolloutStep::ramp(percent(5)).approval("owner").ignoring_health().hours(1, 2));
        let text = plan.to_text().unwrap();
        assert_eq!(RolloutPlan::from_text(&text).unwrap(), plan);
        let newer = text.replacen("\"stage\"", "\"moon\":\"full\",\"stage\"", 1);
        let error = RolloutPlan::from_text(&newer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerControlTables);
    }
}
