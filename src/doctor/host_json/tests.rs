//! This repository's host.json passes every check, and each fault in it is found on its own.

use serde_json::Value;

use super::*;
use crate::doctor::report::{Finding, Verdict};
use crate::settings::lookup_in;

const OURS: &str = include_str!("../../../host.json");

fn config(settings: &[(&str, &str)]) -> Config {
    let fine = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "0"),
    ];
    Config::from_settings(&lookup_in(&[&fine[..], settings].concat())).expect("they are fine")
}

fn findings(file: &Value, settings: &[(&str, &str)]) -> Vec<Finding> {
    let host = HostJson::read(file.clone(), &lookup_in(settings)).expect("a host.json");
    let mut report = Report::new(true);
    report.add("host_json", Ok(extension_bundle(&host)));
    check(Ok(&host), Ok(&config(settings)), &mut report);
    report.findings().to_vec()
}

fn ours() -> Value {
    serde_json::from_str(OURS).expect("JSON")
}

/// The failed checks and their findings when `path` of our file is set to `value` (null removes it).
fn wrong(path: &str, value: Value, settings: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let mut file = ours();
    let (parent, name) =
        path.rsplit_once('/').map_or((String::new(), path), |(parent, name)| (format!("/{parent}"), name));
    file.pointer_mut(&parent).expect("there")[name] = value;
    let wrong = |finding: &Finding| finding.verdict == Verdict::Wrong;
    findings(&file, settings).into_iter().filter(wrong).map(|finding| (finding.check, finding.found)).collect()
}

#[test]
fn our_own_file_is_good() {
    let findings = findings(&ours(), &[]);
    assert_eq!(findings.len(), 8);
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:#?}");
    let found = |check| findings.iter().find(|finding| finding.check == check).map(|finding| finding.found.as_str());
    let concurrency = "128 messages at once (batchSize 32 + newBatchThreshold 96), 52 requests of several messages each may be in flight";
    assert_eq!(found("concurrency"), Some(concurrency));
    assert_eq!(found("redelivery"), Some("160 deliveries, 30 s apart"));
    assert_eq!(found("time_limit"), Some("600 s, and an invocation lasts 590 s at most"));
}

#[test]
fn finds_each_fault_alone() {
    let queues = "extensions/queues";
    for (path, value, check, word) in [
        ("retry", serde_json::json!({ "strategy": "fixedDelay" }), "retry_block", "host.json"),
        ("extensionBundle", Value::Null, "host_json", "bundle"),
        (&format!("{queues}/batchSize"), 33.into(), "concurrency", "batchSize"),
        (&format!("{queues}/batchSize"), 0.into(), "concurrency", "batchSize"),
        (&format!("{queues}/newBatchThreshold"), 97.into(), "concurrency", "129 messages"),
        (&format!("{queues}/newBatchThreshold"), Value::Null, "concurrency", "processor"),
        (&format!("{queues}/newBatchThreshold"), u32::MAX.into(), "concurrency", "memory"),
        (&format!("{queues}/maxDequeueCount"), 159.into(), "redelivery", "maxDequeueCount"),
        (&format!("{queues}/maxDequeueCount"), "many".into(), "redelivery", "maxDequeueCount"),
        (&format!("{queues}/visibilityTimeout"), "00:00:00".into(), "redelivery", "visibilityTimeout is 0"),
        (&format!("{queues}/visibilityTimeout"), Value::Null, "redelivery", "visibilityTimeout is 0"),
        (&format!("{queues}/visibilityTimeout"), "30 s".into(), "redelivery", "must be a time"),
        (&format!("{queues}/messageEncoding"), "utf8".into(), "message_encoding", "messageEncoding"),
        ("customHandler/enableForwardingHttpRequest", false.into(), "forwarding", "enableForwardingHttpRequest"),
        ("customHandler/enableForwardingHttpRequest", Value::Null, "forwarding", "enableForwardingHttpRequest"),
        ("functionTimeout", "00:09:49".into(), "time_limit", "589 s"),
        ("functionTimeout", "00:09:49".into(), "time_limit", "costs every message in flight a delivery"),
        ("functionTimeout", Value::Null, "time_limit", "not set"),
        ("functionTimeout", "ten minutes".into(), "time_limit", "must be a time"),
    ] {
        let found = wrong(path, value.clone(), &[]);
        assert!(found.len() == 1 && found[0].0 == check && found[0].1.contains(word), "{path} {value}: {found:?}");
    }
    for (path, value) in [
        ("functionTimeout", Value::from("00:09:50")),
        ("functionTimeout", "-1".into()),
        ("extensions/queues/messageEncoding", "base64".into()),
        ("extensions/queues/batchSize", 20.into()),
    ] {
        assert_eq!(wrong(path, value.clone(), &[]), [], "{path} {value}");
    }
}

#[test]
fn warns_that_sampling_leaves_out_lines_that_the_alerts_count() {
    let mut file = ours();
    file["logging"]["applicationInsights"]["samplingSettings"]["excludedTypes"] = "Request;Exception".into();
    let found: Vec<_> = findings(&file, &[]).into_iter().filter(|finding| finding.verdict != Verdict::Good).collect();
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.check, finding.verdict), ("sampling", Verdict::Warning));
    assert!(finding.remedy.as_deref().is_some_and(|remedy| remedy.contains("add Trace")), "{finding:?}");
    let off = ("AzureFunctionsJobHost__logging__applicationInsights__samplingSettings__isEnabled", "false");
    assert!(findings(&file, &[off]).iter().all(|finding| finding.verdict == Verdict::Good));
}

#[test]
fn checks_the_file_against_settings_and_their_overrides() {
    for (setting, value, check) in [
        ("SYNC_HOLD_SECONDS", "481", "redelivery"),
        ("SYNC_BATCH", "off", "concurrency"),
        ("AzureFunctionsJobHost__extensions__queues__newBatchThreshold", "97", "concurrency"),
        ("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:00", "redelivery"),
        ("AzureFunctionsJobHost__functionTimeout", "00:05:00", "time_limit"),
        ("AzureFunctionsJobHost__customHandler__enableForwardingHttpRequest", "False", "forwarding"),
    ] {
        let found = wrong("version", "2.0".into(), &[(setting, value)]);
        assert!(found.len() == 1 && found[0].0 == check, "{setting}={value}: {found:?}");
    }
    let deliveries = ("AzureFunctionsJobHost__extensions__queues__maxDequeueCount", "164");
    let too_long = wrong("version", "2.0".into(), &[("SYNC_HOLD_SECONDS", "491"), deliveries]);
    assert!(too_long.len() == 1 && too_long[0].0 == "time_limit", "{too_long:?}");
    let more = ("SYNC_MAX_CONCURRENCY", "128");
    assert_eq!(wrong("version", "2.0".into(), &[("SYNC_BATCH", "off"), more]), []);
    let longer = [("SYNC_HOLD_SECONDS", "490"), deliveries];
    assert_eq!(wrong("version", "2.0".into(), &longer), []);
}
