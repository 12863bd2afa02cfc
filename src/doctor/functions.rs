//! The two function.json files against the names that the code knows. Pure.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger?pivots=programming-language-other#configuration>

use serde_json::Value;

use super::host_json::no_retry;
use super::report::{CheckResult, wrong};
use crate::host::{DEAD_LETTER_BINDING, HTTP_FUNCTION, HTTP_ROUTE, QUEUE_FUNCTION, RECORD_BINDING};
use crate::settings::{Lookup, non_empty};

/// The host appends this to a queue's name for the messages that it gives up.
const POISON: &str = "-poison";

/// The queues that the app works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queues {
    /// The name of their connection.
    pub(super) connection: String,
    pub(super) records: String,
    pub(super) poison: String,
}

impl Default for Queues {
    fn default() -> Self {
        let records = "sync-records".to_owned();
        Self { connection: "AzureWebJobsStorage".to_owned(), poison: format!("{records}{POISON}"), records }
    }
}

/// The only binding of that type and direction.
fn binding<'a>(function: &'a Value, kind: &str, direction: &str) -> Option<&'a Value> {
    let mut found = function["bindings"].as_array()?.iter().filter(|binding| {
        let is = |property: &str, value: &str| {
            binding[property].as_str().is_some_and(|text| text.eq_ignore_ascii_case(value))
        };
        is("type", kind) && is("direction", direction)
    });
    found.next().filter(|_| found.next().is_none())
}

fn with_remedy(result: Result<String, String>, function: &str) -> CheckResult {
    let remedy = format!("take {function}/function.json as it is in the repository (`cargo stage` lays it out)");
    result.map_err(|found| (found, remedy))
}

/// Checks the queue function: the names of its bindings, and the queues that they name.
pub(super) fn queue(function: &Value) -> (CheckResult, Queues) {
    let file = format!("{QUEUE_FUNCTION}/function.json");
    let (trigger, output) = (binding(function, "queueTrigger", "in"), binding(function, "queue", "out"));
    let (Some(trigger), Some(output)) = (trigger, output) else {
        let found = format!("{file} has not exactly one queueTrigger in and one queue out");
        return (with_remedy(Err(found), QUEUE_FUNCTION), Queues::default());
    };
    let text = |binding: &Value, name: &str| binding[name].as_str().unwrap_or_default().to_owned();
    let queues = Queues {
        connection: text(trigger, "connection"),
        records: text(trigger, "queueName"),
        poison: text(output, "queueName"),
    };
    let names = with_remedy(queue_names(&file, trigger, output, &queues), QUEUE_FUNCTION);
    (no_retry(&file, function.get("retry").is_some()).and(names), queues)
}

fn queue_names(file: &str, trigger: &Value, output: &Value, queues: &Queues) -> Result<String, String> {
    let Queues { connection, records, poison } = queues;
    for (binding, kind, name) in [(trigger, "queueTrigger", RECORD_BINDING), (output, "queue", DEAD_LETTER_BINDING)] {
        if binding["name"] != name {
            return Err(format!("in {file} the {kind} is named {}, and the code knows it as {name}", binding["name"]));
        }
    }
    if records.is_empty() || connection.is_empty() {
        return Err(format!("in {file} the queueTrigger lacks its queueName or connection"));
    }
    if *poison != format!("{records}{POISON}") || output["connection"] != **connection {
        return Err(format!("{file} sends dead letters to {poison}, and the host moves messages to {records}{POISON}"));
    }
    Ok(format!("reads {records}, dead letters go to {poison}, by the connection {connection}"))
}

/// Checks the HTTP function: the host forwards calls unchanged only when these are its two bindings.
pub(super) fn http(function: &Value, route_prefix: &str) -> CheckResult {
    let file = format!("{HTTP_FUNCTION}/function.json");
    let level = with_remedy(http_bindings(&file, function, route_prefix), HTTP_FUNCTION)?;
    no_retry(&file, function.get("retry").is_some())?;
    Ok(format!("POST {HTTP_ROUTE}, authLevel {level}"))
}

/// Returns the trigger's authLevel.
fn http_bindings(file: &str, function: &Value, route_prefix: &str) -> Result<String, String> {
    let (trigger, output) = (binding(function, "httpTrigger", "in"), binding(function, "http", "out"));
    let others = function["bindings"].as_array().is_none_or(|bindings| bindings.len() != 2);
    let Some(trigger) = trigger.filter(|_| output.is_some() && !others) else {
        return Err(format!("{file} must have one httpTrigger in and one http out, and nothing else"));
    };
    let is_post = |method: &Value| method.as_str().is_some_and(|method| method.eq_ignore_ascii_case("post"));
    if trigger["methods"].as_array().is_some_and(|methods| !methods.iter().any(is_post)) {
        return Err(format!("{file} does not take POST"));
    }
    let route = trigger["route"].as_str().unwrap_or(HTTP_FUNCTION).trim_matches('/');
    let path = format!("{}/{route}", route_prefix.trim_matches('/'));
    if path.trim_start_matches('/') != HTTP_ROUTE.trim_start_matches('/') {
        return Err(format!("its route is /{}, and the code answers {HTTP_ROUTE}", path.trim_start_matches('/')));
    }
    Ok(trigger["authLevel"].as_str().unwrap_or("function").to_owned())
}

/// Fails when a setting or its file disables the function `name`. Linux shows the dots of a setting's name as underscores.
/// <https://learn.microsoft.com/azure/azure-functions/disable-function>
pub(super) fn enabled(name: &str, function: &Value, lookup: &Lookup<'_>) -> Result<(), (String, String)> {
    let is_set =
        |variable: &String| non_empty(lookup, variable).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut settings = [".", "_", "__"].map(|mark| format!("AzureWebJobs{mark}{name}{mark}Disabled")).into_iter();
    if let Some(setting) = settings.find(is_set) {
        return wrong(format!("{name} is disabled by the setting {setting}"), "remove the setting, if it should run");
    }
    if function["disabled"] == true {
        return wrong(format!("{name}/function.json disables it"), "remove \"disabled\", if it should run");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    fn queue_function() -> Value {
        file(include_str!("../../functions/SyncQueue/function.json"))
    }

    fn http_function() -> Value {
        file(include_str!("../../functions/SyncHttp/function.json"))
    }

    /// The file with the value at `path` replaced.
    fn with(mut file: Value, path: &str, value: Value) -> Value {
        let (parent, name) = path.rsplit_once('/').expect("a path");
        file.pointer_mut(parent).expect("there")[name] = value;
        file
    }

    #[test]
    fn our_own_files_are_good() {
        let (result, queues) = queue(&queue_function());
        let expected =
            "reads sync-records, dead letters go to sync-records-poison, by the connection AzureWebJobsStorage";
        assert_eq!((result, queues), (Ok(expected.to_owned()), Queues::default()));
        assert_eq!(http(&http_function(), "api"), Ok("POST /api/records, authLevel function".to_owned()));
    }

    #[test]
    fn other_queues_are_good_if_dead_letters_go_to_the_poison_queue_of_the_host() {
        let other = with(queue_function(), "/bindings/0/queueName", "hr".into());
        let other = with(other, "/bindings/1/queueName", "hr-poison".into());
        let (result, queues) = queue(&other);
        assert!(result.is_ok_and(|found| found.contains("reads hr,")));
        assert_eq!((queues.records.as_str(), queues.poison.as_str()), ("hr", "hr-poison"));
    }

    #[test]
    fn finds_each_fault_of_the_queue_function() {
        for (path, value, word) in [
            ("/bindings/0/name", json!("message"), "named \"message\", and the code knows it as record"),
            ("/bindings/1/name", json!("letter"), "deadLetter"),
            ("/bindings/0/type", json!("serviceBusTrigger"), "one queueTrigger"),
            ("/bindings/1/direction", json!("in"), "one queue out"),
            ("/bindings/0/queueName", json!(""), "queueName"),
            ("/bindings/0/connection", json!(null), "connection"),
            ("/bindings/1/queueName", json!("letters"), "sync-records-poison"),
            ("/bindings/1/connection", json!("Other"), "poison"),
            ("/retry", json!({}), "retry block"),
        ] {
            let (result, _) = queue(&with(queue_function(), path, value));
            let (found, remedy) = result.expect_err(path);
            assert!(found.contains(word) && !remedy.is_empty(), "{path}: {found}");
        }
        assert!(queue(&json!({})).0.is_err());
    }

    #[test]
    fn finds_a_disabled_function() {
        let with_setting = |name: &str, value: &str| {
            let lookup = |asked: &str| (asked == name).then(|| value.to_owned());
            enabled("SyncQueue", &queue_function(), &lookup)
        };
        for name in ["AzureWebJobs.SyncQueue.Disabled", "AzureWebJobs_SyncQueue_Disabled"] {
            let (found, _) = with_setting(name, "True").expect_err(name);
            assert!(found.contains(name), "{found}");
            assert_eq!(with_setting(name, "false"), Ok(()));
        }
        assert_eq!(with_setting("AzureWebJobs.SyncHttp.Disabled", "true"), Ok(()));
        let disabled = with(queue_function(), "/disabled", true.into());
        assert!(enabled("SyncQueue", &disabled, &|_| None).is_err());
    }

    #[test]
    fn finds_each_fault_of_the_http_function() {
        for (path, value, word) in [
            ("/bindings/0/route", json!("record"), "/api/record,"),
            ("/bindings/0/route", json!(null), "/api/SyncHttp"),
            ("/bindings/0/methods", json!(["get"]), "POST"),
            ("/bindings/1/type", json!("queue"), "http out"),
            ("/bindings", json!([]), "http out"),
            ("/retry", json!({}), "retry block"),
        ] {
            let (found, remedy) = http(&with(http_function(), path, value), "api").expect_err(path);
            assert!(found.contains(word) && !remedy.is_empty(), "{path}: {found}");
        }
        let (found, _) = http(&http_function(), "v1").expect_err("another prefix");
        assert!(found.contains("/v1/records"), "{found}");
        let route = with(http_function(), "/bindings/0/route", "api/records".into());
        assert!(http(&route, "").is_ok(), "without a prefix the route may hold it all");
    }
}
