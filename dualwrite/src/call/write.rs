//! Dual writes: both sides in one fenced transaction, always old first.

pub(crate) mod answer;
pub(crate) mod begin;
pub(crate) mod cause;
pub(crate) mod decide;
#[cfg(feature = "testing")]
mod faulty;
pub(crate) mod leave;
pub(crate) mod mirror;
pub(crate) mod route;
pub(crate) mod run;
pub(crate) mod together;
pub(crate) mod unequal;
