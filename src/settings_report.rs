//! `handler settings`: each setting with its value, where it comes from, and what it is for.
//!
//! The values are those that the handler would use if it were started here, defaults included, and those of host.json that it depends
//! on. A wrong value is shown with its problem. Secrets are shown as `set`; so is an address that has a password or a query.

use std::io;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use url::Url;

use crate::config::Config;
use crate::host::host_json_values;
use crate::sanitize::{sanitize, sanitize_short};
use crate::settings::environment::{Environment, Source};
use crate::settings::table::{GROUPS, Setting};
use crate::settings::{Problem, non_empty};
use crate::terminal::{self, print};

/// A longer value is cut.
const MAX_VALUE: usize = 200;

/// The width of the first column: a mark, and the longest name.
const NAME_WIDTH: usize = 35;

const SECRET: &str = "set";

/// Shows each setting, its value, and where that comes from.
///
/// These are the values that the handler would use if it were started here. A secret is shown as `set`. Wrong values and misspelt
/// names are marked.
#[derive(Debug, Args)]
#[command(after_help = "\
A setting is an environment variable: an app setting in Azure, or one of Values in local.settings.json, which `func start` passes on. \
This and the other commands read the file, in this folder or in target/functionapp, only where the environment has none of the \
settings.

Exit codes: 0 the settings can be used; 1 something is wrong; 2 wrong arguments.")]
pub struct Arguments {
    /// Prints one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Prints all settings; returns whether they can be used.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(arguments: &Arguments, environment: &Environment) -> io::Result<bool> {
    let report = Report::of(environment);
    let text = if arguments.json { report.to_json() } else { report.to_text(terminal::width()) };
    print(&text)?;
    Ok(report.is_good())
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Where the value comes from.
    from: String,
    meaning: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

struct Report {
    groups: Vec<(String, Vec<Row>)>,
    /// What is wrong with variables that are not among the settings.
    others: Vec<Problem>,
    misspelt: Vec<Problem>,
    /// What the settings amount to, if they can be used.
    summary: Option<String>,
    notice: Option<String>,
}

impl Report {
    fn of(environment: &Environment) -> Self {
        let lookup = |name: &str| environment.get(name);
        let (config, mut problems) = Config::check(&lookup);
        let mut groups = Vec::new();
        for (title, settings) in &GROUPS {
            let mut rows = Vec::new();
            for setting in *settings {
                let own = problems.extract_if(.., |problem| problem.variable == setting.name);
                let problem = own.map(|problem| problem.text).reduce(|all, one| format!("{all}; {one}"));
                rows.push(Row { problem, ..row(setting, environment) });
                rows.extend(connection_forms(setting, environment));
            }
            groups.push(((*title).to_owned(), rows));
        }
        groups.push(host_json(&lookup));
        Self {
            groups,
            others: problems,
            misspelt: environment.misspelt(),
            summary: config.map(|config| config.summary()),
            notice: environment.notice().map(str::to_owned),
        }
    }

    fn is_good(&self) -> bool {
        self.others.is_empty() && self.rows().all(|row| row.problem.is_none())
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.groups.iter().flat_map(|(_, rows)| rows)
    }

    fn to_json(&self) -> String {
        let lines = |problems: &[Problem]| problems.iter().map(Problem::to_string).collect::<Vec<_>>();
        let json = json!({
            "settings": self.rows().collect::<Vec<_>>(), "otherProblems": lines(&self.others),
            "misspelt": lines(&self.misspelt), "notice": self.notice,
        });
        sanitize(&json.to_string()).into_owned() + "\n"
    }

    fn to_text(&self, width: Option<u16>) -> String {
        let group = |(title, rows): &(String, Vec<Row>)| {
            let cells = rows.iter().map(|row| [row.mark_and_name(), row.text()]);
            format!("{title}\n{}\n\n", terminal::table(cells, width).trim_fmt())
        };
        let groups = self.groups.iter().map(group);
        let other = |mark, problem: &Problem| [marked(mark, &problem.variable), problem.text.clone()];
        let others = self.others.iter().map(|problem| other('✗', problem));
        let misspelt = self.misspelt.iter().map(|problem| other('!', problem));
        let last = others.chain(misspelt).chain([self.conclusion()]);
        groups.collect::<String>() + &terminal::table(last, width).trim_fmt() + "\n"
    }

    fn conclusion(&self) -> [String; 2] {
        let wrong = self.rows().filter(|row| row.problem.is_some()).count() + self.others.len();
        match (&self.summary, wrong) {
            (Some(summary), 0) => {
                let text = format!("The settings can be used: {summary}.\nNext: `handler doctor` tries them.");
                [marked('✓', "all settings"), text]
            }
            (_, wrong) => {
                let text = format!("{wrong} of the settings cannot be used; they are marked with ✗.");
                [marked('✗', "all settings"), text]
            }
        }
    }
}

/// Padded, so that all tables have the same columns.
fn marked(mark: char, name: &str) -> String {
    format!("{:<NAME_WIDTH$}", format!("{mark} {name}"))
}

impl Row {
    fn new(name: &str, value: Option<String>, from: impl Into<String>, meaning: &'static str) -> Self {
        Self { name: name.to_owned(), value, from: from.into(), meaning, problem: None }
    }

    fn mark_and_name(&self) -> String {
        marked(if self.problem.is_some() { '✗' } else { ' ' }, &self.name)
    }

    fn text(&self) -> String {
        let value = self.value.as_ref().map_or(self.from.clone(), |value| format!("{value} ({})", self.from));
        let problem = self.problem.as_ref().map(|problem| format!("{} {problem}", self.name));
        [Some(value), problem, Some(self.meaning.to_owned()).filter(|meaning| !meaning.is_empty())]
            .into_iter()
            .flatten()
            .map(|line| sanitize(&line).into_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn row(setting: &Setting, environment: &Environment) -> Row {
    let Setting { name, default, meaning, is_secret } = *setting;
    let is_set = non_empty(&|name| environment.get(name), name).is_some();
    let (value, from) = match environment.find(name).filter(|_| is_set) {
        Some((value, source)) => (Some(shown(value, is_secret)), from(source, environment)),
        None if default.is_empty() => (None, "not set".to_owned()),
        None => (Some(default.to_owned()), "default".to_owned()),
    };
    Row::new(name, value, from, meaning)
}

fn from(source: Source, environment: &Environment) -> String {
    match source {
        Source::Environment => "environment".to_owned(),
        Source::LocalFile => environment.file().unwrap_or_default(),
    }
}

/// The other forms of the connection that a setting is, or names: `<name>__accountName` and the like.
fn connection_forms(setting: &Setting, environment: &Environment) -> Vec<Row> {
    let connection = match setting.name {
        "AzureWebJobsStorage" => "AzureWebJobsStorage".to_owned(),
        "LOCK_STORAGE" => {
            environment.get("LOCK_STORAGE").filter(|name| name != "AzureWebJobsStorage").unwrap_or_default()
        }
        _ => return Vec::new(),
    };
    let forms = environment.names().into_iter().filter(|name| {
        name.strip_prefix(&connection)
            .is_some_and(|rest| rest.starts_with("__") || (rest.is_empty() && *name != setting.name))
    });
    let row = |name: &str| {
        let (value, source) = environment.find(name)?;
        Some(Row::new(name, Some(shown(value, name == connection)), from(source, environment), ""))
    };
    forms.filter(|_| !connection.is_empty()).filter_map(row).collect()
}

fn host_json(lookup: &crate::settings::Lookup) -> (String, Vec<Row>) {
    let (problem, values) = host_json_values(lookup);
    let note = problem.map(|problem| format!(" ({problem})")).unwrap_or_default();
    let rows = values.into_iter().map(|value| Row::new(value.name, Some(value.value), value.from, value.meaning));
    (format!("host.json in this folder{note}; AzureFunctionsJobHost__… override it"), rows.collect())
}

fn shown(value: &str, is_secret: bool) -> String {
    let has_secret = |url: Url| url.password().is_some() || !url.username().is_empty() || url.query().is_some();
    if is_secret || Url::parse(value).is_ok_and(has_secret) {
        return SECRET.to_owned();
    }
    sanitize_short(value, MAX_VALUE).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(settings: &[(&str, &str)]) -> Report {
        Report::of(&Environment::new(settings.iter().map(|(name, value)| (name.into(), value.into()))))
    }

    const FINE: [(&str, &str); 4] = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage__accountName", "contoso"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"),
        ("IDENTITY_HEADER", "canary"),
    ];

    fn find<'a>(report: &'a Report, name: &str) -> &'a Row {
        report.rows().find(|row| row.name == name).expect("it is among the settings")
    }

    #[test]
    fn each_setting_has_its_value_its_source_and_its_meaning() {
        let report = report(&[&FINE[..], &[("LOCK_LEASE_SECONDS", " 20 "), ("SYNC_TABLES", "")]].concat());
        for (name, value, from) in [
            ("DATAVERSE_URL", Some("https://contoso.crm.dynamics.com"), "environment"),
            ("DATAVERSE_API_VERSION", Some("v9.2"), "default"),
            ("LOCK_LEASE_SECONDS", Some(" 20 "), "environment"),
            ("SYNC_TABLES", None, "not set"),
            ("AzureWebJobsStorage", None, "not set"),
            ("AzureWebJobsStorage__accountName", Some("contoso"), "environment"),
            ("batchSize", Some("32"), "host.json"),
        ] {
            let row = find(&report, name);
            assert_eq!((row.value.as_deref(), row.from.as_str()), (value, from), "{name}");
        }
        assert!(report.is_good());
        let text = report.to_text(None);
        assert!(text.contains("The settings can be used: Dataverse contoso.crm.dynamics.com as "), "{text}");
    }

    #[test]
    fn secrets_are_shown_as_set_and_nothing_of_them_is_printed() {
        let secrets = [
            ("AZURE_CLIENT_SECRET", "canary"),
            ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "canary"),
            ("AzureWebJobsStorage", "AccountName=abc;AccountKey=canary"),
            ("SYNC_HEADERS", r#"{"a":"canary"}"#),
            ("DATAVERSE_URL", "https://user:canary@contoso.crm.dynamics.com"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/?key=canary"),
            ("LOCK_STORAGE", "Locks"),
            ("Locks", "AccountName=abc;AccountKey=canary"),
            ("AzureWebJobsStorage__blobServiceUri", "https://a.blob.core.windows.net/?sig=canary"),
        ];
        let report = report(&secrets);
        for (name, _) in secrets {
            let expected = if name == "LOCK_STORAGE" { "Locks" } else { "set" };
            assert_eq!(find(&report, name).value.as_deref(), Some(expected), "{name}");
        }
        assert!(!(report.to_json() + &report.to_text(None)).contains("canary"));
    }

    #[test]
    fn wrong_values_and_misspelt_names_are_marked() {
        let wrong = [("LOCK_LEASE_SECONDS", "5"), ("SYNC_HOLD_SECOND", "9"), ("IDENTITY_HEADER", "")];
        let report = report(&[&wrong[..], &FINE[..3]].concat());
        let text = report.to_text(None);
        assert!(!report.is_good());
        for line in [
            "✗ LOCK_LEASE_SECONDS                 5 (environment)",
            "                                     LOCK_LEASE_SECONDS must be a whole number from 15 to 60",
            "✗ IDENTITY_HEADER                    is not set, and IDENTITY_ENDPOINT needs it; Azure sets both",
            "! SYNC_HOLD_SECOND                   is not a setting; did you mean SYNC_HOLD_SECONDS?",
            "✗ all settings                       2 of the settings cannot be used; they are marked with ✗.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in:\n{text}");
        }
    }

    #[test]
    fn lines_fit_the_terminal() {
        let report = report(&FINE);
        for width in [80, 100, 120] {
            let text = report.to_text(Some(width));
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest.is_some_and(|longest| longest <= usize::from(width)), "{width}:\n{text}");
        }
    }
}
