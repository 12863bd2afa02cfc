//! The results of a benchmark as a page: one file, no script, nothing loaded from anywhere.
//!
//! The title is the finding. Every value with a bound is a bar with its bound as a line and the range of its runs as a
//! whisker; series are plots; the rest is a table. It computes nothing: every value comes from the measurements.

mod bar;
mod index;
mod plot;

use super::report::{in_words, mark, shown};
use super::{CaseResult, Measurement, Results};

pub(super) use index::index;

const STYLE: &str = include_str!("page/style.css");

/// The page of one benchmark.
pub(super) fn page(results: &Results, remark: &str) -> String {
    let finding = escaped(&results.finding());
    let (bench, verdict) = (escaped(results.bench), verdict(results));
    let head = format!(
        "<p class=\"soft\"><a href=\"index.html\">benchmarks</a> · cargo sandbox bench {bench}</p><h1>{finding}</h1>{verdict}"
    );
    let warnings = results.warnings().into_iter().map(|text| format!("<p class=\"warn\">{}</p>", escaped(&text)));
    let remark = (!remark.is_empty()).then(|| format!("<p class=\"soft\">{}</p>", escaped(remark)));
    let cases = results.cases.iter().map(case);
    let body: String = [head].into_iter().chain(warnings).chain(remark).chain(cases).chain([ran_on(results)]).collect();
    document(&finding, &body)
}

/// A whole page; `title` is escaped already.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>\n\
         <body><main>{body}</main></body></html>\n"
    )
}

fn verdict(results: &Results) -> String {
    let (bounds, broken) = results.bounds();
    let (class, text) = match (results.held(), broken) {
        (true, _) if bounds == 0 => ("soft", "no bounds".to_owned()),
        (true, _) => ("good", format!("✓ all {bounds} bounds kept")),
        (false, 0) => ("bad", "✗ not everything could be measured".to_owned()),
        (false, broken) => ("bad", format!("✗ {broken} of {bounds} bounds broken")),
    };
    format!("<p><span class=\"verdict {class}\">{text}</span></p>")
}

fn case(case: &CaseResult) -> String {
    let (bounded, unbounded): (Vec<_>, Vec<_>) =
        case.measurements.iter().partition(|measurement| measurement.bound.is_some());
    let (name, about) = (escaped(&case.case), escaped(&case.about));
    let head = format!("<section><h2>{name}</h2><p class=\"soft\">{about}</p>");
    let problem = case.problem.as_deref();
    let problem = problem.map(|text| format!("<p class=\"bad\">✗ could not be measured: {}</p>", escaped(text)));
    let charts = case.charts.iter().map(plot::plot);
    let parts = [head].into_iter().chain(problem).chain(bounded.into_iter().map(row)).chain(charts);
    parts.chain(beside(&unbounded, case.charts.is_empty())).chain(["</section>".to_owned()]).collect()
}

/// The values without bounds; collapsed if plots show them.
fn beside(unbounded: &[&Measurement], open: bool) -> Option<String> {
    let rows: String = unbounded.iter().copied().map(unbounded_row).collect();
    let open = if open { " open" } else { "" };
    let summary = "<summary>values without bounds</summary>";
    (!unbounded.is_empty()).then(|| format!("<details{open}>{summary}<table>{rows}</table></details>"))
}

/// A value with a bound.
fn row(measurement: &Measurement) -> String {
    let bound = measurement.bound.map_or_else(String::new, in_words);
    let class = if measurement.held { "good" } else { "bad" };
    let runs = measurement.runs.map_or_else(String::new, |runs| {
        format!(" · {} runs, {} to {}", runs.count, shown(runs.least), shown(runs.most))
    });
    format!(
        "<div class=\"row\"><div class=\"head\"><span class=\"mark {class}\">{}</span><span class=\"name\">{}</span>\
         <span class=\"value {class}\">{} {}</span></div>{}<p class=\"soft\">bound: {bound}{runs}</p></div>",
        mark(measurement.held),
        escaped(&measurement.name),
        shown(measurement.value),
        escaped(measurement.unit),
        bar::bar(measurement)
    )
}

fn unbounded_row(measurement: &Measurement) -> String {
    let Measurement { name, value, unit, .. } = measurement;
    format!("<tr><td>{}</td><td>{} {}</td></tr>", escaped(name), shown(*value), escaped(unit))
}

fn ran_on(results: &Results) -> String {
    let lines =
        results.environment.ran_on.lines().into_iter().chain([("handler", results.environment.handler.to_owned())]);
    let line = |(name, value): (&str, String)| format!("<dt>{name}</dt><dd>{}</dd>", escaped(&value));
    let lines: Vec<String> = lines.map(line).collect();
    let lines = lines.concat();
    format!("<div class=\"card\"><h3>what it ran on</h3><dl>{lines}</dl></div>")
}

/// Escapes text for an element or an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
