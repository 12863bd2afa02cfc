//! host.json as the host reads it. Pure, except for [`HostJson::load`].
//!
//! The host puts the file and the environment variables named `AzureFunctionsJobHost__…` into one .NET configuration: a variable
//! overrides the value at its path, names are compared without case, and every value is a text, so that `"16"` is a number and
//! `"True"` a flag. A value that cannot be used is an error of its own field; the other fields can still be read.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values>
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#hostjson-settings>

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use crate::files;
use crate::settings::{Lookup, OVERRIDE_PREFIX, as_text, non_empty};

const FILE: &str = "host.json";

/// Why host.json cannot be read; each text follows the name of the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostJsonError {
    #[error("does not exist")]
    Missing,
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    #[error("is not a JSON object: {0}")]
    NotAnObject(#[source] serde_json::Error),
    /// The host reads version 2.0 only.
    #[error("has no \"version\": \"2.0\"")]
    Version,
}

/// How the host writes queue messages (`messageEncoding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum MessageEncoding {
    /// A message's text is its content in base64.
    #[default]
    Base64,
    /// A message's text is its content.
    None,
}

const MAX_DEQUEUE_COUNT: &str = "extensions/queues/maxDequeueCount";

const MESSAGE_ENCODING: &str = "extensions/queues/messageEncoding";

const BATCH_SIZE: &str = "extensions/queues/batchSize";

const NEW_BATCH_THRESHOLD: &str = "extensions/queues/newBatchThreshold";

/// Deliveries after which the host moves a message to the poison queue; `None` where host.json, in this folder, cannot tell.
pub fn max_dequeue_count(lookup: &Lookup<'_>) -> Option<u32> {
    let overridden = Source { file: Value::Null, lookup }.number(MAX_DEQUEUE_COUNT).ok().flatten();
    overridden.or_else(|| HostJson::load(Path::new("."), lookup).ok()?.max_dequeue_count.ok())
}

/// How the host writes queue messages; `None` where host.json, in this folder, cannot tell.
pub fn message_encoding(lookup: &Lookup<'_>) -> Option<MessageEncoding> {
    let overridden = Source { file: Value::Null, lookup }.message_encoding().ok().flatten();
    overridden.or_else(|| HostJson::load(Path::new("."), lookup).ok()?.message_encoding.ok())
}

/// The most queue messages that the host keeps in flight (`batchSize` and `newBatchThreshold`); `None` where host.json, in this
/// folder, cannot tell.
pub fn messages_in_flight(lookup: &Lookup<'_>) -> Option<u32> {
    let host = HostJson::load(Path::new("."), lookup).ok()?;
    let batch = host.batch_size.ok()?;
    Some(batch + host.new_batch_threshold.ok()?.unwrap_or(batch / 2))
}

/// A value of host.json for people.
pub(crate) struct HostJsonValue {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// `override`, `host.json` or `the host's default`.
    pub(crate) from: &'static str,
    pub(crate) meaning: &'static str,
}

/// What [`host_json_values`] gives: path, the host's default, meaning.
const VALUES: [(&str, &str, &str); 6] = [
    (MAX_DEQUEUE_COUNT, "5", "deliveries of a message before the host moves it to the poison queue"),
    ("extensions/queues/visibilityTimeout", "00:00:00", "the pause before a failed message is delivered again"),
    (BATCH_SIZE, "16", "messages that the host fetches at once"),
    (NEW_BATCH_THRESHOLD, "half of batchSize a processor", "it fetches more when as few messages are left"),
    (MESSAGE_ENCODING, "base64", "none: senders may use plain text or base64; base64: base64 alone"),
    ("functionTimeout", "that of the plan", "the longest time of one message"),
];

/// The values of the host.json in this folder that this program depends on, overridden by what `lookup` gives; where the file cannot be
/// read, why not.
pub(crate) fn host_json_values(lookup: &Lookup<'_>) -> (Option<HostJsonError>, Vec<HostJsonValue>) {
    let (problem, file) = match read_object(Path::new(FILE)) {
        Ok(file) => (None, file),
        Err(problem) => (Some(problem), Value::Null),
    };
    let (overrides, source) = (Source { file: Value::Null, lookup }, Source { file, lookup });
    let value = |(path, default, meaning): (&'static str, &str, _)| {
        let from = match (overrides.get(path), source.get(path)) {
            (Some(_), _) => "override",
            (None, Some(_)) => "host.json",
            (None, None) => "the host's default",
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        HostJsonValue { name, value: source.get(path).unwrap_or_else(|| default.to_owned()), from, meaning }
    };
    (problem, VALUES.map(value).into())
}

/// The values of host.json that this program depends on, with the host's defaults where they are not set. A value that the host
/// cannot use is an `Err` that says what it must be.
#[derive(Debug)]
pub(crate) struct HostJson {
    pub(crate) max_dequeue_count: Result<u32, String>,
    /// The pause before a message is delivered again.
    pub(crate) visibility_timeout: Result<Duration, String>,
    pub(crate) batch_size: Result<u32, String>,
    /// `None`: half of the batch size for each processor.
    pub(crate) new_batch_threshold: Result<Option<u32>, String>,
    pub(crate) message_encoding: Result<MessageEncoding, String>,
    /// The longest time of one invocation: unlimited is [`Duration::MAX`], and without a value it depends on the hosting plan.
    pub(crate) function_timeout: Result<Option<Duration>, String>,
    pub(crate) route_prefix: String,
    pub(crate) executable: Option<String>,
    pub(crate) forwards_http_requests: bool,
    pub(crate) extension_bundle: Option<String>,
    pub(crate) extension_bundle_version: Option<String>,
    pub(crate) has_retry_policy: bool,
    /// Whether Application Insights may leave out lines of the log.
    pub(crate) samples_traces: bool,
}

impl HostJson {
    /// Reads the host.json in `folder`, and the overrides that `lookup` gives.
    pub(crate) fn load(folder: &Path, lookup: &Lookup<'_>) -> Result<Self, HostJsonError> {
        Self::read(read_object(&folder.join(FILE))?, lookup)
    }

    /// The host's own defaults, and the overrides that `lookup` gives.
    pub(crate) fn defaults(lookup: &Lookup<'_>) -> Result<Self, HostJsonError> {
        Self::read(serde_json::json!({ "version": "2.0" }), lookup)
    }

    /// Takes the values from the content of a host.json, and the overrides that `lookup` gives.
    pub(crate) fn read(file: Value, lookup: &Lookup<'_>) -> Result<Self, HostJsonError> {
        let source = Source { file, lookup };
        if source.file["version"] != "2.0" {
            return Err(HostJsonError::Version);
        }
        Ok(Self {
            max_dequeue_count: source.number(MAX_DEQUEUE_COUNT).map(|count| count.unwrap_or(5)),
            visibility_timeout: source
                .parsed("extensions/queues/visibilityTimeout", "a time such as 00:00:30", time_span)
                .map(Option::unwrap_or_default),
            batch_size: source.number(BATCH_SIZE).map(|size| size.unwrap_or(16)),
            new_batch_threshold: source.number(NEW_BATCH_THRESHOLD),
            message_encoding: source.message_encoding().map(Option::unwrap_or_default),
            function_timeout: source.parsed("functionTimeout", "a time such as 00:10:00", |text| match text {
                "-1" => Some(Duration::MAX),
                _ => time_span(text),
            }),
            route_prefix: source.get("extensions/http/routePrefix").unwrap_or_else(|| "api".to_owned()),
            executable: source.get("customHandler/description/defaultExecutablePath"),
            forwards_http_requests: source.flag("customHandler/enableForwardingHttpRequest"),
            extension_bundle: source.get("extensionBundle/id"),
            extension_bundle_version: source.get("extensionBundle/version"),
            samples_traces: source.samples_traces(),
            has_retry_policy: source.member("retry").is_some() || source.get("retry/strategy").is_some(),
        })
    }
}

/// Reads a file that holds a JSON object.
pub(crate) fn read_object(path: &Path) -> Result<Value, HostJsonError> {
    let text = files::read_text(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => HostJsonError::Missing,
        _ => HostJsonError::Unreadable(error),
    })?;
    json_object(&text)
}

/// Parses a JSON object that may begin with a byte order mark.
fn json_object(text: &str) -> Result<Value, HostJsonError> {
    let object = serde_json::from_str(text.trim_start_matches('\u{feff}'));
    object.map(Value::Object).map_err(HostJsonError::NotAnObject)
}

struct Source<'a> {
    file: Value,
    lookup: &'a Lookup<'a>,
}

impl Source<'_> {
    /// The value at a path such as `extensions/queues/batchSize`, as text.
    fn get(&self, path: &str) -> Option<String> {
        let variable = format!("{OVERRIDE_PREFIX}{}", path.replace('/', "__"));
        non_empty(self.lookup, &variable).or_else(|| as_text(self.member(path)?))
    }

    fn member(&self, path: &str) -> Option<&Value> {
        path.split('/').try_fold(&self.file, |value, name| {
            let (_, member) = value.as_object()?.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
            Some(member)
        })
    }

    /// What `parse` makes of the value at a path.
    fn parsed<T>(&self, path: &str, expected: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, String> {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.get(path).map(|text| parse(&text).ok_or_else(|| format!("{name} must be {expected}"))).transpose()
    }

    fn number(&self, path: &str) -> Result<Option<u32>, String> {
        self.parsed(path, "a whole number", |text| text.trim().parse().ok())
    }

    fn message_encoding(&self) -> Result<Option<MessageEncoding>, String> {
        self.parsed(MESSAGE_ENCODING, "base64 or none", |text| MessageEncoding::from_str(text, true).ok())
    }

    /// Sampling is on unless it is switched off, and takes every type that is not excluded.
    fn samples_traces(&self) -> bool {
        let setting = |name| self.get(&format!("logging/applicationInsights/samplingSettings/{name}"));
        let is_off = setting("isEnabled").is_some_and(|text| text.eq_ignore_ascii_case("false"));
        let excluded = setting("excludedTypes").unwrap_or_default();
        !is_off && !excluded.split(';').any(|kind| kind.trim().eq_ignore_ascii_case("trace"))
    }

    fn flag(&self, path: &str) -> bool {
        self.get(path).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
}

/// A .NET TimeSpan: `[days.]hours:minutes[:seconds[.fraction]]`, or days alone.
/// <https://learn.microsoft.com/dotnet/api/system.timespan.parse>
fn time_span(text: &str) -> Option<Duration> {
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
mod tests {
    use super::*;
    use crate::settings::lookup_in;

    fn read(text: &str, settings: &[(&str, &str)]) -> Result<HostJson, String> {
        json_object(text).and_then(|file| HostJson::read(file, &lookup_in(settings))).map_err(|error| error.to_string())
    }

    fn queues(queues: &str, settings: &[(&str, &str)]) -> HostJson {
        read(&format!(r#"{{"version":"2.0","extensions":{{"queues":{queues}}}}}"#), settings).expect("a host.json")
    }

    #[test]
    fn reads_our_own_file_also_after_a_byte_order_mark() {
        let host = read(&format!("\u{feff}{}", include_str!("../../host.json")), &[]).expect("our own");
        assert_eq!(
            (host.max_dequeue_count, host.batch_size, host.new_batch_threshold),
            (Ok(160), Ok(32), Ok(Some(96)))
        );
        assert_eq!(host.visibility_timeout, Ok(Duration::from_secs(30)));
        assert_eq!(host.message_encoding, Ok(MessageEncoding::None));
        assert_eq!(host.function_timeout, Ok(Some(Duration::from_mins(10))));
        assert_eq!((host.executable.as_deref(), host.route_prefix.as_str()), (Some("handler"), "api"));
        assert!(host.forwards_http_requests && !host.has_retry_policy && !host.samples_traces);
    }

    #[test]
    fn uses_the_defaults_of_the_host() {
        let host = queues("{}", &[]);
        assert_eq!((host.max_dequeue_count, host.batch_size, host.new_batch_threshold), (Ok(5), Ok(16), Ok(None)));
        assert_eq!((host.visibility_timeout, host.message_encoding), (Ok(Duration::ZERO), Ok(MessageEncoding::Base64)));
        assert_eq!(host.function_timeout, Ok(None));
    }

    #[test]
    fn traces_are_sampled_unless_they_are_excluded_or_sampling_is_off() {
        let sampling = |settings: &str| {
            let text =
                format!(r#"{{"version":"2.0","logging":{{"applicationInsights":{{"samplingSettings":{settings}}}}}}}"#);
            read(&text, &[]).expect("a host.json").samples_traces
        };
        for settings in ["{}", r#"{"excludedTypes":"Request;Exception"}"#, r#"{"isEnabled":true}"#] {
            assert!(sampling(settings), "{settings}");
        }
        for settings in [r#"{"isEnabled":false}"#, r#"{"excludedTypes":"request; TRACE"}"#] {
            assert!(!sampling(settings), "{settings}");
        }
        assert!(queues("{}", &[]).samples_traces, "the host's default");
    }

    #[test]
    fn compares_names_without_case_and_takes_numbers_and_flags_as_text() {
        let text = r#"{"version":"2.0","Extensions":{"Queues":{"MaxDequeueCount":"7","messageencoding":"None"}},
            "customHandler":{"enableForwardingHttpRequest":"True"}}"#;
        let host = read(text, &[]).expect("a host.json");
        assert_eq!((host.max_dequeue_count, host.message_encoding), (Ok(7), Ok(MessageEncoding::None)));
        assert!(host.forwards_http_requests);
    }

    #[test]
    fn a_variable_overrides_the_value_at_its_path() {
        let settings = [
            ("AzureFunctionsJobHost__extensions__queues__maxDequeueCount", " 20 "),
            ("AzureFunctionsJobHost__extensions__queues__messageEncoding", "none"),
            ("AzureFunctionsJobHost__functionTimeout", "-1"),
            ("AzureFunctionsJobHost__retry__strategy", "fixedDelay"),
        ];
        let host = queues(r#"{"maxDequeueCount":10}"#, &settings);
        assert_eq!((host.max_dequeue_count, host.message_encoding), (Ok(20), Ok(MessageEncoding::None)));
        assert_eq!(host.function_timeout, Ok(Some(Duration::MAX)));
        assert!(host.has_retry_policy);
    }

    #[test]
    fn without_a_file_the_overrides_count_all_the_same() {
        const NAME: &str = "AzureFunctionsJobHost__extensions__queues__messageEncoding";
        let lookup = |name: &str| (name == NAME).then(|| "none".to_owned());
        let host = HostJson::defaults(&lookup).expect("the defaults");
        assert_eq!((host.message_encoding, host.batch_size), (Ok(MessageEncoding::None), Ok(16)));
        assert_eq!(message_encoding(&lookup), Some(MessageEncoding::None));
    }

    #[test]
    fn a_value_that_cannot_be_used_leaves_the_others_readable() {
        let host = queues(r#"{"maxDequeueCount":"many","messageEncoding":"utf8","visibilityTimeout":"30 s"}"#, &[]);
        let problem = host.max_dequeue_count.expect_err("not a number");
        assert_eq!(problem, "maxDequeueCount must be a whole number");
        assert!(host.message_encoding.is_err() && host.visibility_timeout.is_err());
        assert_eq!(host.batch_size, Ok(16));
        assert!(queues(r#"{"messageEncoding":7,"batchSize":-1}"#, &[]).batch_size.is_err());
    }

    #[test]
    fn rejects_what_is_not_a_host_json() {
        for (text, word) in [("{\n\"version\": 2.0 \"", "line 2"), ("[]", "object"), ("{}", "version")] {
            assert!(read(text, &[]).expect_err(text).contains(word), "{text}");
        }
    }

    #[test]
    fn reads_time_spans_as_the_host_does() {
        for (text, seconds) in
            [("00:00:30", Some(30.0)), ("00:10", Some(600.0)), ("1.02:03:04.5", Some(93_784.5)), ("2", Some(172_800.0))]
        {
            assert_eq!(time_span(text).map(|span| span.as_secs_f64()), seconds, "{text}");
        }
        for text in ["", "30 s", "00:60:00", "24:00:00", "00:00:60", "00:00:-1", "00:00:1e1", "-00:00:01"] {
            assert_eq!(time_span(text), None, "{text}");
        }
    }
}
