mod answers;
mod properties;
mod reader;

use std::fmt;
use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::with_default;
use tracing::{debug, error, error_span, info, warn};

use super::*;
use crate::settings::lookup_in;
use reader::{Parsed, parsed};

/// Collects a test's lines.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<(Stream, String)>>>);

impl Printed {
    fn sink(&self) -> Sink {
        let printed = self.0.clone();
        Sink::new(move |stream, line| {
            let line = String::from_utf8(line.to_owned()).expect("UTF-8");
            printed.lock().unwrap_or_else(PoisonError::into_inner).push((stream, line));
        })
    }

    fn lines(&self) -> Vec<(Stream, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is printed while `work` runs.
fn logged(format: Format, filter: LevelFilter, work: impl FnOnce(&Printed)) -> Vec<(Stream, String)> {
    let printed = Printed::default();
    let format = LineFormat { format, ansi: false };
    let layer = LogLayer { format, sink: printed.sink() }.with_filter(filter);
    with_default(tracing_subscriber::registry().with(layer), || work(&printed));
    printed.lines()
}

fn one(format: Format, work: impl FnOnce()) -> Parsed {
    let lines = logged(format, LevelFilter::TRACE, |_| work());
    let [(_, line)] = &lines[..] else { panic!("one event is one line: {lines:?}") };
    parsed(format, line)
}

#[test]
fn a_line_has_time_level_message_fields_and_the_fields_of_its_spans_once() {
    let expected = [("code", "0x1 2"), ("table", "accounts"), ("attempt", "2"), ("function", "SyncQueue")];
    for format in [Format::Text, Format::Json] {
        let line = one(format, || {
            let outer = error_span!("outer", function = "SyncQueue", table = "contacts", late = tracing::field::Empty);
            let inner = error_span!(parent: &outer, "inner", attempt = 2);
            inner.in_scope(|| warn!(code = %"0x1 2", table = "accounts", none = None::<u8>, "it is {}", "so"));
        });
        assert_eq!((&*line.level, &*line.message), ("WARN", "it is so"));
        assert_eq!(line.fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

#[test]
fn text_is_quoted_only_where_it_is_ambiguous() {
    let lines = logged(Format::Text, LevelFilter::TRACE, |_| {
        info!(outcome = "applied", n = 1, ok = true, blank = "", path = "/a/b", said = "a b", "record settled");
        error!(table = "warnings", "set a,b=debug");
        info!(source = "hr attempt=9 \u{e0041}", "x=1 is not a field");
        info!("a\\b\nc \u{202e}");
    });
    let texts: Vec<_> = lines.iter().map(|(_, line)| line.split_once("Z ").map_or("", |(_, rest)| rest)).collect();
    let expected = [
        "INFO record settled outcome=applied n=1 ok=true blank=\"\" path=/a/b said=\"a b\"\n",
        "ERROR set a,b=debug table=w\\u0061rnings\n",
        "INFO \"x\\u003d1 is not a field\" source=\"hr attempt\\u003d9 \\udb40\\udc41\"\n",
        "INFO a\\\\b\\nc \\u202e\n",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn fields_recorded_later_appear_in_the_order_of_their_declaration() {
    let lines = logged(Format::Text, LevelFilter::TRACE, |_| {
        let span = error_span!("record", outcome = tracing::field::Empty, table = tracing::field::Empty, attempt = 1);
        span.record("table", "contacts");
        span.record("outcome", "retry");
        span.record("outcome", "applied");
        span.in_scope(|| info!("record settled"));
    });
    assert!(lines[0].1.ends_with(" INFO record settled outcome=applied table=contacts attempt=1\n"), "{lines:?}");
}

#[test]
fn a_json_line_keeps_numbers_and_its_own_members() {
    let lines = logged(Format::Json, LevelFilter::TRACE, |_| {
        info!(level = "mine", time = 1.5, big = u64::MAX, huge = f64::INFINITY, is = false, "a \"b\"");
    });
    let line: serde_json::Value = serde_json::from_str(&lines[0].1).expect("JSON");
    assert_eq!(
        (&line["level"], &line["level_"], &line["message"]),
        (&"INFO".into(), &"mine".into(), &"a \"b\"".into())
    );
    assert_eq!((&line["time_"], &line["big"]), (&1.5.into(), &u64::MAX.into()));
    assert_eq!((&line["huge"], &line["is"]), (&"inf".into(), &false.into()));
}

#[test]
fn events_of_other_crates_name_their_target_and_ours_do_not() {
    let fields = |work: fn()| one(Format::Text, work).fields;
    let target = [("target".to_owned(), "hyper::client".to_owned())];
    assert_eq!(fields(|| debug!(target: "hyper::client", "connected")), target);
    assert_eq!(fields(|| debug!(target: "handler", "started")), []);
    assert_eq!(fields(|| debug!("settled")), []);
}

struct Counted<'a>(&'a AtomicUsize);

impl fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        f.write_str("counted")
    }
}

#[test]
fn a_filtered_event_is_not_formatted_and_any_other_is_formatted_once() {
    let times = AtomicUsize::new(0);
    let work = |_: &Printed| info!(value = ?Counted(&times), "logged");
    assert_eq!(logged(Format::Text, LevelFilter::WARN, work), []);
    assert_eq!(times.load(Ordering::Relaxed), 0);
    let lines = logged(Format::Text, LevelFilter::INFO, work);
    assert_eq!((times.load(Ordering::Relaxed), lines.len()), (1, 1), "{lines:?}");
    assert!(lines[0].1.ends_with(" INFO logged value=counted\n"), "{lines:?}");
}

#[test]
fn a_panic_is_one_line_with_its_location_and_without_data() {
    let lines = logged(Format::Text, LevelFilter::INFO, |_| {
        let before = take_hook();
        panic::install();
        let data = "canary-warn\n".to_owned();
        let panicked =
            error_span!("record", attempt = 2).in_scope(|| catch_unwind(|| panic!("no such column: {data}")));
        set_hook(before);
        assert!(panicked.is_err());
    });
    // Other tests panic as well, but their threads have no log.
    let [(Stream::Stderr, line)] = &lines[..] else { panic!("one line on stderr: {lines:?}") };
    let fields = parsed(Format::Text, line).fields;
    assert!(fields[0].1.contains("telemetry/tests.rs:"), "{line}");
    assert_eq!(fields[1], ("attempt".to_owned(), "2".to_owned()));
    assert!(!line.contains("canary"), "{line}");
}

#[test]
fn names_all_wrong_settings() {
    let read = |settings: &'static [(&str, &str)]| Settings::read(&lookup_in(settings)).map(|settings| settings.format);
    assert_eq!(read(&[]), Ok(Format::Text));
    assert_eq!(read(&[("SYNC_LOG_FORMAT", " json "), ("RUST_LOG", "debug")]), Ok(Format::Json));
    let problems = read(&[("SYNC_LOG_FORMAT", "JSON"), ("RUST_LOG", "[{")]).expect_err("both are wrong");
    let names: Vec<_> = problems.iter().map(|problem| problem.variable.as_str()).collect();
    assert_eq!(names, ["SYNC_LOG_FORMAT", "RUST_LOG"]);
}

#[test]
fn a_filter_word_that_is_not_a_level_is_a_problem() {
    let read = |filter: &str| read_filter(&|name| (name == "RUST_LOG").then(|| filter.to_owned())).map(drop);
    for filter in ["inof", "info,hyper", "dataverse_sync", "hyper=inof", "hyper[span]=trace", "hyper[{name=1}]=trace"] {
        assert_eq!(read(filter).expect_err(filter).variable, "RUST_LOG");
    }
    for filter in ["", "WARN", "off", "0", "info,", "info, dataverse_sync=debug", "dataverse_sync=debug"] {
        assert_eq!(read(filter), Ok(()), "{filter}");
    }
}
