//! One migration with its copy function, the types erased.

pub(crate) mod preflight;
pub(crate) mod registered;
