//! What a caller says of its call to the predicates and reports of comparisons: a tenant, a request, its arguments.
//! It is the task's own, as a cohort is, and is looked at only where a call is compared.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::lazy;

tokio::task_local! {
    static CONTEXT: CallContext;
}

/// What callers have said of a call, by [`with_context`].
#[derive(Clone, Default)]
pub struct CallContext(Option<Arc<Layer>>);

struct Layer {
    value: Box<dyn Any + Send + Sync>,
    outer: CallContext,
}

impl CallContext {
    /// The value of this type that was given nearest to the call.
    ///
    /// ```
    /// struct Tenant(u32);
    ///
    /// let rules = dualwrite::shadow::ShadowRules::default()
    ///     .run_if(|call| call.context.get().is_some_and(|Tenant(id)| *id < 100));
    /// # let _ = rules;
    /// ```
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        let mut context = self;
        while let Some(layer) = &context.0 {
            match layer.value.downcast_ref() {
                Some(value) => return Some(value),
                None => context = &layer.outer,
            }
        }
        None
    }
}

/// The values are the service's, and may be anything: none is shown.
impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut layers = 0;
        let mut context = self;
        while let Some(layer) = &context.0 {
            (layers, context) = (layers + 1, &layer.outer);
        }
        f.debug_struct("CallContext").field("values", &layers).finish()
    }
}

/// Gives a value to what is called in here: [`ShadowCall::context`](crate::shadow::ShadowCall) and
/// [`ShadowReport::context`](crate::shadow::ShadowReport) have it, to be asked for by its type. Within one another, all are
/// there; of two of one type the inner one counts. What is spawned in here has none.
///
/// Predicates see the key of a call, and no other argument; give them those that they need:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # struct Orders;
/// # impl Orders { async fn page(&self, from: u32) -> Vec<i64> { vec![i64::from(from)] } }
/// # let orders = Orders;
/// struct From(u32);
///
/// // The new side sorts equal dates otherwise: pages from the second on may differ.
/// let rules = dualwrite::shadow::ShadowRules::default().ignore_call_if(
///     |_: &Vec<i64>, _: &Vec<i64>, call| call.context.get().is_some_and(|From(row)| *row > 0),
/// );
/// # let _ = rules;
/// let from = 50;
/// let page = dualwrite::shadow::with_context(From(from), orders.page(from)).await;
/// # assert_eq!(page, [50]);
/// # });
/// ```
pub fn with_context<T, F>(value: T, call: F) -> impl Future<Output = F::Output>
where
    T: Any + Send + Sync,
    F: Future,
{
    // Not before it is polled: what is written within one another is built from the inside.
    lazy(|_| current()).then(move |outer| {
        let layer = Layer { value: Box::new(value), outer };
        CONTEXT.scope(CallContext(Some(Arc::new(layer))), call)
    })
}

/// What was said of the calls of the present task.
pub(crate) fn current() -> CallContext {
    CONTEXT.try_with(CallContext::clone).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_is_found_by_its_type_and_the_inner_one_counts() {
        assert_eq!(current().get::<u8>(), None);
        let inner = async { current() };
        let context = with_context(1_u8, with_context("tenant", inner)).await;
        assert_eq!((context.get(), context.get()), (Some(&1_u8), Some(&"tenant")));
        assert_eq!(format!("{context:?}"), "CallContext { values: 2 }");
        let inner = with_context(2_u8, async { current() });
        assert_eq!(with_context(1_u8, inner).await.get(), Some(&2_u8));
    }
}
