//! When a missing answer is a reason to copy.

use crate::stages::route::Route;
use crate::stages::stage::{Side, Stage};

/// An answer that can say that the key is not there.
///
/// ```
/// use dualwrite::call::MaybeMissing;
/// assert!(None::<i32>.is_missing());
/// assert!(!Some(1).is_missing());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say that a key is missing, which a lazy read needs",
    note = "answer with `Option<…>` or `Vec<…>`, or implement `dualwrite::call::MaybeMissing`"
)]
pub trait MaybeMissing {
    /// Whether the key was not found.
    fn is_missing(&self) -> bool;
}

impl<T> MaybeMissing for Option<T> {
    fn is_missing(&self) -> bool {
        self.is_none()
    }
}

impl<T> MaybeMissing for Vec<T> {
    fn is_missing(&self) -> bool {
        self.is_empty()
    }
}

/// New answers, and old gets every write for as long as this read lasts: at `Live`. Not from `RampDown`
/// on, which is entered when all is copied: an instance that has not learned that yet would ask old
/// beside writes of `Complete`, and what new misses then was deleted.
#[inline]
pub(crate) fn may_copy(route: Route) -> bool {
    matches!(route.stage, Stage::Live)
}

/// The route of a scan while keys are still missing in new: a scan cannot tell which, so old answers, for
/// as long as it gets every write. The same holds for a key that cannot be copied.
#[inline]
pub(crate) fn before_all_is_copied(route: Route) -> Route {
    match may_copy(route) {
        true => Route { primary: Side::Old, mirror: None, ..route },
        false => route,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::route::Operation;

    #[test]
    fn scans_ask_old_until_all_is_copied() {
        for stage in Stage::ALL {
            let route = Route::of(stage, Operation::Scan);
            let found = before_all_is_copied(route);
            match stage {
                Stage::Live => {
                    assert_eq!((found.primary, found.mirror), (Side::Old, None), "{stage}");
                }
                _ => assert_eq!(found, route),
            }
        }
    }

    #[test]
    fn only_reads_at_live_copy() {
        for stage in Stage::ALL {
            let expected = stage == Stage::Live;
            assert_eq!(may_copy(Route::of(stage, Operation::Read)), expected, "{stage}");
        }
    }

    #[test]
    fn an_answer_says_whether_the_key_is_missing() {
        assert!(None::<i32>.is_missing() && !Some(0).is_missing());
        assert!(Vec::<i32>::new().is_missing() && !vec![0].is_missing());
    }
}
