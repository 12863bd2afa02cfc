//! The workbook, the alert rules and the stored query in `functions/infra` against `functions/queries.kql`.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use serde_json::{Value, json};

use super::queries::{SYNC_RECORDS, queries};
use super::{file, text};

/// Queries that the workbook leaves out: the one that the others call, and one about a single message.
const NOT_IN_WORKBOOK: [&str; 2] = [SYNC_RECORDS, "What happened to this message, and what else was logged about it?"];

/// What workbook.bicep replaces in workbook.json.
const COMPONENT: &str = "__componentId__";
const WORKSPACE: &str = "__workspaceId__";

/// A rule of alerts.bicep.
pub(super) struct Alert {
    pub(super) name: String,
    /// The query by its name in the file.
    pub(super) query: String,
    /// The column of its result that is compared with the threshold.
    pub(super) measure: String,
}

pub(super) fn alerts() -> Vec<Alert> {
    let bicep = text("functions/infra/alerts.bicep");
    let rule =
        Regex::new(r"(?s)name: '([a-z-]+)'\n.*?query: queries\['([^']+)'\]\n.*?measure: '(\w+)'").expect("a pattern");
    let mut queries = queries();
    let mut alert = |name: &str, query: &str, measure: &str| {
        let query = queries.remove(query).unwrap_or_else(|| panic!("{query} is in the file, and in one alert only"));
        Alert { name: name.to_owned(), query, measure: measure.to_owned() }
    };
    rule.captures_iter(&bicep).map(|found| alert(&found[1], &found[2], &found[3])).collect()
}

/// The line that leaves out other apps in the workspace.
pub(super) fn component_filter(component: &str) -> String {
    format!("| where _ResourceId =~ \"{component}\"")
}

/// A query that contains the one that it calls.
pub(super) fn with_sync_records(query: &str) -> String {
    format!("let {SYNC_RECORDS} = {};\n{query}", queries()[SYNC_RECORDS])
}

/// The steps of the workbook that query the log.
fn steps() -> Vec<Value> {
    let workbook = file("functions/infra/workbook.json");
    let items = workbook["items"].as_array().expect("items");
    items.iter().filter(|item| item["type"] == 3).map(|item| item["content"].clone()).collect()
}

/// The queries of the workbook by their titles.
pub(super) fn workbook_queries() -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    steps().iter().map(|step| (text(&step["title"]), text(&step["query"]))).collect()
}

/// The axes of the charts that show some columns only, by their titles.
pub(super) fn charts() -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let chart = |step: &Value| {
        let settings = step.get("chartSettings")?;
        let values = settings["yAxis"].as_array().expect("columns").iter();
        Some((text(&step["title"]), values.chain([&settings["xAxis"]]).map(text).collect()))
    };
    steps().iter().filter_map(chart).collect()
}

#[test]
fn the_workbook_has_the_queries_of_the_file_on_the_log_of_one_app() {
    let mut expected = queries();
    expected.retain(|name, _| !NOT_IN_WORKBOOK.contains(&name.as_str()));
    let filtered = |query: &String| {
        let (source, steps) = query.split_once('\n').expect("a table and what is done with it");
        format!("{source}\n{}\n{steps}", component_filter(COMPONENT))
    };
    let expected: BTreeMap<_, _> = expected.iter().map(|(name, query)| (name.clone(), filtered(query))).collect();
    assert_eq!(workbook_queries(), expected);
    assert_eq!(steps().len(), expected.len(), "one step a query");
    for step in steps() {
        assert_eq!(step["crossComponentResources"], json!([WORKSPACE]));
        assert_eq!(step["resourceType"], "microsoft.operationalinsights/workspaces");
        assert_eq!(step["timeContextFromParameter"], "TimeRange");
    }
    let bicep = text("functions/infra/workbook.bicep");
    let template = text("functions/infra/workbook.json");
    let marks = Regex::new(r"__\w+?__").expect("a pattern");
    let marks: BTreeSet<_> = marks.find_iter(&template).map(|found| found.as_str()).collect();
    assert_eq!(marks, BTreeSet::from([COMPONENT, WORKSPACE]));
    assert!(marks.iter().all(|mark| bicep.contains(&format!("'{mark}'"))), "{bicep}");
}

#[test]
fn the_alerts_take_their_queries_from_the_file_and_measure_a_column_of_them() {
    let alerts = alerts();
    let rules: Vec<_> = alerts.iter().map(|alert| (alert.name.as_str(), alert.measure.as_str())).collect();
    let expected = [
        ("dead-letters", "DeadLetters"),
        ("circuit-breaker", "OpenMinutes"),
        ("retries", "RetryPercent"),
        ("time-in-queue", "QueuedSeconds95"),
    ];
    assert_eq!(rules, expected);
    for Alert { name, query, measure } in alerts {
        assert!(query.contains(&format!("{measure} = ")) && query.contains("_ResourceId"), "{name}: {query}");
    }
    let bicep = text("functions/infra/alerts.bicep");
    assert!(bicep.contains("query: 'let SyncRecords = ${queries.SyncRecords};"), "{bicep}");
    assert!(bicep.contains("loadTextContent('../queries.kql')"), "{bicep}");
}

#[test]
fn the_stored_query_is_the_first_of_the_file_and_can_be_called() {
    let bicep = text("functions/infra/saved-search.bicep");
    assert!(
        bicep.contains("split(replace(loadTextContent('../queries.kql'), '\\r\\n', '\\n'), '\\n\\n')[0]"),
        "{bicep}"
    );
    assert!(bicep.contains("functionAlias: 'SyncRecords'") && bicep.contains("version: 2"), "{bicep}");
    let callers = queries().into_iter().filter(|(name, query)| name != SYNC_RECORDS && query.starts_with(SYNC_RECORDS));
    assert!(callers.count() > 8);
}
