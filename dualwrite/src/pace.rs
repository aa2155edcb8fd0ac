//! How fast background work goes on: throttle, load, replicas.

pub(crate) mod load;
pub(crate) mod pressure;
pub(crate) mod replicas;
pub(crate) mod throttle;
