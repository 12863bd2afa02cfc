//! The settings, as the handler that serves would read them. Pure.

use super::report::{Report, wrong};
use crate::config::Config;
use crate::settings::{Lookup, Problem, non_empty};
use crate::telemetry;

/// Only the host sets it, for the process that it starts.
const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

const RUNTIME: &str = "FUNCTIONS_WORKER_RUNTIME";

const REMEDY: &str = "set it among the app's settings in Azure, or in this shell's environment (local.settings.json is read by \
                      func alone); the README has the table";

const EXPOSED_REMEDY: &str = "give the file to the user that the handler runs as, or to root, and let only the owner write it: \
                              chmod go-w";

/// Reports every problem at once; returns the settings if they can be used.
pub(super) fn check(lookup: &Lookup<'_>, report: &mut Report) -> Option<Config> {
    let with_port = |name: &str| lookup(name).or_else(|| (name == PORT).then(|| "0".to_owned()));
    let (config, mut problems) = match Config::from_settings(&with_port) {
        Ok(config) => (Some(config), Vec::new()),
        Err(problems) => (None, problems),
    };
    problems.extend(telemetry::Settings::read(lookup).err().into_iter().flatten());
    problems.extend(runtime(lookup));
    if let Some(config) = config.as_ref().filter(|_| problems.is_empty()) {
        report.add("settings", Ok(Ok(summary(config))));
    }
    for problem in problems {
        report.add("settings", Ok(wrong(problem.to_string(), REMEDY)));
    }
    if let Some(exposed) = config.as_ref().and_then(|config| config.identity.exposed_file()) {
        report.warn("key_file", exposed.to_string(), EXPOSED_REMEDY);
    }
    config
}

/// With another value the host would start another language's worker.
fn runtime(lookup: &Lookup<'_>) -> Option<Problem> {
    let set = non_empty(lookup, RUNTIME)?;
    (set != "custom").then(|| Problem::new(RUNTIME, "must be custom, or the host does not start this program"))
}

fn summary(config: &Config) -> String {
    let locks = match &config.locks {
        None => "no locks".to_owned(),
        Some(locks) => format!("locks in {} ({})", locks.address.host(), locks.address.access()),
    };
    let dataverse = config.dataverse.url.host_str().unwrap_or_default();
    format!("Dataverse {dataverse} as {}, {locks}", config.identity.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Finding;

    const FINE: [(&str, &str); 5] = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"),
        ("IDENTITY_HEADER", "canary"),
        ("FUNCTIONS_WORKER_RUNTIME", "custom"),
    ];

    fn found(settings: &[(&str, &str)]) -> (Option<Config>, Vec<Finding>) {
        let mut report = Report::new(true);
        // The last of several equal names wins.
        let lookup =
            |name: &str| settings.iter().rev().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let config = check(&lookup, &mut report);
        (config, report.findings().to_vec())
    }

    #[test]
    fn does_not_require_the_port_that_only_the_host_sets() {
        let (config, findings) = found(&FINE);
        assert!(config.is_some());
        let expected =
            "Dataverse contoso.crm.dynamics.com as system_assigned_managed_identity, locks in 127.0.0.1 (shared_key)";
        assert_eq!((findings.len(), findings[0].check, findings[0].found.as_str()), (1, "settings", expected));
        assert!(findings[0].remedy.is_none());
    }

    #[test]
    fn every_problem_is_a_finding_those_of_the_log_filter_and_the_runtime_too() {
        let wrong = [
            ("DATAVERSE_URL", ""),
            ("AZURE_CLIENT_SECRET", "canary"),
            ("LOCK_LEASE_SECONDS", "canary"),
            ("RUST_LOG", "a=canary"),
            ("FUNCTIONS_WORKER_RUNTIME", "canary"),
        ];
        let (config, findings) = found(&[&FINE[..], &wrong].concat());
        assert!(config.is_none());
        let names: Vec<_> = findings.iter().filter_map(|finding| finding.found.split(' ').next()).collect();
        let expected = ["DATAVERSE_URL", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "LOCK_LEASE_SECONDS", "RUST_LOG"];
        assert_eq!(names, [&expected[..], &["FUNCTIONS_WORKER_RUNTIME"]].concat());
        assert!(findings.iter().all(|finding| finding.remedy.is_some()));
        assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");
    }

    #[test]
    fn a_wrong_log_filter_leaves_the_other_settings_usable() {
        let (config, findings) = found(&[&FINE[..], &[("RUST_LOG", "[{")]].concat());
        assert!(config.is_some() && findings.len() == 1 && findings[0].found.starts_with("RUST_LOG"), "{findings:?}");
    }
}
