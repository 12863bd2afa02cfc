//! What exists already is used as it is, wherever it is; and every parameter reaches what it is for.

use std::collections::BTreeMap;

use super::Templates;
use super::template::{fields, rendered};
use super::values::differs;

/// Where and when the modules are deployed: what exists already may be in another resource group and another region.
const PLACES: [(&str, &str, &str); 7] = [
    ("storage", "scope", "resourceGroup(storageGroup)"),
    ("storage", "dependsOn", "[account]"),
    ("storageRoles", "scope", "resourceGroup(storageGroup)"),
    ("insights", "dependsOn", "[logs]"),
    ("savedSearch", "scope", "resourceGroup(workspaceGroup)"),
    ("savedSearch", "dependsOn", "[logs]"),
    ("alerts", "params.location", "savedSearch.outputs.workspaceLocation"),
];

/// How the values of main.bicep begin that tell new from existing.
const CONDITIONS: [(&str, &str); 4] = [
    ("account", "if(newStorage)"),
    ("logs", "if(newWorkspace)"),
    ("storageGroup", "newStorage?resourceGroup().name:existingStorageGroup"),
    ("workspaceGroup", "newWorkspace?resourceGroup().name:existingWorkspaceGroup"),
];

pub(super) fn findings(templates: &Templates) -> Vec<String> {
    [places(templates), conditions(templates), passed_on(templates), types(templates), names_of_azd(templates)].concat()
}

fn places(templates: &Templates) -> Vec<String> {
    let finding = |(name, field, expected): &(&str, &str, &str)| {
        let value = templates.get("main.bicep", name).and_then(|found| found.field(field));
        differs(&format!("{field} of {name}"), value.as_deref(), expected)
    };
    PLACES.iter().filter_map(finding).collect()
}

/// What exists already is not made.
fn conditions(templates: &Templates) -> Vec<String> {
    let wrong = CONDITIONS.iter().filter(|(name, expected)| {
        let value = templates.get("main.bicep", name).map(|found| rendered(&found.value));
        !value.is_some_and(|value| value.starts_with(expected))
    });
    wrong.map(|(name, expected)| format!("{name} is not deployed by {expected}")).collect()
}

/// A parameter reaches the module's parameter of the same name, and the setting that its description begins with.
fn passed_on(templates: &Templates) -> Vec<String> {
    let is_parameter = |name: &str| templates.in_file("main.bicep", "param").any(|found| found.name == name);
    let modules = templates.in_file("main.bicep", "module").flat_map(|module| fields(&module.value));
    let passed = modules.filter_map(|(path, value)| Some((path.strip_prefix("params.")?.to_owned(), value)));
    let wrong = passed.filter(|(name, value)| is_parameter(name) && is_parameter(value) && name != value);
    let wrong = wrong.map(|(name, value)| format!("{name} gets {value}"));
    let own = templates.get("app.bicep", "ownSettings").map(|found| fields(&found.value)).unwrap_or_default();
    let read = own.into_iter().filter(|(name, _)| name.starts_with("SYNC_") || name == "DATAVERSE_URL");
    let differing = read.filter(|(name, value)| {
        let parameter = value.strip_prefix("string(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(value);
        let described = templates.get("app.bicep", parameter).and_then(|found| found.decorator("description"));
        !described.is_some_and(|text| text.trim_matches('\'').starts_with(name.as_str()))
    });
    wrong.chain(differing.map(|(name, value)| format!("{name} is {value}, which is described otherwise"))).collect()
}

/// A parameter that is passed on has the same type in the module.
fn types(templates: &Templates) -> Vec<String> {
    let of_main: BTreeMap<_, _> =
        templates.in_file("main.bicep", "param").map(|found| (&found.name, rendered(&found.header))).collect();
    let others = templates.all().filter(|(file, found)| *file != "main.bicep" && found.kind == "param");
    let differs =
        others.filter(|(_, found)| of_main.get(&found.name).is_some_and(|header| *header != rendered(&found.header)));
    differs.map(|(file, found)| format!("{} is of another type in {file}", found.name)).collect()
}

/// The name of an azd environment may have characters that a host name may not.
/// <https://learn.microsoft.com/azure/developer/azure-developer-cli/work-with-environments>
fn names_of_azd(templates: &Templates) -> Vec<String> {
    let name = templates.get("main.bicep", "appName").map(|found| rendered(&found.value)).unwrap_or_default();
    let kept = ["_", ".", "(", ")"].into_iter().filter(|c| !name.contains(&format!("'{c}','-')")));
    let long = (!name.contains(",11)}-${uniqueString(")).then(|| "appName may have more than 32 characters".to_owned());
    kept.map(|c| format!("appName may have a {c}")).chain(long).collect()
}
