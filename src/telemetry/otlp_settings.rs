//! Which signals are exported by OTLP, and what of OpenTelemetry's environment variables cannot be used.
//!
//! The SDK reads its variables by itself. Checked here is what would leave a collector without data and the operator without a hint.
//! A problem is a warning and never stops the handler. Nothing is read unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>,
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::time::Duration;

use url::Url;

use crate::settings::{Lookup, Problem, is_unresolved, non_empty, unresolved};

/// The setting that turns the export on.
pub(super) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The specification's default for one export.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";

/// The samplers that the SDK has.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// The process-wide HTTP client has its own certificates.
const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"];

/// A collector's key is in one of them.
const HEADERS: [&str; 3] =
    ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"];

/// What is exported; off by default.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OtlpSettings {
    pub(super) traces: bool,
    pub(super) metrics: bool,
    /// The longest time for one export; the SDK leaves it to the HTTP client.
    pub(super) timeout: Duration,
    /// Whether the operator has chosen a sampler, which the SDK reads.
    pub(super) has_sampler: bool,
    /// What cannot be used.
    pub(super) problems: Vec<Problem>,
}

impl OtlpSettings {
    pub(super) fn read(lookup: &Lookup) -> Self {
        let is_disabled =
            || non_empty(lookup, "OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if non_empty(lookup, ENDPOINT).is_none() || is_disabled() {
            return Self::default();
        }
        let mut problems = Vec::new();
        let signals = [("TRACES", "OTEL_BSP_SCHEDULE_DELAY"), ("METRICS", "OTEL_METRIC_EXPORT_INTERVAL")];
        let [traces, metrics] = signals.map(|(name, interval)| {
            signal(lookup, name, interval).unwrap_or_else(|problem| {
                problems.push(problem);
                false
            })
        });
        // One variable may serve both signals.
        problems.dedup();
        let is_reference = |name: &&str| lookup(name).is_some_and(|value| is_unresolved(&value));
        problems.extend(HEADERS.into_iter().filter(is_reference).map(unresolved));
        let is_set = |name: &&str| non_empty(lookup, name).is_some();
        let unsupported = |name| Problem::new(name, "is not supported; SSL_CERT_FILE names the trusted certificates");
        problems.extend(CERTIFICATES.into_iter().filter(is_set).map(unsupported));
        let timeout = match non_empty(lookup, TIMEOUT).map(|value| value.parse()) {
            None => DEFAULT_TIMEOUT,
            Some(Ok(millis @ 1..)) => Duration::from_millis(millis),
            Some(_) => {
                problems.push(Problem::new(TIMEOUT, "must be a number of milliseconds above 0"));
                DEFAULT_TIMEOUT
            }
        };
        let sampler = non_empty(lookup, SAMPLER);
        let has_sampler = sampler.as_deref().is_some_and(|name| SAMPLERS.contains(&name));
        if sampler.is_some() && !has_sampler {
            problems.push(Problem::new(SAMPLER, format!("must be one of {}", SAMPLERS.join(", "))));
        }
        Self { traces, metrics, timeout, has_sampler, problems }
    }
}

/// Whether a signal, `TRACES` or `METRICS`, is exported.
fn signal(lookup: &Lookup, name: &str, interval: &str) -> Result<bool, Problem> {
    let exporter = format!("OTEL_{name}_EXPORTER");
    match non_empty(lookup, &exporter).as_deref() {
        Some("none") => return Ok(false),
        None | Some("otlp") => {}
        Some(_) => return Err(Problem::new(&exporter, "must be otlp or none")),
    }
    // The signal's own variable takes precedence.
    let check = |option: &str, is_usable: fn(&str) -> bool, problem| {
        let names = [format!("OTEL_EXPORTER_OTLP_{name}_{option}"), format!("OTEL_EXPORTER_OTLP_{option}")];
        match names.into_iter().find_map(|name| non_empty(lookup, &name).map(|value| (name, value))) {
            Some((variable, value)) if !is_usable(&value) => Err(Problem::new(&variable, problem)),
            _ => Ok(()),
        }
    };
    check("PROTOCOL", |value| value == "http/protobuf", "must be http/protobuf")?;
    check("COMPRESSION", |_| false, "is not supported")?;
    check(
        "ENDPOINT",
        is_endpoint,
        "must be an http or https URL such as http://localhost:4318, without user or query",
    )?;
    if non_empty(lookup, interval).is_some_and(|value| value.parse() == Ok(0_u64)) {
        // The SDK would export in a busy loop.
        return Err(Problem::new(interval, "must be above 0"));
    }
    Ok(true)
}

/// A key belongs in `OTEL_EXPORTER_OTLP_HEADERS`: the SDK would put the signal's path behind a query.
fn is_endpoint(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let is_plain =
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::lookup_in;

    const ON: (&str, &str) = (ENDPOINT, "http://localhost:4318");

    fn read(settings: &[(&str, &str)]) -> OtlpSettings {
        OtlpSettings::read(&lookup_in(settings))
    }

    fn with(more: &[(&str, &str)]) -> OtlpSettings {
        read(&[&[ON], more].concat())
    }

    #[test]
    fn is_off_without_the_endpoint_and_then_nothing_is_a_problem() {
        for settings in [
            &[][..],
            &[(ENDPOINT, " ")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "nonsense")],
            &[ON, ("OTEL_SDK_DISABLED", "true")],
        ] {
            assert_eq!(read(settings), OtlpSettings::default(), "{settings:?}");
        }
    }

    #[test]
    fn exports_both_signals_within_the_timeout() {
        let all = with(&[]);
        assert_eq!(
            (all.traces, all.metrics, all.has_sampler, all.timeout),
            (true, true, false, Duration::from_secs(10))
        );
        assert_eq!(all.problems, []);
        assert_eq!(with(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "250")]).timeout, Duration::from_millis(250));
    }

    #[test]
    fn what_the_specification_allows_is_not_a_problem() {
        for settings in [
            &[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k,,x-team=a,")][..],
            &[("OTEL_TRACES_SAMPLER", "traceidratio")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_TRACES_EXPORTER", "otlp")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "")],
            // Settings for the host itself.
            &[
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
                ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
            ],
            &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://localhost:9090/api/v1/otlp")],
        ] {
            let read = with(settings);
            assert!(read.problems.is_empty() && read.traces && read.metrics, "{settings:?}: {read:?}");
        }
        assert!(with(&[("OTEL_TRACES_SAMPLER", "traceidratio")]).has_sampler);
    }

    #[test]
    fn none_turns_a_signal_off() {
        let metrics_only = with(&[("OTEL_TRACES_EXPORTER", "none")]);
        assert!(!metrics_only.traces && metrics_only.metrics && metrics_only.problems.is_empty());
        let off = with(&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")]);
        assert!(!off.traces && !off.metrics && off.problems.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_value_and_turns_the_export_off() {
        for (name, value) in [
            (ENDPOINT, "canary"),
            (ENDPOINT, "localhost:4318"),
            (ENDPOINT, "ftp://canary/"),
            (ENDPOINT, "http://canary:canary@localhost:4318"),
            (ENDPOINT, "http://localhost:4318?canary"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ] {
            let read = with(&[(name, value)]);
            assert_eq!((read.traces, read.metrics), (false, false), "{name}={value}");
            let [problem] = &read.problems[..] else { panic!("{name}={value}: {:?}", read.problems) };
            assert!(problem.variable == name && !problem.text.contains("canary"), "{problem}");
        }
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "canary"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_TRACES_EXPORTER", "console"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ] {
            let read = with(&[(name, value)]);
            assert!(!read.traces && read.metrics && read.problems[0].variable == name, "{name}: {read:?}");
        }
    }

    #[test]
    fn a_sampler_or_timeout_that_cannot_be_used_is_named_and_the_default_applies() {
        for (name, value) in [("OTEL_TRACES_SAMPLER", "allways_on"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")] {
            let read = with(&[(name, value)]);
            assert!(read.traces && read.metrics && !read.has_sampler, "{name}: {read:?}");
            assert_eq!((read.timeout, read.problems[0].variable.as_str()), (DEFAULT_TIMEOUT, name));
        }
    }

    #[test]
    fn a_certificate_is_named_as_ignored_and_the_export_goes_on() {
        let read = with(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/canary.pem")]);
        assert!(read.traces && read.metrics);
        let [problem] = &read.problems[..] else { panic!("{:?}", read.problems) };
        assert!(problem.variable == "OTEL_EXPORTER_OTLP_CERTIFICATE" && !problem.text.contains("canary"), "{problem}");
    }
}
