//! The host.json of this repository is as it should be, and each thing that is wrong with it is named, alone.

use super::super::finding::Verdict;
use super::*;

const OURS: &str = include_str!("../../../host.json");

fn config(settings: &[(&str, &str)]) -> Config {
    let fine = [
        ("DATAVERSE_URL", "https://contoso.crm.dynamics.com"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "0"),
    ];
    let lookup = |name: &str| {
        let mut all = fine.iter().chain(settings).rev();
        all.find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
    };
    Config::from_settings(&lookup).expect("they are fine")
}

fn findings(file: &Value, settings: &[(&str, &str)]) -> Vec<Finding> {
    let lookup = |name: &str| settings.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
    let host = HostJson::read(&file.to_string(), &lookup).expect("a host.json");
    let mut findings = host.check();
    findings.extend(host.check_against(&config(settings)));
    findings
}

fn ours() -> Value {
    serde_json::from_str(OURS).expect("JSON")
}

/// The checks that fail when `path` of our file is set to `value`, or removed with null, and what they found.
fn wrong(path: &str, value: Value, settings: &[(&str, &str)]) -> Vec<(Check, String)> {
    let mut file = ours();
    let (parent, name) =
        path.rsplit_once('/').map_or((String::new(), path), |(parent, name)| (format!("/{parent}"), name));
    file.pointer_mut(&parent).expect("there")[name] = value;
    let wrong = |finding: &Finding| finding.verdict == Verdict::Wrong;
    findings(&file, settings).into_iter().filter(wrong).map(|finding| (finding.check, finding.found)).collect()
}

#[test]
fn our_own_is_as_it_should_be() {
    let findings = findings(&ours(), &[]);
    assert_eq!(findings.len(), 7);
    assert!(findings.iter().all(Finding::is_good), "{findings:#?}");
    let told = |check| findings.iter().find(|finding| finding.check == check).map(|finding| finding.found.as_str());
    let concurrency = "48 messages at once (batchSize 16 + newBatchThreshold 32), 52 may be in flight";
    assert_eq!(told(Check::Concurrency), Some(concurrency));
    assert_eq!(told(Check::Redelivery), Some("10 deliveries, 30 s apart"));
    assert_eq!(told(Check::TimeLimit), Some("600 s, at least 110 of them for the last write"));
}

#[test]
fn each_thing_that_is_wrong_is_named_alone() {
    let queues = "extensions/queues";
    for (path, value, check, word) in [
        ("retry", serde_json::json!({ "strategy": "fixedDelay" }), Check::RetryBlock, "host.json"),
        ("extensionBundle", Value::Null, Check::HostJson, "bundle"),
        (&format!("{queues}/batchSize"), 33.into(), Check::Concurrency, "batchSize"),
        (&format!("{queues}/batchSize"), 0.into(), Check::Concurrency, "batchSize"),
        (&format!("{queues}/batchSize"), 21.into(), Check::Concurrency, "53 messages"),
        (&format!("{queues}/newBatchThreshold"), Value::Null, Check::Concurrency, "processor"),
        (&format!("{queues}/newBatchThreshold"), u64::MAX.into(), Check::Concurrency, "52"),
        (&format!("{queues}/maxDequeueCount"), 1.into(), Check::Redelivery, "maxDequeueCount"),
        (&format!("{queues}/maxDequeueCount"), "many".into(), Check::Redelivery, "maxDequeueCount"),
        (&format!("{queues}/visibilityTimeout"), "00:00:00".into(), Check::Redelivery, "visibilityTimeout is 0"),
        (&format!("{queues}/visibilityTimeout"), Value::Null, Check::Redelivery, "visibilityTimeout is 0"),
        (&format!("{queues}/visibilityTimeout"), "30 s".into(), Check::Redelivery, "no time"),
        (&format!("{queues}/messageEncoding"), "utf8".into(), Check::MessageEncoding, "messageEncoding"),
        ("customHandler/enableForwardingHttpRequest", false.into(), Check::Forwarding, "enableForwardingHttpRequest"),
        ("customHandler/enableForwardingHttpRequest", Value::Null, Check::Forwarding, "enableForwardingHttpRequest"),
        ("functionTimeout", "00:08:24".into(), Check::TimeLimit, "504 s"),
        ("functionTimeout", Value::Null, Check::TimeLimit, "not set"),
        ("functionTimeout", "ten minutes".into(), Check::TimeLimit, "no time"),
    ] {
        let found = wrong(path, value.clone(), &[]);
        assert!(found.len() == 1 && found[0].0 == check && found[0].1.contains(word), "{path} {value}: {found:?}");
    }
    for (path, value) in [
        ("functionTimeout", Value::from("00:08:25")),
        ("functionTimeout", "-1".into()),
        ("extensions/queues/messageEncoding", "none".into()),
        ("extensions/queues/batchSize", 20.into()),
    ] {
        assert_eq!(wrong(path, value.clone(), &[]), [], "{path} {value}");
    }
}

#[test]
fn settings_count_against_the_file_and_override_it() {
    for (setting, value, check) in [
        ("SYNC_HOLD_SECONDS", "576", Check::TimeLimit),
        ("SYNC_MAX_CONCURRENCY", "47", Check::Concurrency),
        ("AzureFunctionsJobHost__extensions__queues__batchSize", "32", Check::Concurrency),
        ("AzureFunctionsJobHost__extensions__queues__visibilityTimeout", "00:00:00", Check::Redelivery),
        ("AzureFunctionsJobHost__functionTimeout", "00:05:00", Check::TimeLimit),
        ("AzureFunctionsJobHost__customHandler__enableForwardingHttpRequest", "False", Check::Forwarding),
    ] {
        let found = wrong("version", "2.0".into(), &[(setting, value)]);
        assert!(found.len() == 1 && found[0].0 == check, "{setting}={value}: {found:?}");
    }
    assert_eq!(wrong("version", "2.0".into(), &[("SYNC_HOLD_SECONDS", "575")]), []);
    let without_locks = [("LOCK_MODE", "off"), ("SYNC_HOLD_SECONDS", "600")];
    assert_eq!(wrong("version", "2.0".into(), &without_locks), []);
}

#[test]
fn what_is_no_host_json_is_refused_and_a_byte_order_mark_is_not() {
    let read = |text: &str| HostJson::read(text, &|_| None).map(|host| host.executable());
    assert_eq!(read(&format!("\u{feff}{OURS}")), Ok(Some("handler".to_owned())));
    for (text, word) in [("{\n\"version\": 2.0 \"", "line 2"), ("[]", "object"), ("{}", "version")] {
        assert!(read(text).expect_err(text).contains(word), "{text}");
    }
}

#[test]
fn time_spans_are_read_as_the_host_reads_them() {
    for (text, seconds) in
        [("00:00:30", Some(30.0)), ("00:10", Some(600.0)), ("1.02:03:04.5", Some(93_784.5)), ("2", Some(172_800.0))]
    {
        assert_eq!(span(text).map(|span| span.as_secs_f64()), seconds, "{text}");
    }
    for text in ["", "30 s", "00:60:00", "24:00:00", "00:00:60", "00:00:-1", "00:00:1e1", "-00:00:01"] {
        assert_eq!(span(text), None, "{text}");
    }
}
