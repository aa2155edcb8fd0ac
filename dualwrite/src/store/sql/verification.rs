//! The row in which a verification keeps how far it has come.

use crate::control::VerifyCommand;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlRow, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::stages::position::Generation;
use crate::stages::stale::StaleKind;
use crate::stages::verification::{Phase, Recorded, VerifyState};
use crate::store::changed::tell;
use crate::store::marks;
use crate::store::sql::SqlControl;

/// The columns of a [`VerifyState`]; the counters stand beside the report for whoever looks into the table.
const COLUMNS: &str = "generation, old_generation, phase, cursor_key, state, compared, differing, \
     transient, report";

/// Makes the row of a migration, or takes it over; who owned it before is superseded.
pub(super) fn begin(dialect: &Dialect) -> String {
    let columns: Vec<&str> = ["owner"]
        .into_iter()
        .chain(COLUMNS.split(", "))
        .chain(["started_at", "recorded_at"])
        .collect();
    format!(
        "INSERT INTO dualwrite_verification (owner, {COLUMNS}, migration, started_at, recorded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {{now}}, {{now}}){}",
        dialect.upsert("migration", &columns)
    )
}

/// Stores how far it is, for its owner alone. What is complete cannot be cancelled any more.
pub(super) fn record(is_done: bool) -> String {
    let mut set: Vec<String> = COLUMNS.split(", ").map(|column| format!("{column} = ?")).collect();
    if is_done {
        let cancelled = VerifyCommand::Cancel.code();
        set.push(format!("ordered = CASE WHEN ordered = {cancelled} THEN 0 ELSE ordered END"));
    }
    format!(
        "UPDATE dualwrite_verification SET recorded_at = {{now}}, {} WHERE migration = ? AND owner = ?",
        set.join(", ")
    )
}

/// Gives an order; its code is bound, then the migration.
pub(super) fn command(order: VerifyCommand) -> &'static str {
    match order {
        VerifyCommand::Cancel => {
            "UPDATE dualwrite_verification SET ordered = ? WHERE migration = ? AND state = 'running'"
        }
        VerifyCommand::Pause | VerifyCommand::GoOn => {
            "UPDATE dualwrite_verification SET ordered = ? WHERE migration = ?"
        }
    }
}

pub(super) fn read() -> String {
    format!("SELECT {COLUMNS}, owner FROM dualwrite_verification WHERE migration = ?")
}

/// What [`begin`] binds; [`record`] wants the first of them last.
pub(super) fn values(owner: &str, state: &VerifyState, name: &str) -> Result<Vec<SqlValue>, Error> {
    let report = serde_json::to_string(&state.report).map_err(|error| {
        Error::new(ErrorKind::Database, "a report cannot be written").caused_by(error)
    })?;
    let [new, old] = state.generations;
    Ok(vec![
        owner.into(),
        new.into(),
        old.into(),
        state.phase.as_str().into(),
        SqlValue::Text(state.cursor.clone()),
        if state.done { "complete".into() } else { "running".into() },
        state.report.compared.into(),
        state.report.differing.into(),
        state.report.transient.into(),
        report.as_str().into(),
        name.into(),
    ])
}

/// A row of [`read`]: the owner and the state.
pub(super) fn owned(row: &SqlRow) -> sqlx::Result<(String, VerifyState)> {
    Ok((row.text(9)?.to_owned(), state_of(row)?))
}

fn state_of(row: &SqlRow) -> sqlx::Result<VerifyState> {
    let report = serde_json::from_str(row.text(8)?);
    Ok(VerifyState {
        generations: [row.unsigned(0)?, row.unsigned(1)?],
        phase: Phase::named(row.text(2)?),
        cursor: row.optional_text(3)?.map(str::to_owned),
        done: row.text(4)? == "complete",
        report: report.map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}

impl<DB: Backend> SqlControl<DB> {
    /// The newest verification, and its owner.
    pub(super) async fn owned_verification(
        &self,
        name: &str,
    ) -> Result<Option<(String, VerifyState)>, Error> {
        let doing = "reading the verification";
        let rows = self.fetch(doing, &read(), &[name.into()]).await?;
        let state = rows.first().map(owned).transpose();
        state.map_err(|error| Error::database(doing, error).of(name))
    }

    pub(super) async fn verified_in(
        &self,
        name: &str,
        owner: &str,
        [new, old]: [Generation; 2],
    ) -> Result<bool, Error> {
        let doing = "recording the verification";
        let sql = "UPDATE dualwrite_migration SET verified_generation = ?, \
                   old_verified_generation = ? \
                   WHERE name = ? AND generation = ? AND old_generation = ?";
        let values = [new.0.into(), old.0.into(), name.into(), new.0.into(), old.0.into()];
        if self.change_row(doing, name, sql, &values).await? == 0 {
            return Ok(false);
        }
        // After the generations: until then the marks keep the gates shut.
        let settling = self.working.within(doing, async {
            let mut lent = self.working.lend().await?;
            lent.busy();
            marks::settle::<DB>(&mut lent, name, owner).await?;
            let left = marks::unseen::<DB>(&mut lent, name, owner).await?;
            let told = tell::<DB>(&mut lent, name).await;
            lent.ended(told.map(|()| left))
        });
        settling.await.map(|left| left == 0).map_err(|error| error.of(name))
    }

    pub(super) async fn mark_stale_in(&self, name: &str, kind: StaleKind) -> Result<(), Error> {
        let marking = self.working.within("withdrawing the proof", async {
            let mut lent = self.working.lend().await?;
            lent.busy();
            let marked = marks::mark::<DB>(&mut lent, name, kind).await;
            lent.ended(marked)
        });
        marking.await.map_err(|error| error.of(name))
    }

    pub(super) async fn begin_verification_in(
        &self,
        name: &str,
        owner: &str,
        fresh: &VerifyState,
        afresh: bool,
    ) -> Result<VerifyState, Error> {
        let doing = "beginning a verification";
        let known = self.owned_verification(name).await?;
        let earlier = known.as_ref().map(|(owner, _)| owner.as_str());
        let stamping = self.working.within(doing, async {
            let mut lent = self.working.lend().await?;
            lent.busy();
            let unseen = marks::unseen::<DB>(&mut lent, name, earlier.unwrap_or("")).await?;
            let goes_on = known
                .as_ref()
                .map(|(_, state)| state)
                .filter(|state| !afresh && state.goes_on_as(fresh, unseen > 0));
            let earlier = earlier.filter(|_| goes_on.is_some());
            // Before anything is compared.
            let stamped = marks::stamp::<DB>(&mut lent, name, earlier, owner).await;
            lent.ended(stamped).map(|()| goes_on)
        });
        let goes_on = stamping.await.map_err(|error| error.of(name))?;
        let state = VerifyState::begin(goes_on, fresh);
        let sql = begin(&DB::Adapter::DIALECT);
        let values = values(owner, &state, name)?;
        self.execute(doing, &sql, &values).await?;
        Ok(state)
    }

    pub(super) async fn record_verification_in(
        &self,
        name: &str,
        owner: &str,
        state: &VerifyState,
    ) -> Result<Recorded, Error> {
        let sql = record(state.done);
        let mut values = values(owner, state, name)?;
        values.rotate_left(1); // the owner goes last
        let doing = "recording how far a verification is";
        if self.execute(doing, &sql, &values).await? == 0 {
            return Ok(Recorded::Superseded);
        }
        let sql = "SELECT ordered FROM dualwrite_verification WHERE migration = ?";
        let rows = self.fetch(doing, sql, &[name.into()]).await?;
        let code = rows.first().map_or(Ok(0), |row| row.integer(0));
        let code = code.map_err(|error| Error::database(doing, error).of(name))?;
        Ok(match VerifyCommand::of(code) {
            VerifyCommand::GoOn => Recorded::Kept,
            VerifyCommand::Pause => Recorded::Paused,
            VerifyCommand::Cancel => Recorded::Cancelled,
        })
    }
}
