//! The README's tables against the code and the settings sample.

use dataverse_sync::outcome::Reason;

use super::{sample, text};

/// Settings in the sample that need no row: the host's own, and the connection that `LOCK_STORAGE` names.
const NO_ROW: [&str; 2] = ["FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage"];

/// The cells of the first table under a heading, without its header row.
pub(crate) fn table(heading: &str) -> Vec<Vec<String>> {
    let readme = text("README.md");
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).expect("there is such a heading");
    let rows: Vec<_> =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect();
    let cells = |row: &&str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    assert!(rows.len() > 2, "no table under {heading}");
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
    for row in table("Outcomes") {
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
fn the_table_of_settings_lists_every_setting_of_the_sample_in_order_with_its_default() {
    let mut documented = Vec::new();
    for row in table("Settings") {
        let [names, default, _] = &row[..] else { panic!("{row:?} has other columns") };
        for name in quoted(names) {
            documented.push((name.to_owned(), default.trim_matches('`').to_owned()));
        }
    }
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

/// The sample's names in file order.
fn order_of_the_sample() -> Vec<String> {
    let text = text("local.settings.json.sample");
    let known = sample();
    let name = |line: &str| line.trim().strip_prefix('"')?.split('"').next().map(str::to_owned);
    text.lines().filter_map(name).filter(|name| known.contains_key(name)).collect()
}
