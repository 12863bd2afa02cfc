//! The queries are valid Kusto: its own language service, from npm, parses them and finds every column and function.
//!
//! It needs Node; `npx` installs the package once.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokio::process::Command;

use super::queries::{SYNC_RECORDS, queries};
use super::watching::{alerts, charts, component_filter, with_sync_records, workbook_queries};
use crate::command::CommandOutput;

const PACKAGE: &str = "@kusto/language-service-next@12.4.1";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/contract/kusto.cjs");

#[derive(Debug, Deserialize)]
struct Analysis {
    /// The types of the result's columns, by name.
    columns: BTreeMap<String, String>,
    problems: Vec<String>,
}

async fn analyse(queries: &BTreeMap<String, String>) -> BTreeMap<String, Analysis> {
    let mut npx = Command::new("npx");
    let run = "NODE_PATH=\"${PATH%%/.bin:*}\" node \"$SCRIPT\"";
    npx.args(["--yes", "--package", PACKAGE, "-c", run]).env("SCRIPT", SCRIPT);
    npx.env("QUERIES", serde_json::to_string(queries).expect("it is text"));
    let output = CommandOutput::of(npx).await;
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn every_query_is_valid_and_each_alert_and_chart_shows_columns_of_its_result() {
    let mut all = BTreeMap::from([("broken".to_owned(), "AppTraces | where message has \"outcome\"".to_owned())]);
    for (name, query) in queries() {
        let query = if name == SYNC_RECORDS { query } else { with_sync_records(&query) };
        all.insert(format!("file: {name}"), query);
    }
    for (name, query) in workbook_queries() {
        all.insert(format!("workbook: {name}"), with_sync_records(&query));
    }
    for alert in alerts() {
        let query = with_sync_records(&format!("{}\n{}", alert.query, component_filter("/subscriptions/0")));
        all.insert(format!("alert: {}", alert.name), query);
    }
    let mut analysed = analyse(&all).await;
    let broken = analysed.remove("broken").expect("it was analysed");
    assert!(broken.problems.iter().any(|problem| problem.contains("message")), "{broken:?}");
    for (name, analysis) in &analysed {
        assert!(analysis.problems.is_empty() && !analysis.columns.is_empty(), "{name}: {analysis:?}");
    }
    for alert in alerts() {
        let columns = &analysed[&format!("alert: {}", alert.name)].columns;
        assert!(matches!(columns[&alert.measure].as_str(), "long" | "real"), "{}: {columns:?}", alert.name);
    }
    for (title, axes) in charts() {
        let columns = &analysed[&format!("workbook: {title}")].columns;
        assert!(axes.iter().all(|axis| columns.contains_key(axis)), "{title}: {axes:?} of {columns:?}");
    }
}
