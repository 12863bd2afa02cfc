//! The settings, as the handler that serves would read them. Pure.

use super::finding::{Check, Finding};
use crate::config::Config;
use crate::settings::{Lookup, Problem, non_empty};
use crate::telemetry;

/// The host sets it for the process that it starts; nobody else has one.
const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

const RUNTIME: &str = "FUNCTIONS_WORKER_RUNTIME";

const REMEDY: &str = "set it among the app's settings in Azure, or in this shell's environment (local.settings.json is read by \
                      func alone); the README has the table";

/// The settings if they can be used, and what is found about them: every problem at once.
pub fn check(lookup: &Lookup) -> (Option<Config>, Vec<Finding>) {
    let with_port = |name: &str| lookup(name).or_else(|| (name == PORT).then(|| "0".to_owned()));
    let config = Config::from_settings(&with_port);
    let others = telemetry::Settings::read(lookup).err().into_iter().flatten().chain(runtime(lookup));
    let (config, problems) = match config {
        Ok(config) => (Some(config), others.collect::<Vec<_>>()),
        Err(problems) => (None, problems.into_iter().chain(others).collect()),
    };
    let mut findings: Vec<_> =
        problems.iter().map(|problem| Finding::wrong(Check::Settings, problem.to_string(), REMEDY)).collect();
    if let Some(config) = config.as_ref().filter(|_| findings.is_empty()) {
        findings.push(Finding::good(Check::Settings, told(config)));
    }
    (config, findings)
}

/// Another language's worker would be started instead of this program.
fn runtime(lookup: &Lookup) -> Option<Problem> {
    let set = non_empty(lookup, RUNTIME)?;
    (set != "custom").then(|| Problem::new(RUNTIME, "must be custom, or the host does not start this program"))
}

fn told(config: &Config) -> String {
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

    const FINE: [(&str, &str); 4] = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"),
        ("FUNCTIONS_WORKER_RUNTIME", "custom"),
    ];

    fn found(settings: &[(&str, &str)]) -> (Option<Config>, Vec<Finding>) {
        // Of two of a kind the later one counts.
        check(&|name| settings.iter().rev().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nobody_but_the_host_has_a_port_so_it_is_not_missed() {
        let (config, findings) = found(&FINE);
        assert!(config.is_some());
        let told =
            "Dataverse contoso.crm.dynamics.com as system_assigned_managed_identity, locks in 127.0.0.1 (shared_key)";
        assert_eq!(findings, [Finding::good(Check::Settings, told)]);
    }

    #[test]
    fn every_problem_is_a_finding_and_the_log_filter_and_the_runtime_are_looked_at_too() {
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
        assert!(findings.iter().all(|finding| !finding.is_good() && finding.remedy.is_some()));
        assert!(!format!("{findings:?}").contains("canary"), "{findings:?}");
    }

    #[test]
    fn a_log_filter_alone_leaves_the_rest_usable() {
        let (config, findings) = found(&[&FINE[..], &[("RUST_LOG", "[{")]].concat());
        assert!(config.is_some() && findings.len() == 1 && findings[0].found.starts_with("RUST_LOG"), "{findings:?}");
    }
}
