//! What a wrapper holds that fences the writes of a trait without transactions.

use std::sync::Arc;

pub use sqlx::Pool;

use crate::database::{Backend, Isolation};
use crate::error::Error;
use crate::state::Shared;
use crate::transaction::Tx;
use crate::transaction::shared::{SharedTx, Turn};

/// Gives each write its transaction.
pub struct Fenced<DB: Backend> {
    migrations: Arc<[Arc<Shared>]>,
    pool: Pool<DB>,
    carried: Option<SharedTx<DB>>,
}

impl<DB: Backend> Fenced<DB> {
    /// For the migration of a wrapper.
    pub(crate) fn new(shared: &Arc<Shared>, pool: Pool<DB>) -> Self {
        Self { migrations: Arc::from([Arc::clone(shared)]), pool, carried: None }
    }

    pub(crate) fn and_shared(&self, more: &Arc<Shared>) -> Self {
        let migrations = self.migrations.iter().chain([more]).map(Arc::clone).collect();
        Self { migrations, ..self.clone() }
    }

    /// In this transaction.
    #[must_use]
    pub fn within(&self, tx: &SharedTx<DB>) -> Self {
        Self { carried: Some(tx.clone()), ..self.clone() }
    }

    /// The transaction of one call.
    ///
    /// # Errors
    /// As [`Tx::begin_for`]; `Conflict` and `Poisoned` of a shared transaction that is in use or has ended.
    pub async fn begin(&self) -> Result<Turn<DB>, Error> {
        if let Some(carried) = &self.carried {
            return carried.lend();
        }
        let migrations: Vec<&Shared> = self.migrations.iter().map(|shared| &**shared).collect();
        let begun = Tx::begin_open(&self.pool, &migrations, Isolation::default()).await;
        begun.map(Turn::own)
    }
}

impl<DB: Backend> Clone for Fenced<DB> {
    fn clone(&self) -> Self {
        let migrations = Arc::clone(&self.migrations);
        Self { migrations, pool: self.pool.clone(), carried: self.carried.clone() }
    }
}
