//! Writers of the old table that do not know the library: which of them the triggers see, and that no trigger
//! of the library hurts them.

mod elsewhere;
pub(crate) mod named;
mod seen;
mod unhurt;
