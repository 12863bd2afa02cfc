//! The staged app as the real host reads it: host.json, the executable, and `<Function>/function.json` one level deep.
//!
//! It rejects what this host cannot run (other triggers, route parameters, HTTP functions that are not forwarded), so that a test
//! does not wait for a missing function.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::settings::{self, Settings};

/// An app that this host can run.
#[derive(Debug, Clone)]
pub(super) struct App {
    /// Its folder; the handler's working directory.
    pub(super) root: PathBuf,
    /// host.json.
    pub(super) settings: Settings,
    /// Functions with a queue trigger, by name.
    pub(super) queue_functions: Vec<QueueFunction>,
    /// Functions with an HTTP trigger, by name.
    pub(super) http_functions: Vec<HttpFunction>,
}

/// A function with a queue trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueFunction {
    /// The folder's name.
    pub(super) name: String,
    /// The trigger; its binding name is the item's name in the envelope.
    pub(super) trigger: QueueBinding,
    /// The queues that it may write to.
    pub(super) outputs: Vec<QueueBinding>,
}

/// A queue that a function reads or writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueBinding {
    /// The binding's name.
    pub(super) name: String,
    /// The queue's name.
    pub(super) queue: String,
    /// The app setting that holds the connection string.
    pub(super) connection: String,
}

/// A function with an HTTP trigger; the request is forwarded unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpFunction {
    /// The folder's name.
    pub(super) name: String,
    /// The path below the route prefix.
    pub(super) route: String,
    /// The methods served, in upper case; empty serves all.
    pub(super) methods: Vec<String>,
    /// Whether a caller needs the function key.
    pub(super) needs_key: bool,
}

impl App {
    /// Reads the app in `root`; `values` resolve `%NAME%` in queue names. The error names the file.
    pub(super) fn read(root: &Path, values: &BTreeMap<String, String>) -> Result<Self, String> {
        let settings =
            settings::parse(&text(&root.join("host.json"))?).map_err(|problem| format!("host.json: {problem}"))?;
        check_executable(&root.join(&settings.executable))?;
        let mut app = Self { root: root.to_owned(), settings, queue_functions: Vec::new(), http_functions: Vec::new() };
        for (name, path) in function_files(root)? {
            app.add(&name, &text(&path)?, values).map_err(|problem| format!("{name}/function.json: {problem}"))?;
        }
        if app.queue_functions.is_empty() && app.http_functions.is_empty() {
            return Err("no <Function>/function.json below the app: it has to be staged".to_owned());
        }
        Ok(app)
    }

    fn add(&mut self, name: &str, json: &str, values: &BTreeMap<String, String>) -> Result<(), String> {
        check_name(name)?;
        let file: FunctionFile = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if file.disabled {
            return Ok(());
        }
        let is_trigger = |binding: &&Binding| binding.kind.to_ascii_lowercase().ends_with("trigger");
        let triggers: Vec<&Binding> = file.bindings.iter().filter(is_trigger).collect();
        let [trigger] = triggers[..] else { return Err(format!("{} triggers instead of one", triggers.len())) };
        let others: Vec<&Binding> = file.bindings.iter().filter(|binding| !is_trigger(binding)).collect();
        if trigger.direction != "in" || others.iter().any(|binding| binding.direction != "out") {
            return Err("a trigger is \"in\", and this host binds no other input".to_owned());
        }
        match trigger.kind.as_str() {
            "queueTrigger" => self.queue_functions.push(queue_function(name, trigger, &others, values)?),
            "httpTrigger" => {
                let function = self.http_function(name, trigger, &others)?;
                self.http_functions.push(function);
            }
            other => return Err(format!("this host has no trigger {other:?}")),
        }
        Ok(())
    }

    fn http_function(&self, name: &str, trigger: &Binding, others: &[&Binding]) -> Result<HttpFunction, String> {
        if !(self.settings.forwards_http || self.settings.proxies_http) || others.len() != 1 || others[0].kind != "http"
        {
            return Err("this host only forwards: one httpTrigger, one http, enableForwardingHttpRequest".to_owned());
        }
        let route = trigger.route.clone().unwrap_or_else(|| name.to_owned());
        if route.contains('{') || self.http_functions.iter().any(|other| other.route.eq_ignore_ascii_case(&route)) {
            return Err(format!("route {route:?} has parameters or is taken"));
        }
        let needs_key = match trigger.auth_level.as_deref() {
            None | Some("function") => true,
            Some("anonymous") => false,
            Some(other) => return Err(format!("this host has no authLevel {other:?}")),
        };
        let methods = trigger.methods.iter().map(|method| method.to_ascii_uppercase()).collect();
        Ok(HttpFunction { name: name.to_owned(), route, methods, needs_key })
    }
}

#[derive(Deserialize)]
struct FunctionFile {
    #[serde(default)]
    disabled: bool,
    bindings: Vec<Binding>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "inwards")]
    direction: String,
    queue_name: Option<String>,
    connection: Option<String>,
    route: Option<String>,
    auth_level: Option<String>,
    #[serde(default)]
    methods: Vec<String>,
}

fn inwards() -> String {
    "in".to_owned()
}

fn queue_function(
    name: &str,
    trigger: &Binding,
    others: &[&Binding],
    values: &BTreeMap<String, String>,
) -> Result<QueueFunction, String> {
    if let Some(other) = others.iter().find(|binding| binding.kind != "queue") {
        return Err(format!("this host has no output {:?}", other.kind));
    }
    let outputs: Result<Vec<_>, _> = others.iter().map(|binding| queue_binding(binding, values)).collect();
    Ok(QueueFunction { name: name.to_owned(), trigger: queue_binding(trigger, values)?, outputs: outputs? })
}

fn queue_binding(binding: &Binding, values: &BTreeMap<String, String>) -> Result<QueueBinding, String> {
    let given = binding.queue_name.as_deref().ok_or("queueName is missing")?;
    let queue = match given.strip_prefix('%').and_then(|rest| rest.strip_suffix('%')) {
        Some(name) => values.get(name).ok_or_else(|| format!("%{name}% is not an app setting"))?,
        None => given,
    };
    check_queue_name(queue)?;
    let connection = binding.connection.clone().filter(|name| !name.is_empty());
    Ok(QueueBinding {
        name: binding.name.clone(),
        queue: queue.to_owned(),
        connection: connection.unwrap_or_else(|| "AzureWebJobsStorage".to_owned()),
    })
}

/// <https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata>
fn check_queue_name(name: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let dashes = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    if letters && !dashes && (3..=63).contains(&name.len()) {
        return Ok(());
    }
    Err(format!("{name:?} is not a queue name"))
}

fn check_name(name: &str) -> Result<(), String> {
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if rest && name.len() <= 128 && name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Ok(());
    }
    Err(format!("{name:?} is not a function name"))
}

fn check_executable(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !metadata.is_file() || !may_run(&metadata) {
        return Err(format!("{} is not an executable file", path.display()));
    }
    Ok(())
}

#[cfg(unix)]
fn may_run(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn may_run(_: &fs::Metadata) -> bool {
    true
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Folders directly below the root that hold a function.json, in the order of their names.
fn function_files(root: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let entries = fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let named = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path().join("function.json")));
    Ok(named.filter(|(_, path)| path.is_file()).collect())
}

#[cfg(test)]
mod tests;
