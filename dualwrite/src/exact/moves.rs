//! Moves of the stage.

use crate::error::{Error, ErrorKind};
use crate::exact::core::{Core, Rows};
use crate::exact::port::{Along, Changed};
use crate::exact::step::ExactStep;
use crate::exact::{metrics, over};
use crate::stages::exact::{Refused, StageChange, change_to, stage_before, stage_of};
use crate::stages::lineage::Token;
use crate::stages::stage::{Side, Stage};

/// Goes to a stage. Answers with the one before, which may be the same.
pub(crate) async fn go_to(core: &Core, to: Stage) -> Result<Stage, Error> {
    core.alive()?;
    let rows = core.rows().await?;
    let before = stage_of(rows.old, rows.new);
    change(core, rows, to).await?;
    if before != to {
        metrics::moved(&core.name, to);
    }
    Ok(before)
}

async fn change(core: &Core, rows: Rows, to: Stage) -> Result<(), Error> {
    match change_to(rows.old, rows.new, to) {
        Ok(None) => Ok(()),
        Ok(Some(StageChange::HandOver(side))) => over::hand_over(core, side).await,
        Ok(Some(StageChange::Record(side))) => record(core, side, true).await,
        Ok(Some(StageChange::Alone(side))) => record(core, side, false).await,
        Err(refused) => Err(refusal(refused, stage_of(rows.old, rows.new), to).of(&core.name)),
    }
}

/// Goes to the stage before.
pub(crate) async fn back(core: &Core) -> Result<Stage, Error> {
    core.alive()?;
    let rows = core.rows().await?;
    let stage = stage_of(rows.old, rows.new);
    let Some(before) = stage_before(stage) else {
        let message = "it is at `off` already; there is no stage before";
        return Err(Error::new(ErrorKind::IllegalMove, message).of(&core.name));
    };
    go_to(core, before).await.map(|_| before)
}

fn refusal(refused: Refused, from: Stage, to: Stage) -> Error {
    let (kind, message) = match refused {
        Refused::NoSuchStage => (
            ErrorKind::Unsupported,
            format!(
                "exact mode has no stage `{to}`: its stages are `off`, `dual_write`, `live` and `complete`; compare the two \
                 sides with `verify`"
            ),
        ),
        Refused::NotNext => (
            ErrorKind::IllegalMove,
            format!("`{to}` is not next to `{from}`; go `off`, `dual_write`, `live`, `complete` one by one"),
        ),
        Refused::NotCopied => (
            ErrorKind::Blocked,
            "the other side lacks records that were there before writes were recorded; run `copy` first".to_owned(),
        ),
    };
    Error::new(kind, message)
}

/// Has a primary record its writes, or record them no more.
pub(crate) async fn record(core: &Core, side: Side, recording: bool) -> Result<(), Error> {
    let rows = core.rows().await?;
    let seen = rows.of(side);
    if !seen.open {
        let message = "a hand-over is under way; try again when it is over";
        return Err(Error::new(ErrorKind::Conflict, message).of(&core.name));
    }
    let next = seen.with_recording(recording, Token::random().0);
    match core.port(side).change(seen, next, Along::FreshOutbox).await? {
        Changed::Done => core.pass(ExactStep::Recording),
        Changed::Passed | Changed::NotEmpty => {
            let message = "somebody else has moved it meanwhile; look at its stage, and try again";
            Err(Error::new(ErrorKind::Conflict, message).of(&core.name))
        }
    }
}
