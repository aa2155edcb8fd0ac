//! Expands in memory: what is declared. There is no schema to look at.

use futures_util::future::BoxFuture;

use super::{MemoryControl, done};
use crate::control::expands::Expands;
use crate::error::Error;
use crate::expand::declared::Expand;
use crate::expand::shape::NewShape;

impl Expands for MemoryControl {
    fn declare_expand<'a>(
        &'a self,
        name: &'a str,
        expand: &'a Expand,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with(name, |entry| entry.expand = Some(expand.clone())))
    }

    fn expand<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Expand>, Error>> {
        done(self.with(name, |entry| entry.expand.clone()))
    }

    fn new_shape<'a>(&'a self, _expand: &'a Expand) -> BoxFuture<'a, Result<NewShape, Error>> {
        done(Ok(NewShape::default()))
    }
}
