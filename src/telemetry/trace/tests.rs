use std::cell::Cell;

use super::*;

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_traceparent_is_read_with_its_ids_and_its_sampled_flag() {
    let parent = parse(GIVEN).expect("the example of the specification");
    assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
    assert!(parent.is_remote() && parent.is_sampled());
    assert!(!parse(&GIVEN.replace("-01", "-00")).expect("not sampled, yet a parent").is_sampled());
    assert!(parse(&GIVEN.replace("-01", "-ff")).expect("flags that nobody knows yet").is_sampled());
}

#[test]
fn a_later_version_may_hold_more_and_this_one_may_not() {
    assert!(parse(&format!("cc{}-what-the-future-holds", &GIVEN[2..])).is_some());
    assert!(parse(&format!("{GIVEN}-what-the-future-holds")).is_none());
}

#[test]
fn what_is_no_traceparent_is_no_parent() {
    let long = "0".repeat(100_000);
    for text in [
        "",
        "-",
        "00",
        "---",
        long.as_str(),
        "00-1-2-00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b-01",
    ] {
        assert!(parse(text).is_none(), "{}", text.get(..60).unwrap_or(text));
    }
}

#[tokio::test]
async fn work_that_ends_at_once_has_no_span_and_work_that_waits_has_one() {
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
    let told = Cell::new(0);
    assert_eq!(span_if_pending(waits, span, |_, done| told.set(*done)).await, 8);
    assert_eq!((MADE.get(), told.get()), (1, 8));
}
