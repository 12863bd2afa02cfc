//! The settings of the OTLP export, or all that is wrong with them at once.
//!
//! The SDK ignores most of what it cannot read, and a collector that gets nothing tells nobody why. So what it would read is
//! looked at first. Nothing is looked at, and nothing is wrong, while `OTEL_EXPORTER_OTLP_ENDPOINT` is not set.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderName;
use url::Url;

use crate::settings::{Lookup, Problem, non_empty};

/// The setting that turns traces and metrics on.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";

/// A collector that has not taken a delivery by then has not got it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Variables with few values, and these.
const CHOICES: [(&str, &[&str]); 8] = [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", &["cumulative", "delta", "lowmemory"]),
    (
        SAMPLER,
        &[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ],
    ),
];

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";

/// Variables that are whole numbers above zero.
const NUMBERS: [&str; 5] = [
    TIMEOUT,
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
];

const HEADERS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"];

/// Where traces and metrics go; the SDK reads the rest by itself.
pub struct ExportSettings {
    pub(super) traces: Url,
    pub(super) metrics: Url,
    /// How long one delivery may take.
    pub(super) timeout: Duration,
    /// Whether the service has a name of the operator's choice.
    pub(super) is_named: bool,
    /// Whether the operator says which traces to keep.
    pub(super) has_sampler: bool,
}

impl fmt::Debug for ExportSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some collectors take their key in the path.
        f.debug_struct("ExportSettings").field("host", &self.traces.host_str()).finish_non_exhaustive()
    }
}

impl ExportSettings {
    /// `None`: traces and metrics are off.
    ///
    /// # Errors
    /// Every problem.
    pub fn read(lookup: &Lookup) -> Result<Option<Self>, Vec<Problem>> {
        let get = |name: &str| non_empty(lookup, name);
        let Some(endpoint) = get(ENDPOINT) else { return Ok(None) };
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let mut problems = Vec::new();
        let base = address(ENDPOINT, &endpoint, &mut problems);
        let mut signal = |name: &str, path: &str| match get(name) {
            Some(own) => address(name, &own, &mut problems),
            None => base.clone().map(|base| below(base, path)),
        };
        let traces = signal("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "v1/traces");
        let metrics = signal("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "v1/metrics");
        problems.extend(CHOICES.iter().filter_map(|(name, values)| choice(name, &get(name)?, values)));
        problems.extend(ratio(&get));
        problems.extend(NUMBERS.iter().filter_map(|name| number(name, &get(name)?).err()));
        problems.extend(HEADERS.iter().filter_map(|name| headers(name, &get(name)?)));
        let timeout = get(TIMEOUT).and_then(|text| number(TIMEOUT, &text).ok());
        let attributes = get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        match (traces, metrics, problems.is_empty()) {
            (Some(traces), Some(metrics), true) => Ok(Some(Self {
                traces,
                metrics,
                timeout: timeout.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
                is_named: get("OTEL_SERVICE_NAME").is_some() || attributes.contains("service.name="),
                has_sampler: get(SAMPLER).is_some(),
            })),
            _ => Err(problems),
        }
    }
}

fn address(name: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Url> {
    let problem = match Url::parse(text) {
        Err(_) => "is no address; it looks like http://localhost:4318",
        Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
            "must be http or https, such as http://localhost:4318"
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "must not hold a user or password; OTEL_EXPORTER_OTLP_HEADERS is for keys"
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "must not have a query or a fragment",
        Ok(url) => return Some(url),
    };
    problems.push(Problem::new(name, problem));
    None
}

/// The signal's path below the endpoint's own.
fn below(mut base: Url, path: &str) -> Url {
    let path = format!("{}/{path}", base.path().trim_end_matches('/'));
    base.set_path(&path);
    base
}

fn choice(name: &str, value: &str, values: &[&str]) -> Option<Problem> {
    let known = values.iter().any(|known| value.eq_ignore_ascii_case(known));
    (!known).then(|| Problem::new(name, format!("must be {}", values.join(", "))))
}

/// The ratio of a sampler that needs one.
fn ratio(get: &Lookup) -> Option<Problem> {
    let sampler = get(SAMPLER)?;
    if !sampler.ends_with("traceidratio") {
        return None;
    }
    let ratio = get("OTEL_TRACES_SAMPLER_ARG").and_then(|text| text.parse::<f64>().ok());
    let fits = ratio.is_some_and(|ratio| (0.0..=1.0).contains(&ratio));
    (!fits).then(|| Problem::new("OTEL_TRACES_SAMPLER_ARG", format!("must be a number from 0 to 1 for {sampler}")))
}

fn number(name: &str, text: &str) -> Result<u64, Problem> {
    text.parse()
        .ok()
        .filter(|number| (1..=u64::from(u32::MAX)).contains(number))
        .ok_or_else(|| Problem::new(name, "must be a whole number above 0"))
}

fn headers(name: &str, text: &str) -> Option<Problem> {
    let fits = |pair: &str| pair.split_once('=').is_some_and(|(header, _)| HeaderName::try_from(header.trim()).is_ok());
    (!text.split(',').all(fits)).then(|| {
        Problem::new(name, "must be pairs of name and value with an equals sign between them, separated by commas")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: (&str, &str) = (ENDPOINT, "http://localhost:4318");

    fn settings_of(settings: &[(&str, &str)]) -> Result<Option<ExportSettings>, Vec<Problem>> {
        ExportSettings::read(&|name| {
            settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn on(settings: &[(&str, &str)]) -> ExportSettings {
        settings_of(settings).expect("fine").expect("on")
    }

    #[test]
    fn it_is_off_unless_the_endpoint_is_set_and_then_nothing_else_can_be_wrong() {
        for settings in [
            &[][..],
            &[(ENDPOINT, " ")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense")],
            &[ON, ("OTEL_SDK_DISABLED", "true")],
        ] {
            assert!(settings_of(settings).expect("fine").is_none(), "{settings:?}");
        }
    }

    #[test]
    fn each_signal_has_its_path_below_the_endpoint_or_an_address_of_its_own() {
        for (endpoint, traces) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://collector.example/otlp", "https://collector.example/otlp/v1/traces"),
        ] {
            assert_eq!(on(&[(ENDPOINT, endpoint)]).traces.as_str(), traces);
        }
        let own = on(&[ON, ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://localhost:9090/api/v1/otlp")]);
        assert_eq!(own.metrics.as_str(), "http://localhost:9090/api/v1/otlp");
        assert_eq!(own.traces.as_str(), "http://localhost:4318/v1/traces");
    }

    #[test]
    fn every_bad_setting_is_named_and_no_value_is_repeated() {
        for (name, value) in [
            (ENDPOINT, "canary"),
            (ENDPOINT, "localhost:4318"),
            (ENDPOINT, "ftp://canary/"),
            (ENDPOINT, "http://canary:canary@localhost:4318"),
            (ENDPOINT, "http://localhost:4318?canary"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "canary"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "canary"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "canary"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "canary"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=fine,can ary=x"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_TRACES_SAMPLER", "canary"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ] {
            let settings = if name == ENDPOINT { vec![(name, value)] } else { vec![ON, (name, value)] };
            let problems = settings_of(&settings).expect_err(value);
            assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
            assert_eq!(problems[0].variable, name);
            assert!(!problems[0].text.contains("canary"), "{problems:?}");
        }
        for ratio in [None, Some("2"), Some("half")] {
            let mut settings = vec![ON, ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")];
            settings.extend(ratio.map(|ratio| ("OTEL_TRACES_SAMPLER_ARG", ratio)));
            assert_eq!(settings_of(&settings).expect_err("no ratio")[0].variable, "OTEL_TRACES_SAMPLER_ARG");
        }
    }

    #[test]
    fn what_the_operator_says_of_name_and_sampler_stands() {
        let plain = on(&[ON]);
        assert!((plain.is_named, plain.has_sampler, plain.timeout) == (false, false, Duration::from_secs(10)));
        for name in [("OTEL_SERVICE_NAME", "sync"), ("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=sync")] {
            assert!(on(&[ON, name]).is_named, "{name:?}");
        }
        let ratio = on(&[ON, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
        assert!(ratio.has_sampler);
        assert_eq!(on(&[ON, (TIMEOUT, "250")]).timeout, Duration::from_millis(250));
    }

    #[test]
    fn an_address_that_may_hold_a_key_is_in_no_debug_output() {
        let settings = on(&[(ENDPOINT, "https://collector.example/canary")]);
        assert!(!format!("{settings:?}").contains("canary"));
    }
}
