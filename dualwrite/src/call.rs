//! Calls without a repository trait: what [`Migration::read`](crate::Migration::read),
//! [`write`](crate::Migration::write) and their like return, to be given one closure for each side.

pub(crate) mod closures;
pub(crate) mod lazy;
pub(crate) mod read;
pub(crate) mod repository;
pub(crate) mod shadow;
pub(crate) mod write;

pub use crate::call::closures::converging::ConvergingWrite;
pub use crate::call::closures::own_store::{ConvergingSide, InControl};

pub use crate::call::closures::read::ReadCall;
pub use crate::call::closures::write::{ColumnsCall, InTx, WriteCall};
pub use crate::call::lazy::decide::MaybeMissing;
