//! The values in the templates are those of the code, of host.json, and of Azure: names, settings, bounds, roles, and what
//! protects the account and the app.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dataverse_sync::config::Config;
use dataverse_sync::pipeline::INVOCATION_GRACE;
use dataverse_sync::{record, telemetry};
use sandbox::stage::azd;
use sandbox::world::{POISON_QUEUE, QUEUE};

use super::super::{file, names_asked_for, sample, text};
use super::Templates;
use super::template::{Token, fields, rendered};

/// What the templates set without a choice: file, declaration, field, value.
const FIXED: [(&str, &str, &str, &str); 46] = [
    ("account.bicep", "lifecycle", "parent", "account"),
    ("insights.bicep", "component", "properties.Application_Type", "'web'"),
    ("workspace.bicep", "workspace", "properties.sku.name", "'PerGB2018'"),
    ("app.bicep", "appSettings", "name", "'appsettings'"),
    ("app.bicep", "appSettings", "parent", "site"),
    ("app.bicep", "plan", "sku.tier", "'FlexConsumption'"),
    ("app.bicep", "site", "properties.serverFarmId", "plan.id"),
    ("app.bicep", "site", "properties.siteConfig.minTlsVersion", "'1.2'"),
    ("app.bicep", "site", "properties.functionAppConfig.deployment.storage.type", "'blobContainer'"),
    ("app.bicep", "site", "properties.functionAppConfig.scaleAndConcurrency.instanceMemoryMB", "instanceMemoryMB"),
    (
        "app.bicep",
        "site",
        "properties.functionAppConfig.scaleAndConcurrency.maximumInstanceCount",
        "maximumInstanceCount",
    ),
    ("saved-search.bicep", "storedQuery", "properties.functionAlias", "'SyncRecords'"),
    ("saved-search.bicep", "storedQuery", "properties.version", "2"),
    ("workbook.bicep", "workbook", "properties.sourceId", "componentId"),
    ("alerts.bicep", "alerts", "properties.scopes", "[workspaceId]"),
    ("alerts.bicep", "alerts", "properties.evaluationFrequency", "'PT5M'"),
    ("alerts.bicep", "alerts", "properties.windowSize", "rule.window"),
    ("alerts.bicep", "alerts", "properties.skipQueryValidation", "true"),
    ("alerts.bicep", "alerts", "properties.actions.actionGroups", "actionGroupIds"),
    ("account.bicep", "account", "kind", "'StorageV2'"),
    ("account.bicep", "account", "properties.allowSharedKeyAccess", "false"),
    ("account.bicep", "account", "properties.minimumTlsVersion", "'TLS1_2'"),
    ("account.bicep", "account", "properties.supportsHttpsTrafficOnly", "true"),
    ("account.bicep", "account", "properties.allowBlobPublicAccess", "false"),
    ("account.bicep", "lifecycle", "name", "'default'"),
    ("account.bicep", "lifecycle", "properties.policy.rules", "lifecycleRules(lockContainer,lockRetentionDays)"),
    ("names.bicep", "lifecycleRules", "enabled", "true"),
    ("names.bicep", "lifecycleRules", "type", "'Lifecycle'"),
    ("names.bicep", "lifecycleRules", "definition.filters.blobTypes", "['blockBlob']"),
    ("names.bicep", "lifecycleRules", "definition.filters.prefixMatch", "['${container}/']"),
    ("names.bicep", "lifecycleRules", "definition.actions.baseBlob.delete.daysAfterModificationGreaterThan", "days"),
    ("storage.bicep", "containers", "properties.publicAccess", "'None'"),
    ("insights.bicep", "component", "properties.DisableLocalAuth", "true"),
    ("insights.bicep", "component", "properties.WorkspaceResourceId", "workspaceId"),
    ("app.bicep", "ownSettings", "AzureWebJobsStorage__accountName", "storageAccountName"),
    ("app.bicep", "ownSettings", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "'Authorization=AAD'"),
    ("app.bicep", "appSettings", "properties", "union(ownSettings,settings)"),
    ("app.bicep", "plan", "sku.name", "'FC1'"),
    ("app.bicep", "plan", "properties.reserved", "true"),
    ("app.bicep", "site", "kind", "'functionapp,linux'"),
    ("app.bicep", "site", "identity.type", "'SystemAssigned'"),
    ("app.bicep", "site", "properties.httpsOnly", "true"),
    (
        "app.bicep",
        "site",
        "properties.functionAppConfig.deployment.storage.value",
        "'${blobEndpoint}${deploymentContainer}'",
    ),
    (
        "app.bicep",
        "site",
        "properties.functionAppConfig.deployment.storage.authentication.type",
        "'SystemAssignedIdentity'",
    ),
    ("app.bicep", "site", "properties.functionAppConfig.runtime.name", "'custom'"),
    ("app.bicep", "site", "properties.functionAppConfig.runtime.version", "'1.0'"),
];

/// Bounds that Azure sets or that the README gives a reason for: parameter, decorator, value.
const BOUNDS: [(&str, &str, &str); 6] = [
    ("instanceMemoryMB", "allowed", "[512,2048,4096]"),
    ("maximumInstanceCount", "minValue", "40"),
    ("maximumInstanceCount", "maxValue", "1000"),
    ("lockRetentionDays", "minValue", "8"),
    ("existingStorageAccount", "maxLength", "24"),
    ("appName", "maxLength", "32"),
];

/// The built-in roles.
/// <https://learn.microsoft.com/azure/role-based-access-control/built-in-roles>
const ROLES: [(&str, &str); 6] = [
    ("blobDataContributor", "ba92f5b4-2d11-453d-a403-e96b0029c9fe"),
    ("blobDataOwner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"),
    ("monitoringMetricsPublisher", "3913510d-42f4-4e42-8a64-420c390055eb"),
    ("queueDataContributor", "974c5e8b-45b9-4653-ba55-5f855dd0fb88"),
    ("queueDataMessageSender", "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a"),
    ("tableDataContributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"),
];

/// The assignments: name, what they are for, where, who, which role.
const ASSIGNMENTS: [(&str, &str, &str, &str, &str); 5] = [
    ("appRole", "", "component", "appPrincipalId", "monitoringMetricsPublisher"),
    (
        "appRoles",
        "[for role in[blobDataOwner,queueDataContributor,tableDataContributor]:",
        "account",
        "appPrincipalId",
        "role",
    ),
    ("operatorLockRoles", "[for operator in operators:", "locks", "operator", "blobDataContributor"),
    ("operatorQueueRoles", "[for operator in operators:", "account", "operator", "queueDataContributor"),
    ("senderRoles", "[for sender in senders:", "records", "sender", "queueDataMessageSender"),
];

/// Settings that the host reads and the handler does not.
const SETTINGS_OF_THE_HOST: [&str; 2] =
    ["APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "APPLICATIONINSIGHTS_CONNECTION_STRING"];

/// Without local authentication on the component this is an address, not a key.
const ADDRESS: &str = "component.properties.ConnectionString";

/// How secrets come into a template, in small letters.
const SECRETS: [&str; 8] = [
    "accountkey",
    "connectionstring",
    "getsecret(",
    "instrumentationkey",
    "listkeys",
    "password",
    "sharedaccesssignature",
    "client_secret",
];

pub(super) fn findings(templates: &Templates) -> Vec<String> {
    [
        fixed(templates),
        bounds(templates),
        shared_names(templates),
        settings(templates),
        roles(templates),
        secrets(templates),
        scale(templates),
        commands(templates),
    ]
    .concat()
}

pub(super) fn differs(what: &str, found: Option<&str>, expected: &str) -> Option<String> {
    (found != Some(expected)).then(|| format!("{what} is {}, not {expected}", found.unwrap_or("missing")))
}

fn fixed(templates: &Templates) -> Vec<String> {
    let finding = |(file, name, field, expected): &(&str, &str, &str, &str)| {
        let value = templates.get(file, name).and_then(|found| found.field(field));
        differs(&format!("{file}: {field} of {name}"), value.as_deref(), expected)
    };
    FIXED.iter().filter_map(finding).collect()
}

fn decorator(templates: &Templates, parameter: &str, name: &str) -> Option<String> {
    templates.get("main.bicep", parameter)?.decorator(name)
}

/// Bounds of the service, and those of the code: the handler takes each bound and nothing beyond it.
fn bounds(templates: &Templates) -> Vec<String> {
    let of_the_service = BOUNDS.iter().filter_map(|(parameter, name, expected)| {
        differs(&format!("{name} of {parameter}"), decorator(templates, parameter, name).as_deref(), expected)
    });
    let mut found: Vec<_> = of_the_service.collect();
    let (least, most) =
        (decorator(templates, "maxConcurrency", "minValue"), decorator(templates, "maxConcurrency", "maxValue"));
    let number = |text: Option<String>| text.and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let (least, most) = (number(least), number(most));
    let takes = |value: i64| takes("SYNC_MAX_CONCURRENCY", &value.to_string());
    if !takes(least) || !takes(most) || takes(least - 1) || takes(most + 1) {
        found.push(format!("maxConcurrency is from {least} to {most}, and SYNC_MAX_CONCURRENCY is not"));
    }
    // An invocation that passes functionTimeout ends the handler with all that is in flight.
    let longest = time_limit().checked_sub(INVOCATION_GRACE).expect("there is time for a hold").as_secs().to_string();
    found.extend(differs(
        "maxValue of holdSeconds",
        decorator(templates, "holdSeconds", "maxValue").as_deref(),
        &longest,
    ));
    for (parameter, setting) in [("onConflict", "SYNC_ON_CONFLICT"), ("logFormat", "SYNC_LOG_FORMAT")] {
        let allowed = decorator(templates, parameter, "allowed").unwrap_or_default();
        let refused = allowed.split('\'').skip(1).step_by(2).filter(|word| !self::takes(setting, word));
        found.extend(refused.map(|word| format!("{parameter} allows {word}, and {setting} does not")));
    }
    found
}

/// `functionTimeout` in host.json.
fn time_limit() -> Duration {
    let host = file("host.json");
    let parts = host["functionTimeout"].as_str().expect("a time limit").split(':');
    Duration::from_secs(parts.fold(0, |sum, part| sum * 60 + part.parse::<u64>().expect("a number")))
}

/// Whether the handler starts with this value.
fn takes(setting: &str, value: &str) -> bool {
    let mut settings = sample();
    settings.insert("FUNCTIONS_CUSTOMHANDLER_PORT".to_owned(), "7071".to_owned());
    settings.insert(setting.to_owned(), value.to_owned());
    let lookup = |name: &str| settings.get(name).cloned();
    Config::from_settings(&lookup).is_ok() && telemetry::Settings::read(&lookup).is_ok()
}

fn shared_names(templates: &Templates) -> Vec<String> {
    let sample = sample();
    let expected =
        [("recordQueue", QUEUE), ("poisonQueue", POISON_QUEUE), ("lockContainer", sample["LOCK_CONTAINER"].as_str())];
    let differences = expected.into_iter().filter_map(|(name, value)| {
        let found = templates.get("names.bicep", name).map(|found| rendered(&found.value));
        differs(name, found.as_deref(), &format!("'{value}'"))
    });
    let loops = [("containers", "[deploymentContainer,lockContainer]"), ("queues", "[recordQueue,poisonQueue]")];
    let made = loops.into_iter().filter_map(|(name, expected)| {
        let value = templates.get("storage.bicep", name).map(|found| rendered(&found.value)).unwrap_or_default();
        (!value.contains(&format!("in{expected}:"))).then(|| format!("storage.bicep: {name} are not {expected}"))
    });
    differences.chain(made).collect()
}

/// The settings of the app, each with the value that it has without a choice of the deployer.
fn own_settings(templates: &Templates) -> BTreeMap<String, String> {
    let own = templates.get("app.bicep", "ownSettings").map(|found| fields(&found.value)).unwrap_or_default();
    let default = |value: &str| {
        let parameter = value.strip_prefix("string(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(value);
        let found = templates.get("main.bicep", parameter).filter(|found| found.kind == "param");
        let value = found.map(|found| rendered(&found.value)).unwrap_or_default();
        value.trim_matches('\'').to_owned()
    };
    own.into_iter().map(|(name, value)| (name, default(&value))).collect()
}

/// The handler knows each setting, and starts with the same defaults.
fn settings(templates: &Templates) -> Vec<String> {
    let own = own_settings(templates);
    let sample = sample();
    let read =
        names_asked_for(&[("AzureWebJobsStorage__accountName", "account"), ("DATAVERSE_URL", "https://x.example")]);
    let known = |name: &str| read.contains(name) || SETTINGS_OF_THE_HOST.contains(&name);
    let unknown = own.keys().filter(|name| !known(name) || *name == "FUNCTIONS_WORKER_RUNTIME");
    let unknown = unknown.map(|name| format!("{name} is not a setting of the handler, or not one on this plan"));
    let changed = own.iter().filter(|(name, value)| {
        name.starts_with("SYNC_") && sample.get(*name).is_some_and(|default| default != *value)
    });
    let changed = changed.map(|(name, value)| format!("{name} is {value:?} without a choice, not as the README says"));
    let missing = ["DATAVERSE_URL", "AzureWebJobsStorage__accountName", ADDRESS_SETTING];
    let missing = missing.iter().filter(|name| !own.contains_key(**name)).map(|name| format!("{name} is not set"));
    unknown.chain(changed).chain(missing).collect()
}

const ADDRESS_SETTING: &str = SETTINGS_OF_THE_HOST[1];

fn roles(templates: &Templates) -> Vec<String> {
    let mut found = Vec::new();
    for (name, id) in ROLES {
        let declared = templates.all().find(|(_, found)| found.name == name).map(|(_, found)| rendered(&found.value));
        found.extend(differs(name, declared.as_deref(), &format!("'{id}'")));
    }
    let is_one =
        |target: Option<&str>| target.is_some_and(|target| target.starts_with("Microsoft.Authorization/roleA"));
    let mut made = BTreeSet::new();
    for (_, assignment) in templates.all().filter(|(_, found)| is_one(found.target())) {
        let field = |name: &str| assignment.field(name).unwrap_or_default();
        let head = assignment.value.split(|token| *token == Token::Sign('{')).next().map(rendered).unwrap_or_default();
        let role = field("properties.roleDefinitionId");
        let role = role.split(',').next_back().unwrap_or_default().trim_end_matches(')').to_owned();
        let (scope, who) = (field("scope"), field("properties.principalId"));
        found.extend(differs(
            &format!("the name of {}", assignment.name),
            Some(&field("name")),
            &format!("guid({scope}.id,{who},{role})"),
        ));
        // A new identity is known to Azure after some minutes; with its type given, the assignment does not look it up.
        if who == "appPrincipalId" {
            let kind = assignment.field("properties.principalType");
            found.extend(differs(
                &format!("principalType of {}", assignment.name),
                kind.as_deref(),
                "'ServicePrincipal'",
            ));
        }
        made.insert((assignment.name.clone(), head, scope, who, role));
    }
    let expected = ASSIGNMENTS.map(|(name, head, scope, who, role)| {
        (name.to_owned(), head.to_owned(), scope.to_owned(), who.to_owned(), role.to_owned())
    });
    let expected = BTreeSet::from(expected);
    found.extend(
        made.symmetric_difference(&expected).map(|assignment| format!("a role assignment differs: {assignment:?}")),
    );
    found
}

fn secrets(templates: &Templates) -> Vec<String> {
    let mut found = Vec::new();
    for (file, declaration) in templates.all() {
        let value = rendered(&declaration.value).replace(ADDRESS, "").to_lowercase();
        let names = SECRETS.iter().filter(|secret| value.contains(*secret));
        found.extend(names.map(|secret| format!("{file}: {} has {secret}", declaration.name)));
    }
    found
}

/// What scales by itself is a function of ours, and azd finds the app.
fn scale(templates: &Templates) -> Vec<String> {
    let ready = templates.get("app.bicep", "alwaysReady").map(|found| rendered(&found.value)).unwrap_or_default();
    let functions = ready.split("'function:").skip(1).filter_map(|rest| rest.split('\'').next());
    let path = |function: &str| format!("functions/{function}/function.json");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing = functions.filter(|function| !root.join(path(function)).is_file());
    let missing = missing.map(|function| format!("alwaysReady names {function}, which is not a function"));
    let tags = templates.get("app.bicep", "site").and_then(|found| found.field("tags")).unwrap_or_default();
    let tag = format!("'azd-service-name':'{}'", azd::SERVICE);
    let untagged = (!tags.contains(&tag)).then(|| format!("the app's tags lack {tag}"));
    missing.chain(untagged).collect()
}

/// The printed commands: the first message is a record, hardening sets what a new account has, and `cargo doctor` exists.
fn commands(templates: &Templates) -> Vec<String> {
    let output = |name: &str| {
        let found = templates.in_file("main.bicep", "output").find(|found| found.name == name);
        found.map(|found| rendered(&found.value)).unwrap_or_default()
    };
    let mut found = Vec::new();
    let message = output("firstMessage");
    let record = message.split("--content '").nth(1).unwrap_or_default().trim_end_matches('\'').to_owned();
    if let Err((error, _)) = record::decode(&Bytes::from(record)) {
        found.push(format!("the first message is not a record: {error}"));
    }
    let wanted: [(&str, &[&str]); 6] = [
        (
            "hardening",
            &["--min-tls-version TLS1_2", "--allow-blob-public-access false", "--allow-shared-key-access false"],
        ),
        ("lifecycleRule", &["management-policy create", "lifecycleRules(lockContainer,lockRetentionDays)"]),
        ("dataverseUser", &["az ad sp show --id ${app.outputs.principalId} --query appId", "--application-user"]),
        ("publish", &["func azure functionapp publish ${app.outputs.name} --script-root target/functionapp"]),
        ("status", &["AzureWebJobsStorage__accountName=${storageName} target/functionapp/handler status --watch"]),
        ("doctor", &["AzureWebJobsStorage__accountName=${storageName} DATAVERSE_URL=${dataverseUrl} cargo doctor"]),
    ];
    for (name, parts) in wanted {
        let command = output(name);
        found.extend(parts.iter().filter(|part| !command.contains(**part)).map(|part| format!("{name} lacks {part}")));
    }
    if !text(".cargo/config.toml").contains("\ndoctor = ") {
        found.push("cargo doctor does not exist".to_owned());
    }
    found
}
