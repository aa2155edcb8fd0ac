//! How generated code ends the call of a target.

use std::error::Error as StdError;

use crate::call::write::answer::Answer;
use crate::call::write::run::Write;
use crate::compare::Pair;
use crate::database::Backend;
use crate::transaction::Tx;

impl<T, E> Write<'_, T, E> {
    /// After the call of one target, by functions that capture nothing: so all methods with these types have one future,
    /// which the compiler looks at once.
    ///
    /// # Panics
    /// As [`Write::leave_by`].
    pub fn leave<DB: Backend>(
        &mut self,
        tx: &mut Tx<'_, DB>,
        answer: Answer<T, E>,
        differ: fn(Pair<'_, T, T>) -> bool,
        cause: for<'e> fn(&'e E) -> Option<&'e (dyn StdError + 'static)>,
    ) -> impl Future<Output = ()> {
        self.leave_by(tx, answer, differ, cause)
    }
}
