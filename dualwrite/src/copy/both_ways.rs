//! A copy function that is registered with its way back.

use crate::copy::erased::Held;
use crate::copy::key_source::KeySource;
use crate::copy::mapping::Mapping;
use crate::copy::{Copied, CopyBack, CopyKeys};
use crate::error::{BoxError, Error};
use crate::transaction::Tx;

/// A copy function with its way back, as one value:
/// [`backfill_both_ways(copy)`](crate::Registration::backfill_both_ways) is `backfill(BothWays(copy))`.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::copy::BothWays;
/// use dualwrite::Registration;
/// use dualwrite::{CopyBack, CopyKeys};
/// use sqlx::Sqlite;
///
/// fn registered<C: CopyBack<Database = Sqlite>>(
///     registration: Registration<'_, Sqlite>,
///     copy: C,
/// ) -> Registration<'_, Sqlite> {
///     registration.backfill(BothWays(copy))
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BothWays<C>(pub C);

impl<C: CopyBack> CopyKeys for BothWays<C> {
    type Database = C::Database;
    type Key = C::Key;

    fn source(&self) -> KeySource {
        self.0.source()
    }

    fn new_source(&self) -> Option<KeySource> {
        self.0.new_source()
    }

    async fn copy(
        &self,
        tx: &mut Tx<'_, C::Database>,
        keys: &[C::Key],
    ) -> Result<Copied, BoxError> {
        self.0.copy(tx, keys).await
    }

    fn mapping(&self) -> Option<Mapping<C::Database>> {
        self.0.mapping()
    }

    async fn differing(
        &self,
        tx: &mut Tx<'_, C::Database>,
        keys: &[C::Key],
    ) -> Result<Vec<C::Key>, BoxError> {
        self.0.differing(tx, keys).await
    }

    fn ranges(&self) -> Option<Vec<&'static str>> {
        self.0.ranges()
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check()?;
        self.0.check_back()
    }

    fn held(self) -> Held<C::Database> {
        Held::both_ways(self.0)
    }
}
