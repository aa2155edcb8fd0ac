//! Shadow comparison: what the caller got is compared with the other side, off the caller's path. Begin with
//! [`ShadowRules`].

pub(crate) mod cohort;
pub(crate) mod context;
pub(crate) mod decide;
pub(crate) mod noise;
pub(crate) mod report;
pub(crate) mod rules;
pub(crate) mod samples;
pub(crate) mod sampling;

pub use crate::observe::outcome::ComparedReport;
pub use crate::shadow::cohort::{CohortReport, cohort};
pub use crate::shadow::context::{CallContext, with_context};
pub use crate::shadow::noise::NoiseReport;
pub use crate::shadow::report::{FieldMismatch, ShadowCall, ShadowFinding, ShadowReport};
pub use crate::shadow::rules::ShadowRules;
pub use crate::stages::sample::SampleOverride;
