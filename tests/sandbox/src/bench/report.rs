//! The output of a benchmark: a progress bar and a line for each case, the final table, JSON, and a page.
//!
//! It computes nothing: every value comes from the measurements.

use std::fs;
use std::iter::once;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table};
use indicatif::ProgressBar;
use tokio::time::interval;

use super::results::{Bound, CaseResult, Environment, Measurement, Results};
use super::{page, quantile};
use crate::{progress, stage};

/// A progress bar.
pub(crate) fn bar(case: &str) -> ProgressBar {
    progress::bar(0, "  {prefix} {wide_bar} {pos}/{len} {msg}").with_prefix(case.to_owned())
}

/// Begins to count up to `total` things.
pub(crate) fn begin(bar: &ProgressBar, total: u64, things: &'static str) {
    bar.reset();
    bar.set_length(total);
    bar.set_message(things);
}

/// Waits for `time`, in whole seconds, and shows its progress.
pub(super) async fn pass(bar: &ProgressBar, time: Duration) {
    begin(bar, time.as_secs(), "s");
    let mut ticks = interval(Duration::from_secs(1));
    for _ in 0..=time.as_secs() {
        ticks.tick().await;
        bar.inc(1);
    }
}

/// Prints one line about a finished case.
pub(super) fn ended(case: &CaseResult) {
    let has_bounds = case.measurements.iter().any(|measurement| measurement.bound.is_some());
    let verdict = match (has_bounds, case.held()) {
        (false, _) => "measured",
        (true, true) => "every bound was kept",
        (true, false) => "bounds were broken",
    };
    let end = case.problem.as_ref().map_or(verdict.to_owned(), |problem| format!("could not be measured: {problem}"));
    eprintln!("{} {}: {end} ({:.0} s)", mark(case.held()), case.case, case.seconds);
}

/// The results as text, for the terminal and for the page.
pub(super) fn text(results: &Results) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["case", "measured", "value", "runs", "bound", ""]);
    for case in &results.cases {
        let mut name = case.case.as_str();
        let problem = case.problem.iter().map(|text| [text, "", "", "", mark(false)].map(str::to_owned));
        for row in case.measurements.iter().map(row).chain(problem) {
            table.add_row(once(name).chain(row.iter().map(String::as_str)));
            name = "";
        }
    }
    for column in table.column_iter_mut().skip(2).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let Environment { handler, machine, commit, others, begun } = &results.environment;
    let origin = format!(
        "handler: {handler}\nmachine: {machine}; others' work before: {others:.0} %\ncommit: {commit}\nbegun: {begun}"
    );
    format!("{}\n{table}\n{origin}\n{}", results.finding, results.warnings().join("\n"))
}

/// A measurement as text: name, value, the range of its runs, bound, and whether it was kept.
fn row(measurement: &Measurement) -> [String; 5] {
    let Measurement { name, value, unit, bound, held, runs } = measurement;
    let bound_in_words = match bound {
        None => String::new(),
        Some(Bound::Exactly(wanted)) => format!("= {}", shown(*wanted)),
        Some(Bound::AtMost(most)) => format!("≤ {}", shown(*most)),
        Some(Bound::AtLeast(least)) => format!("≥ {}", shown(*least)),
    };
    let [least, most] = [0.0, 1.0].map(|share| shown(quantile(runs, share)));
    let range = if runs.len() > 1 { format!("{} from {least} to {most}", runs.len()) } else { String::new() };
    let held = bound.map_or("", |_| mark(*held));
    [name.clone(), format!("{} {unit}", shown(*value)), range, bound_in_words, held.to_owned()]
}

pub(super) fn mark(held: bool) -> &'static str {
    if held { "✓" } else { "✗" }
}

/// Whole numbers without decimals, others with two.
pub(super) fn shown(value: f64) -> String {
    if value.is_nan() {
        return "none".to_owned();
    }
    let text = if value.fract().abs() < f64::EPSILON { format!("{value:.0}") } else { format!("{value:.2}") };
    // Removes the sign of a value that is rounded to zero.
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| b"0.".contains(&byte)) => rest.to_owned(),
        _ => text,
    }
}

/// Writes the results to `target/bench` as JSON and as a page; prints the table.
pub(super) fn publish(results: &Results) -> anyhow::Result<()> {
    let folder = stage::workspace().join("target").join("bench");
    let [json, page] = ["json", "html"].map(|kind| folder.join(format!("{}.{kind}", results.bench)));
    fs::create_dir_all(&folder).context("creating target/bench")?;
    fs::write(&json, serde_json::to_string_pretty(results)?).context("writing the results as JSON")?;
    fs::write(&page, page::page(results)).context("writing the page")?;
    fs::write(folder.join("index.html"), page::index(&folder)).context("writing the index page")?;
    println!("\n{}", text(results));
    println!("as a page: {}\nas JSON: {}", stage::shown(&page), stage::shown(&json));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::page::example;

    #[test]
    fn fractions_have_two_decimals_and_zero_has_no_sign() {
        let found = [150.0, 0.666, -1.5, -0.001, 0.0, f64::NAN].map(shown);
        assert_eq!(found, ["150", "0.67", "-1.50", "0.00", "0", "none"]);
    }

    #[test]
    fn the_text_has_a_row_for_each_value_and_each_failure() {
        let text = text(&example("CPU"));
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
        for (part, also) in [("160 µs", "≤ 150"), ("160 µs", "3 from 140 to 180"), ("160 µs", "✗"), ("failed", "✗")]
        {
            assert!(line(part).contains(also), "{also} is missing in {text}");
        }
        assert!(line("12.35 /s").contains("rate") && !line("12.35 /s").contains('✓'), "{text}");
    }
}
