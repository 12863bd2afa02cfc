//! The infrastructure in `functions/infra` against the code: a template that differs from it deploys, and then nothing works.
//!
//! - `template`: as much of Bicep as this needs.
//! - `structure`: declarations, modules and versions fit one another.
//! - `wiring`: modules are deployed where, when and with what they need.
//! - `values`: names, settings, bounds, roles and protections are those of the code, host.json and Azure.
//!
//! Every check returns its findings, so that the last test can break the files in many ways and see each one found.

mod structure;
mod template;
mod values;
mod wiring;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use template::{Declaration, parse};

const FOLDER: &str = "functions/infra";

/// The files by name; the text of each.
type Files = BTreeMap<String, String>;

/// The declarations of each template.
struct Templates(BTreeMap<String, Vec<Declaration>>);

impl Templates {
    fn of(files: &Files) -> Self {
        let templates =
            files.iter().filter(|(name, _)| Path::new(name).extension().is_some_and(|kind| kind == "bicep"));
        Self(templates.map(|(name, text)| (name.clone(), parse(text))).collect())
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Declaration)> {
        self.0.iter().flat_map(|(file, found)| found.iter().map(move |declaration| (file.as_str(), declaration)))
    }

    fn in_file(&self, file: &str, kind: &str) -> impl Iterator<Item = &Declaration> {
        self.0.get(file).into_iter().flatten().filter(move |found| found.kind == kind)
    }

    fn get(&self, file: &str, name: &str) -> Option<&Declaration> {
        self.0.get(file)?.iter().find(|found| found.name == name)
    }
}

fn files() -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.expect("readable").file_name().into_string().expect("its name is text"));
    names.map(|name| (name.clone(), super::text(&format!("{FOLDER}/{name}")))).collect()
}

fn findings(files: &Files) -> Vec<String> {
    let templates = Templates::of(files);
    [structure::findings(files, &templates), values::findings(&templates), wiring::findings(&templates)].concat()
}

#[test]
fn the_infrastructure_fits_together_and_fits_the_code() {
    let findings = findings(&files());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A file, a text in it, what stands there instead, and a part of the finding.
const BROKEN: [(&str, &str, &str, &str); 52] = [
    ("names.bicep", "'sync-records'", "'sync-record'", "recordQueue"),
    ("names.bicep", "'sync-records-poison'", "'sync-records-dead'", "poisonQueue"),
    ("names.bicep", "'sync-locks'", "'locks'", "lockContainer"),
    ("names.bicep", "prefixMatch: ['${container}/']", "prefixMatch: ['']", "prefixMatch"),
    (
        "names.bicep",
        "@export()\n@description('The container of the published app.')",
        "@description('')",
        "deploymentContainer",
    ),
    ("storage.bicep", "[recordQueue, poisonQueue]", "[recordQueue]", "poisonQueue is imported and not used"),
    ("app.bicep", "SYNC_TABLES: tables", "SYNC_TABLE: tables", "SYNC_TABLE is not a setting"),
    ("app.bicep", "DATAVERSE_URL: dataverseUrl", "FUNCTIONS_WORKER_RUNTIME: dataverseUrl", "FUNCTIONS_WORKER_RUNTIME"),
    (
        "app.bicep",
        "component.properties.ConnectionString",
        "listKeys(storageAccountName, '2024-01-01').keys[0].value",
        "listkeys",
    ),
    (
        "app.bicep",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD'",
        "",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    ),
    ("app.bicep", "DATAVERSE_URL: dataverseUrl", "DATAVERSE_URL: 'AccountKey=abc'", "accountkey"),
    ("app.bicep", "httpsOnly: true", "httpsOnly: false", "httpsOnly"),
    ("app.bicep", "'function:SyncQueue'", "'function:SyncQueues'", "SyncQueues"),
    ("app.bicep", "type: 'SystemAssigned'\n", "type: 'None'\n", "identity.type"),
    ("app.bicep", "'azd-service-name': 'sync'", "'azd-service-name': 'api'", "azd-service-name"),
    ("app.bicep", "sites@2024-11-01", "sites@2023-12-01", "Microsoft.Web/sites@2023-12-01"),
    ("account.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "allowSharedKeyAccess"),
    ("account.bicep", "    allowBlobPublicAccess: false\n", "", "allowBlobPublicAccess"),
    ("account.bicep", "'TLS1_2'", "'TLS1_0'", "minimumTlsVersion"),
    ("insights.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false", "DisableLocalAuth"),
    (
        "storage-roles.bicep",
        "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "queueDataMessageSender",
    ),
    ("storage-roles.bicep", "scope: records", "scope: account", "senderRoles"),
    ("storage-roles.bicep", "for role in [blobDataOwner, ", "for role in [", "appRoles"),
    (
        "insights-role.bicep",
        "3913510d-42f4-4e42-8a64-420c390055eb",
        "3913510d-42f4-4e42-8a64-420c390055ec",
        "monitoringMetricsPublisher",
    ),
    ("main.bicep", "@maxValue(490)", "@maxValue(500)", "holdSeconds"),
    ("main.bicep", "param holdSeconds int = 480", "param holdSeconds int = 300", "SYNC_HOLD_SECONDS"),
    ("main.bicep", "@maxValue(1000)\nparam maxConcurrency", "@maxValue(2000)\nparam maxConcurrency", "maxConcurrency"),
    ("main.bicep", "['verify', 'skip', 'retry']", "['verify', 'skip', 'again']", "onConflict"),
    ("main.bicep", "@minValue(8)", "@minValue(7)", "lockRetentionDays"),
    ("main.bicep", "'insights-role.bicep'", "'insight-role.bicep'", "insight-role.bicep"),
    ("main.bicep", "    senders: senders\n", "", "senders"),
    ("main.bicep", "storage.outputs.blobEndpoint", "storage.outputs.blobAddress", "blobAddress"),
    ("alerts.bicep", "Content('../queries.kql')", "Content('../query.kql')", "../query.kql"),
    ("main.bicep", "module alerts 'alerts.bicep'", "module alerts 'workbook.bicep'", "alerts.bicep is not deployed"),
    ("main.bicep", "    componentId: insights.outputs.id\n", "", "componentId"),
    (
        "account.bicep",
        "storageAccounts/managementPolicies@",
        "storageAccounts/managementPolicy@",
        "managementPolicies@",
    ),
    (
        "main.bicep",
        "params: {\n    workspaceName: workspaceName",
        "params: {\n    workspace: workspaceName",
        "no parameter workspace",
    ),
    ("main.bicep", "handler status --watch", "handler state --watch", "status"),
    ("main.parameters.json", "\"dataverseUrl\"", "\"dataverse\"", "dataverse"),
    ("app.bicep", "SYNC_TABLES: tables", "SYNC_TABLES: versionColumn", "described otherwise"),
    ("app.bicep", "serverFarmId: plan.id", "severFarmId: plan.id", "serverFarmId"),
    ("alerts.bicep", "skipQueryValidation: true", "skipQueryValidation: false", "skipQueryValidation"),
    ("main.bicep", "  dependsOn: [account]\n", "", "dependsOn of storage"),
    (
        "main.bicep",
        "module storageRoles 'storage-roles.bicep' = {\n  scope: resourceGroup(storageGroup)\n",
        "module storageRoles 'storage-roles.bicep' = {\n",
        "scope of storageRoles",
    ),
    ("main.bicep", "maxConcurrency: maxConcurrency", "maxConcurrency: holdSeconds", "maxConcurrency gets holdSeconds"),
    ("main.bicep", "'.', '-'", "'.', '.'", "appName may have a ."),
    ("main.bicep", "= if (newStorage)", "= if (newWorkspace)", "account is not deployed"),
    ("main.bicep", "param senders string[] = []", "param senders string = ''", "senders is of another type"),
    ("storage-roles.bicep", "guid(locks.id, operator,", "guid(account.id, operator,", "operatorLockRoles"),
    ("storage-roles.bicep", "      principalType: 'ServicePrincipal'\n", "", "principalType of appRoles"),
    ("main.bicep", "'-'), 11)", "'-'), 21)", "appName may have more than 32"),
    (
        "main.bicep",
        "location: savedSearch.outputs.workspaceLocation",
        "location: location",
        "params.location of alerts",
    ),
];

#[test]
fn what_is_broken_in_a_template_is_found() {
    let whole = files();
    for (file, from, to, part) in BROKEN {
        let mut files = whole.clone();
        let text = files.get_mut(file).unwrap_or_else(|| panic!("there is no {file}"));
        assert!(text.contains(from), "{file} has no {from}");
        *text = text.replacen(from, to, 1);
        let findings = findings(&files);
        assert!(findings.iter().any(|finding| finding.contains(part)), "{file}: {from} → {to}: {findings:?}");
    }
}
