//! The part of the port to the control tables that expands need: what is declared, and what the catalogue says of it.

use futures_util::future::BoxFuture;

use crate::error::Error;
use crate::expand::declared::Expand;
use crate::expand::shape::NewShape;

pub(crate) trait Expands: Send + Sync {
    /// Stores what a release declares as new.
    fn declare_expand<'a>(
        &'a self,
        name: &'a str,
        expand: &'a Expand,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// What the newest release declares as new; `None` where none does. Unknown names are an error.
    fn expand<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Expand>, Error>>;

    /// What the catalogue says of the tables of an expand.
    fn new_shape<'a>(&'a self, expand: &'a Expand) -> BoxFuture<'a, Result<NewShape, Error>>;
}
