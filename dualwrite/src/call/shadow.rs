//! Comparing beside a call: asking the other side, keeping samples, counting.

pub(crate) mod count;
pub(crate) mod hear;
pub(crate) mod keep;
pub(crate) mod run;
pub(crate) mod writes;
