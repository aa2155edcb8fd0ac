//! How fast background work goes on: throttle, load, replicas.

pub(crate) mod load;
pub(crate) mod rate;
pub(crate) mod replicas;
pub(crate) mod throttle;
