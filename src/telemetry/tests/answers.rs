//! The lines of one invocation: which of them its answer takes, and that each is somewhere.

use tracing::{Span, trace};

use super::*;
use crate::telemetry::captured::MOST_LINES;
use crate::telemetry::line::MOST_SHORTENED;

fn invocation() -> (Span, CapturedLogs) {
    let span = error_span!("record", invocation_id = "id-1");
    let kept = CapturedLogs::of(&span);
    (span, kept)
}

/// The words of a line after its time.
fn words(line: &str) -> &str {
    line.split_once("Z ").map_or(line, |(_, rest)| rest.trim_end())
}

#[test]
fn information_waits_for_the_answer_and_all_else_is_printed_at_once_and_travels_too() {
    let mut taken = Vec::new();
    let printed = logged(Format::Text, LevelFilter::TRACE, |printed| {
        let (span, kept) = invocation();
        span.in_scope(|| {
            trace!("a");
            warn!("b");
            error_span!("inner", n = 1).in_scope(|| error!("c"));
            info!("d");
        });
        info!("of nobody");
        assert_eq!(printed.lines().len(), 4);
        taken = kept.take();
        span.in_scope(|| info!("after the answer"));
    });
    let id = "invocation_id=id-1";
    let lines = [format!("TRACE a {id}"), format!("WARN b {id}"), format!("ERROR c n=1 {id}"), format!("INFO d {id}")];
    assert!(taken.iter().map(|line| words(line)).eq(&lines), "{taken:?}");
    let printed: Vec<_> = printed.iter().map(|(stream, line)| (*stream, words(line))).collect();
    let after = format!("INFO after the answer {id}");
    let expected = [
        (Stream::Out, &*lines[0]),
        (Stream::Err, &*lines[1]),
        (Stream::Err, &*lines[2]),
        (Stream::Out, "INFO of nobody"),
        (Stream::Out, &*after),
    ];
    assert_eq!(printed, expected);
}

#[test]
fn lines_that_no_answer_takes_are_printed_at_the_end() {
    let printed = logged(Format::Text, LevelFilter::TRACE, |printed| {
        let (span, kept) = invocation();
        span.in_scope(|| info!("it waits"));
        assert_eq!(printed.lines(), []);
        drop(kept);
        span.in_scope(|| info!("nobody waits any more"));
    });
    let printed: Vec<_> = printed.iter().map(|(_, line)| words(line)).collect();
    assert_eq!(printed, ["INFO it waits invocation_id=id-1", "INFO nobody waits any more invocation_id=id-1"]);
}

#[test]
fn of_too_many_lines_the_newest_is_kept_the_rest_is_counted_and_none_is_lost() {
    let mut taken = Vec::new();
    let printed = logged(Format::Text, LevelFilter::TRACE, |_| {
        let (span, kept) = invocation();
        (0..MOST_LINES + 10).for_each(|n| span.in_scope(|| info!("line {n}")));
        taken = kept.take();
    });
    assert_eq!(taken.len(), MOST_LINES + 1);
    assert_eq!(taken[MOST_LINES - 1], "… 10 lines were left out here …");
    assert!(words(&taken[MOST_LINES]).starts_with("INFO line 41 "), "{taken:?}");
    let printed: Vec<_> = printed.iter().map(|(_, line)| words(line).to_owned()).collect();
    assert!(printed.iter().map(String::as_str).eq((31..41).map(|n| format!("INFO line {n} invocation_id=id-1"))));
}

#[test]
fn a_long_line_is_printed_whole_and_travels_as_far_as_its_fields_fit() {
    for (format, cut) in [(Format::Text, " …"), (Format::Json, ",\"cut\":true}")] {
        let mut taken = Vec::new();
        let printed = logged(format, LevelFilter::TRACE, |_| {
            let (span, kept) = invocation();
            let long = "\u{1b}".repeat(MOST_SHORTENED);
            span.in_scope(|| info!(first = "1", long, "a long line"));
            taken = kept.take();
        });
        assert!(printed.len() == 1 && printed[0].1.len() > MOST_SHORTENED);
        assert!(taken[0].ends_with(cut) && taken[0].len() <= MOST_SHORTENED, "{taken:?}");
        let whole = taken[0].strip_suffix(cut).expect("it is cut").to_owned();
        let line = if format == Format::Json { whole + "}\n" } else { whole + "\n" };
        let told = told(format, &line);
        assert_eq!((&*told.message, &*told.fields), ("a long line", &[("first".to_owned(), "1".to_owned())][..]));
    }
}

#[test]
fn what_is_filtered_out_does_not_travel_either_and_without_a_log_there_is_nothing() {
    let mut taken = vec!["?".to_owned()];
    logged(Format::Text, LevelFilter::WARN, |_| {
        let (span, kept) = invocation();
        span.in_scope(|| info!("not heard"));
        taken = kept.take();
    });
    assert_eq!(taken, [""; 0]);
    let (span, kept) = invocation();
    span.in_scope(|| error!("nobody listens"));
    assert_eq!(kept.take(), [""; 0]);
}
