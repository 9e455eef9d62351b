//! Catches panics of the client, which would otherwise take a task down.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs `work`, and turns a panic into an error, so that its caller gets a result.
pub(super) async fn guarded<T>(
    work: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        // After a panic it is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            Poll::Ready(Err(object_store::Error::Generic {
                store: "the client of the store",
                source: format!("it panicked: {}", message(panic.as_ref())).into(),
            }))
        })
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it did not say why")
}
