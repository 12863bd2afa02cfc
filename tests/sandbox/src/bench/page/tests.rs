//! The page contains the measurements, and external input appears only as escaped text.

use std::fs;
use std::time::Duration;

use super::*;
use crate::bench::chart::{Chart, Line, Point, Series};
use crate::bench::{Bound, Environment, Spread};

const HOSTILE: &str = "<script src=\"https://evil.example\">alert('1')</script> & co";

/// One of each kind, with an injection attempt as its name.
fn results() -> Results {
    let runs = Some(Spread { count: 10, least: 140.0, most: 180.0 });
    let measurements = vec![
        Measurement { runs, ..Measurement::bounded(HOSTILE, 160.0, "µs", Bound::AtMost(150.0)) },
        Measurement::bounded("calls", 2.0, "calls", Bound::Exactly(2.0)),
        Measurement::unbounded(HOSTILE, 12.345, "/s"),
    ];
    let points = [1.0, 2.0, 4.0].map(|value| Point::of(&[value, 1.1 * value])).to_vec();
    let chart = Chart {
        title: HOSTILE.to_owned(),
        across: "in flight",
        unit: "ms",
        doubling: true,
        places: ["1", "2", HOSTILE].map(str::to_owned).to_vec(),
        series: vec![Series { name: HOSTILE.to_owned(), points }],
        lines: vec![Line::at(3.0, HOSTILE)],
    };
    let mut case = CaseResult::new(HOSTILE, HOSTILE.to_owned(), Duration::from_secs(2), Ok(measurements.into()));
    case.charts.push(chart);
    let failed = CaseResult::new("b", String::new(), Duration::ZERO, Err(anyhow::anyhow!(HOSTILE)));
    Results::new("overhead", Environment::new("given"), false, vec![case, failed])
}

fn found(finding: &str) -> Results {
    Results { finding: Some(finding.to_owned()), ..results() }
}

#[test]
fn every_figure_its_bound_and_its_runs_are_on_the_page() {
    let page = page(&results(), "a remark");
    for text in
        ["160 µs", "≤ 150", "10 runs, 140 to 180", "= 2", "12.35 /s", "1 of 2 bounds broken", "a remark", "<svg"]
    {
        assert!(page.contains(text), "{text} is missing in {page}");
    }
}

#[test]
fn nothing_is_loaded_from_anywhere_and_no_script_runs() {
    let page = page(&found(HOSTILE), HOSTILE);
    let lower = page.to_ascii_lowercase();
    for never in ["<script", "<link", "<img", "<iframe", "@import", "url(", " src=", "javascript:", " onload"] {
        let found = lower.replace("&lt;script src=", "").contains(never);
        assert!(!found, "{never} is in {page}");
    }
    let links: Vec<_> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links, ["index.html"]);
}

#[test]
fn a_hostile_name_stays_text() {
    let page = page(&found(HOSTILE), HOSTILE);
    assert!(!page.contains(HOSTILE) && page.matches(&escaped(HOSTILE)).count() >= 8, "{page}");
}

/// Checks the nesting by parsing the page as XML, which is stricter than HTML, without the `<meta>` elements.
#[test]
fn every_element_is_closed_where_it_was_opened() {
    let page = page(&results(), HOSTILE);
    let mut reader = quick_xml::Reader::from_str(page.trim_start_matches("<!doctype html>"));
    reader.config_mut().check_end_names = false;
    let mut open = Vec::new();
    loop {
        match reader.read_event().expect("well-formed") {
            quick_xml::events::Event::Start(start) if start.name().as_ref() != b"meta" => {
                open.push(start.name().as_ref().to_vec());
            }
            quick_xml::events::Event::End(end) => assert_eq!(open.pop().as_deref(), Some(end.name().as_ref())),
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_index_tells_what_each_room_found_and_leads_to_it() {
    let folder = std::env::temp_dir().join(format!("dataverse-sync-index-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&folder).expect("writable");
    let results = found("3 calls <b>");
    fs::write(folder.join("overhead.json"), results.json().expect("JSON")).expect("writable");
    fs::write(folder.join("other.json"), "{}").expect("writable");
    let page = index(&folder);
    fs::remove_dir_all(folder).expect("removable");
    assert!(
        page.contains("href=\"overhead.html\"") && page.contains("3 calls &lt;b&gt;") && page.contains('✗'),
        "{page}"
    );
}
