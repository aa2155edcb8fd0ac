//! What the generated wrappers hold: the migration and the statistics of their methods.

use std::sync::Arc;

use crate::migration::Migration;
use crate::observe::MethodStats;
use crate::route::Operation;
use crate::shared::Shared;

/// One method of a wrapped trait.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub operation: Operation,
    /// Whether a missing key is copied when it is read.
    pub lazy: bool,
}

pub(crate) struct Entry {
    pub(crate) stats: Arc<MethodStats>,
    /// Whether the method copies missing keys, and the migration allows it.
    pub(crate) lazy: bool,
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
    pub fn new(migration: &Migration, name: &'static str, methods: &'static [Method]) -> Self {
        let shared = Arc::clone(migration.shared());
        let methods = methods
            .iter()
            .map(|method| Entry {
                stats: shared.method(name, method.name),
                lazy: method.lazy && shared.options.lazy,
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

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("migration", &self.shared.name).finish()
    }
}
