//! What generated code needs of the user's types. Each need is a trait that every fitting type has, with
//! the words that the compiler shows where a type does not fit.

use futures_util::FutureExt as _;

use crate::error::Error;

/// The answer of a read that is compared.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is the answer of a read that is compared, and cannot be copied for that",
    label = "must be `Clone + Send + Sync + 'static`",
    note = "the caller gets the answer, and a task that outlives the call compares a copy of it",
    note = "derive `Clone` on it and on what it holds, or write `shadow = never` on the method"
)]
pub trait Answered: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Answered for T {}

/// The error of a method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is the error of a repository, and cannot be made from `dualwrite::Error`",
    label = "must be `From<dualwrite::Error>`",
    note = "a call may fail in this library too: implement `From<dualwrite::Error>` for it; sqlx's error \
            has it"
)]
pub trait Failure: From<Error> {}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> Failure for E {}

/// An argument of a read that is asked again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is an argument of a read that may be asked again, and cannot be kept for that",
    label = "must be `Clone + Send + Sync + 'static`",
    note = "the other side is asked after the call, with copies of the arguments",
    note = "derive `Clone` on it and on what it holds, or write `shadow = never` on a method that is not lazy"
)]
pub trait Kept: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Kept for T {}

/// An argument that both sides get.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is an argument that both sides may get, and cannot be copied",
    label = "must be `Clone`",
    note = "derive `Clone` on it, or take it by reference"
)]
pub trait Handed: Clone {}

#[diagnostic::do_not_recommend]
impl<T: Clone> Handed for T {}

/// Our error as the user's.
#[must_use]
pub fn failure<E: Failure>(error: Error) -> E {
    error.into()
}

/// The answer of a side that has an error type of its own, with that of old.
///
/// # Errors
/// The side's.
pub fn with_error_of_old<T, E: From<F>, F>(answer: Result<T, F>) -> Result<T, E> {
    answer.map_err(E::from)
}

/// The same of an answer that is waited for.
pub fn answering_error_of_old<T, E: From<F>, F>(
    call: impl Future<Output = Result<T, F>> + Send,
) -> impl Future<Output = Result<T, E>> + Send {
    call.map(with_error_of_old)
}

/// The error of a side, or ours, until the user's function has made one of it.
#[derive(Debug)]
pub enum Carried<E> {
    /// The side's.
    Theirs(E),
    /// Ours.
    Ours(Error),
}

impl<E> From<Error> for Carried<E> {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl<E> Carried<E> {
    /// The side's error.
    #[must_use]
    pub fn theirs(&self) -> Option<&E> {
        match self {
            Self::Theirs(error) => Some(error),
            Self::Ours(_) => None,
        }
    }
}

/// The answer of a side whose error is not made from ours by itself.
pub fn carried<T, E>(
    call: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, Carried<E>>> {
    call.map(|answer| answer.map_err(Carried::Theirs))
}

/// The answer with the user's error, ours made into it.
///
/// # Errors
/// The same one.
pub fn with_error<T, E>(
    answer: Result<T, Carried<E>>,
    convert: impl FnOnce(Error) -> E,
) -> Result<T, E> {
    answer.map_err(|error| match error {
        Carried::Theirs(error) => error,
        Carried::Ours(error) => convert(error),
    })
}

/// Our error, where the method's answer has no place for one.
#[derive(Debug)]
pub struct Unknown(Error);

impl From<Error> for Unknown {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// The answer of a side that cannot fail.
pub fn sure<T>(call: impl Future<Output = T>) -> impl Future<Output = Result<T, Unknown>> {
    call.map(Ok)
}

/// Logs why a call answers with what the trait says for this case.
#[cold]
pub fn unknown(method: &'static str, Unknown(error): Unknown) {
    unknown_of(method, &error);
}

/// The same of an error that nothing carries.
#[cold]
pub fn unknown_of(method: &'static str, error: &Error) {
    tracing::warn!(
        method,
        cause = error.logged_cause(),
        migration = error.migration(),
        "a call was answered by its `on_unknown`"
    );
}

/// An argument for the next call: a copy, or where no other call follows the argument itself.
pub fn given<T: Handed>(argument: &mut Option<T>, is_last: bool) -> Option<T> {
    if is_last { argument.take() } else { argument.clone() }
}

/// A copy of an argument, for a call to come.
#[must_use]
pub fn kept<T: Kept>(argument: &T) -> T {
    argument.clone()
}

/// A copy of an argument, for the first of two sides.
#[must_use]
pub fn handed<T: Handed>(argument: &T) -> T {
    argument.clone()
}
