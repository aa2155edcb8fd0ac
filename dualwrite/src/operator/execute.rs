//! Carrying a command out: each change is recorded with who and why in its own transaction.

use crate::control::VerifyCommand;
use crate::control::commands::{JobKind, RecordedChange, Taken};
use crate::control::maintenance::MaintenanceChange;
use crate::control::settings::described;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::migration::transition::{check_named, check_reason};
use crate::operator::Operator;
use crate::operator::command::Command;
use crate::operator::execution::{CommandOptions, CommandOutcome, Execution, Plan};
use crate::operator::{backfills, exact, maintenance, moves, rollouts};
use crate::rollout::command::RolloutCommandKind as Recorded;
use crate::stages::facts::Facts;
use crate::stages::hazard::HazardKind;

impl Operator {
    /// Carries a command out. What holds already is done, and is no error. The [audit](Self::audit) has it with who
    /// and why, or [`events`](Self::events) where it moved the migration.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Error, Move, operator::{Command, CommandOptions, Operator}};
    ///
    /// async fn back(operator: &Operator) -> Result<(), Error> {
    ///     let rollback = Command::Move(Move::Rollback, Vec::new());
    ///     let options = CommandOptions::new("ada", "latency");
    ///     let outcome = operator.command("customer-email", &rollback, &options).await?;
    ///     println!("{}", outcome.text);
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for an actor or a reason as it must not be; `UnknownMigration`; `IllegalMove`; `Blocked` with
    /// the gates that are closed; `Conflict` where [`expecting`](CommandOptions::expecting) does not hold, and where
    /// nothing was there to take the command; `Timeout` where writes in flight do not end; `Database`.
    pub async fn command(
        &self,
        name: &str,
        command: &Command,
        options: &CommandOptions,
    ) -> Result<CommandOutcome, Error> {
        let checked =
            check_named("actor", &options.by).and_then(|()| check_reason(&options.because));
        checked.and_then(|()| backfills::check(command)).map_err(|error| error.of(name))?;
        self.control.check_version().await?;
        let execution = Execution { control: &*self.control, name, options };
        match self.carried_out(&execution, command).await {
            Err(error) if error.kind() == ErrorKind::UnknownMigration => {
                let row = self.exact_row(name).await?.ok_or(error)?;
                exact::run(&execution, &row, command).await
            }
            done => done,
        }
    }

    async fn carried_out(
        &self,
        execution: &Execution<'_>,
        command: &Command,
    ) -> Result<CommandOutcome, Error> {
        match command {
            Command::Move(requested, gates) => moves::run(execution, *requested, gates).await,
            Command::KillOn => moves::kill(execution).await,
            Command::Close { closed, lasts } => {
                maintenance::run(execution, MaintenanceChange::Close(*closed, *lasts)).await
            }
            Command::Open => maintenance::run(execution, MaintenanceChange::Open).await,
            Command::RolloutStart(plan) => rollouts::start(execution, plan).await,
            other => execution.other(other).await,
        }
    }
}

impl Execution<'_> {
    async fn other(&self, command: &Command) -> Result<CommandOutcome, Error> {
        let facts = self.control.facts(self.name).await?;
        self.expect(&facts)?;
        if self.options.dry_run {
            let mut text = format!("would {}", what(command));
            if *command == Command::AdvanceSequences {
                text.push_str(&sequences(&facts));
            }
            return Ok(CommandOutcome::of(self.name, &facts, true, text));
        }
        let text = match command {
            Command::Approve(approval) => self.approve(&facts, approval).await?.to_owned(),
            Command::RolloutPause => rollouts::give(self, &facts, Recorded::Pause).await?,
            Command::RolloutResume => rollouts::give(self, &facts, Recorded::Resume).await?,
            Command::RolloutSkipSoak => rollouts::give(self, &facts, Recorded::SkipSoak).await?,
            Command::RolloutAbort => rollouts::give(self, &facts, Recorded::Abort).await?,
            other => self.execute(self.plan(other)).await?,
        };
        Ok(CommandOutcome::of(self.name, &facts, false, text))
    }

    async fn approve(&self, facts: &Facts, approval: &str) -> Result<&'static str, Error> {
        let declared = facts.instances.iter().filter_map(|one| one.terms.as_ref());
        let declared = declared.flat_map(|terms| &terms.approvals).map(|(_, name)| name.clone());
        let plan = self.control.plan(self.name).await?.and_then(|row| row.plan().ok());
        let steps = plan.iter().flat_map(|plan| &plan.steps).filter_map(|s| s.approval.clone());
        let known: Vec<String> = declared.chain(steps).collect();
        if !known.iter().any(|name| name == approval) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message =
                format!("nothing needs the approval `{approval}`; asked for are: {known}");
            return Err(Error::new(ErrorKind::InvalidInput, message).of(self.name));
        }
        let CommandOptions { by, because, .. } = self.options;
        self.control.approve(self.name, approval, by, because).await?;
        Ok("approved; it holds until the stage is left")
    }

    async fn execute(&self, plan: Plan) -> Result<String, Error> {
        let Plan { change, audit, holds, done, already, nothing } = plan;
        match self.control.command(self.name, &change, self.options.expected, &audit).await? {
            Taken::Done => {}
            Taken::Already => return Ok(already.to_owned()),
            Taken::Nothing => {
                if let Some((side, command)) = holds {
                    let newest = self.control.backfill(self.name).await?;
                    let newest = newest.filter(|newest| newest.side == side);
                    if newest.is_some_and(|newest| command.holds(&newest)) {
                        return Ok(done.to_owned());
                    }
                }
                return Err(Error::new(ErrorKind::Conflict, nothing).of(self.name));
            }
        }
        if let RecordedChange::Job(kind, _) = change
            && kind.is_short()
            && let Some(answer) = self.answer_of(kind).await?
        {
            return Ok(answer);
        }
        Ok(done.to_owned())
    }

    fn plan(&self, command: &Command) -> Plan {
        let plan = |change, kind| Plan {
            change,
            audit: self.options.audit(kind),
            holds: None,
            done: "done",
            already: "it was so already; nothing was changed",
            nothing: "nothing was there to take the command",
        };
        match command {
            Command::KillOff => Plan {
                done: "the kill switch is taken back; instances see that within about 5 s",
                already: "the kill switch is not set in the control tables; where `DUALWRITE_KILL` or a flag sets it, \
                          unset it there",
                ..plan(RecordedChange::Unkill, Recorded::KillOff)
            },
            Command::DeadLettersWaive(side, key) => {
                let change = RecordedChange::Waive(*side, EncodedKey(key.clone()));
                let audit = self.options.audit(Recorded::DeadLettersWaive);
                Plan {
                    audit: audit.about(format!("{key} to {side}")),
                    done: "waived; it is tried again like the others",
                    nothing: "this key is not among the dead letters of that side; list them first",
                    ..plan(change, Recorded::DeadLettersWaive)
                }
            }
            Command::MismatchesForget => Plan {
                done: "the samples are removed",
                already: "there are no samples of mismatches",
                ..plan(RecordedChange::ForgetSamples, Recorded::MismatchesForget)
            },
            Command::Compare(of, share) => Plan {
                audit: self.options.audit(Recorded::Compare).about(of.share(*share)),
                done: "changed; instances compare by it within about 5 s",
                already: "that is the share already; nothing was changed",
                ..plan(RecordedChange::Sample(*of, *share), Recorded::Compare)
            },
            Command::WriterStopped(writer) => Plan {
                audit: self.options.audit(Recorded::WriterStopped).about(writer),
                done: "recorded; run a verification of all keys now, for the proof is withdrawn",
                already: "this writer is recorded as stopped already; nothing was changed",
                nothing: "there is no such writer among the hazards; `hazards` lists them by name, and `read-catalogue` \
                          looks for them again",
                ..plan(RecordedChange::StopWriter(writer.clone()), Recorded::WriterStopped)
            },
            other => self.job(other).unwrap_or_else(|| self.job_commands(other)),
        }
    }

    /// What an instance does.
    fn job(&self, command: &Command) -> Option<Plan> {
        let (kind, recorded, key) = match command {
            Command::Verify => (JobKind::Verify, Recorded::Verify, None),
            Command::Repair => (JobKind::Repair, Recorded::Repair, None),
            Command::DeadLettersRetry => (JobKind::DeadLetters, Recorded::DeadLettersRetry, None),
            Command::AdvanceSequences => (JobKind::Sequences, Recorded::AdvanceSequences, None),
            Command::ReadCatalogue => (JobKind::Catalogue, Recorded::Catalogue, None),
            Command::TriggerInstall => (JobKind::TriggerInstall, Recorded::TriggerInstall, None),
            Command::TriggerRemove => (JobKind::TriggerRemove, Recorded::TriggerRemove, None),
            Command::Copy(key) => (JobKind::Copy, Recorded::Copy, Some(EncodedKey(key.clone()))),
            _ => return None,
        };
        let audit = self.options.audit(recorded);
        Some(Plan {
            audit: match &key {
                Some(key) => audit.about(&*key.0),
                None => audit,
            },
            change: RecordedChange::Job(kind, key),
            holds: None,
            done: "started; an instance with a copy function does it, as soon as one sees it; `jobs` says what it came to",
            already: "it was started already and has not ended; `jobs` says what it comes to",
            nothing: "another one has not ended; `jobs` says what it comes to",
        })
    }

    /// Commands to what runs.
    fn job_commands(&self, command: &Command) -> Plan {
        match command {
            Command::VerifyPause => self.verification(VerifyCommand::Pause, Recorded::VerifyPause),
            Command::VerifyResume => self.verification(VerifyCommand::GoOn, Recorded::VerifyResume),
            Command::VerifyCancel => {
                self.verification(VerifyCommand::Cancel, Recorded::VerifyCancel)
            }
            other => backfills::plan(self, other),
        }
    }

    fn verification(&self, command: VerifyCommand, recorded: Recorded) -> Plan {
        Plan {
            change: RecordedChange::Verification(command),
            audit: self.options.audit(recorded),
            holds: None,
            done: match command {
                VerifyCommand::Pause => "the verification waits until it is resumed",
                VerifyCommand::GoOn => "the verification may go on",
                VerifyCommand::Cancel => "the verification ends; what was found is kept",
            },
            already: "it was so already",
            nothing: "there is no verification to take that; start one",
        }
    }
}

/// What a command does, for a dry run.
fn what(command: &Command) -> String {
    match command {
        Command::Approve(name) => format!("give the approval `{name}`"),
        Command::DeadLettersWaive(side, key) => {
            format!("waive the copy of the key {key} to {side}")
        }
        Command::WriterStopped(writer) => {
            format!("record that `{writer}` is stopped, which withdraws the proof")
        }
        Command::Copy(key) => format!("have the key {key} copied to the new side"),
        Command::BackfillStart { side, workers, .. } => {
            format!("start the backfill toward {side} with {workers} workers")
        }
        Command::BackfillPause(side) => format!("pause the backfill toward {side}"),
        Command::BackfillResume(side) => format!("resume the backfill toward {side}"),
        Command::BackfillCancel(side) => format!("cancel the backfill toward {side}"),
        Command::BackfillRate(side, Some(rate)) => {
            format!("limit the backfill toward {side} to {rate} keys a second")
        }
        Command::BackfillRate(side, None) => {
            format!("take the limit off the backfill toward {side}")
        }
        Command::BackfillBatchTime(side, Some(time)) => {
            let time = humantime::format_duration(*time);
            format!("let the transactions of the backfill toward {side} take about {time}")
        }
        Command::BackfillWorkers(side, Some(workers)) => {
            format!(
                "give the backfill toward {side} {workers} workers in each process that runs it"
            )
        }
        Command::BackfillThrottle(side, limits) => {
            format!("set for the backfill toward {side}: {}", described(limits))
        }
        Command::Move(requested, _) => requested.to_string(),
        other => other.spec().map_or_else(String::new, |spec| first_small(spec.about)),
    }
}

/// The statements that repair the sequences, as the catalogue was read last.
fn sequences(facts: &Facts) -> String {
    let behind = facts.hazards.iter().filter(|one| one.kind == HazardKind::Sequence);
    let statements: Vec<&str> = behind.filter_map(|one| one.repair.as_deref()).collect();
    match statements.is_empty() {
        true => "; none was behind when the catalogue was read last".to_owned(),
        false => format!(": {}", statements.join("; ")),
    }
}

fn first_small(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
