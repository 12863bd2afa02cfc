//! The declarations of the templates fit one another: names that are used exist, what is declared is used, modules get the
//! parameters that they have, and every type has the version that was compiled.

use std::collections::BTreeSet;

use sandbox::stage::azd;
use serde_json::Value;

use super::template::{Declaration, Token, fields, names};
use super::{Files, Templates};

/// The template that is deployed; the others are its modules, or are imported.
const MAIN: &str = "main.bicep";

/// The resource types and their versions.
const TYPES: [&str; 15] = [
    "Microsoft.Authorization/roleAssignments@2022-04-01",
    "Microsoft.Insights/components@2020-02-02",
    "Microsoft.Insights/scheduledQueryRules@2023-12-01",
    "Microsoft.Insights/workbooks@2023-06-01",
    "Microsoft.OperationalInsights/workspaces/savedSearches@2023-09-01",
    "Microsoft.OperationalInsights/workspaces@2023-09-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01",
    "Microsoft.Storage/storageAccounts/blobServices@2024-01-01",
    "Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01",
    "Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01",
    "Microsoft.Storage/storageAccounts/queueServices@2024-01-01",
    "Microsoft.Storage/storageAccounts@2024-01-01",
    "Microsoft.Web/serverfarms@2024-11-01",
    "Microsoft.Web/sites/config@2024-11-01",
    "Microsoft.Web/sites@2024-11-01",
];

pub(super) fn findings(files: &Files, templates: &Templates) -> Vec<String> {
    let mut found = Vec::new();
    for (file, declarations) in &templates.0 {
        found.extend(undeclared(declarations).map(|finding| format!("{file}: {finding}")));
        found.extend(unused(file, declarations, templates).map(|finding| format!("{file}: {finding}")));
    }
    for (file, declaration) in templates.all() {
        found.extend(one(declaration, files, templates).map(|finding| format!("{file}: {finding}")));
    }
    found.extend(unreached(templates));
    let is_made =
        |name: &&str| templates.all().any(|(_, found)| found.kind == "resource" && found.target() == Some(*name));
    found.extend(TYPES.iter().filter(|name| !is_made(name)).map(|name| format!("no template has {name}")));
    found.extend(parameters_file(files, templates));
    found
}

/// The names that a declaration uses.
fn used(declaration: &Declaration) -> BTreeSet<String> {
    let mut used = names(&declaration.value);
    if declaration.kind == "func" {
        used.retain(|name| !declaration.header.contains(&Token::Word(name.clone())));
    }
    used
}

fn undeclared(declarations: &[Declaration]) -> impl Iterator<Item = String> {
    let known: BTreeSet<_> = declarations.iter().flat_map(Declaration::declared).collect();
    declarations.iter().flat_map(move |declaration| {
        let unknown = used(declaration).into_iter().filter(|name| !name.ends_with("()") && !known.contains(name));
        unknown.map(|name| format!("{} uses {name}, which does not exist", declaration.name)).collect::<Vec<_>>()
    })
}

fn unused(file: &str, declarations: &[Declaration], templates: &Templates) -> impl Iterator<Item = String> {
    let used: BTreeSet<_> = declarations.iter().flat_map(used).collect();
    let file = file.to_owned();
    let imported: BTreeSet<_> = templates
        .all()
        .filter(|(_, found)| found.kind == "import" && found.target() == Some(&file))
        .flat_map(|(_, found)| found.declared())
        .collect();
    let has_use =
        move |name: &str| used.contains(name) || used.contains(&format!("{name}()")) || imported.contains(name);
    declarations.iter().filter_map(move |declaration| {
        let counts = match declaration.kind.as_str() {
            "param" | "var" | "func" | "import" => true,
            "resource" => declaration.is_existing(),
            _ => false,
        };
        let unused = declaration.declared().into_iter().find(|name| counts && !has_use(name))?;
        let verb = if declaration.kind == "import" { "imported" } else { "declared" };
        Some(format!("{unused} is {verb} and not used"))
    })
}

fn one(declaration: &Declaration, files: &Files, templates: &Templates) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let (name, target) = (&declaration.name, declaration.target().unwrap_or_default());
    match declaration.kind.as_str() {
        "param" | "output" if declaration.decorator("description").is_none_or(|text| text.len() < 8) => {
            found.push(format!("{name} has no description"));
        }
        "resource" if !TYPES.contains(&target) => found.push(format!("{target} is not a type that was compiled")),
        "import" => found.extend(not_exported(declaration, target, templates)),
        "module" if !templates.0.contains_key(target) => found.push(format!("there is no module {target}")),
        "module" => found.extend(wrong_parameters(declaration, target, templates)),
        _ => (),
    }
    for (module, output) in outputs_used(&declaration.value) {
        let target = templates.all().find(|(_, found)| found.kind == "module" && found.name == module);
        let file = target.and_then(|(_, module)| module.target()).unwrap_or_default();
        if !templates.in_file(file, "output").any(|found| found.name == output) {
            found.push(format!("{name} uses {module}.outputs.{output}, which does not exist"));
        }
    }
    found.extend(not_loaded(&declaration.value, files));
    found.into_iter()
}

fn not_exported(import: &Declaration, file: &str, templates: &Templates) -> Vec<String> {
    let exported = |name: &str| templates.get(file, name).is_some_and(|found| found.decorator("export").is_some());
    let missing = import.declared().into_iter().filter(|name| !exported(name));
    missing.map(|name| format!("{name} is not exported by {file}")).collect()
}

fn wrong_parameters(module: &Declaration, file: &str, templates: &Templates) -> Vec<String> {
    let passed = fields(&module.value).into_iter();
    let passed: BTreeSet<_> = passed.filter_map(|(path, _)| path.strip_prefix("params.").map(str::to_owned)).collect();
    let has = |name: &str| templates.in_file(file, "param").any(|found| found.name == name);
    let unknown = passed.iter().filter(|name| !name.contains('.') && !has(name));
    let unknown = unknown.map(|name| format!("{file} has no parameter {name}"));
    let required = templates.in_file(file, "param").filter(|found| found.value.is_empty());
    let missing = required.filter(|found| !passed.contains(&found.name));
    unknown.chain(missing.map(|found| format!("{file} is not given {}", found.name))).collect()
}

/// The outputs that an expression reads, each with its module.
fn outputs_used(tokens: &[Token]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match (token, tokens.get(at + 1..at + 5)) {
            (Token::Text(_, inner), _) => found.extend(outputs_used(inner)),
            (
                Token::Word(module),
                Some([Token::Sign('.'), Token::Word(outputs), Token::Sign('.'), Token::Word(output)]),
            ) if outputs == "outputs" => {
                found.push((module.clone(), output.clone()));
            }
            _ => (),
        }
    }
    found
}

/// What `loadTextContent` and its like read has to be among the files that `cargo stage` copies.
fn not_loaded(tokens: &[Token], files: &Files) -> Vec<String> {
    let loads = |word: &str| word.starts_with("load") && word.ends_with("Content");
    let is_staged = |file: &str| files.contains_key(file) || file.strip_prefix("../") == Some(azd::QUERIES);
    let missing = tokens.windows(3).filter_map(|window| match window {
        [Token::Word(word), Token::Sign('('), Token::Text(file, _)] if loads(word) && !is_staged(file) => Some(file),
        _ => None,
    });
    missing.map(|file| format!("{file} is not a file that `cargo stage` copies")).collect()
}

fn unreached(templates: &Templates) -> impl Iterator<Item = String> {
    let reached = templates.all().filter(|(_, found)| ["module", "import"].contains(&found.kind.as_str()));
    let reached: BTreeSet<_> = reached.filter_map(|(_, found)| found.target()).chain([MAIN]).collect();
    templates
        .0
        .keys()
        .filter(move |file| !reached.contains(file.as_str()))
        .map(|file| format!("{file} is not deployed"))
}

/// The parameters that azd passes.
fn parameters_file(files: &Files, templates: &Templates) -> Vec<String> {
    let file: Value = serde_json::from_str(&files["main.parameters.json"]).expect("it is JSON");
    let passed: BTreeSet<_> = file["parameters"].as_object().expect("parameters by name").keys().cloned().collect();
    let parameters: Vec<_> = templates.in_file(MAIN, "param").collect();
    let unknown = passed.iter().filter(|name| !parameters.iter().any(|found| found.name == **name));
    let unknown = unknown.map(|name| format!("main.parameters.json has {name}, which is not a parameter"));
    let required = parameters.iter().filter(|found| found.value.is_empty() && !passed.contains(&found.name));
    unknown.chain(required.map(|found| format!("main.parameters.json lacks {}", found.name))).collect()
}
