use std::fs;

use tempfile::TempDir;

use super::*;

const FILE: &str =
    r#"{"IsEncrypted":false,"Values":{"DATAVERSE_URL":"https://file.example","LOCK_WAIT_SECONDS":7,"X":null}}"#;

/// A folder with this local.settings.json.
fn folder(content: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("the folder for temporary files is writable");
    fs::write(folder.path().join("local.settings.json"), content).expect("it is writable");
    folder
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
}

#[test]
fn the_file_is_read_only_where_the_environment_has_no_setting_and_no_storage_at_all() {
    let folder = folder(FILE);
    for (name, is_read) in [
        ("PATH", true),
        ("RUST_LOG", true),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", true),
        ("AzureWebJobsStorage", false),
        ("AzureWebJobsStorage__accountName", false),
        ("SYNC_BATCH", false),
        ("AZURE_TENANT_ID", false),
        ("DATAVERSE_URL", false),
    ] {
        let environment = environment(&[(name, "")]).or_file(&[folder.path()]);
        let wait = environment.get("LOCK_WAIT_SECONDS");
        assert_eq!(wait.as_deref(), is_read.then_some("7"), "{name}");
        let notice = environment.notice().expect("there is a file");
        assert_eq!(notice.starts_with("settings are read from "), is_read, "{name}: {notice}");
        assert_eq!(notice.contains(&format!("is not read, because the environment has {name}")), !is_read, "{notice}");
    }
}

#[test]
fn the_first_folder_with_a_file_counts_and_a_variable_of_the_shell_wins() {
    let (folder, other) = (folder(FILE), folder(r#"{"Values":{"DATAVERSE_URL":"https://no"}}"#));
    let nowhere = folder.path().join("nowhere");
    let environment = environment(&[("RUST_LOG", "debug")]).or_file(&[&*nowhere, folder.path(), other.path()]);
    assert_eq!(environment.find("DATAVERSE_URL"), Some(("https://file.example", Source::LocalFile)));
    assert_eq!(environment.find("RUST_LOG"), Some(("debug", Source::Environment)));
    assert_eq!((environment.find("X"), environment.find("PATH")), (None, None));
    assert_eq!(self::environment(&[]).or_file(&[nowhere]).notice(), None);
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason() {
    for (content, reason) in [
        ("{", "it is not JSON"),
        (r#"{"IsEncrypted":true,"Values":{"A":"x"}}"#, "func settings decrypt"),
        (r#"{"values":{}}"#, "Values"),
    ] {
        let folder = folder(content);
        let environment = environment(&[]).or_file(&[folder.path()]);
        let notice = environment.notice().expect("there is a file").to_owned();
        assert!(notice.contains("local.settings.json is not read: ") && notice.contains(reason), "{notice}");
        assert_eq!(environment.get("A"), None);
    }
}

#[test]
fn a_name_that_is_almost_a_settings_is_pointed_out() {
    for (name, setting) in [
        ("SYNC_HOLD_SECOND", Some("SYNC_HOLD_SECONDS")),
        ("DATAVERSE_URI", Some("DATAVERSE_URL")),
        ("AzureWebJobStorage", Some("AzureWebJobsStorage")),
        ("AzureWebJobStorage__accountName", Some("AzureWebJobsStorage")),
        ("AZURE_TENANT", Some("AZURE_TENANT_ID")),
        ("AzureWebJobsStorage__accountName", None),
        ("AzureWebJobsSecretStorageType", None),
        ("AZURE_SUBSCRIPTION_ID", None),
        ("AZURE_AUTHORITY_HOST", None),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None),
        ("URL", None),
        ("TABLES", None),
        ("PATH", None),
    ] {
        let problems = environment(&[(name, "x")]).misspelt();
        let expected = setting.map(|setting| format!("is not a setting; did you mean {setting}?"));
        let text = problems.first().map(|problem| problem.text.clone());
        assert_eq!((text, problems.len()), (expected, usize::from(setting.is_some())), "{name}");
    }
    #[cfg(not(windows))]
    assert_eq!(environment(&[("dataverse_url", "x")]).misspelt().len(), 1, "names are compared with case");
    let own = [("LOCK_STORAGE", "LOCK_STORAGE2"), ("LOCK_STORAGE2", "x"), ("LOCK_STORAGE2__accountName", "x")];
    assert_eq!(environment(&own).misspelt(), [], "a connection has a name of its own");
}

#[test]
fn overrides_of_host_json_are_found_in_any_case() {
    let environment = environment(&[("azurefunctionsjobhost__extensions__queues__batchSize", "7")]);
    assert_eq!(environment.get("AzureFunctionsJobHost__extensions__queues__batchsize").as_deref(), Some("7"));
    assert_eq!(environment.get("azurefunctionsjobhost"), None);
}
