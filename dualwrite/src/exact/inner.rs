//! What the clones of a handle share.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::exact::core::Core;
use crate::exact::half::Half;
use crate::exact::side::ExactSide;

pub(crate) struct Inner<O: ExactSide, N: ExactSide> {
    pub(crate) core: Arc<Core>,
    pub(crate) old: Arc<Half<O>>,
    pub(crate) new: Arc<Half<N>>,
    pub(crate) tasks: TaskTracker,
}

/// The last clone ends what goes on beside callers.
impl<O: ExactSide, N: ExactSide> Drop for Inner<O, N> {
    fn drop(&mut self) {
        self.core.closing.cancel();
    }
}
