//! What the generated wrappers hold: the migration, and for each method its statistics and options.

use std::sync::Arc;
use std::time::Duration;

use crate::migration::Migration;
use crate::observe::MethodStats;
use crate::stages::position::Percent;
use crate::stages::route::Operation;
use crate::state::{AnswerPolicy, MirrorPolicy, Shared};

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
        Self { timeout: Some(Duration::from_millis(millis)), ..self }
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
        Self { primary_timeout: Some(Duration::from_millis(millis)), ..self }
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
    /// The share of its calls that is compared.
    #[inline]
    pub(crate) fn sample(&self, shared: &Shared) -> Percent {
        self.sample.unwrap_or(shared.options.shadow_sample)
    }

    /// The limit on one of its shadow reads.
    pub(crate) fn timeout(&self, shared: &Shared) -> Duration {
        self.timeout.unwrap_or(shared.options.shadow_timeout)
    }

    /// What a mirror write that fails does to the caller's.
    pub(crate) fn mirror(&self, shared: &Shared) -> MirrorPolicy {
        self.mirror.unwrap_or(shared.options.mirror)
    }

    /// What happens where the sides answer a write differently.
    pub(crate) fn on_difference(&self, shared: &Shared) -> AnswerPolicy {
        self.answers.unwrap_or(shared.options.answers)
    }

    /// The limit on one of its mirror writes.
    pub(crate) fn mirror_timeout(&self, shared: &Shared) -> Duration {
        self.timeout.unwrap_or(shared.options.mirror_write_timeout)
    }

    /// The limit on the primary's write, where there is one.
    pub(crate) fn primary_timeout(&self, shared: &Shared) -> Option<Duration> {
        self.primary_timeout.or(shared.options.primary_write_timeout)
    }
}

/// The statistics of a method, which know from which time on a call of it takes too long.
fn counted(shared: &Shared, repository: &'static str, method: &Method) -> Arc<MethodStats> {
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
    shared: Arc<Shared>,
    methods: Arc<[Entry]>,
}

impl Repository {
    /// For a trait with these methods.
    #[must_use]
    pub fn new(migration: &Migration, name: &'static str, methods: &[Method]) -> Self {
        let shared = Arc::clone(migration.shared());
        let methods = methods
            .iter()
            .map(|method| Entry {
                stats: counted(&shared, name, method),
                lazy: method.lazy && shared.options.lazy,
                // The macro has made sure that it is one.
                sample: method.sample.and_then(|share| Percent::from_basis_points(share).ok()),
                timeout: method.timeout,
                mirror: method.mirror,
                answers: method.answers,
                primary_timeout: method.primary_timeout,
            })
            .collect();
        Self { shared, methods }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    #[inline]
    pub(crate) fn method(&self, index: usize) -> &Entry {
        &self.methods[index]
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
