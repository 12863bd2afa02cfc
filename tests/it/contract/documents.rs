//! The documents' tables against the code and the settings sample, and the README against the tables that it shortens.

use std::collections::BTreeMap;

use bytes::Bytes;
use dataverse_sync::outcome::Reason;
use dataverse_sync::record::decode;
use serde_json::json;

use super::{sample, text};

/// Settings in the sample that need no row: the host's own, and the connection that `LOCK_STORAGE` names.
const NO_ROW: [&str; 2] = ["FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage"];

/// The README is read by everyone; what only some need is in `src/docs`.
const MAX_README_LINES: usize = 250;

/// The cells of the first table under a heading of a document, without its header row.
pub(crate) fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let text = text(document);
    let (_, section) = text.split_once(&format!("# {heading}\n")).expect("there is such a heading");
    let rows: Vec<_> =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect();
    let cells = |row: &&str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    assert!(rows.len() > 2, "no table under {heading} of {document}");
    rows[2..].iter().map(cells).collect()
}

/// The texts between backticks.
pub(crate) fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_outcomes_lists_every_reason_with_its_outcome_and_status_in_the_order_of_the_code() {
    let mut outcome = String::new();
    let mut documented = Vec::new();
    for row in table("src/docs/outcomes.md", "Outcomes") {
        let [group, reason, status, meaning] = &row[..] else { panic!("{row:?} has other columns") };
        if let [name] = quoted(group)[..] {
            name.clone_into(&mut outcome);
        }
        assert!(!meaning.is_empty(), "{reason} has no meaning");
        documented.push((outcome.clone(), reason.trim_matches('`').to_owned(), status.clone()));
    }
    let actual: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| {
            (reason.disposition().code().to_owned(), reason.code().to_owned(), reason.http_status().to_string())
        })
        .collect();
    assert_eq!(documented, actual);
}

#[test]
fn the_readme_lists_the_reasons_of_each_outcome() {
    let mut documented = Vec::new();
    for row in table("README.md", "Outcomes") {
        let [outcome, _, _, reasons] = &row[..] else { panic!("{row:?} has other columns") };
        let reasons = quoted(reasons).into_iter();
        documented.extend(reasons.map(|reason| (quoted(outcome)[0].to_owned(), reason.to_owned())));
    }
    let actual = Reason::ALL.iter().map(|reason| (reason.disposition().code().to_owned(), reason.code().to_owned()));
    assert_eq!(documented, actual.collect::<Vec<_>>());
}

/// The names and defaults of a table of settings.
fn settings(document: &str) -> Vec<(String, String)> {
    let mut documented = Vec::new();
    for row in table(document, "Settings") {
        let [names, default, _] = &row[..] else { panic!("{row:?} has other columns") };
        for name in quoted(names) {
            documented.push((name.to_owned(), default.trim_matches('`').to_owned()));
        }
    }
    documented
}

#[test]
fn the_table_of_settings_lists_every_setting_of_the_sample_in_order_with_its_default() {
    let documented = settings("src/docs/settings.md");
    let mut listed: Vec<String> = order_of_the_sample();
    listed.retain(|name| !NO_ROW.contains(&name.as_str()));
    assert_eq!(documented.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), listed);
    let sample = sample();
    for (name, default) in documented {
        let value = sample[&name].as_str();
        match default.as_str() {
            "required" => assert!(!value.is_empty(), "{name} is required, so the sample shows one"),
            "–" => assert_eq!(value, "", "{name}"),
            default => assert_eq!(value, default, "{name}"),
        }
    }
}

#[test]
fn the_readmes_settings_have_the_defaults_of_the_full_table() {
    let all: BTreeMap<_, _> = settings("src/docs/settings.md").into_iter().collect();
    for (name, default) in settings("README.md") {
        assert_eq!(all.get(&name), Some(&default), "{name}");
    }
}

/// The sample's names in file order.
fn order_of_the_sample() -> Vec<String> {
    let text = text("local.settings.json.sample");
    let known = sample();
    let name = |line: &str| line.trim().strip_prefix('"')?.split('"').next().map(str::to_owned);
    text.lines().filter_map(name).filter(|name| known.contains_key(name)).collect()
}

#[test]
fn the_table_of_fields_lists_every_field_of_a_record() {
    let refusal = |field: &str| {
        let message = json!({ field: 1.5 }).to_string();
        let (error, _) = decode(&Bytes::from(message)).expect_err("it lacks the required fields");
        error.to_string()
    };
    let fields = table("src/docs/message.md", "Fields");
    for row in &fields {
        let [name] = quoted(&row[0])[..] else { panic!("{row:?} begins with a name") };
        assert!(!refusal(name).contains("unknown field"), "{name}");
    }
    let all = "table key columns operation source version versionColumn onConflict messageId";
    assert_eq!(fields.iter().map(|row| row[0].trim_matches('`')).collect::<Vec<_>>().join(" "), all);
    assert!(refusal("colums").contains("unknown field"));
}

#[test]
fn the_errors_of_the_readme_are_those_of_the_full_table() {
    let all = table("src/docs/troubleshooting.md", "Troubleshooting");
    let all: Vec<_> = all.iter().flat_map(|row| quoted(&row[0])).collect();
    let common = table("README.md", "The eight most common errors");
    assert_eq!(common.len(), 8);
    for symptom in common.iter().flat_map(|row| quoted(&row[0])) {
        assert!(all.contains(&symptom), "{symptom}");
    }
}

#[test]
fn the_guide_lists_every_parameter_of_the_deployment() {
    let template = text("functions/infra/main.bicep");
    let names = template.lines().filter_map(|line| line.strip_prefix("param ")?.split(' ').next());
    let mut names: Vec<_> = names.collect();
    let rows = table("functions/README.md", "Parameters");
    let mut documented: Vec<_> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    names.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, names);
}

#[test]
fn the_readme_is_short() {
    assert!(text("README.md").lines().count() <= MAX_README_LINES);
}
