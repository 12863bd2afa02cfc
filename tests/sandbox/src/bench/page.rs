//! The results of a benchmark as a page: one file from one template, no script, nothing loaded from anywhere.
//!
//! It computes nothing: every value comes from the measurements.

mod plot;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::report::{self, mark};
use super::results::Results;

/// The page without its title and its content.
const TEMPLATE: &str = include_str!("page/template.html");

/// The page of one benchmark.
pub(super) fn page(results: &Results) -> String {
    let plots: String = results.cases.iter().flat_map(|case| plot::plots(&case.case, &case.samples)).collect();
    let body =
        format!("<p><a href=\"index.html\">benchmarks</a></p>{plots}<pre>{}</pre>", escaped(&report::text(results)));
    document(&format!("{} {}", mark(results.held), results.finding), &body)
}

fn document(title: &str, body: &str) -> String {
    let (before, after) = TEMPLATE.split_once("{body}").expect("the template has a place for the content");
    format!("{}{body}{after}", before.replace("{title}", &escaped(title)))
}

/// The index page: the last finding of each benchmark, read from the JSON files in this folder; other files are ignored.
pub(super) fn index(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = files.filter(|path| path.extension().is_some_and(|end| end == "json")).map(fs::read_to_string);
    let lines = texts.filter_map(|text| card(&serde_json::from_str(&text.ok()?).ok()?));
    let lines: BTreeSet<String> = lines.collect();
    document("dataverse-sync: benchmarks", &lines.into_iter().collect::<String>())
}

fn card(found: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(escaped);
    let (bench, finding, mark) = (text(&found["bench"])?, text(&found["finding"])?, mark(found["held"] == true));
    let (begun, commit) = (text(&found["environment"]["begun"])?, text(&found["environment"]["commit"])?);
    Some(format!("<h2><a href=\"{bench}.html\">{finding}</a> {mark}</h2><p>{begun} · {commit}</p>"))
}

/// Escapes text for an element or an attribute.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Results with a broken bound, a value in a plot, and a failed case; `name` is an input from outside.
#[cfg(test)]
pub(super) fn example(name: &str) -> Results {
    use super::results::{Bound, CaseResult, Environment};
    use super::samples::{Plot, Samples};

    let mut samples = Samples::default();
    for value in [140.0, 160.0, 180.0] {
        samples.bounded(name, "µs", value, Bound::AtMost(150.0));
    }
    samples.add("rate", "/s", 12.345);
    for at in [1_u32, 16, 48] {
        samples.add(format!("{name} {at}"), "ms", f64::from(at)).plotted(
            Plot::by_load("time <added>"),
            "median & p99",
            at.into(),
        );
    }
    let failed = Err(anyhow::anyhow!("{name}"));
    let cases = [("load", Ok(vec![("handler", samples)])), ("failed", failed)];
    let cases = cases.map(|(case, outcome)| CaseResult::new(case, super::Duration::ZERO, outcome));
    Results::new("overhead", Environment::new("given"), false, cases.to_vec())
}

#[cfg(test)]
mod tests {
    use quick_xml::events::Event;

    use super::*;

    const HOSTILE: &str = "<script src=\"https://evil.example\">alert('1')</script> {body} & co";

    #[test]
    fn a_hostile_name_stays_text_and_nothing_is_loaded() {
        let page = page(&example(HOSTILE));
        assert!(!page.contains(HOSTILE) && page.matches(&escaped(HOSTILE)).count() >= 5, "{page}");
        let lower = page.to_ascii_lowercase();
        assert!(page.contains("<svg") && page.contains("160 µs"), "{page}");
        for never in ["<script", "<link", "<img", "<iframe", "@import", "url(", "javascript:", " onload"] {
            assert!(!lower.contains(never), "{never} is in {page}");
        }
        // As XML, which is stricter than HTML, every element is closed where it was opened.
        let mut reader = quick_xml::Reader::from_str(page.trim_start_matches("<!doctype html>"));
        while reader.read_event().unwrap_or_else(|error| panic!("{error}: {page}")) != Event::Eof {}
    }

    #[test]
    fn the_index_has_the_finding_of_each_benchmark_and_a_link_to_its_page() {
        let folder = tempfile::tempdir().expect("temp is writable");
        let results = serde_json::to_string(&example("CPU")).expect("JSON");
        for (name, text) in [("overhead.json", results.as_str()), ("other.json", "{}")] {
            fs::write(folder.path().join(name), text).expect("writable");
        }
        let page = index(folder.path());
        assert!(page.contains("<a href=\"overhead.html\">overhead: 1 cases") && page.contains('✗'), "{page}");
    }
}
