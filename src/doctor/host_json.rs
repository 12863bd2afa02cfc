//! host.json, as the host takes it: app settings named `AzureFunctionsJobHost__…` override it. Pure.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-host-json>
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#hostjson-settings>

use std::time::Duration;

use serde_json::Value;

use super::finding::{Check, Finding};
use crate::config::Config;
use crate::settings::{Lookup, non_empty};

/// What is found, or what is wrong and how to mend it.
pub(super) type Judged = Result<String, (String, String)>;

/// The host's own defaults.
const BATCH_SIZE: u64 = 16;
const MOST_DELIVERIES: u64 = 5;

/// The most that the service gives at once.
const MOST_BATCH_SIZE: u64 = 32;

/// Fewer deliveries are gone before a restart of the app is over.
const FEWEST_DELIVERIES: u64 = 5;

/// A host.json, and the settings over it.
pub struct HostJson<'a> {
    file: Value,
    lookup: &'a Lookup<'a>,
}

impl<'a> HostJson<'a> {
    /// Reads the text of a host.json.
    ///
    /// # Errors
    /// What is wrong with it, as a clause that follows its name.
    pub fn read(text: &str, lookup: &'a Lookup<'a>) -> Result<Self, String> {
        let file = object(text)?;
        if file["version"] != "2.0" {
            return Err("has no \"version\": \"2.0\"".to_owned());
        }
        Ok(Self { file, lookup })
    }

    /// A value by its path, such as `extensions/queues/batchSize`.
    fn get(&self, path: &str) -> Option<Value> {
        let name = format!("AzureFunctionsJobHost__{}", path.replace('/', "__"));
        let file = || self.file.pointer(&format!("/{path}")).filter(|value| !value.is_null()).cloned();
        non_empty(self.lookup, &name).map(|text| typed(&text)).or_else(file)
    }

    fn number(&self, path: &str, default: u64) -> Option<u64> {
        self.get(path).map_or(Some(default), |value| value.as_u64())
    }

    /// What the host starts.
    pub fn executable(&self) -> Option<String> {
        self.get("customHandler/description/defaultExecutablePath")?.as_str().map(str::to_owned)
    }

    /// What every route begins with.
    pub fn route_prefix(&self) -> String {
        let set = self.get("extensions/http/routePrefix");
        set.as_ref().map_or("api", |value| value.as_str().unwrap_or_default()).to_owned()
    }

    /// Everything but what needs the settings.
    pub fn check(&self) -> Vec<Finding> {
        vec![
            Finding::of(Check::HostJson, self.bundle()),
            Finding::of(Check::RetryBlock, no_retry("host.json", &self.file)),
            Finding::of(Check::Redelivery, self.redelivery()),
            Finding::of(Check::MessageEncoding, self.encoding()),
            Finding::of(Check::Forwarding, self.forwarding()),
        ]
    }

    /// What needs the settings.
    pub fn check_against(&self, config: &Config) -> Vec<Finding> {
        vec![
            Finding::of(Check::Concurrency, self.concurrency(config.max_concurrency)),
            Finding::of(Check::TimeLimit, self.time_limit(config)),
        ]
    }

    fn bundle(&self) -> Judged {
        match self.get("extensionBundle/id") {
            Some(id) if id == "Microsoft.Azure.Functions.ExtensionBundle" => {
                let version = self.get("extensionBundle/version").unwrap_or_default();
                Ok(format!("version 2.0, extension bundle {}", version.as_str().unwrap_or("of no version")))
            }
            _ => Err(mend(
                "host.json names no extension bundle, so the host knows no queue trigger",
                r#"add "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}"#,
            )),
        }
    }

    fn concurrency(&self, places: usize) -> Judged {
        let places = u64::try_from(places).expect("usize fits u64");
        let remedy = format!("in host.json, extensions.queues: batchSize + newBatchThreshold of at most {places}");
        let batch = self.number("extensions/queues/batchSize", BATCH_SIZE);
        let Some(batch) = batch.filter(|batch| (1..=MOST_BATCH_SIZE).contains(batch)) else {
            return Err((format!("batchSize is no number from 1 to {MOST_BATCH_SIZE}"), remedy));
        };
        let Some(threshold) = self.get("extensions/queues/newBatchThreshold") else {
            let found = "newBatchThreshold is not set, so it is half of batchSize for each processor that the host happens to get";
            return Err((found.to_owned(), remedy));
        };
        let Some(threshold) = threshold.as_u64() else {
            return Err(("newBatchThreshold is no number".to_owned(), remedy));
        };
        let at_once = batch.saturating_add(threshold);
        let told = format!("{at_once} messages at once (batchSize {batch} + newBatchThreshold {threshold})");
        if at_once <= places {
            return Ok(format!("{told}, {places} may be in flight"));
        }
        Err((format!("the host fetches {told}, and only {places} may be in flight (SYNC_MAX_CONCURRENCY)"), remedy))
    }

    fn redelivery(&self) -> Judged {
        let deliveries = self.number("extensions/queues/maxDequeueCount", MOST_DELIVERIES);
        let Some(deliveries) = deliveries.filter(|deliveries| *deliveries >= FEWEST_DELIVERIES) else {
            return Err(mend(
                format!(
                    "maxDequeueCount is below {FEWEST_DELIVERIES} or no number: a short trouble ends in the poison queue"
                ),
                "set extensions.queues.maxDequeueCount to 10 in host.json",
            ));
        };
        let pause = self.get("extensions/queues/visibilityTimeout");
        let pause = pause.as_ref().map_or(Some(Duration::ZERO), |value| value.as_str().and_then(span));
        let remedy = r#"set extensions.queues.visibilityTimeout to "00:00:30" in host.json"#;
        match pause {
            None => Err(mend("visibilityTimeout is no time like 00:00:30", remedy)),
            Some(Duration::ZERO) => {
                Err(mend(format!("visibilityTimeout is 0, so {deliveries} deliveries are gone within seconds"), remedy))
            }
            Some(pause) => Ok(format!("{deliveries} deliveries, {} s apart", pause.as_secs_f64())),
        }
    }

    fn encoding(&self) -> Judged {
        let set = self.get("extensions/queues/messageEncoding");
        match set.as_ref().map_or(Some("base64"), Value::as_str).map(str::to_ascii_lowercase).as_deref() {
            Some("base64") => Ok("base64: senders encode, or the host cannot read the message".to_owned()),
            Some("none") => Ok("none: senders do not encode".to_owned()),
            _ => Err(mend(
                "messageEncoding is neither base64 nor none",
                "set extensions.queues.messageEncoding to \"base64\"",
            )),
        }
    }

    fn forwarding(&self) -> Judged {
        match self.get("customHandler/enableForwardingHttpRequest") {
            Some(Value::Bool(true)) => Ok("HTTP calls are forwarded as they are".to_owned()),
            _ => Err(mend(
                "enableForwardingHttpRequest is not true, so HTTP calls come in an envelope that SyncHttp does not read",
                "set customHandler.enableForwardingHttpRequest to true in host.json",
            )),
        }
    }

    /// The last write may begin when the longest waits are over, and is given at least the life of a lease.
    fn time_limit(&self, config: &Config) -> Judged {
        let (wait, life) = config.locks.as_ref().map_or_else(Default::default, |locks| (locks.wait, locks.life));
        let waits = config.hold + wait;
        let needs = format!(
            "SYNC_HOLD_SECONDS {} + LOCK_WAIT_SECONDS {} + a write of {} s",
            config.hold.as_secs(),
            wait.as_secs(),
            life.as_secs()
        );
        let remedy =
            "raise functionTimeout in host.json (at most 00:10:00 on the Consumption plan), or lower SYNC_HOLD_SECONDS";
        let Some(set) = self.get("functionTimeout") else {
            return Err(mend("functionTimeout is not set, and 5 minutes on the Consumption plan", remedy));
        };
        if set == "-1" || set == -1 {
            return Ok("none (functionTimeout is -1)".to_owned());
        }
        let Some(limit) = set.as_str().and_then(span) else {
            return Err(mend("functionTimeout is no time like 00:10:00", remedy));
        };
        let Some(left) = limit.checked_sub(waits).filter(|left| *left >= life) else {
            return Err(mend(format!("functionTimeout is {} s, shorter than {needs}", limit.as_secs()), remedy));
        };
        Ok(format!("{} s, at least {} of them for the last write", limit.as_secs(), left.as_secs()))
    }
}

/// A retry policy in host.json or a function.json, which queue and HTTP triggers do not heed.
/// <https://learn.microsoft.com/azure/azure-functions/functions-bindings-error-pages#retries>
pub(super) fn no_retry(name: &str, file: &Value) -> Judged {
    match file.get("retry") {
        None => Ok(format!("none in {name}")),
        Some(_) => Err(mend(
            format!("{name} has a retry block, which the host does not heed for queue and HTTP triggers"),
            "remove it: extensions.queues in host.json says when and how often a message comes back",
        )),
    }
}

pub(super) fn mend(found: impl Into<String>, remedy: impl Into<String>) -> (String, String) {
    (found.into(), remedy.into())
}

/// A JSON object in a file that may begin with a byte order mark.
pub(super) fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
        Ok(file) if file.is_object() => Ok(file),
        Ok(_) => Err("is no JSON object".to_owned()),
        Err(error) => Err(format!("is no JSON: line {} column {}", error.line(), error.column())),
    }
}

/// An app setting's text as the value that it stands for.
fn typed(text: &str) -> Value {
    match (text.parse::<u64>(), text.to_ascii_lowercase().parse::<bool>()) {
        (Ok(number), _) => number.into(),
        (_, Ok(flag)) => flag.into(),
        _ => text.into(),
    }
}

/// A .NET TimeSpan: `[days.]hours:minutes[:seconds[.fraction]]`, or days alone.
/// <https://learn.microsoft.com/dotnet/api/system.timespan.parse>
fn span(text: &str) -> Option<Duration> {
    let number = |text: &str| text.parse::<u32>().ok().map(f64::from);
    let Some((first, rest)) = text.split_once(':') else {
        return Duration::try_from_secs_f64(number(text)? * 86_400.0).ok();
    };
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let plain = seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = seconds.parse::<f64>().ok().filter(|seconds| plain && *seconds < 60.0)?;
    let minutes = number(minutes).filter(|minutes| *minutes < 60.0)?;
    let hours = number(hours).filter(|hours| *hours < 24.0)?;
    Duration::try_from_secs_f64(((number(days)? * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds).ok()
}

#[cfg(test)]
mod tests;
