//! The index page: the last finding of each benchmark, read from the JSON files.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{document, escaped};

/// The part of a benchmark's JSON that the index shows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    bench: String,
    finding: String,
    held: bool,
    ran_on: RanOn,
}

#[derive(Deserialize)]
struct RanOn {
    at: String,
    commit: String,
}

/// The page for the results in this folder; other files are ignored.
pub(in crate::bench) fn index(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = files
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .filter_map(|path| fs::read_to_string(path).ok());
    let mut benchmarks: Vec<Summary> = texts.filter_map(|text| serde_json::from_str(&text).ok()).collect();
    benchmarks.sort_by(|one, other| one.bench.cmp(&other.bench));
    let benchmarks: String = benchmarks.iter().map(card).collect();
    document("dataverse-sync: benchmarks", &format!("<h1>dataverse-sync: benchmarks</h1>{benchmarks}"))
}

fn card(benchmark: &Summary) -> String {
    let (class, mark) = if benchmark.held { ("good", "✓") } else { ("bad", "✗") };
    let bench = escaped(&benchmark.bench);
    format!(
        "<div class=\"card\"><h2><span class=\"{class}\">{mark}</span> <a href=\"{bench}.html\">{bench}</a></h2><p>{}</p>\
         <p class=\"soft\">{} · {}</p></div>",
        escaped(&benchmark.finding),
        escaped(&benchmark.ran_on.at),
        escaped(&benchmark.ran_on.commit)
    )
}
