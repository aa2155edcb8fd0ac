//! What the generated wrappers hold: the migration, and for each method its statistics and options.

use std::sync::Arc;
use std::time::Duration;

use crate::converging::two;
use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::observe::MethodStats;
use crate::stages::position::Percent;
use crate::stages::route::Operation;
use crate::stages::stage::Side;
use crate::state::{AnswerPolicy, MirrorPolicy};
use crate::transaction::fenced::{Fenced, Pool};

/// How the implementations of a wrapper share the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One for each side.
    Separate,
    /// A third one writes both sides at once.
    AtOnce,
    /// One implementation over the old columns, both, and the new ones of a row.
    OneRow,
}

/// One method of a wrapped trait, as its attribute describes it.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub operation: Operation,
    lazy: bool,
    sample: Option<u16>,
    timeout: Option<Duration>,
    mirror: Option<MirrorPolicy>,
    answers: Option<AnswerPolicy>,
    primary_timeout: Option<Duration>,
    once: bool,
    ramped: bool,
}

impl Method {
    /// A method with the options of its migration.
    #[must_use]
    pub const fn new(name: &'static str, operation: Operation) -> Self {
        Self {
            name,
            operation,
            lazy: false,
            sample: None,
            timeout: None,
            mirror: None,
            answers: None,
            primary_timeout: None,
            once: false,
            ramped: false,
        }
    }

    /// A missing key is copied when it is read.
    #[must_use]
    pub const fn lazy(self) -> Self {
        Self { lazy: true, ..self }
    }

    /// This share of its calls is compared, in basis points.
    #[must_use]
    pub const fn sample(self, basis_points: u16) -> Self {
        Self { sample: Some(basis_points), ..self }
    }

    /// The limit on its shadow reads, or on its mirror writes.
    #[must_use]
    pub const fn timeout_ms(self, millis: u64) -> Self {
        self.timeout(Duration::from_millis(millis))
    }

    /// The same.
    #[must_use]
    pub const fn timeout(self, limit: Duration) -> Self {
        Self { timeout: Some(limit), ..self }
    }

    /// It touches no column that is migrated.
    #[must_use]
    pub const fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// It follows the ramp by something else than the record's key.
    #[must_use]
    pub const fn ramped(self) -> Self {
        Self { ramped: true, ..self }
    }

    /// What a mirror write that fails does to the caller's.
    #[must_use]
    pub const fn on_mirror_error(self, policy: MirrorPolicy) -> Self {
        Self { mirror: Some(policy), ..self }
    }

    /// What happens where the sides answer a write differently.
    #[must_use]
    pub const fn on_difference(self, policy: AnswerPolicy) -> Self {
        Self { answers: Some(policy), ..self }
    }

    /// The limit on the primary's write.
    #[must_use]
    pub const fn primary_timeout_ms(self, millis: u64) -> Self {
        self.primary_timeout(Duration::from_millis(millis))
    }

    /// The same.
    #[must_use]
    pub const fn primary_timeout(self, limit: Duration) -> Self {
        Self { primary_timeout: Some(limit), ..self }
    }
}

pub(crate) struct Entry {
    pub(crate) stats: Arc<MethodStats>,
    /// Whether the method copies missing keys, and the migration allows it.
    pub(crate) lazy: bool,
    sample: Option<Percent>,
    timeout: Option<Duration>,
    mirror: Option<MirrorPolicy>,
    answers: Option<AnswerPolicy>,
    primary_timeout: Option<Duration>,
}

impl Entry {
    fn of(shared: &Joined, repository: &'static str, method: &Method) -> Self {
        Self {
            stats: counted(shared, repository, method),
            lazy: method.lazy && shared.options.lazy,
            // Whoever set it has made sure that it is one.
            sample: method.sample.and_then(|share| Percent::from_basis_points(share).ok()),
            timeout: method.timeout,
            mirror: method.mirror,
            answers: method.answers,
            primary_timeout: method.primary_timeout,
        }
    }

    /// The share of its calls that is compared.
    #[inline]
    pub(crate) fn sample(&self, shared: &Joined) -> Percent {
        let ordered = shared.ordered_sample().reads;
        ordered.or(self.sample).unwrap_or(shared.options.shadow_sample)
    }

    /// The limit on one of its shadow reads.
    pub(crate) fn timeout(&self, shared: &Joined) -> Duration {
        self.timeout.unwrap_or(shared.options.shadow_timeout)
    }

    /// What a mirror write that fails does to the caller's.
    pub(crate) fn mirror(&self, shared: &Joined) -> MirrorPolicy {
        self.mirror.unwrap_or(shared.options.mirror)
    }

    /// What happens where the sides answer a write differently.
    pub(crate) fn on_difference(&self, shared: &Joined) -> AnswerPolicy {
        self.answers.unwrap_or(shared.options.answers)
    }

    /// The limit on one of its mirror writes.
    pub(crate) fn mirror_timeout(&self, shared: &Joined) -> Duration {
        self.timeout.unwrap_or(shared.options.mirror_write_timeout)
    }

    /// The limit on the primary's write, where there is one.
    pub(crate) fn primary_timeout(&self, shared: &Joined) -> Option<Duration> {
        self.primary_timeout.or(shared.options.primary_write_timeout)
    }
}

/// The statistics of a method, which know from which time on a call of it takes too long.
fn counted(shared: &Joined, repository: &'static str, method: &Method) -> Arc<MethodStats> {
    let stats = shared.method(repository, method.name);
    let limit = match method.operation {
        Operation::Write => method
            .primary_timeout
            .or(shared.options.primary_write_timeout)
            .or(method.timeout)
            .unwrap_or(shared.options.mirror_write_timeout),
        Operation::Read | Operation::Scan => {
            method.timeout.unwrap_or(shared.options.shadow_timeout)
        }
    };
    stats.set_limit(limit);
    stats
}

/// The part of a wrapper that does not depend on its trait.
#[derive(Clone)]
pub struct Repository {
    shared: Arc<Joined>,
    methods: Arc<[Entry]>,
    form: Form,
}

impl Repository {
    /// For a trait with these methods. Panics as [`Repository::new`] says.
    #[track_caller]
    pub(crate) fn of_trait(
        shared: Arc<Joined>,
        name: &'static str,
        methods: &[Method],
        form: Form,
    ) -> Self {
        if let Some(reason) = refused(&shared, name, methods, form) {
            panic!("migration `{}`: {reason}", shared.name);
        }
        if methods.iter().any(|method| method.ramped) {
            shared.ramp_by_other_keys();
        }
        let methods = methods.iter().map(|method| Entry::of(&shared, name, method)).collect();
        Self { shared, methods, form }
    }

    /// For one call that has no trait.
    ///
    /// # Errors
    /// `Unsupported` where the copy function shows that a write would be executed too often, or not often enough.
    pub(crate) fn of_one(
        shared: &Arc<Joined>,
        name: &'static str,
        method: Method,
        form: Form,
    ) -> Result<Self, Error> {
        let one_table = shared.copier.as_ref().and_then(|copier| copier.one_table());
        let reason = match (method.operation, one_table, form) {
            (Operation::Write, ..) if two::of(shared).is_some() => NO_TRANSACTION,
            (Operation::Write, Some(true), Form::Separate) if !shared.options.two_statements => {
                "the old and the new columns are in one table, and two closures would write one row twice; give \
                 one closure by `columns(…)` in place of `old(…)` and `new(…)`"
            }
            (Operation::Write, Some(false), Form::OneRow) => {
                "the old and the new rows are in two tables, and one closure would reach one of them only; give \
                 `old(…)` and `new(…)` in place of `columns(…)`"
            }
            _ => {
                let shared = Arc::clone(shared);
                let methods = [Entry::of(&shared, name, &method)].into();
                return Ok(Self { shared, methods, form });
            }
        };
        let message = format!("the write `{}` cannot be made: {reason}", method.name);
        Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name))
    }

    /// The same with an implementation that writes both sides at once.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { form: Form::AtOnce, ..self }
    }

    /// What gives each write of a trait without transactions its own.
    #[must_use]
    pub fn fenced<DB: Backend>(&self, pool: Pool<DB>) -> Fenced<DB> {
        Fenced::new(&self.shared.shared, pool)
    }

    /// Whether one call writes both sides.
    pub(crate) fn writes_at_once(&self) -> bool {
        self.form != Form::Separate
    }

    /// Whether the same implementation writes the old columns, both, and the new ones.
    pub(crate) fn is_one_row(&self) -> bool {
        self.form == Form::OneRow
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Joined> {
        &self.shared
    }

    #[inline]
    pub(crate) fn method(&self, index: usize) -> &Entry {
        &self.methods[index]
    }
}

/// Nothing would mark the key of such a write before it.
const NO_TRANSACTION: &str = "the migration has two stores that share no transaction; write by `Migration::converging_write`";

/// Why a wrapper must not be built like this.
fn refused(shared: &Joined, name: &'static str, methods: &[Method], form: Form) -> Option<String> {
    let one_table = shared.copier.as_ref()?.one_table();
    let mut writes = methods.iter().filter(|method| method.operation == Operation::Write);
    if two::of(shared).is_some() {
        let write = writes.next()?.name;
        return Some(format!("`{name}::{write}` cannot be wrapped: {NO_TRANSACTION}"));
    }
    match (one_table, form) {
        (Some(true), Form::Separate) if !shared.options.two_statements => {
            let write = writes.find(|method| !method.once)?.name;
            Some(format!(
                "build the wrapper of `{name}` with `one_row`: the old and the new columns are in one table, \
                 and with two implementations `{write}` would be executed twice on one row; where that is \
                 wanted, say `two_statements()` on the registration"
            ))
        }
        (Some(false), _) => {
            let once = writes.find(|method| method.once)?.name;
            Some(format!(
                "remove `once` from `{name}::{once}`: the old and the new rows are in two tables, and the \
                 write would reach one of them only"
            ))
        }
        _ => None,
    }
}

/// The implementation that writes both and reads this side.
#[must_use]
pub fn by<B: ?Sized>(both: &[Arc<B>; 2], side: Side) -> &B {
    match side {
        Side::Old => &both[0],
        Side::New => &both[1],
    }
}

/// `==` for constants. The wrapper of sides that disagree is not built:
///
/// ```compile_fail
/// #[dualwrite::repository]
/// trait Limits {
///     const TABLE: &'static str;
/// }
///
/// struct Old;
/// struct New;
///
/// impl Limits for Old {
///     const TABLE: &'static str = "customer";
/// }
///
/// impl Limits for New {
///     const TABLE: &'static str = "customer_new"; // with "customer" it compiles
/// }
///
/// assert_eq!(<DualLimits<Old, New> as Limits>::TABLE, "customer");
/// ```
#[must_use]
pub const fn is_same_text(old: &str, new: &str) -> bool {
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let mut at = 0;
    while at < old.len() && at < new.len() && old[at] == new[at] {
        at += 1;
    }
    old.len() == new.len() && at == old.len()
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("migration", &self.shared.name).finish()
    }
}
