use std::cell::Cell;

use super::*;

#[tokio::test]
async fn work_that_completes_at_once_has_no_span_and_pending_work_has_one() {
    thread_local! { static MADE: Cell<u32> = const { Cell::new(0) } }
    let span = || {
        MADE.set(MADE.get() + 1);
        Span::none()
    };
    assert_eq!(span_if_pending(async { 7 }, span, |_, _| panic!("there is no span")).await, 7);
    assert_eq!(MADE.get(), 0);
    let waits = async {
        tokio::task::yield_now().await;
        8
    };
    let recorded = Cell::new(0);
    assert_eq!(span_if_pending(waits, span, |_, done| recorded.set(*done)).await, 8);
    assert_eq!((MADE.get(), recorded.get()), (1, 8));
}
