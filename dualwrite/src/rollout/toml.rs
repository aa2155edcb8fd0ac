//! [`RolloutPlan`] as TOML.

use std::fmt::Write as _;

use crate::error::{Error, ErrorKind};
use crate::rollout::pace::BackfillPace;
use crate::rollout::plan::{Problem, RolloutPlan, RolloutStep};
use crate::rollout::toml_text::{Entry, Text};
use crate::stages::position::Percent;

const PLAN_KEYS: &[&str] = &["backfill", "verify", "hours", "step"];
const PACE_KEYS: &[&str] = &["rate", "workers", "batch_time"];
const STEP_KEYS: &[&str] = &["stage", "ramp", "soak", "approval", "hours", "health"];

impl RolloutPlan {
    /// Reads a plan. Keys: `backfill` (true, false, or a table with `rate`, `workers` and `batch_time`),
    /// `verify` (true or false), `hours` (two hours, UTC), and `[[step]]` with `stage`, `ramp` (percent), `soak` (`10m`, `2d 12h`), `approval`, `hours`, `health = false`.
    ///
    /// ```
    /// use dualwrite::{rollout::{RolloutPlan, RolloutStep}, Stage};
    /// let plan = RolloutPlan::from_toml(r#"
    ///     backfill = { rate = 5000, workers = 2, batch_time = "20ms" }
    ///     hours = [8, 18]
    ///
    ///     [[step]]
    ///     stage = "dual_write"
    ///     soak = "10m"
    ///
    ///     [[step]]
    ///     stage = "shadow"
    ///     soak = "1day"
    ///
    ///     [[step]]
    ///     ramp = 1
    ///     soak = "1h"
    ///
    ///     [[step]]
    ///     stage = "live"
    ///     approval = "owner"
    /// "#)?;
    /// assert_eq!(plan.len(), 4);
    /// assert_eq!(RolloutPlan::from_toml(&plan.to_toml())?, plan);
    ///
    /// let error = RolloutPlan::from_toml("[[step]]\nstage = \"shadow\"\nsok = \"1h\"").unwrap_err();
    /// assert!(error.to_string().starts_with("line 3: unknown key `sok`; did you mean `soak`?"));
    /// # Ok::<(), dualwrite::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` that names line and key, and for what [`check`](Self::check) refuses.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let text = Text(text);
        let document = text.parse()?;
        let mut plan = Self::new();
        // Where each field is, so that a mistake that only the whole plan shows has its line, too.
        let mut places = Vec::new();
        for entry in text.entries(document.get_ref(), PLAN_KEYS)? {
            if entry.key != "step" {
                places.push((None, entry));
            }
            match entry.key {
                "backfill" if entry.is_table() => plan = backfill(plan, text, entry.table()?)?,
                "backfill" => plan.backfill = entry.bool()?,
                "verify" => plan.verify = entry.bool()?,
                "hours" => plan = entry.hours().map(|(from, until)| plan.hours(from, until))?,
                _ => {
                    for (index, table) in entry.tables()?.into_iter().enumerate() {
                        let own = text.all_entries(table);
                        places.extend(own.into_iter().map(|entry| (Some(index), entry)));
                        plan = plan.step(step(text, table)?);
                    }
                }
            }
        }
        match plan.find_problem() {
            None => Ok(plan),
            Some(problem) => Err(located(&problem, &places)),
        }
    }

    /// Writes the plan as [`from_toml`](Self::from_toml) reads it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = format!("backfill = {}\n", shown(self.backfill, self.pace));
        line(&mut text, &format!("verify = {}", self.verify));
        if let Some(hours) = self.hours {
            line(&mut text, &format!("hours = [{}, {}]", hours.0, hours.1));
        }
        let mut before = None;
        for step in &self.steps {
            line(&mut text, "\n[[step]]");
            if step.stage != before
                && let Some(stage) = step.stage
            {
                line(&mut text, &format!("stage = \"{stage}\""));
            }
            before = step.stage;
            if step.ramp > Percent::ZERO {
                line(&mut text, &format!("ramp = \"{}\"", step.ramp));
            }
            if step.soak_ms > 0 {
                let soak = humantime::format_duration(step.soaks());
                line(&mut text, &format!("soak = \"{soak}\""));
            }
            if let Some(approval) = &step.approval {
                let approval = ::toml::Value::from(approval.as_str());
                line(&mut text, &format!("approval = {approval}"));
            }
            if let Some(hours) = step.hours {
                line(&mut text, &format!("hours = [{}, {}]", hours.0, hours.1));
            }
            if step.ignores_health {
                line(&mut text, "health = false");
            }
        }
        text
    }
}

/// The problem with the line of its field; where that is left out, of another field of the step.
fn located(problem: &Problem, places: &[(Option<usize>, Entry<'_, '_>)]) -> Error {
    let own = || places.iter().filter(|(step, _)| *step == problem.step);
    let named = own().find(|(_, entry)| entry.key == problem.field);
    match named.or_else(|| own().find(|(step, _)| step.is_some())) {
        Some((_, entry)) => entry.error(&problem.text),
        None => Error::new(ErrorKind::InvalidInput, problem.text.clone()),
    }
}

fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}"); // into a String, which never fails
}

/// True, false, or what is said of its pace.
fn shown(backfill: bool, pace: BackfillPace) -> String {
    if !backfill || pace.is_default() {
        return backfill.to_string();
    }
    let time = pace.batch_time().map(humantime::format_duration);
    let said = [
        pace.rate.map(|rate| format!("rate = {rate}")),
        pace.workers.map(|workers| format!("workers = {workers}")),
        time.map(|time| format!("batch_time = \"{time}\"")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    format!("{{ {} }}", said.join(", "))
}

fn backfill(
    mut plan: RolloutPlan,
    text: Text<'_>,
    table: &::toml::de::DeTable<'_>,
) -> Result<RolloutPlan, Error> {
    for entry in text.entries(table, PACE_KEYS)? {
        match entry.key {
            "rate" => plan.pace.rate = Some(entry.whole()?),
            "workers" => plan.pace.workers = Some(entry.whole()?),
            _ => plan.pace = plan.pace.with_batch_time(entry.duration()?),
        }
    }
    Ok(plan.backfill())
}

fn step(text: Text<'_>, table: &::toml::de::DeTable<'_>) -> Result<RolloutStep, Error> {
    let mut step = RolloutStep::ramp(Percent::ZERO);
    for entry in text.entries(table, STEP_KEYS)? {
        match entry.key {
            "stage" => step.stage = Some(entry.parsed()?),
            "ramp" => {
                let percent = entry.number_or_text()?;
                let percent =
                    percent.parse().map_err(|error: Error| entry.error(&error.to_string()));
                step.ramp = percent?;
            }
            "soak" => step = step.soak(entry.duration()?),
            "approval" => step = step.approval(entry.text()?),
            "hours" => step = entry.hours().map(|(from, until)| step.hours(from, until))?,
            _ => step.ignores_health = !entry.bool()?,
        }
    }
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::stage::Stage;
    use proptest::prelude::*;
    use std::time::Duration;

    fn problem(text: &str) -> String {
        RolloutPlan::from_toml(text).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_is_answered_with_its_line_and_key() {
        let step = "backfill = true\n\n[[step]]\nstage = \"dual_write\"\n";
        for (text, wanted) in [
            ("backfil = true", "line 1: unknown key `backfil`; did you mean `backfill`? (known: "),
            ("backfill = 1", "line 1: `backfill`: expected true or false, found integer"),
            ("[backfill]\nrat = 1", "line 2: unknown key `rat`; did you mean `rate`?"),
            ("backfill.rate = \"1\"", "line 1: `rate`: expected a whole number, found string"),
            ("backfill.rate = -1", "line 1: `rate`: expected a whole number in its bounds"),
            ("[backfill]\nworkers = 9000000000", "line 2: `workers`: expected a whole number in"),
            ("[backfill]\nbatch_time = 9", "line 2: `batch_time`: expected a text"),
            ("\nhours = [8]", "line 2: `hours`: expected two hours"),
            ("hours = [8, 99]", "line 1: `hours`: expected two hours"),
            ("step = 3", "line 1: `step`: expected tables"),
            (
                "[[step]]\nstage = \"alive\"",
                "line 2: `stage`: `alive` is no stage; write one of off",
            ),
            ("backfill = ", "line 1: "),
            ("[[step]]\nramp = 0x10", "line 2: `ramp`: expected a number of percent"),
            ("[[step]]\nramp = 500", "line 2: `ramp`: `500` is no share of keys"),
            ("[[step]]\nwhatever = 1", "line 2: unknown key `whatever` (known: stage"),
            ("", "a plan has 1 to 100 steps"),
        ] {
            assert!(problem(text).starts_with(wanted), "{text}: {}", problem(text));
        }
        assert!(problem(&format!("{step}soak = \"soon\"")).starts_with("line 5: `soak`: "));
        assert!(
            problem(&format!("{step}[[step]]\nstage = \"live\""))
                .starts_with("line 6: `stage`: step 2 of the plan: live does not follow")
        );
        assert!(problem("[step]\nstage = \"shadow\"").contains("write `[[step]]` above each"));
    }

    #[test]
    fn a_ramp_may_be_written_in_several_ways() {
        for ramp in ["5", "5.0", "\"5 %\"", "\"5%\""] {
            let text = format!("[[step]]\nstage = \"shadow\"\n[[step]]\nramp = {ramp}");
            let plan = RolloutPlan::from_toml(&text).unwrap();
            assert_eq!(plan.steps[1].ramp, Percent::new(5).unwrap());
            assert_eq!(plan.steps[1].stage, Some(Stage::Shadow));
        }
    }

    fn plans() -> impl Strategy<Value = RolloutPlan> {
        let extras = (
            any::<u32>(),
            proptest::option::of("[ -~]{1,20}"),
            proptest::option::of((0_u8..12, 12_u8..24)),
            any::<bool>(),
        );
        let ramps = proptest::collection::btree_set(1_u16..=10_000, 0..4);
        let stage = (ramps, proptest::collection::vec(extras, 5));
        let some = || proptest::option::of(1_u32..1_000_000);
        let pace = (some(), some(), some()).prop_map(|(rate, workers, millis)| BackfillPace {
            rate: rate.map(u64::from),
            workers,
            batch_time_ms: millis.map(u64::from),
        });
        let backfill = proptest::option::of(pace);
        let plan = (backfill, any::<bool>(), proptest::option::of((0_u8..12, 12_u8..24)));
        (plan, 1_u8..5, proptest::collection::vec(stage, 1..5)).prop_map(
            |((backfill, verify, hours), first, stages)| {
                let (backfill, pace) = (backfill.is_some(), backfill.unwrap_or_default());
                let mut plan = RolloutPlan { backfill, pace, verify, ..RolloutPlan::new() };
                if let Some((from, until)) = hours {
                    plan = plan.hours(from, until);
                }
                for (code, (ramps, extras)) in (first..=4).zip(stages) {
                    let stage = RolloutStep::stage(Stage::from_code(code).unwrap());
                    let ramps = ramps.into_iter().map(|points| {
                        RolloutStep::ramp(Percent::from_basis_points(points).unwrap())
                    });
                    for (mut step, extra) in std::iter::once(stage).chain(ramps).zip(extras) {
                        let (soak, approval, hours, ignores) = extra;
                        step = step.soak(Duration::from_millis(u64::from(soak)));
                        step.approval = approval;
                        if let Some((from, until)) = hours {
                            step = step.hours(from, until);
                        }
                        plan = plan.step(if ignores { step.ignoring_health() } else { step });
                    }
                }
                plan
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(plan in plans()) {
            plan.check().unwrap();
            prop_assert_eq!(RolloutPlan::from_toml(&plan.to_toml()).unwrap(), plan.clone());
            prop_assert_eq!(RolloutPlan::from_text(&plan.to_text().unwrap()).unwrap(), plan);
        }

        #[test]
        fn no_text_panics(text in "(\\[\\[step\\]\\]\n|stage = |ramp = |soak = |\"[a-z0-9 %]*\"\n|[0-9]*\n|hours = \\[[0-9, ]*\\]\n|[ -~\n]){0,12}") {
            let _ = RolloutPlan::from_toml(&text);
        }
    }
}
