//! One migration with its copy function, the types erased.

pub(crate) mod registered;
