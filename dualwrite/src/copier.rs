//! One migration with its copy function, the types erased.

pub(crate) mod dead_letters;
mod declared;
pub(crate) mod joined;
pub(crate) mod port;
pub(crate) mod preflight;
pub(crate) mod registered;
mod spelling;
