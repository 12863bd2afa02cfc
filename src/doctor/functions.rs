//! The two function.json files against the names that the code knows. Pure.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger?pivots=programming-language-other#configuration>

use serde_json::Value;

use super::host_json::{Judged, mend, no_retry};
use crate::host::{DEAD_LETTER_BINDING, HTTP_FUNCTION, HTTP_ROUTE, QUEUE_FUNCTION, RECORD_BINDING};
use crate::settings::{Lookup, non_empty};

/// What the host adds to a queue's name for what it gives up on.
const POISON: &str = "-poison";

/// The queues that the app works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// The name of their connection.
    pub connection: String,
    /// What is read.
    pub records: String,
    /// Where letters go.
    pub poison: String,
}

impl Default for Queues {
    fn default() -> Self {
        let records = "sync-records".to_owned();
        Self { connection: "AzureWebJobsStorage".to_owned(), poison: format!("{records}{POISON}"), records }
    }
}

/// The only binding of that kind.
fn binding<'a>(function: &'a Value, kind: &str, direction: &str) -> Option<&'a Value> {
    let mut found = function["bindings"].as_array()?.iter().filter(|binding| {
        let is = |property: &str, value: &str| {
            binding[property].as_str().is_some_and(|text| text.eq_ignore_ascii_case(value))
        };
        is("type", kind) && is("direction", direction)
    });
    found.next().filter(|_| found.next().is_none())
}

fn mended(function: &str) -> String {
    format!("take {function}/function.json as it is in the repository (`cargo stage` lays it out)")
}

/// The queue function: its names, and the queues that it names.
pub fn queue(function: &Value) -> (Judged, Queues) {
    let file = format!("{QUEUE_FUNCTION}/function.json");
    let remedy = || mended(QUEUE_FUNCTION);
    let (trigger, letters) = (binding(function, "queueTrigger", "in"), binding(function, "queue", "out"));
    let (Some(trigger), Some(letters)) = (trigger, letters) else {
        let found = format!("{file} has not exactly one queueTrigger in and one queue out");
        return (Err((found, remedy())), Queues::default());
    };
    let text = |binding: &Value, name: &str| binding[name].as_str().unwrap_or_default().to_owned();
    let queues = Queues {
        connection: text(trigger, "connection"),
        records: text(trigger, "queueName"),
        poison: text(letters, "queueName"),
    };
    let told = queue_names(&file, trigger, letters, &queues).map_err(|found| (found, remedy()));
    (no_retry(&file, function).and(told), queues)
}

fn queue_names(file: &str, trigger: &Value, letters: &Value, queues: &Queues) -> Result<String, String> {
    let Queues { connection, records, poison } = queues;
    for (binding, kind, name) in [(trigger, "queueTrigger", RECORD_BINDING), (letters, "queue", DEAD_LETTER_BINDING)] {
        if binding["name"] != name {
            return Err(format!("in {file} the {kind} is named {}, and the code knows it as {name}", binding["name"]));
        }
    }
    if records.is_empty() || connection.is_empty() {
        return Err(format!("in {file} the queueTrigger lacks its queueName or connection"));
    }
    if *poison != format!("{records}{POISON}") || letters["connection"] != **connection {
        return Err(format!(
            "{file} sends letters to {poison}, and what the host gives up on goes to {records}{POISON}"
        ));
    }
    Ok(format!("reads {records}, letters go to {poison}, by the connection {connection}"))
}

/// The HTTP function: the host forwards it as it is only when these are its two bindings.
pub fn http(function: &Value, route_prefix: &str) -> Judged {
    let file = format!("{HTTP_FUNCTION}/function.json");
    let remedy = || mended(HTTP_FUNCTION);
    let (trigger, answer) = (binding(function, "httpTrigger", "in"), binding(function, "http", "out"));
    let others = function["bindings"].as_array().is_none_or(|bindings| bindings.len() != 2);
    let Some(trigger) = trigger.filter(|_| answer.is_some() && !others) else {
        return Err((format!("{file} has not one httpTrigger in and one http out, and nothing else"), remedy()));
    };
    let methods = trigger["methods"].as_array();
    if methods.is_some_and(|methods| !methods.iter().any(|method| method.as_str().is_some_and(is_post))) {
        return Err((format!("{file} does not take POST"), remedy()));
    }
    let route = trigger["route"].as_str().unwrap_or(HTTP_FUNCTION).trim_matches('/');
    let path = format!("{}/{route}", route_prefix.trim_matches('/'));
    if path.trim_start_matches('/') != HTTP_ROUTE.trim_start_matches('/') {
        return Err((
            format!("its route is /{}, and the code answers {HTTP_ROUTE}", path.trim_start_matches('/')),
            remedy(),
        ));
    }
    no_retry(&file, function)?;
    let level = trigger["authLevel"].as_str().unwrap_or("function");
    Ok(format!("POST {HTTP_ROUTE}, authLevel {level}"))
}

fn is_post(method: &str) -> bool {
    method.eq_ignore_ascii_case("post")
}

/// Whether the host would run the function `name`, which a setting or its file can forbid. Linux shows the dots of a setting's name
/// as underscores.
/// <https://learn.microsoft.com/azure/azure-functions/disable-function>
pub fn enabled(name: &str, function: &Value, lookup: &Lookup) -> Result<(), (String, String)> {
    let is_set =
        |variable: &String| non_empty(lookup, variable).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut settings = [".", "_", "__"].map(|mark| format!("AzureWebJobs{mark}{name}{mark}Disabled")).into_iter();
    if let Some(setting) = settings.find(is_set) {
        return Err(mend(format!("{name} is disabled by the setting {setting}"), "enable it, when it is meant to run"));
    }
    if function["disabled"] == true {
        return Err(mend(format!("{name}/function.json disables it"), "remove \"disabled\", when it is meant to run"));
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

    /// A file with one value set, by its path.
    fn with(mut file: Value, path: &str, value: Value) -> Value {
        let (parent, name) = path.rsplit_once('/').expect("a path");
        file.pointer_mut(parent).expect("there")[name] = value;
        file
    }

    #[test]
    fn ours_are_as_they_should_be() {
        let (judged, queues) = queue(&queue_function());
        let told = "reads sync-records, letters go to sync-records-poison, by the connection AzureWebJobsStorage";
        assert_eq!((judged, queues), (Ok(told.to_owned()), Queues::default()));
        assert_eq!(http(&http_function(), "api"), Ok("POST /api/records, authLevel function".to_owned()));
    }

    #[test]
    fn other_queues_are_fine_as_long_as_letters_and_what_the_host_gives_up_on_meet() {
        let other = with(queue_function(), "/bindings/0/queueName", "hr".into());
        let other = with(other, "/bindings/1/queueName", "hr-poison".into());
        let (judged, queues) = queue(&other);
        assert!(judged.is_ok_and(|told| told.contains("reads hr,")));
        assert_eq!((queues.records.as_str(), queues.poison.as_str()), ("hr", "hr-poison"));
    }

    #[test]
    fn each_thing_that_is_wrong_with_the_queue_function_is_named() {
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
            let (judged, _) = queue(&with(queue_function(), path, value));
            let (found, remedy) = judged.expect_err(path);
            assert!(found.contains(word) && !remedy.is_empty(), "{path}: {found}");
        }
        assert!(queue(&json!({})).0.is_err());
    }

    #[test]
    fn a_function_that_is_disabled_is_named_whichever_way() {
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
    fn each_thing_that_is_wrong_with_the_http_function_is_named() {
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
