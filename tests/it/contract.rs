//! The deployed files against the code: both function.json, the settings sample and the infrastructure. A function whose
//! names differ is never invoked. What else they and host.json need is tested beside `doctor`.

pub(crate) mod documents;
mod infra;
mod kusto;
mod links;
mod queries;
mod watching;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use dataverse_sync::config::Config;
use dataverse_sync::host::{DEAD_LETTER_BINDING, RECORD_BINDING};
use dataverse_sync::settings::table;
use dataverse_sync::telemetry;
use sandbox::world::{POISON_QUEUE, QUEUE};
use serde_json::{Value, json};

/// Variables that Azure or the host sets, or that only some clouds need; the sample leaves them out.
const NOT_IN_SAMPLE: [&str; 6] = [
    "AZURE_AUTHORITY_HOST",
    "FUNCTIONS_CUSTOMHANDLER_PORT",
    "FUNCTIONS_HTTPWORKER_PORT",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn file(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The settings in the sample.
fn sample() -> BTreeMap<String, String> {
    let file = file("local.settings.json.sample");
    assert_eq!(file["IsEncrypted"], false);
    let values = file["Values"].as_object().expect("settings are an object");
    let value = |value: &Value| value.as_str().expect("the host takes strings only").to_owned();
    values.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

/// Reads settings as the executable does.
fn config(settings: &BTreeMap<String, String>) -> Config {
    Config::from_settings(&|name| settings.get(name).cloned()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn with_port(mut settings: BTreeMap<String, String>) -> BTreeMap<String, String> {
    settings.insert("FUNCTIONS_CUSTOMHANDLER_PORT".to_owned(), "7071".to_owned());
    settings
}

/// Every variable that the code looks up when these are set.
fn names_asked_for(set: &[(&str, &str)]) -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    // Other settings may be missing.
    let _ = Config::from_settings(&lookup);
    telemetry::Settings::read(&lookup).expect("nothing is set");
    asked.into_inner()
}

#[test]
fn the_queue_function_has_the_names_of_the_code_and_the_contract() {
    let function = file("functions/SyncQueue/function.json");
    let expected = json!({
        "bindings": [
            {
                "type": "queueTrigger",
                "direction": "in",
                "name": RECORD_BINDING,
                "queueName": QUEUE,
                "connection": "AzureWebJobsStorage",
            },
            {
                "type": "queue",
                "direction": "out",
                "name": DEAD_LETTER_BINDING,
                "queueName": POISON_QUEUE,
                "connection": "AzureWebJobsStorage",
            },
        ],
    });
    assert_eq!(function, expected);
    assert_eq!((RECORD_BINDING, DEAD_LETTER_BINDING), ("record", "deadLetter"));
    assert_eq!((QUEUE, POISON_QUEUE), ("sync-records", "sync-records-poison"));
    assert_eq!(POISON_QUEUE, format!("{QUEUE}-poison"), "the host moves raw messages to the same queue");
}

#[test]
fn the_http_function_is_forwarded_from_post_api_records_with_a_function_key() {
    let function = file("functions/SyncHttp/function.json");
    let expected = json!({
        "bindings": [
            {
                "type": "httpTrigger",
                "direction": "in",
                "name": "req",
                "authLevel": "function",
                "methods": ["post"],
                "route": "records",
            },
            { "type": "http", "direction": "out", "name": "res" },
        ],
    });
    assert_eq!(function, expected);
    let host = file("host.json");
    assert_eq!(host["extensions"]["http"]["routePrefix"], "api");
    assert_eq!(host["customHandler"]["enableForwardingHttpRequest"], true);
    assert_eq!(host["customHandler"]["enableProxyingHttpRequest"], true, "newer hosts stream bodies in chunks");
    assert_eq!(host["extensions"]["queues"]["messageEncoding"], "none", "plain text reaches the handler too");
}

#[test]
fn the_sample_lists_exactly_the_settings_that_the_code_reads() {
    let secret = [("AZURE_CLIENT_SECRET", "s"), ("AZURE_TENANT_ID", "t")];
    let certificate = [("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere")];
    let federated = [("AZURE_FEDERATED_TOKEN_FILE", "/nowhere"), ("FUNCTIONS_CUSTOMHANDLER_PORT", "1")];
    let managed = [("IDENTITY_ENDPOINT", "http://127.0.0.1/"), ("AzureWebJobsStorage", "UseDevelopmentStorage=true")];
    let mut asked: BTreeSet<String> = [&secret[..], &certificate, &federated, &managed, &[]]
        .into_iter()
        .flat_map(names_asked_for)
        .filter(|name| !NOT_IN_SAMPLE.contains(&name.as_str()))
        // Alternative forms of a connection; the sample shows only one.
        .filter(|name| !name.contains("__"))
        .collect();
    asked.insert("FUNCTIONS_WORKER_RUNTIME".to_owned());
    let listed: BTreeSet<String> = sample().into_keys().collect();
    assert_eq!(listed, asked);
}

#[test]
fn the_sample_parses_and_its_values_are_the_defaults() {
    let sample = sample();
    assert_eq!(sample["FUNCTIONS_WORKER_RUNTIME"], "custom");
    assert_eq!(sample["AzureWebJobsStorage"], "UseDevelopmentStorage=true", "it runs with Azurite unchanged");
    let required = ["DATAVERSE_URL", "AzureWebJobsStorage"];
    let minimal = sample.iter().filter(|(name, _)| required.contains(&name.as_str()));
    let minimal = minimal.map(|(name, value)| (name.clone(), value.clone())).collect();
    let (full, minimal) = (config(&with_port(sample.clone())), config(&with_port(minimal)));
    assert_eq!(format!("{full:?}"), format!("{minimal:?}"));
    assert_eq!((&*sample["RUST_LOG"], &*sample["SYNC_LOG_FORMAT"]), ("info", "text"));
}

/// What the sample shows where there is no default.
const EXAMPLES: [(&str, &str); 3] = [
    ("FUNCTIONS_WORKER_RUNTIME", "custom"),
    ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
    ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
];

#[test]
fn the_sample_is_the_table_of_settings_in_the_same_order() {
    let (sample, text) = (sample(), text("local.settings.json.sample"));
    let mut before = 0;
    for setting in table::all() {
        let example = EXAMPLES.iter().find(|(name, _)| *name == setting.name);
        assert_eq!(sample[setting.name], example.map_or(setting.default, |(_, value)| value), "{}", setting.name);
        let position = text.find(&format!("\"{}\":", setting.name)).expect("it is in the sample");
        assert!(position > before && !setting.meaning.is_empty(), "{}", setting.name);
        before = position;
    }
    assert_eq!(sample.len(), table::all().count());
}
