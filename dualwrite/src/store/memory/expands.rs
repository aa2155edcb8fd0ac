//! Expands in memory: what is declared. There is no schema to look at.

use futures_util::future::BoxFuture;

use super::{MemoryControl, done};
use crate::control::expands::Expands;
use crate::error::Error;
use crate::expand::declared::Expand;
use crate::expand::shape::NewShape;
use crate::preflight::live::{Live, SqlxRecord};

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

    fn live<'a>(&'a self, _names: &'a [String]) -> BoxFuture<'a, Result<Live, Error>> {
        done(Ok(Live::default()))
    }

    fn sqlx_records(&self) -> BoxFuture<'_, Result<Vec<SqlxRecord>, Error>> {
        done(Ok(Vec::new()))
    }

    fn answers<'a>(&'a self, _sql: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        done(Ok(false))
    }

    fn shape<'a>(&'a self, _tables: &'a [&'a str]) -> BoxFuture<'a, Result<NewShape, Error>> {
        done(Ok(NewShape::default()))
    }
}
