//! What the page shows, read once a second for all who look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::FromRef;
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::operator::details::Details;
use crate::operator::{MigrationOverview, Operator};

/// For so long what was read is shown to others, too.
const FRESH: Duration = Duration::from_secs(1);
/// How many views are kept at the most.
const VIEWS_MAX: u64 = 200;
/// The most pages that are renewed at a time, for all viewers together; one more is answered with 503, and stays as it is.
pub const PAGE_LIVE_MAX: usize = 100;

/// The operator, and what was read of late.
#[derive(Clone)]
pub(super) struct Served {
    operator: Operator,
    all: Cache<u64, Arc<Vec<MigrationOverview>>>,
    one: Cache<(u64, String), Arc<Details>>,
    /// Raised by each command: what was read before is not shown after.
    commands: Arc<AtomicU64>,
    pub(super) live: Arc<Semaphore>,
}

impl FromRef<Served> for Operator {
    fn from_ref(served: &Served) -> Self {
        served.operator.clone()
    }
}

impl Served {
    pub(super) fn new(operator: Operator) -> Self {
        Self {
            operator,
            all: Cache::builder().max_capacity(VIEWS_MAX).time_to_live(FRESH).build(),
            one: Cache::builder().max_capacity(VIEWS_MAX).time_to_live(FRESH).build(),
            commands: Arc::default(),
            live: Arc::new(Semaphore::new(PAGE_LIVE_MAX)),
        }
    }

    /// All migrations.
    pub(super) async fn all(&self) -> Result<Arc<Vec<MigrationOverview>>, Arc<Error>> {
        let reading = async { self.operator.migrations().await.map(Arc::new) };
        self.all.try_get_with(self.commands.load(Relaxed), reading).await
    }

    /// One migration.
    pub(super) async fn details(&self, name: &str) -> Result<Arc<Details>, Arc<Error>> {
        let key = (self.commands.load(Relaxed), name.to_owned());
        let reading = async { self.operator.details(name).await.map(Arc::new) };
        self.one.try_get_with(key, reading).await
    }

    /// Something was changed.
    pub(super) fn forget(&self) {
        self.commands.fetch_add(1, Relaxed);
    }
}
