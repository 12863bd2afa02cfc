//! The lines of one invocation: which of them are returned in its answer, and that none is lost.

use tracing::{Span, trace};

use super::*;
use crate::telemetry::captured::{MAX_LINE_BYTES, MAX_LINES};
use crate::telemetry::log_layer::MAX_PRINTED_BYTES;

fn invocation() -> (Span, CapturedLogs) {
    let span = error_span!("record", invocation_id = "id-1");
    let captured = CapturedLogs::of(&span);
    (span, captured)
}

fn untimed(line: &str) -> &str {
    line.split_once("Z ").map_or(line, |(_, rest)| rest.trim_end())
}

#[test]
fn info_waits_for_the_answer_and_all_other_lines_are_also_printed_at_once() {
    let mut taken = Vec::new();
    let printed = logged(Format::Text, LevelFilter::TRACE, |printed| {
        let (span, captured) = invocation();
        span.in_scope(|| {
            trace!("a");
            warn!("b");
            error_span!("inner", n = 1).in_scope(|| error!("c"));
            info!("d");
        });
        info!("of no invocation");
        assert_eq!(printed.lines().len(), 4);
        taken = captured.take();
        span.in_scope(|| info!("after the answer"));
    });
    let id = "invocation_id=id-1";
    let lines = [format!("TRACE a {id}"), format!("WARN b {id}"), format!("ERROR c n=1 {id}"), format!("INFO d {id}")];
    let copies = [
        format!("TRACE a also_on=stdout {id}"),
        format!("WARN b also_on=stderr {id}"),
        format!("ERROR c also_on=stderr n=1 {id}"),
        lines[3].clone(),
    ];
    assert!(taken.iter().map(|line| untimed(line)).eq(&copies), "{taken:?}");
    let printed: Vec<_> = printed.iter().map(|(stream, line)| (*stream, untimed(line))).collect();
    let after = format!("INFO after the answer {id}");
    let expected = [
        (Stream::Stdout, &*lines[0]),
        (Stream::Stderr, &*lines[1]),
        (Stream::Stderr, &*lines[2]),
        (Stream::Stdout, "INFO of no invocation"),
        (Stream::Stdout, &*after),
    ];
    assert_eq!(printed, expected);
}

#[test]
fn lines_that_no_answer_takes_are_printed_when_dropped() {
    let printed = logged(Format::Text, LevelFilter::TRACE, |printed| {
        let (span, captured) = invocation();
        span.in_scope(|| info!("it waits"));
        assert_eq!(printed.lines(), []);
        drop(captured);
        span.in_scope(|| info!("it is too late"));
    });
    let printed: Vec<_> = printed.iter().map(|(_, line)| untimed(line)).collect();
    assert_eq!(printed, ["INFO it waits invocation_id=id-1", "INFO it is too late invocation_id=id-1"]);
}

#[test]
fn of_too_many_lines_the_newest_travels_the_rest_is_counted_and_printed() {
    let mut taken = Vec::new();
    let printed = logged(Format::Text, LevelFilter::TRACE, |_| {
        let (span, captured) = invocation();
        (0..MAX_LINES + 10).for_each(|n| span.in_scope(|| info!("line {n}")));
        taken = captured.take();
    });
    assert_eq!(taken.len(), MAX_LINES + 1);
    assert_eq!(taken[MAX_LINES - 1], "… 10 lines were left out here …");
    assert!(untimed(&taken[MAX_LINES]).starts_with("INFO line 41 "), "{taken:?}");
    let printed: Vec<_> = printed.iter().map(|(_, line)| untimed(line).to_owned()).collect();
    assert!(printed.iter().map(String::as_str).eq((31..41).map(|n| format!("INFO line {n} invocation_id=id-1"))));
}

#[test]
fn a_long_line_is_printed_whole_and_travels_with_the_fields_that_fit() {
    for (format, cut) in [(Format::Text, " …"), (Format::Json, ",\"cut\":true}")] {
        let mut taken = Vec::new();
        let printed = logged(format, LevelFilter::TRACE, |_| {
            let (span, captured) = invocation();
            let long = "\u{1b}".repeat(MAX_LINE_BYTES);
            span.in_scope(|| info!(first = "1", long, "a long line"));
            taken = captured.take();
        });
        assert!(printed.len() == 1 && printed[0].1.len() > MAX_LINE_BYTES);
        assert!(taken[0].ends_with(cut) && taken[0].len() <= MAX_LINE_BYTES, "{taken:?}");
        let whole = taken[0].strip_suffix(cut).expect("it is cut").to_owned();
        let line = if format == Format::Json { whole + "}\n" } else { whole + "\n" };
        let parsed = parsed(format, &line);
        let fields = [("also_on", "stdout"), ("first", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!((&*parsed.message, &*parsed.fields), ("a long line", &fields[..]));
    }
}

#[test]
fn a_printed_line_has_at_most_as_many_bytes_as_application_insights_keeps() {
    for format in [Format::Text, Format::Json] {
        let printed = logged(format, LevelFilter::TRACE, |_| {
            error!(first = "1", long = "x".repeat(MAX_PRINTED_BYTES), last = 2, "a line that is too long");
        });
        let [(_, line)] = &printed[..] else { panic!("one event is one line") };
        assert!(line.len() < 200 && line.contains("first") && !line.contains("last"), "{line:.300}");
    }
}

#[test]
fn filtered_events_do_not_travel_and_without_a_log_nothing_does() {
    let mut taken = vec!["?".to_owned()];
    logged(Format::Text, LevelFilter::WARN, |_| {
        let (span, captured) = invocation();
        span.in_scope(|| info!("filtered"));
        taken = captured.take();
    });
    assert_eq!(taken, [""; 0]);
    let (span, captured) = invocation();
    span.in_scope(|| error!("there is no log"));
    assert_eq!(captured.take(), [""; 0]);
}
