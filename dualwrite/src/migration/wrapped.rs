//! What a generated wrapper makes of the migration that it is given.

use std::sync::Arc;

use crate::call::repository::{Form, Method, Repository};
use crate::migration::Migration;

impl Repository {
    /// For a trait with these methods.
    ///
    /// # Panics
    /// Where the copy function shows that the implementations would execute a write too often, or not often
    /// enough.
    #[must_use]
    #[track_caller]
    pub fn new(migration: &Migration, name: &'static str, methods: &[Method], form: Form) -> Self {
        Self::of_trait(Arc::clone(migration.shared()), name, methods, form)
    }
}
