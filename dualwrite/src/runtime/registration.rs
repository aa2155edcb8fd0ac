//! [`Registration`]: what a process declares of a migration when it joins it.

use std::sync::Arc;
use std::time::Duration;

use super::{Prepared, Runtime};
use crate::contract::declared::Contract;
use crate::converging::copier::TwoStoresCopier;
use crate::converging::{Converging, TwoStores};
use crate::copier::port::Copier;
use crate::copier::registered::Registered;
use crate::copy::{BothWays, CopyBack, CopyKeys};
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::expand::declared::Expand;
use crate::migration::Migration;
use crate::pace::replicas::Replicas;
use crate::stages::bucket::BucketRule;
use crate::stages::name::check_name;
use crate::stages::position::Percent;
use crate::stages::stage::Stage;
use crate::state::{AnswerPolicy, MirrorPolicy, Options};

/// A migration about to be registered.
#[must_use = "call `register`"]
pub struct Registration<'r, DB: Backend> {
    pub(super) runtime: &'r Runtime<DB>,
    pub(super) name: String,
    pub(crate) options: Options,
    pub(super) copier: Option<Result<Arc<dyn Copier>, Error>>,
}

impl<DB: Backend> Registration<'_, DB> {
    /// The copy function. One that is written by hand goes from old to new alone;
    /// [`backfill_both_ways`](Self::backfill_both_ways) takes one with a way back. [`CopyColumns`](crate::CopyColumns),
    /// and a [`CopySql`](crate::CopySql) with statements that copy back, go both ways by themselves.
    pub fn backfill<C: CopyKeys<Database = DB>>(mut self, copy: C) -> Self {
        let Runtime { inner, pool, replicas, .. } = self.runtime;
        let replicas = Replicas::new(Arc::clone(replicas), &inner.heartbeat.instance);
        let registered = Registered::new(copy, pool.clone(), replicas);
        self.copier = Some(registered.map(|registered| Arc::new(registered) as Arc<dyn Copier>));
        self
    }

    /// The copy function, with its way back. What the way back lacks is an error of [`register`](Self::register).
    pub fn backfill_both_ways<C: CopyBack<Database = DB>>(self, copy: C) -> Self {
        self.backfill(BothWays(copy))
    }

    /// Two stores that share no transaction, in the place of a copy function; see [`TwoStores`] and the guide
    /// [`converging`](crate::guide::converging). Writes then go by
    /// [`Migration::converging_write`](crate::Migration::converging_write).
    pub fn converging<S: TwoStores>(mut self, stores: impl Into<Converging<S>>) -> Self {
        let Runtime { inner, pool, .. } = self.runtime;
        let limit = inner.statement_limit::<DB>();
        let copier = TwoStoresCopier::new(stores.into(), pool.clone(), limit);
        self.copier = Some(Ok(Arc::new(copier)));
        self
    }

    /// Reads marked `lazy` copy a key that new misses; the migration may then go live before its
    /// backfill is complete, and on to `RampDown` when it is. Needs a copy function.
    pub fn lazy(mut self) -> Self {
        self.options.lazy = true;
        self
    }

    /// What this migration needs as new before both sides are written; see [`Expand`]. Stored in the control tables. The
    /// step to `DualWrite` waits until the database has it ([`Gate::Expanded`](crate::Gate::Expanded)).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Error, expand::Expand, Migration, Runtime};
    ///
    /// async fn register(runtime: &Runtime<sqlx::Sqlite>) -> Result<Migration, Error> {
    ///     let expand = Expand::new().rename("customer", "email", "email_address");
    ///     runtime.migration("customer-email").expand(expand).register().await
    /// }
    /// # }
    /// ```
    pub fn expand(mut self, expand: Expand) -> Self {
        self.options.expand = Some(expand);
        self
    }

    /// What this migration calls old, and what is asked for before it is dropped; see [`Contract`]. Stored in the
    /// control tables.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{contract::Contract, Error, Migration, Runtime};
    ///
    /// async fn register(runtime: &Runtime<sqlx::Sqlite>) -> Result<Migration, Error> {
    ///     let contract = Contract::new().column("customer", "email");
    ///     runtime.migration("customer-email").contract(contract).register().await
    /// }
    /// # }
    /// ```
    pub fn contract(mut self, contract: Contract) -> Self {
        self.options.contract = Some(contract);
        self
    }

    /// Says that this build has the new path alone: it can only join a migration at `Complete`, which cannot go back
    /// while it lives. A [contract](Self::contract) waits until no other build lives.
    pub fn new_only(mut self) -> Self {
        self.options.new_only = true;
        self
    }

    /// How keys are assigned to buckets; by hash unless said otherwise.
    pub fn buckets(mut self, rule: BucketRule) -> Self {
        self.options.rule = rule;
        self
    }

    /// What a failed mirror write does; see [`MirrorPolicy`].
    pub fn mirror(mut self, policy: MirrorPolicy) -> Self {
        self.options.mirror = policy;
        self
    }

    /// What happens where the old and the new side answer one write differently; see [`AnswerPolicy`].
    pub fn answers(mut self, policy: AnswerPolicy) -> Self {
        self.options.answers = policy;
        self
    }

    /// The limit on one mirror write, [`MIRROR_WRITE_TIMEOUT`](crate::defaults::MIRROR_WRITE_TIMEOUT) unless said
    /// otherwise. A mirror write that takes longer has failed; see [`MirrorPolicy`]. A method may have its
    /// own: `#[write(key = …, timeout = "500ms")]`.
    pub fn mirror_write_timeout(mut self, limit: Duration) -> Self {
        self.options.mirror_write_timeout = limit;
        self
    }

    /// The limit on the write to the side that answers. The caller gets an error where it takes longer, and
    /// the transaction can only be rolled back. There is no limit by default, except on SQLite; see
    /// [`SINGLE_WRITER_TIMEOUT`](crate::defaults::SINGLE_WRITER_TIMEOUT). A method may have its own:
    /// `#[write(key = …, primary_timeout = "5s")]`. It holds for a statement that writes both sides of one row,
    /// too.
    pub fn primary_write_timeout(mut self, limit: Duration) -> Self {
        self.options.primary_write_timeout = Some(limit);
        self
    }

    /// Lets a wrapper be built from two implementations although the copy function shows that old and new are
    /// columns of one table. Without this word `Dual<Trait>::new` panics, because both implementations then
    /// write the same row, and what a statement does to it is done twice:
    ///
    /// ```text
    /// // `visit` of both implementations; at `DualWrite` one visit counts as two:
    /// UPDATE customer SET visits = visits + 1, email = $2 WHERE id = $1
    /// UPDATE customer SET visits = visits + 1, email_address = $2 WHERE id = $1
    /// // `deactivate` answers `false` at `Live`: the old side has done it before new is asked.
    /// UPDATE customer SET active = false WHERE id = $1 AND active
    /// ```
    ///
    /// Use it only where every statement of both implementations sets its own columns alone, to values that
    /// come from outside. Everywhere else build the wrapper with `Dual<Trait>::one_row`.
    pub fn two_statements(mut self) -> Self {
        self.options.two_statements = true;
        self
    }

    /// How long `Live` must last before `RampDown`; no time at all by default.
    pub fn soak(mut self, soak: Duration) -> Self {
        self.options.soak = soak;
        self
    }

    /// No key enters this stage, not even by a ramp, before somebody has given the approval of this name
    /// in the stage before; see [`Migration::approve`].
    pub fn approval(mut self, before: Stage, name: impl Into<String>) -> Self {
        self.options.approvals.push((before, name.into()));
        self
    }

    /// How long old must not have been written without this library before new alone is; see
    /// [`UNAWARE_WINDOW`](crate::defaults::UNAWARE_WINDOW).
    pub fn unaware_window(mut self, window: Duration) -> Self {
        self.options.unaware_window = window;
        self
    }

    /// The share of reads that are compared in `Shadow` and `Live`; all by default.
    pub fn shadow_sample(mut self, share: Percent) -> Self {
        self.options.shadow_sample = share;
        self.options.shadow_by_key = false;
        self
    }

    /// The limit on one shadow read; see [`SHADOW_TIMEOUT`](crate::defaults::SHADOW_TIMEOUT).
    pub fn shadow_timeout(mut self, limit: Duration) -> Self {
        self.options.shadow_timeout = limit;
        self
    }

    /// How many shadow reads may be under way; see [`SHADOW_CONCURRENCY`](crate::defaults::SHADOW_CONCURRENCY).
    pub fn shadow_concurrency(mut self, most: usize) -> Self {
        self.options.shadow_concurrency = most;
        self
    }

    /// Registers this process for the migration, which is created at `Off` where it is new.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, a bad table or column, or a second registration; `Unsupported`
    /// for `lazy` without a copy function; `WrongKey` for buckets by remainder over a key that is no
    /// integer; `Database`.
    pub async fn register(self) -> Result<Migration, Error> {
        let inner = &self.runtime.inner;
        let registered = inner.register(vec![self.prepare()?]).await?;
        let first = registered.into_iter().next();
        first.ok_or_else(|| Error::new(ErrorKind::UnknownMigration, "it was not registered"))
    }

    pub(super) fn prepare(self) -> Result<Prepared, Error> {
        check_name(&self.name)?;
        let copier = self.copier.transpose().map_err(|error| error.of(&self.name))?;
        self.runtime.inner.prepare(&self.name, self.options, copier)
    }
}
