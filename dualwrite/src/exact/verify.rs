//! Whether both databases say the same. Two records are compared where they have the same version, so that a write in
//! flight is no difference.

use std::time::Duration;

use crate::clock;
use crate::error::Error;
use crate::exact::copy::recording;
use crate::exact::core::Core;
use crate::exact::payload::is_same;
use crate::exact::relay;
use crate::key::EncodedKey;
use crate::stages::stage::Side;
use crate::stages::verification::DIFFERING_MAX;

const PAGE: u32 = 200;
/// How often a key is looked at whose record is on its way to the mirror.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// What a verification of two databases found.
///
/// ```
/// let report = dualwrite::exact::ExactReport::default();
/// assert!(report.is_clean());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExactReport {
    /// Keys that were compared.
    pub compared: u64,
    /// Keys whose records differ although they have the same version: something else than this library has written one of
    /// them, or a side does not keep all that `Record` has.
    pub different: u64,
    /// Some of these keys, as JSON: the first [`DIFFERING_MAX`].
    pub differing: Vec<String>,
    /// Keys of which the mirror has not applied the last write yet.
    pub behind: u64,
}

impl ExactReport {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.different == 0
    }
}

enum Judged {
    Same,
    Different,
    Behind,
    /// The primary has it: it is looked at where its keys are listed.
    Listed,
}

/// Compares all keys of both; `repair`: those that differ are recorded once more, as the primary has them.
pub(crate) async fn run(core: &Core, repair: bool) -> Result<ExactReport, Error> {
    let (side, _) = recording(core).await?;
    let mut report = ExactReport::default();
    for listed in [side.other(), side] {
        let mut cursor: Option<EncodedKey> = None;
        loop {
            core.alive()?;
            let keys = core.port(listed).keys_after(cursor.as_ref(), PAGE).await?;
            let Some(last) = keys.last() else { break };
            cursor = Some(last.clone());
            for key in &keys {
                match judge(core, side, listed, key).await? {
                    Judged::Listed => continue,
                    Judged::Same => {}
                    Judged::Behind => report.behind += 1,
                    Judged::Different => {
                        report.different += 1;
                        if report.differing.len() < DIFFERING_MAX {
                            report.differing.push(key.0.clone());
                        }
                        if repair {
                            let (side, row) = recording(core).await?;
                            core.port(side).record(row, None, std::slice::from_ref(key)).await?;
                            core.wake.notify_one();
                        }
                    }
                }
                report.compared += 1;
            }
        }
    }
    Ok(report)
}

async fn judge(core: &Core, side: Side, listed: Side, key: &EncodedKey) -> Result<Judged, Error> {
    for _ in 0..LOOKS {
        let ahead = core.port(side).versioned(key).await?;
        if listed != side && ahead.payload.is_some() {
            return Ok(Judged::Listed);
        }
        let behind = core.port(side.other()).versioned(key).await?;
        let same = match (&ahead.payload, &behind.payload) {
            (Some(one), Some(other)) => is_same(one, other),
            (None, None) => true,
            _ => false,
        };
        match (same, ahead.version.unwrap_or(0) == behind.version.unwrap_or(0)) {
            (true, _) => return Ok(Judged::Same),
            (false, true) => return Ok(Judged::Different),
            (false, false) => {
                // What is in flight is not waited for longer than that.
                relay::apply_keys(core, side, std::slice::from_ref(key)).await.ok();
                clock::sleep(PAUSE).await;
            }
        }
    }
    Ok(Judged::Behind)
}
