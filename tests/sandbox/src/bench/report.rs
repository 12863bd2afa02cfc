//! The output of a benchmark: a progress bar and a line for each case, the final table, and JSON.
//!
//! It computes nothing: every value comes from the measurements.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep_until};

use super::{Bound, CaseResult, Measurement, Results, page};
use crate::stage;

/// How often a progress bar for time is updated.
const TICK: Duration = Duration::from_millis(250);

/// A progress bar; hidden without a terminal.
pub(crate) fn bar(case: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {prefix} {wide_bar} {pos}/{len} {msg}");
    let style = style.expect("the template is well-formed");
    ProgressBar::new(0).with_style(style).with_prefix(case.to_owned())
}

/// Begins to count up to `total` things.
pub(crate) fn begin(bar: &ProgressBar, total: u64, things: &'static str) {
    bar.reset();
    bar.set_length(total);
    bar.set_message(things);
}

/// Waits for `time` and shows its progress.
pub(super) async fn pass(bar: &ProgressBar, time: Duration) {
    begin(bar, time.as_secs(), "s");
    let start = Instant::now();
    let end = start + time;
    while Instant::now() < end {
        sleep_until(end.min(Instant::now() + TICK)).await;
        bar.set_position(start.elapsed().as_secs());
    }
}

/// Prints one line about a finished case.
pub(super) fn ended(case: &CaseResult) {
    let broken = case.measurements.iter().filter(|measurement| !measurement.held).count();
    let end = match (&case.problem, broken) {
        (Some(problem), _) => format!("could not be measured: {problem}"),
        (None, 0) => "every bound was kept".to_owned(),
        (None, broken) => format!("{broken} bound(s) broken"),
    };
    eprintln!("{} {}: {end} ({:.0} s)", mark(case.held()), case.case, case.seconds);
    if let Some(note) = case.note {
        eprintln!("  {note}");
    }
}

/// The table of all cases.
fn table(results: &Results) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["case", "measured", "value", "bound", ""]);
    for case in &results.cases {
        let mut name = case.case.as_str();
        for measurement in &case.measurements {
            table.add_row(row(name, measurement));
            name = "";
        }
        if case.problem.is_some() {
            table.add_row([name, "could not be measured, see above", "", "", mark(false)]);
        }
    }
    for column in table.column_iter_mut().skip(2).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(case: &str, measurement: &Measurement) -> [String; 5] {
    let Measurement { name, value, unit, bound, held, .. } = measurement;
    let held = bound.map_or("", |_| mark(*held));
    let value = format!("{} {unit}", shown(*value));
    [case.to_owned(), name.clone(), value, bound.map_or_else(String::new, in_words), held.to_owned()]
}

pub(super) fn mark(held: bool) -> &'static str {
    if held { "✓" } else { "✗" }
}

pub(super) fn in_words(bound: Bound) -> String {
    match bound {
        Bound::Exactly(wanted) => format!("= {}", shown(wanted)),
        Bound::AtMost(most) => format!("≤ {}", shown(most)),
        Bound::AtLeast(least) => format!("≥ {}", shown(least)),
        Bound::Between(least, most) => format!("{} to {}", shown(least), shown(most)),
    }
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

/// The path that means standard output.
const STDOUT: &str = "-";

/// The folder for results and other files of the benchmarks.
pub(super) fn folder() -> PathBuf {
    stage::workspace().join("target").join("bench")
}

/// Writes the results as JSON, by default to `target/bench`, and prints the table with a remark.
pub(super) fn publish(results: &Results, json: Option<PathBuf>, remark: &str) -> anyhow::Result<()> {
    let folder = folder();
    let json = json.unwrap_or_else(|| folder.join(format!("{}.json", results.bench)));
    write_json(results, &json)?;
    let page = write_page(results, remark, &folder)?;
    let ran_on = results.environment.ran_on.lines().map(|(name, value)| format!("{name}: {value}")).join("\n");
    let places = format!("as a page: {}\nas JSON: {}", stage::shown(&page), stage::shown(&json));
    let warnings = results.warnings().join("\n");
    let (finding, table) = (results.finding(), table(results));
    let text = format!("\n{finding}\n{table}\n\n{ran_on}\n\n{places}\n{warnings}\n{remark}");
    if json == Path::new(STDOUT) {
        eprintln!("{}", text.trim_end());
    } else {
        println!("{}", text.trim_end());
    }
    Ok(())
}

/// Writes the results as a page, updates the index page, and returns the path.
fn write_page(results: &Results, remark: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join(format!("{}.html", results.bench));
    fs::write(&path, page::page(results, remark)).with_context(|| format!("writing {}", path.display()))?;
    fs::write(folder.join("index.html"), page::index(folder)).context("writing the index")?;
    Ok(path)
}

/// Writes the results as JSON, creating the folder.
fn write_json(results: &Results, path: &Path) -> anyhow::Result<()> {
    let text = results.json().context("writing the results as JSON")?;
    if path == Path::new(STDOUT) {
        println!("{text}");
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::Environment;

    fn results() -> Results {
        let measurements = vec![
            Measurement::bounded("requests", 41.0, "requests", Bound::AtMost(40.0)),
            Measurement::unbounded("writes", 12.345, "/s"),
        ];
        let cases = vec![
            CaseResult::new("one-process", String::new(), Duration::from_secs(2), Ok(measurements.into())),
            CaseResult::new("many-keys", String::new(), Duration::ZERO, Err(anyhow::anyhow!("no handler"))),
        ];
        Results::new("locks", Environment::new("debug"), false, cases)
    }

    #[test]
    fn fractions_have_two_decimals_and_zero_has_no_sign() {
        let found = [150.0, 0.666, -1.5, -0.001, 0.0, f64::NAN].map(shown);
        assert_eq!(found, ["150", "0.67", "-1.50", "0.00", "0", "none"]);
    }

    #[test]
    fn the_table_has_a_row_for_each_value_and_each_failure() {
        let text = table(&results()).to_string();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_default().to_owned();
        assert!(line("one-process").contains("41 requests") && line("one-process").contains("≤ 40"), "{text}");
        assert!(line("one-process").contains('✗'), "{text}");
        assert!(line("writes").contains("12.35 /s") && !line("writes").contains('✓'), "{text}");
        assert!(line("many-keys").contains("could not be measured"), "{text}");
    }

    #[test]
    fn the_json_has_the_same_content() {
        let folder = std::env::temp_dir().join(format!("dataverse-sync-bench-{}", uuid::Uuid::new_v4()));
        let path = folder.join("deeper").join("locks.json");
        write_json(&results(), &path).expect("written");
        let text = fs::read_to_string(&path).expect("readable");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let first = &read["cases"][0]["measurements"][0];
        let expected = json!({ "name": "requests", "value": 41.0, "unit": "requests", "bound": { "atMost": 40.0 }, "held": false });
        assert_eq!((first, &read["cases"][1]["problem"]), (&expected, &json!("no handler")));
        fs::remove_dir_all(folder).expect("removable");
    }

    #[test]
    fn a_nan_is_shown_as_none() {
        assert_eq!((shown(f64::NAN), shown(150.0), shown(0.5)), ("none".into(), "150".into(), "0.50".into()));
    }
}
