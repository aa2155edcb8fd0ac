//! The part of the port to the control tables that looks at the database around them.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::doctor::facts::{Concerned, Examined};
use crate::doctor::in_the_way::InUse;
use crate::error::Error;

pub(crate) trait Examines: Send + Sync {
    /// Looks at the server and at these tables, and changes nothing. A file is tried for a lock for as long as `wait`.
    fn examine<'a>(
        &'a self,
        tables: &'a [Concerned],
        wait: Duration,
    ) -> BoxFuture<'a, Result<Examined, Error>>;

    /// Who has these tables open, and by how much replicas are behind, as far as the server says.
    fn in_use<'a>(&'a self, tables: &'a [String]) -> BoxFuture<'a, Result<InUse, Error>>;
}
