//! Flags from elsewhere: where a migration shall be, who says it, and the kill switch. Begin with [`FlagSource`], or
//! take one that is ready: the environment, a file, or any OpenFeature provider.

pub(crate) mod decide;
pub(crate) mod desired;
pub(crate) mod report;
pub(crate) mod source;

pub use crate::flags::desired::DesiredState;
pub use crate::flags::report::FlagReport;
pub use crate::flags::source::FlagSource;
