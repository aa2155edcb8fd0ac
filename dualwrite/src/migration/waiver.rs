//! An operator's word that a key need not be copied.

use std::future::IntoFuture;

use futures_util::future::BoxFuture;

use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::migration::transition::check_named;
use crate::stages::stage::Side;

/// A waiver about to be given; `.await` stores who gave it, why and when beside the dead letter.
///
/// A waived key no longer keeps a migration from going on, and a verification counts it apart
/// ([`VerifyReport::waived`](crate::verify::VerifyReport::waived)). Its letter stays, is listed and is tried again like
/// the others; it goes, and the waiver with it, when the key is copied after all. Failing again in the same
/// generation changes nothing; raising the generation takes back every waiver of that side, for what was
/// looked at then may be something else now.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// async fn forgive(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
///     migration.waive(&4711_i64).by("ops").because("a test account without a country").await?;
///     for letter in migration.dead_letters().await? {
///         println!("{} {:?}", letter.key, letter.waiver);
///     }
///     Ok(())
/// }
/// # }
/// ```
///
/// # Errors
/// `InvalidInput` without a reason, for an actor's name that is empty or too long, and where the key is not in
/// the dead letters; `WrongKey`, `Database`.
#[must_use = "a waiver is given when it is awaited"]
#[derive(Debug)]
pub struct Waiver<'m> {
    shared: &'m Joined,
    key: Result<EncodedKey, Error>,
    side: Side,
    actor: String,
    reason: String,
}

impl<'m> Waiver<'m> {
    pub(crate) fn new<K: Key + ?Sized>(shared: &'m Joined, key: &K) -> Self {
        let key = shared.check_kind(K::KIND).and_then(|()| shared.encode(key));
        let actor = shared.actor.to_string();
        Self { shared, key, side: Side::New, actor, reason: String::new() }
    }

    /// Waives the copy from new to old instead.
    pub fn reverse(mut self) -> Self {
        self.side = Side::Old;
        self
    }

    /// Who waives, at most 100 bytes. By default the instance.
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }

    /// Why; without a reason nothing is waived.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    async fn run(self) -> Result<(), Error> {
        let (shared, side) = (self.shared, self.side);
        let refused = |error: Error| error.of(&shared.name);
        check_named("actor", &self.actor).map_err(refused)?;
        if self.reason.trim().is_empty() {
            let message = "a key is waived only with a reason; add `.because(…)`";
            return Err(refused(Error::new(ErrorKind::InvalidInput, message)));
        }
        let key = self.key.map_err(refused)?;
        let waived = shared.control.waive(&shared.name, side, &key, &self.actor, &self.reason);
        if !waived.await? {
            let message = format!(
                "this key is not among those that could not be copied to {side}; see `dead_letters`"
            );
            return Err(refused(Error::new(ErrorKind::InvalidInput, message)));
        }
        tracing::info!(
            migration = &*shared.name,
            %side,
            actor = self.actor,
            reason = self.reason,
            "a dead letter was waived"
        );
        Ok(())
    }
}

impl<'m> IntoFuture for Waiver<'m> {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<'m, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
