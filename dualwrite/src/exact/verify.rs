//! Whether both databases say the same: by checksums of ranges, halved where they differ, and record by record where they go
//! on to differ, or where the sides name no columns. Two records are compared where they have the same version, so that a
//! write in flight is no difference.

use std::time::Duration;

use crate::clock;
use crate::error::Error;
use crate::exact::copy::recording;
use crate::exact::core::Core;
use crate::exact::digest::way;
use crate::exact::payload::is_same;
use crate::exact::port::{Digesting, Range, Versioned};
use crate::exact::relay;
use crate::key::EncodedKey;
use crate::stages::stage::Side;
use crate::stages::verification::DIFFERING_MAX;

/// Keys whose records are read at once.
const PAGE: u32 = 500;
/// Rows of one checksum.
const CHUNK: u64 = 20_000;
/// From so many rows on their records are compared, where their checksums differ.
const LEAF: u64 = 100;
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
    /// Keys whose records were read and compared. The others are in ranges whose checksums are equal; see
    /// [`ExactColumns`](crate::exact::ExactColumns).
    pub fetched: u64,
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
    let mut run = Run { core, side, repair, report: ExactReport::default() };
    match (core.old.columns(), core.new.columns()) {
        (Some(old), Some(new)) => {
            let way = way(&old, core.old.dialect(), core.new.dialect());
            let how = [old, new].map(|columns| Digesting { columns, way });
            run.ranges(&how).await?;
        }
        _ => {
            for listed in [side.other(), side] {
                run.listed(listed).await?;
            }
        }
    }
    Ok(run.report)
}

struct Run<'c> {
    core: &'c Core,
    /// The primary.
    side: Side,
    repair: bool,
    report: ExactReport,
}

impl Run<'_> {
    /// All keys of one side, as it lists them.
    async fn listed(&mut self, listed: Side) -> Result<(), Error> {
        let mut cursor: Option<EncodedKey> = None;
        loop {
            self.core.alive()?;
            let keys = self.core.port(listed).keys_after(cursor.as_ref(), PAGE).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            cursor = Some(last.clone());
            self.keys(&keys, listed != self.side).await?;
        }
    }

    /// All rows of both sides, range after range of the keys of the primary.
    async fn ranges(&mut self, how: &[Digesting; 2]) -> Result<(), Error> {
        let mut after = None;
        loop {
            self.core.alive()?;
            let rest = Range { after, to: None };
            let primary = self.core.port(self.side);
            let to = primary.key_at(&how[self.side as usize], rest, CHUNK - 1).await?;
            self.range(how, Range { after, to }).await?;
            match to {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// One range: equal as a whole, or its halves.
    async fn range(&mut self, how: &[Digesting; 2], whole: Range) -> Result<(), Error> {
        let core = self.core;
        let mut parts = vec![whole];
        while let Some(part) = parts.pop() {
            core.alive()?;
            let (old, new) = futures_util::future::join(
                core.old.digest(&how[0], part),
                core.new.digest(&how[1], part),
            )
            .await;
            let both = [old?, new?];
            if both[0] == both[1] {
                self.report.compared += both[0].rows;
                continue;
            }
            let larger = if both[0].rows > both[1].rows { Side::Old } else { Side::New };
            let rows = both[larger as usize].rows;
            let middle = match rows > LEAF {
                true => core.port(larger).key_at(&how[larger as usize], part, rows / 2 - 1).await?,
                false => None,
            };
            match middle {
                Some(middle) if Some(middle) != part.to => parts.extend([
                    Range { after: Some(middle), to: part.to },
                    Range { after: part.after, to: Some(middle) },
                ]),
                _ => self.leaf(how, part).await?,
            }
        }
        Ok(())
    }

    /// The records of a range that is small enough.
    async fn leaf(&mut self, how: &[Digesting; 2], part: Range) -> Result<(), Error> {
        let mut keys = self.core.old.keys_in(&how[0], part).await?;
        keys.extend(self.core.new.keys_in(&how[1], part).await?);
        keys.sort_unstable();
        keys.dedup();
        for keys in keys.chunks(PAGE as usize) {
            self.keys(keys, false).await?;
        }
        Ok(())
    }

    /// These keys. `only_missing`: those that the primary has are left to another listing.
    async fn keys(&mut self, keys: &[EncodedKey], only_missing: bool) -> Result<(), Error> {
        let core = self.core;
        let (ahead, behind) = futures_util::future::join(
            core.port(self.side).versioned(keys),
            core.port(self.side.other()).versioned(keys),
        )
        .await;
        let mut differing = Vec::new();
        for ((key, ahead), behind) in keys.iter().zip(ahead?).zip(behind?) {
            self.report.fetched += 1;
            let judged = match (only_missing && ahead.payload.is_some(), is_alike(&ahead, &behind))
            {
                (true, _) => continue,
                (false, true) => Judged::Same,
                // What is in flight is looked at again, alone.
                (false, false) => judge(core, self.side, only_missing, key).await?,
            };
            match judged {
                Judged::Listed => continue,
                Judged::Same => {}
                Judged::Behind => self.report.behind += 1,
                Judged::Different => {
                    self.report.different += 1;
                    if self.report.differing.len() < DIFFERING_MAX {
                        self.report.differing.push(key.0.clone());
                    }
                    differing.push(key.clone());
                }
            }
            self.report.compared += 1;
        }
        if self.repair && !differing.is_empty() {
            let (side, row) = recording(core).await?;
            core.port(side).record(row, None, &differing).await?;
            core.wake.notify_one();
        }
        Ok(())
    }
}

fn is_alike(one: &Versioned, other: &Versioned) -> bool {
    match (&one.payload, &other.payload) {
        (Some(one), Some(other)) => is_same(one, other),
        (None, None) => true,
        _ => false,
    }
}

async fn judge(
    core: &Core,
    side: Side,
    only_missing: bool,
    key: &EncodedKey,
) -> Result<Judged, Error> {
    let nothing = Versioned { version: None, payload: None };
    let one = |mut all: Vec<Versioned>| all.pop().unwrap_or_else(|| nothing.clone());
    for _ in 0..LOOKS {
        let keys = std::slice::from_ref(key);
        let ahead = one(core.port(side).versioned(keys).await?);
        if only_missing && ahead.payload.is_some() {
            return Ok(Judged::Listed);
        }
        let behind = one(core.port(side.other()).versioned(keys).await?);
        match (is_alike(&ahead, &behind), ahead.version.unwrap_or(0) == behind.version.unwrap_or(0))
        {
            (true, _) => return Ok(Judged::Same),
            (false, true) => return Ok(Judged::Different),
            (false, false) => {
                // What is in flight is not waited for longer than that.
                relay::apply_keys(core, side, keys).await.ok();
                clock::sleep(PAUSE).await;
            }
        }
    }
    Ok(Judged::Behind)
}
