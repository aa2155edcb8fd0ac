//! There is no database around control tables in memory.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{MemoryControl, done};
use crate::control::doctor::Examines;
use crate::doctor::facts::{Concerned, Examined};
use crate::doctor::in_the_way::InUse;
use crate::error::Error;

impl Examines for MemoryControl {
    fn examine<'a>(
        &'a self,
        _tables: &'a [Concerned],
        _wait: Duration,
    ) -> BoxFuture<'a, Result<Examined, Error>> {
        done(Ok(Examined::default()))
    }

    fn in_use<'a>(&'a self, _tables: &'a [String]) -> BoxFuture<'a, Result<InUse, Error>> {
        done(Ok(Default::default()))
    }
}
