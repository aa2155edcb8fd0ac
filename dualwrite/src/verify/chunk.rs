//! The walk of a verification: chunk after chunk of keys, each looked at without locks. Each worker looks at one; meanwhile
//! the ends of the next are asked for. Each needs a connection; what the pool has none for waits for its turn.

use crate::copy::erased::comparison_failed;
use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use futures_util::future::{join, join_all};
use sqlx::pool::PoolConnection;

use super::apart::{compare_apart, compare_keys};
use super::mapped::{Suspect, named};
use super::plan::Plan;
use super::statements::Which;
use crate::copy::source::KeyParts;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::Error;
use crate::key::{EncodedKey, KeyPart};
use crate::stages::position::Percent;
use crate::stages::stage::Side;
use crate::stages::verification::{KeyDifferenceKind, Phase, is_sampled};

impl<DB: Backend> Plan<'_, DB> {
    /// A page of keys of old, and those of them that the copy function finds different.
    async fn ask(
        &self,
        (after, last): (Option<&KeyParts>, Option<&KeyParts>),
        limit: u32,
        wanted: bool,
    ) -> Result<(Vec<KeyParts>, Vec<Suspect>), Error> {
        let (mut tx, _) = self.copier.begin(self.shared).await?;
        let page = self.copier.pages.page(after, last, limit, false);
        let keys = self.keys(tx.connection(), &page).await?;
        let found = match wanted && !keys.is_empty() {
            true => {
                let found = self.copier.copy.differing(&mut tx, &keys).await;
                found.map_err(|error| comparison_failed(error).of(&self.shared.name))?
            }
            false => Vec::new(),
        };
        tx.rollback().await?;
        let found: HashSet<KeyParts> = found.into_iter().collect();
        let suspects = keys.iter().filter(|key| found.contains(*key));
        let suspects = suspects.map(|key| Suspect::of(key.clone())).collect();
        Ok((keys, suspects))
    }

    /// The keys of old.
    async fn count(&self, conn: &mut DB::Connection, which: Which<'_>) -> Result<u64, Error> {
        let (sql, values) = self.statements.count(which);
        let rows = DB::Adapter::fetch(conn, &sql, &values).await;
        rows.and_then(|rows| rows[0].unsigned(0)).map_err(self.failed("counting keys"))
    }

    /// Looks at a chunk once more, without locks.
    pub(crate) async fn compare_again(&self, range: &KeyRange) -> Result<Vec<KeyParts>, Error> {
        let (after, last) = (range.after.as_ref(), range.last.as_ref());
        let failed = self.failed("taking a connection to verify");
        let found = match (range.phase, self.mapping(), &self.orphans) {
            (Phase::Orphans, _, Some(pages)) => {
                let mut conn = self.copier.pool.acquire().await.map_err(failed)?;
                return self.keys(&mut conn, &pages.page(after, last, u32::MAX, false)).await;
            }
            (_, Some(_), _) => {
                let mut conn = self.copier.pool.acquire().await.map_err(failed)?;
                compare_keys(self, &mut conn, Which::Between(after, last), false).await?
            }
            _ => self.ask((after, last), u32::MAX, true).await?.1,
        };
        Ok(found.into_iter().map(|suspect| suspect.key).collect())
    }

    async fn end(
        &self,
        conn: &mut DB::Connection,
        after: Option<&KeyParts>,
        limit: u32,
    ) -> Result<End, Error> {
        let here = self.mapping().is_none_or(|mapping| mapping.elsewhere.is_none());
        let both = here && !self.statements.orphans_apart && !self.statements.one_row;
        let sides: &[Side] = if both { &[Side::Old, Side::New] } else { &[Side::Old] };
        let (sql, values) = self.statements.chunk_end(sides, (after, None), limit);
        let rows = DB::Adapter::fetch(conn, &sql, &values).await;
        let rows = rows.map_err(self.failed("looking for the end of a chunk"))?;
        let Some(row) = rows.into_iter().next() else { return Ok(End::All) };
        let side = row.integer(row.0.len() - 1).map_err(self.failed("reading a chunk's end"))?;
        let side = if side == 0 { Side::Old } else { Side::New };
        Ok(End::At(self.statements.pages(side).key_of(row)?, side))
    }
}

/// The end of a chunk.
#[derive(Clone, Debug)]
enum End {
    /// The key, and the side that has a full chunk of keys up to it.
    At(KeyParts, Side),
    /// What is left is less than a chunk.
    All,
}

/// A chunk that was looked at.
#[derive(Debug, Default)]
pub(crate) struct ChunkResult {
    pub(crate) phase: Phase,
    /// Where to go on after a crash.
    pub(crate) cursor: Option<String>,
    pub(crate) compared: u64,
    pub(crate) suspects: Vec<Suspect>,
    pub(crate) range: KeyRange,
}

/// The keys of a chunk: of which phase, after which, up to which.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRange {
    phase: Phase,
    after: Option<KeyParts>,
    last: Option<KeyParts>,
}

/// A chunk whose end is known.
#[derive(Clone, Debug)]
struct Planned {
    after: Option<KeyParts>,
    end: End,
    /// It belongs to the sample.
    is_wanted: bool,
}

impl Planned {
    /// The last key; `None` where all that is left belongs to it.
    fn last(&self) -> Option<&KeyParts> {
        match &self.end {
            End::At(key, _) => Some(key),
            End::All => None,
        }
    }
}

/// A walk over all chunks.
pub(crate) struct Chunks<'p, 'a, DB: Backend> {
    plan: &'p Plan<'a, DB>,
    limit: u32,
    workers: usize,
    sample: Option<Percent>,
    phase: Phase,
    after: Option<KeyParts>,
    /// The chunks that follow, as far as their ends are known.
    planned: VecDeque<Planned>,
    /// Those that were looked at beside the last one.
    ready: VecDeque<ChunkResult>,
}

impl<'p, 'a, DB: Backend> Chunks<'p, 'a, DB> {
    pub(crate) fn new(
        plan: &'p Plan<'a, DB>,
        (limit, workers): (u32, usize),
        sample: Option<Percent>,
        (phase, cursor): (Phase, Option<&str>),
    ) -> Result<Self, Error> {
        let kind = plan.copier.pages.kind;
        let after = cursor.map(|key| EncodedKey(key.to_owned()).parts(kind)).transpose()?;
        let (planned, ready) = (VecDeque::new(), VecDeque::new());
        let workers = workers.max(1);
        Ok(Self { plan, limit, workers, sample, phase, after, planned, ready })
    }

    /// The next chunk; `None` when all are done. After an error it may be called again.
    pub(crate) async fn next(&mut self) -> Result<Option<ChunkResult>, Error> {
        if let Some(ready) = self.ready.pop_front() {
            return Ok(Some(ready));
        }
        match (self.phase, self.plan.mapping()) {
            (Phase::Old, Some(_)) => self.mapped().await.map(Some),
            (Phase::Old, None) => self.asked().await.map(Some),
            (Phase::Orphans, _) => self.orphan().await.map(Some),
            (Phase::End, _) => Ok(None),
        }
    }

    /// Whether the chunk that begins after this key belongs to the sample.
    fn is_wanted(&self, after: Option<&KeyParts>) -> Result<bool, Error> {
        let after = after.map(named).transpose()?;
        let after = after.map_or_else(String::new, |key| key.0);
        Ok(is_sampled(self.sample, self.plan.shared.salt, &after))
    }

    fn result(&mut self, last: Option<KeyParts>) -> Result<ChunkResult, Error> {
        let range = KeyRange { phase: self.phase, after: self.after.clone(), last: last.clone() };
        self.phase = match (&last, &self.plan.orphans, self.phase) {
            (Some(_), _, phase) => phase,
            (None, Some(_), Phase::Old) => Phase::Orphans,
            (None, _, _) => Phase::End,
        };
        // After one that is too long to be recorded, another run would begin this part again.
        let cursor = last.as_ref().and_then(|key| EncodedKey::from_parts(key).ok());
        self.after = last;
        Ok(ChunkResult {
            phase: self.phase,
            cursor: cursor.map(|key| key.0),
            range,
            ..ChunkResult::default()
        })
    }

    async fn mapped(&mut self) -> Result<ChunkResult, Error> {
        let pool = &self.plan.copier.pool;
        let failed = self.plan.failed("taking a connection to verify");
        let mut first = pool.acquire().await.map_err(failed)?;
        if self.planned.is_empty() {
            let ends = self.ends(&mut first, self.after.clone(), self.workers).await?;
            self.planned.extend(ends);
        }
        let mut connections = vec![first];
        while connections.len() < self.planned.len().min(self.workers) {
            let Some(another) = pool.try_acquire() else { break };
            connections.push(another);
        }
        let chunks: Vec<Planned> = self.planned.iter().take(connections.len()).cloned().collect();
        let compared = chunks.iter().zip(connections).map(|(chunk, conn)| self.look(chunk, conn));
        let (compared, ends) = join(join_all(compared), self.ends_ahead()).await;
        self.planned.extend(ends);
        for (chunk, looked) in chunks.iter().zip(compared) {
            match looked {
                Ok((compared, suspects)) => {
                    self.planned.pop_front();
                    let result = self.result(chunk.last().cloned())?;
                    self.ready.push_back(ChunkResult { compared, suspects, ..result });
                }
                // It is planned still, and so are those after it.
                Err(error) if self.ready.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        match self.ready.pop_front() {
            Some(ready) => Ok(ready),
            None => self.result(None), // there is at least one chunk
        }
    }

    /// The ends of so many chunks after this key.
    async fn ends(
        &self,
        conn: &mut DB::Connection,
        mut after: Option<KeyParts>,
        count: usize,
    ) -> Result<Vec<Planned>, Error> {
        let mut planned: Vec<Planned> = Vec::new();
        while planned.len() < count {
            let end = self.plan.end(conn, after.as_ref(), self.limit).await?;
            let is_wanted = self.is_wanted(after.as_ref())?;
            let chunk = Planned { after, end, is_wanted };
            let last = chunk.last().cloned();
            planned.push(chunk);
            let Some(last) = last else { break };
            after = Some(last);
        }
        Ok(planned)
    }

    /// The ends of the chunks after those that are planned, as long as there is a connection for it.
    async fn ends_ahead(&self) -> Vec<Planned> {
        let last = self.planned.back().and_then(Planned::last);
        let wanted = (2 * self.workers).saturating_sub(self.planned.len());
        let (Some(last), true) = (last, wanted > 0) else { return Vec::new() };
        match self.plan.copier.pool.try_acquire() {
            Some(mut conn) => {
                self.ends(&mut conn, Some(last.clone()), wanted).await.unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    /// How many keys this chunk has, and what seems to differ.
    async fn look(
        &self,
        chunk: &Planned,
        mut conn: PoolConnection<DB>,
    ) -> Result<(u64, Vec<Suspect>), Error> {
        if !chunk.is_wanted {
            return Ok((0, Vec::new()));
        }
        let which = Which::Between(chunk.after.as_ref(), chunk.last());
        let suspects = in_order(self.compare_page(&mut conn, which).await?);
        let compared = match &chunk.end {
            End::At(_, Side::Old) => {
                u64::from(self.limit) + of_kind(&suspects, KeyDifferenceKind::MissingInOld)
            }
            End::At(_, Side::New) => {
                u64::from(self.limit) + of_kind(&suspects, KeyDifferenceKind::MissingInNew)
            }
            End::All => {
                let count = self.plan.count(&mut conn, which).await?;
                count + of_kind(&suspects, KeyDifferenceKind::MissingInOld)
            }
        };
        Ok((compared, suspects))
    }

    async fn compare_page(
        &self,
        conn: &mut DB::Connection,
        which: Which<'_>,
    ) -> Result<Vec<Suspect>, Error> {
        let found = compare_keys(self.plan, conn, which, true).await;
        match (found, which) {
            (Err(error), Which::Between(after, last)) if error.is_about_data() => {
                compare_apart(self.plan, conn, (after, last)).await
            }
            (found, _) => found,
        }
    }

    /// Without a mapping: asks the copy function about a page of old's keys.
    async fn asked(&mut self) -> Result<ChunkResult, Error> {
        let wanted = self.is_wanted(self.after.as_ref())?;
        let bounds = (self.after.as_ref(), None);
        let (keys, suspects) = self.plan.ask(bounds, self.limit, wanted).await?;
        let compared = if wanted { keys.len() as u64 } else { 0 };
        Ok(ChunkResult { compared, suspects, ..self.result(keys.last().cloned())? })
    }

    /// A page of keys that old has not.
    async fn orphan(&mut self) -> Result<ChunkResult, Error> {
        let plan = self.plan;
        let Some(pages) = &plan.orphans else { return self.result(None) };
        let wanted = self.is_wanted(self.after.as_ref())?;
        let acquired = plan.copier.pool.acquire().await;
        let mut conn = acquired.map_err(plan.failed("taking a connection to verify"))?;
        let keys =
            plan.keys(&mut conn, &pages.page(self.after.as_ref(), None, self.limit, false)).await?;
        let last = keys.last().cloned();
        let compared = if wanted { keys.len() as u64 } else { 0 };
        let suspects = match wanted {
            true => keys.into_iter().map(Suspect::of).collect(),
            false => Vec::new(),
        };
        Ok(ChunkResult { compared, suspects, ..self.result(last)? })
    }
}

/// By key, so that reports read the same however a database joins.
fn in_order(mut suspects: Vec<Suspect>) -> Vec<Suspect> {
    suspects.sort_by(|one, other| {
        let pairs = one.key.iter().zip(&other.key);
        let mut unequal = pairs.map(|(one, other)| match (one, other) {
            (KeyPart::Integer(one), KeyPart::Integer(other)) => one.cmp(other),
            (KeyPart::Text(one), KeyPart::Text(other)) => one.cmp(other),
            (KeyPart::Uuid(one), KeyPart::Uuid(other)) => one.cmp(other),
            (KeyPart::Bytes(one), KeyPart::Bytes(other)) => one.cmp(other),
            _ => Ordering::Equal, // a column has one kind
        });
        unequal.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    suspects
}

fn of_kind(suspects: &[Suspect], kind: KeyDifferenceKind) -> u64 {
    suspects.iter().filter(|suspect| suspect.kind == kind).count() as u64
}
