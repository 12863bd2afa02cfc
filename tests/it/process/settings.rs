//! Invalid settings: all problems are reported at once, each with the variable's name, and the exit code is 2.

use std::collections::BTreeSet;

use super::output;
use super::running::Running;
use crate::waiting::eventually;

const PORT: (&str, &str) = ("FUNCTIONS_CUSTOMHANDLER_PORT", "0");

/// The variables that the logged problems name, in order.
fn named(text: &str) -> Vec<&str> {
    text.lines().skip(1).filter_map(|line| line.split(' ').nth(2)).collect()
}

#[tokio::test]
async fn without_settings_every_missing_one_is_named() {
    let output = output(&[], &[]).await;
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    let text = &output.stderr;
    assert_eq!(named(text), ["DATAVERSE_URL", "AzureWebJobsStorage", "FUNCTIONS_CUSTOMHANDLER_PORT"], "{text}");
    assert!(
        text.lines().next().is_some_and(|line| line.ends_with(" ERROR 3 of the settings cannot be used")),
        "{text}"
    );
}

#[tokio::test]
async fn a_misspelt_name_is_one_warning_beside_the_problems_and_while_serving() {
    let output =
        output(&[], &[("DATAVERSE_URI", "https://contoso.crm.dynamics.com"), ("SYNC_HOLD_SECOND", "9"), PORT]).await;
    let text = &output.stderr;
    assert_eq!(output.code, Some(2), "because of the missing ones: {text}");
    let warning = "DATAVERSE_URI is not a setting; did you mean DATAVERSE_URL?; \
                   SYNC_HOLD_SECOND is not a setting; did you mean SYNC_HOLD_SECONDS?";
    let warnings: Vec<_> = text.lines().filter(|line| line.contains(" WARN ")).collect();
    assert!(warnings.len() == 1 && warnings[0].ends_with(warning), "{text}");

    let settings = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("SYNC_HOLD_SECOND", "9"),
    ];
    let handler = Running::start(&settings).await;
    eventually("the warning", async || {
        handler.printed().contains("SYNC_HOLD_SECOND is not a setting; did you mean SYNC_HOLD_SECONDS?").then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_invalid_setting_is_named_and_no_value_is_printed() {
    let wrong = [
        ("DATAVERSE_URL", "http://user:canary@contoso.crm.dynamics.com/canary"),
        ("DATAVERSE_API_VERSION", "canary"),
        ("AZURE_CLIENT_SECRET", "canary"),
        ("LOCK_STORAGE", "Locks"),
        ("Locks", "AccountName=abc;AccountKey=%canary%"),
        ("LOCK_CONTAINER", "Canary_"),
        ("LOCK_LEASE_SECONDS", "14"),
        ("LOCK_WAIT_SECONDS", "canary"),
        ("LOCK_MODE", "canary"),
        ("SYNC_ON_CONFLICT", "canary"),
        ("SYNC_VERSION_COLUMN", "Canary!"),
        ("SYNC_MAX_CONCURRENCY", "0"),
        ("SYNC_BATCH", "canary"),
        ("SYNC_HOLD_SECONDS", "canary"),
        ("SYNC_TABLES", "contacts,canary!"),
        ("SYNC_HEADERS", r#"["canary"]"#),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "canary"),
        ("RUST_LOG", "info,handler=canary"),
        ("SYNC_LOG_FORMAT", "canary"),
    ];
    let output = output(&[], &wrong).await;
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""));
    let text = &output.stderr;
    let found = named(text);
    let missing = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID"];
    let fine = ["AZURE_CLIENT_SECRET", "LOCK_STORAGE"];
    let names = wrong.iter().map(|(name, _)| *name).filter(|name| !fine.contains(name)).chain(missing);
    for name in names {
        assert_eq!(found.iter().filter(|found| **found == name).count(), 1, "{name} once:\n{text}");
    }
    assert_eq!(found.len(), wrong.len() - fine.len() + missing.len(), "{text}");
    assert!(!text.to_lowercase().contains("canary"), "{text}");
}

#[tokio::test]
async fn what_the_sdk_would_refuse_is_named_with_all_the_rest() {
    let fine = [("DATAVERSE_URL", "https://contoso.crm.dynamics.com"), PORT];
    let storage = ("AzureWebJobsStorage", "DefaultEndpointsProtocol=http;AccountName=abc;AccountKey=a2V5");
    let application = [
        ("AZURE_TENANT_ID", "contoso canary"),
        ("AZURE_AUTHORITY_HOST", "login.canary.example"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/canary"),
        storage,
    ];
    let managed = [
        ("IDENTITY_ENDPOINT", "canary"),
        ("IDENTITY_SERVER_THUMBPRINT", "canary"),
        ("AzureWebJobsStorage__serviceUri", "https://canary.blob.core.windows.net"),
    ];
    for (wrong, missing) in [(&application[..], "AZURE_CLIENT_ID"), (&managed, "IDENTITY_HEADER")] {
        let output = output(&[], &[&fine[..], wrong].concat()).await;
        let text = &output.stderr;
        let expected: BTreeSet<_> = wrong.iter().map(|(name, _)| *name).chain([missing]).collect();
        assert_eq!((output.code, named(text).into_iter().collect()), (Some(2), expected), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn an_unresolved_key_vault_reference_is_named_as_such_in_any_setting() {
    const REFERENCE: &str = "@Microsoft.KeyVault(VaultName=canary;SecretName=canary)";
    let names = [
        "DATAVERSE_URL",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_AUTHORITY_HOST",
        "AzureWebJobsStorage",
        "LOCK_CONTAINER",
        "SYNC_HEADERS",
        "SYNC_MAX_CONCURRENCY",
        "RUST_LOG",
        "SYNC_LOG_FORMAT",
    ];
    let settings: Vec<_> = names.map(|name| (name, REFERENCE)).into_iter().chain([PORT]).collect();
    let output = output(&[], &settings).await;
    let text = &output.stderr;
    assert_eq!((output.code, named(text).into_iter().collect()), (Some(2), BTreeSet::from(names)), "{text}");
    assert!(
        text.lines().skip(1).all(|line| line.contains(" is a Key Vault reference that Azure has not resolved")),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn extra_headers_can_neither_split_a_request_nor_replace_one_of_our_own() {
    let fine = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "0"),
    ];
    for (name, value) in [
        ("X-A", "canary\r\nX-Injected: 1"),
        ("X-A", "canary\0"),
        ("X-A\r\nX-Injected", "canary"),
        ("", "canary"),
        ("Authorization", "canary"),
        ("HOST", "canary"),
        ("Content-Length", "7"),
        ("transfer-encoding", "chunked"),
        ("Cookie", "canary"),
    ] {
        let headers = serde_json::json!({ name: value }).to_string();
        let mut settings = fine.to_vec();
        settings.push(("SYNC_HEADERS", &headers));
        let output = output(&[], &settings).await;
        let text = &output.stderr;
        assert_eq!((output.code, named(text)[0]), (Some(2), "SYNC_HEADERS"), "{name:?}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}
