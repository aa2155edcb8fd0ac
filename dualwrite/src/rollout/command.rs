//! Commands given to a rollout, as the audit keeps them.

use std::time::SystemTime;

use serde::Serialize;

use crate::stages::position::Epoch;

/// What was commanded.
///
/// ```
/// assert_eq!(dualwrite::rollout::RolloutCommandKind::SkipSoak.to_string(), "skip_soak");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RolloutCommandKind {
    /// A plan was stored, to be followed.
    Start,
    /// No step is taken until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// The step need not last.
    SkipSoak,
    /// It ends for good.
    Abort,
    /// An approval was given.
    Approve,
    /// The plan itself holds: somebody has to look.
    Hold,
    /// The plan has come to its end.
    Done,
    /// A backfill was started, for any instance to run.
    BackfillStart,
    /// A backfill was paused.
    BackfillPause,
    /// A backfill was resumed.
    BackfillResume,
    /// A backfill was cancelled.
    BackfillCancel,
    /// A backfill got another rate.
    BackfillRate,
    /// A backfill got another time for its transactions.
    BackfillBatchTime,
    /// A backfill got another number of workers.
    BackfillWorkers,
    /// A backfill got other limits.
    BackfillThrottle,
    /// A verification was started, for any instance to run.
    Verify,
    /// The verification was paused.
    VerifyPause,
    /// The verification was resumed.
    VerifyResume,
    /// The verification was cancelled.
    VerifyCancel,
    /// The dead letters are tried again, by any instance.
    DeadLettersRetry,
    /// A dead letter was waived.
    DeadLettersWaive,
    /// The samples of mismatches were removed.
    MismatchesForget,
    /// The share of the calls that are compared was changed.
    Compare,
    /// The kill switch was set.
    KillOn,
    /// The kill switch was taken back.
    KillOff,
    /// Calls were closed for maintenance.
    Close,
    /// They were opened.
    Open,
    /// A writer was recorded as stopped.
    WriterStopped,
    /// The sequences of new are advanced, by any instance.
    AdvanceSequences,
    /// An instance reads the catalogue.
    Catalogue,
    /// What differs is copied again, by any instance.
    Repair,
    /// A key is copied, by any instance.
    Copy,
    /// The trigger that records writes of others is made, by any instance.
    TriggerInstall,
    /// It is removed, by any instance.
    TriggerRemove,
    /// A migration in exact mode goes to another stage, by any instance.
    Move,
}

impl RolloutCommandKind {
    pub(crate) const ALL: [Self; 36] = [
        Self::Start,
        Self::Pause,
        Self::Resume,
        Self::SkipSoak,
        Self::Abort,
        Self::Approve,
        Self::Hold,
        Self::Done,
        Self::BackfillStart,
        Self::BackfillPause,
        Self::BackfillResume,
        Self::BackfillCancel,
        Self::BackfillRate,
        Self::BackfillBatchTime,
        Self::BackfillWorkers,
        Self::BackfillThrottle,
        Self::Verify,
        Self::VerifyPause,
        Self::VerifyResume,
        Self::VerifyCancel,
        Self::DeadLettersRetry,
        Self::DeadLettersWaive,
        Self::MismatchesForget,
        Self::Compare,
        Self::KillOn,
        Self::KillOff,
        Self::Close,
        Self::Open,
        Self::WriterStopped,
        Self::AdvanceSequences,
        Self::Catalogue,
        Self::Repair,
        Self::Copy,
        Self::TriggerInstall,
        Self::TriggerRemove,
        Self::Move,
    ];

    /// The name in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SkipSoak => "skip_soak",
            Self::Abort => "abort",
            Self::Approve => "approve",
            Self::Hold => "hold",
            Self::Done => "done",
            Self::BackfillStart => "backfill_start",
            Self::BackfillPause => "backfill_pause",
            Self::BackfillResume => "backfill_resume",
            Self::BackfillCancel => "backfill_cancel",
            Self::BackfillRate => "backfill_rate",
            Self::BackfillBatchTime => "backfill_batch_time",
            Self::BackfillWorkers => "backfill_workers",
            Self::BackfillThrottle => "backfill_throttle",
            Self::Verify => "verify",
            Self::VerifyPause => "verify_pause",
            Self::VerifyResume => "verify_resume",
            Self::VerifyCancel => "verify_cancel",
            Self::DeadLettersRetry => "dead_letters_retry",
            Self::DeadLettersWaive => "dead_letters_waive",
            Self::MismatchesForget => "mismatches_forget",
            Self::Compare => "compare",
            Self::KillOn => "kill_on",
            Self::KillOff => "kill_off",
            Self::Close => "close",
            Self::Open => "open",
            Self::WriterStopped => "writer_stopped",
            Self::AdvanceSequences => "advance_sequences",
            Self::Catalogue => "catalogue",
            Self::Repair => "repair",
            Self::Copy => "copy",
            Self::TriggerInstall => "trigger_install",
            Self::TriggerRemove => "trigger_remove",
            Self::Move => "move",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for RolloutCommandKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One line of the audit beside the [changes of the position](crate::operator::AuditEvent): a command to a rollout, or what
/// the plan told of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RolloutCommand {
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
    /// What.
    pub kind: RolloutCommandKind,
    /// The name of the approval, where one was given.
    pub approval: Option<String>,
    /// What else it said: the key, the writer, the rate.
    pub detail: Option<String>,
    /// Who; for what the plan told of itself, `plan, by` and the instance that led it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The epoch of the position at that time.
    pub epoch: Epoch,
}

/// A command on its way into the control tables, in the transaction that makes it come true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewRolloutCommand {
    pub(crate) kind: RolloutCommandKind,
    pub(crate) approval: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

impl NewRolloutCommand {
    pub(crate) fn new(kind: RolloutCommandKind, actor: &str, reason: &str) -> Self {
        let (actor, reason) = (actor.to_owned(), reason.to_owned());
        Self { kind, approval: None, detail: None, actor, reason }
    }

    pub(crate) fn about(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub(crate) fn approval(name: &str, actor: &str, reason: &str) -> Self {
        Self {
            approval: Some(name.to_owned()),
            ..Self::new(RolloutCommandKind::Approve, actor, reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_serialized_by_it() {
        for kind in RolloutCommandKind::ALL {
            assert_eq!(RolloutCommandKind::from_name(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(RolloutCommandKind::from_name("dance"), None);
    }
}
