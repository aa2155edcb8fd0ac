//! What the fields of a command mean. Pure.

use std::time::Duration;

use crate::control::settings::BackfillSetting;
use crate::control::settings::WORKERS_MAX;
use crate::error::{Closed, Error, ErrorKind};
use crate::gate::Gate;
use crate::rollout::plan::RolloutPlan;
use crate::stages::position::Percent;
use crate::stages::stage::{Side, Stage};

/// For how long calls are closed, as expected.
const CLOSED_MIN: Duration = Duration::from_secs(60);
const CLOSED_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The most bytes of a plan, as text.
const PLAN_BYTES_MAX: usize = 12 * 1024;

pub(super) struct Fields<'f, G>(pub(super) &'f G);

impl<G: Fn(&str) -> Option<String>> Fields<'_, G> {
    pub(super) fn given(&self, name: &str) -> Option<String> {
        self.0(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<String, Error> {
        self.given(name).ok_or_else(|| wrong(name, "is missing"))
    }

    pub(super) fn stage(&self) -> Result<Stage, Error> {
        let text = self.required("to")?;
        text.parse().map_err(|error: Error| wrong("to", &format!("is no stage: {error}")))
    }

    pub(super) fn percent(&self) -> Result<Percent, Error> {
        let text = self.required("percent")?;
        text.parse().map_err(|error: Error| wrong("percent", &format!("is no share: {error}")))
    }

    pub(super) fn gates(&self) -> Result<Vec<Gate>, Error> {
        let Some(text) = self.given("override") else { return Ok(Vec::new()) };
        let gate = |name: &str| {
            let found = Gate::ALL.into_iter().find(|gate| gate.as_str() == name.trim());
            found.ok_or_else(|| wrong("override", &format!("names no gate: `{}`", name.trim())))
        };
        text.split(',').map(gate).collect()
    }

    pub(super) fn side(&self) -> Result<Side, Error> {
        Ok(if self.flag("reverse")? { Side::Old } else { Side::New })
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.given(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "on") => Ok(true),
            Some(_) => Err(wrong(name, "must be `true` or `false`")),
        }
    }

    pub(super) fn workers(&self) -> Result<u32, Error> {
        let Some(text) = self.given("workers") else { return Ok(1) };
        let number = text.parse().ok().filter(|number| (1..=WORKERS_MAX).contains(number));
        number.ok_or_else(|| wrong("workers", &format!("must be a number from 1 to {WORKERS_MAX}")))
    }

    pub(super) fn rate(&self) -> Result<Option<u64>, Error> {
        let Some(text) = self.given("rate").filter(|text| text != "none") else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number > 0);
        let message = "must be a number of keys a second, 1 or more, or `none` for no limit; to stop a backfill, \
                       pause it";
        number.map(Some).ok_or_else(|| wrong("rate", message))
    }

    /// A setting, where it is given; `Some(None)` for what the service says.
    pub(super) fn setting(&self, setting: BackfillSetting) -> Result<Option<Option<u64>>, Error> {
        let Some(text) = self.given(setting.as_str()) else { return Ok(None) };
        setting.parse(&text).map(Some).map_err(|problem| wrong(setting.as_str(), &problem))
    }

    /// Those limits that are given, one at the least.
    pub(super) fn throttle(&self) -> Result<Vec<(BackfillSetting, Option<u64>)>, Error> {
        let limits = BackfillSetting::ALL.into_iter();
        let mut given = Vec::new();
        for limit in limits.filter(|setting| setting.is_limit()) {
            if let Some(value) = self.setting(limit)? {
                given.push((limit, value));
            }
        }
        match given.is_empty() {
            true => Err(wrong("lag", "or another limit is missing; give one at the least")),
            false => Ok(given),
        }
    }

    pub(super) fn closed(&self) -> Result<Closed, Error> {
        match &*self.required("what")? {
            "writes" => Ok(Closed::Writes),
            "calls" => Ok(Closed::Calls),
            _ => Err(wrong("what", "must be `writes` or `calls`")),
        }
    }

    pub(super) fn lasts(&self) -> Result<Duration, Error> {
        let lasts = humantime::parse_duration(&self.required("for")?).ok();
        let lasts = lasts.filter(|lasts| (CLOSED_MIN..=CLOSED_MAX).contains(lasts));
        lasts.ok_or_else(|| wrong("for", "must be a time from `1m` to `30days`, as in `90m`"))
    }

    pub(super) fn plan(&self) -> Result<RolloutPlan, Error> {
        self.required("plan")?;
        // Not without the empty lines at its beginning, or errors would name the wrong line.
        let text = (self.0)("plan").unwrap_or_default();
        if text.len() > PLAN_BYTES_MAX {
            return Err(wrong(
                "plan",
                &format!("has more than {PLAN_BYTES_MAX} bytes; write a shorter plan"),
            ));
        }
        read(&text)
    }

    /// As the control tables have it: JSON without spaces.
    pub(super) fn key(&self) -> Result<String, Error> {
        let text = self.required("key")?;
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
        let key = parsed
            .map_err(|_| wrong("key", "must be JSON: `4711`, `\"a text\"` or `[1, \"b\"]`"))?;
        Ok(key.to_string())
    }
}

#[cfg(feature = "toml")]
fn read(text: &str) -> Result<RolloutPlan, Error> {
    RolloutPlan::from_toml(text).map_err(|error| wrong("plan", &format!("is no plan: {error}")))
}

#[cfg(not(feature = "toml"))]
fn read(_: &str) -> Result<RolloutPlan, Error> {
    Err(wrong("plan", "cannot be read by this build; build `dualwrite` with the feature `toml`"))
}

fn wrong(field: &str, what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the field `{field}` {what}"))
}
