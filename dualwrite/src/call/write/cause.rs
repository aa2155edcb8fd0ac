//! Finds the error of a database in the error type of a repository. The choice is made by generated code,
//! which knows the type; see [`pair`](crate::compare).

use std::error::Error as StdError;

use crate::shadow::rules::Failed;

type Source<'e> = Option<&'e (dyn StdError + 'static)>;

/// First choice: the type is an error.
pub trait CauseOfError<'e> {
    /// The error.
    fn cause(&self) -> Source<'e>;
}

impl<'e, E: StdError + 'static> CauseOfError<'e> for &&Failed<'e, E> {
    fn cause(&self) -> Source<'e> {
        Some(self.0)
    }
}

/// Second choice: the type holds an error, as a boxed one and `anyhow::Error` do.
pub trait CauseInside<'e> {
    /// The error inside.
    fn cause(&self) -> Source<'e>;
}

impl<'e, E: AsRef<dyn StdError + Send + Sync + 'static>> CauseInside<'e> for &Failed<'e, E> {
    fn cause(&self) -> Source<'e> {
        Some(self.0.as_ref())
    }
}

/// No choice: nothing is known of it.
pub trait CauseUnknown<'e> {
    /// Nothing.
    fn cause(&self) -> Source<'e>;
}

impl<'e, E: ?Sized> CauseUnknown<'e> for Failed<'e, E> {
    fn cause(&self) -> Source<'e> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Opaque;

    #[test]
    #[expect(clippy::needless_borrow, reason = "as generated code writes it")]
    fn the_error_is_found_whatever_type_holds_it() {
        let error = sqlx::Error::RowNotFound;
        assert!((&&&Failed(&error)).cause().is_some_and(|cause| cause.is::<sqlx::Error>()));
        let boxed: Box<dyn StdError + Send + Sync> = Box::new(error);
        assert!((&&&Failed(&boxed)).cause().is_some_and(|cause| cause.is::<sqlx::Error>()));
        assert!((&&&Failed(&Opaque)).cause().is_none());
    }
}
