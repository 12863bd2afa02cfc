//! host.json: the custom handler, the queue extension's policy, the time limit.
//!
//! Values that the real host rejects at start are rejected here; sections that this host does not support are ignored.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-host-json>.

use std::time::Duration;

use serde::Deserialize;

/// The Consumption plan's default time limit of a function.
const DEFAULT_FUNCTION_TIMEOUT: Duration = Duration::from_mins(5);

/// The default of `initializationTimeout`.
const INITIALIZATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The queue extension's minimum polling interval.
const MIN_POLLING: Duration = Duration::from_millis(100);

/// host.json, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `customHandler.description.defaultExecutablePath`.
    pub(super) executable: String,
    /// `customHandler.description.arguments`.
    pub(super) arguments: Vec<String>,
    /// `customHandler.port`; by default a free one.
    pub(super) port: Option<u16>,
    /// `customHandler.initializationTimeout`: how long the handler may take to respond after its start; 30 s by default.
    pub(super) initialization_timeout: Duration,
    /// `customHandler.enableForwardingHttpRequest`.
    pub(super) forwards_http: bool,
    /// `customHandler.enableProxyingHttpRequest`, which only newer hosts know.
    pub(super) proxies_http: bool,
    /// `extensions.http.routePrefix`, `api` by default.
    pub(super) route_prefix: String,
    /// `functionTimeout`; `None` means no limit.
    pub(super) function_timeout: Option<Duration>,
    /// `extensions.queues`.
    pub(super) queues: QueuePolicy,
}

/// The redelivery policy of all queue triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Messages per poll.
    pub(super) batch_size: usize,
    /// The next poll waits until at most this many messages are in flight.
    pub(super) new_batch_threshold: usize,
    /// The number of deliveries before a message is moved to the poison queue.
    pub max_dequeue_count: u32,
    /// How long a failed message stays hidden.
    pub visibility_timeout: Duration,
    /// The longest pause between polls.
    pub max_polling_interval: Duration,
    /// How messages are encoded in the queue.
    pub(super) encoding: Encoding,
}

/// `messageEncoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// The default.
    Base64,
    /// Plain text.
    None,
}

/// Reads host.json; the error says what is wrong.
pub(super) fn parse(json: &str) -> Result<Settings, String> {
    let wire: Wire = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if wire.version != "2.0" {
        return Err(format!("version is {:?}, not \"2.0\"", wire.version));
    }
    let handler = wire.custom_handler.ok_or("customHandler is missing")?;
    let executable = handler.description.default_executable_path;
    if executable.is_empty() {
        return Err("customHandler.description.defaultExecutablePath is empty".to_owned());
    }
    // The publish zip marks the entry of exactly this name as executable, and zip entries have no leading dot.
    if executable.starts_with("./") || executable.starts_with('/') {
        return Err(format!("defaultExecutablePath {executable:?} is not the name of an entry of the app"));
    }
    Ok(Settings {
        executable,
        arguments: handler.description.arguments,
        port: handler.port,
        initialization_timeout: span_or(
            "customHandler.initializationTimeout",
            handler.initialization_timeout.as_deref(),
            INITIALIZATION_TIMEOUT,
        )?,
        forwards_http: handler.enable_forwarding_http_request,
        proxies_http: handler.enable_proxying_http_request,
        route_prefix: wire.extensions.http.route_prefix.unwrap_or_else(|| "api".to_owned()),
        function_timeout: function_timeout(wire.function_timeout.as_deref())?,
        queues: queue_policy(&wire.extensions.queues, wire.extension_bundle.is_some())?,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    version: String,
    function_timeout: Option<String>,
    custom_handler: Option<WireHandler>,
    extension_bundle: Option<WireBundle>,
    #[serde(default)]
    extensions: WireExtensions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHandler {
    description: WireDescription,
    #[serde(default)]
    enable_forwarding_http_request: bool,
    #[serde(default)]
    enable_proxying_http_request: bool,
    port: Option<u16>,
    initialization_timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescription {
    default_executable_path: String,
    #[serde(default)]
    arguments: Vec<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "they have to be there; their values choose real extensions")]
struct WireBundle {
    id: String,
    version: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireExtensions {
    queues: WireQueues,
    http: WireHttp,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WireHttp {
    route_prefix: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct WireQueues {
    batch_size: Option<usize>,
    new_batch_threshold: Option<usize>,
    max_dequeue_count: Option<u32>,
    visibility_timeout: Option<String>,
    max_polling_interval: Option<String>,
    message_encoding: Option<String>,
}

fn queue_policy(wire: &WireQueues, has_bundle: bool) -> Result<QueuePolicy, String> {
    if !has_bundle {
        return Err("extensionBundle is missing: without it there is no queue trigger".to_owned());
    }
    let batch_size = wire.batch_size.unwrap_or(16);
    if !(1..=32).contains(&batch_size) {
        return Err(format!("queues.batchSize {batch_size} is not 1 to 32"));
    }
    let max_dequeue_count = wire.max_dequeue_count.unwrap_or(5);
    if max_dequeue_count == 0 {
        return Err("queues.maxDequeueCount must be at least 1".to_owned());
    }
    let max_polling_interval =
        span_or("queues.maxPollingInterval", wire.max_polling_interval.as_deref(), Duration::from_mins(1))?;
    if max_polling_interval < MIN_POLLING {
        return Err("queues.maxPollingInterval is under 100 ms".to_owned());
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(QueuePolicy {
        batch_size,
        new_batch_threshold: wire.new_batch_threshold.unwrap_or(batch_size / 2 * processors),
        max_dequeue_count,
        visibility_timeout: span_or("queues.visibilityTimeout", wire.visibility_timeout.as_deref(), Duration::ZERO)?,
        max_polling_interval,
        encoding: encoding(wire.message_encoding.as_deref())?,
    })
}

fn function_timeout(text: Option<&str>) -> Result<Option<Duration>, String> {
    match text {
        None => Ok(Some(DEFAULT_FUNCTION_TIMEOUT)),
        Some("-1") => Ok(None),
        Some(text) => time_span(text).map(Some).ok_or_else(|| format!("functionTimeout {text:?} is not hh:mm:ss")),
    }
}

fn encoding(name: Option<&str>) -> Result<Encoding, String> {
    match name {
        None | Some("base64") => Ok(Encoding::Base64),
        Some("none") => Ok(Encoding::None),
        Some(other) => Err(format!("queues.messageEncoding {other:?} is not base64 or none")),
    }
}

fn span_or(name: &str, text: Option<&str>, otherwise: Duration) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(otherwise) };
    time_span(text).ok_or_else(|| format!("{name} {text:?} is not hh:mm:ss"))
}

/// `[d.]hh:mm:ss[.fff]`, the constant form of a .NET `TimeSpan`. A bare number would mean days in .NET and is rejected
/// here.
fn time_span(text: &str) -> Option<Duration> {
    let parts: Vec<&str> = text.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { return None };
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let (days, hours, minutes): (u64, u64, u64) = (days.parse().ok()?, hours.parse().ok()?, minutes.parse().ok()?);
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let whole: u64 = whole.parse().ok()?;
    if hours > 23 || minutes > 59 || whole > 59 || fraction.len() > 7 {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(((days * 24 + hours) * 60 + minutes) * 60 + whole, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(rest: &str) -> String {
        format!(
            r#"{{"version":"2.0","customHandler":{{"description":{{"defaultExecutablePath":"handler"}}}},
            "extensionBundle":{{"id":"Microsoft.Azure.Functions.ExtensionBundle","version":"[4.*, 5.0.0)"}}{rest}}}"#
        )
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings = parse(&with("")).expect("it is valid");
        let queues = settings.queues;
        assert_eq!((queues.batch_size, queues.max_dequeue_count, queues.visibility_timeout), (16, 5, Duration::ZERO));
        assert_eq!((queues.max_polling_interval, queues.encoding), (Duration::from_mins(1), Encoding::Base64));
        assert_eq!((settings.function_timeout, settings.forwards_http), (Some(Duration::from_mins(5)), false));
        assert_eq!((settings.port, settings.initialization_timeout), (None, Duration::from_secs(30)));
        assert_eq!(settings.route_prefix, "api");
    }

    #[test]
    fn every_queue_setting_is_read() {
        let json = with(
            r#","functionTimeout":"00:10:00","extensions":{"queues":{"batchSize":32,"newBatchThreshold":20,
            "maxDequeueCount":7,"visibilityTimeout":"00:00:30","maxPollingInterval":"00:00:02.5","messageEncoding":"none"}}"#,
        );
        let settings = parse(&json).expect("it is valid");
        assert_eq!(settings.function_timeout, Some(Duration::from_mins(10)));
        let expected = QueuePolicy {
            batch_size: 32,
            new_batch_threshold: 20,
            max_dequeue_count: 7,
            visibility_timeout: Duration::from_secs(30),
            max_polling_interval: Duration::from_millis(2500),
            encoding: Encoding::None,
        };
        assert_eq!(settings.queues, expected);
    }

    #[test]
    fn what_the_host_refuses_is_refused() {
        for (rest, problem) in [
            (r#","extensions":{"queues":{"batchSize":33}}"#, "batchSize"),
            (r#","extensions":{"queues":{"maxDequeueCount":0}}"#, "maxDequeueCount"),
            (
                r#","extensions":{"queues":{"visibilityTimeout":"30"}}"#,
                "queues.visibilityTimeout \"30\" is not hh:mm:ss",
            ),
            (
                r#","extensions":{"queues":{"messageEncoding":"hex"}}"#,
                "queues.messageEncoding \"hex\" is not base64 or none",
            ),
            (r#","functionTimeout":"ten minutes""#, "functionTimeout"),
        ] {
            let error = parse(&with(rest)).expect_err(rest);
            assert!(error.contains(problem), "{rest}: {error}");
        }
    }

    #[test]
    fn an_executable_with_a_leading_dot_is_refused() {
        let error = parse(&with("").replace("\"handler\"", "\"./handler\"")).expect_err("it is not an entry name");
        assert!(error.contains("./handler"), "{error}");
    }

    #[test]
    fn a_time_span_may_have_days_and_fractions() {
        assert_eq!(time_span("1.02:03:04.05"), Some(Duration::new(93_784, 50_000_000)));
        assert_eq!(time_span("00:00:60"), None);
        assert_eq!(time_span("5"), None);
    }
}
