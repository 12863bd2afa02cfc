//! The settings, as the handler that serves would read them. Pure.

use super::report::{Report, wrong};
use crate::config::Config;
use crate::settings::environment::Environment;

const REMEDY: &str = "set it among the app's settings in Azure, in this shell's environment, or in local.settings.json, which is read \
                      where the environment has none of the settings; `handler settings` shows them all";

const NAME_REMEDY: &str = "correct the name; under this one it has no effect";

const EXPOSED_REMEDY: &str = "give the file to the user that the handler runs as, or to root, and let only the owner write it: \
                              chmod go-w";

/// Reports every problem at once; returns the settings if they can be used.
pub(super) fn check(environment: &Environment, report: &mut Report) -> Option<Config> {
    let (config, problems) = Config::check(&|name| environment.get(name));
    if let Some(config) = config.as_ref().filter(|_| problems.is_empty()) {
        report.add("settings", Ok(Ok(config.summary())));
    }
    for problem in problems {
        report.add("settings", Ok(wrong(problem.to_string(), REMEDY)));
    }
    for problem in environment.misspelt() {
        report.warn("settings", problem.to_string(), NAME_REMEDY);
    }
    if let Some(exposed) = config.as_ref().and_then(|config| config.identity.exposed_file()) {
        report.warn("key_file", exposed.to_string(), EXPOSED_REMEDY);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::{Finding, Verdict};

    const FINE: [(&str, &str); 5] = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"),
        ("IDENTITY_HEADER", "canary"),
        ("FUNCTIONS_WORKER_RUNTIME", "custom"),
    ];

    fn found(settings: &[(&str, &str)]) -> (Option<Config>, Vec<Finding>) {
        let mut report = Report::new(true);
        // The first of several equal names counts.
        let variables = settings.iter().rev().map(|(name, value)| (name.into(), value.into()));
        let config = check(&Environment::new(variables), &mut report);
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

    #[test]
    fn a_name_that_is_almost_a_settings_is_a_warning() {
        let (config, findings) = found(&[&FINE[..], &[("SYNC_HOLD_SECOND", "canary")]].concat());
        let warning = "SYNC_HOLD_SECOND is not a setting; did you mean SYNC_HOLD_SECONDS?";
        assert!(config.is_some());
        assert_eq!((findings.len(), findings[1].verdict, findings[1].found.as_str()), (2, Verdict::Warning, warning));
    }
}
