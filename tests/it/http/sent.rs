//! The requests that a call causes, and what they must not contain. Addresses are tested beside
//! `dataverse::client`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault};

use super::start;
use crate::caller::{answer, contact};

#[tokio::test]
async fn every_write_has_the_headers_of_odata_and_of_the_settings_and_none_of_the_caller() {
    let extra = r#"{"MSCRM.SuppressDuplicateDetection":"false","CallerObjectId":"0e7","User-Agent":"contoso/1"}"#;
    let (world, host, caller) = start(&[("SYNC_HEADERS", extra)]).await;
    world.dataverse.fault(Fault::new(Effect::Deadlock).method("PATCH"));
    for operation in ["upsert", "create", "update", "delete"] {
        let mut record = contact(&format!("C-{operation}"), &json!({ "firstname": "\u{e4}\u{1f600}\"\\" }));
        record["operation"] = json!(operation);
        let request = caller.request().header("content-type", "application/json").header("x-canary", "1");
        let request =
            request.header("cookie", "a=b").header("if-match", "\"7\"").header("referer", "http://localhost/");
        answer(request.body(record.to_string())).await;
    }
    let journal = world.dataverse.journal();
    // The first upsert is the deadlock's victim and is sent again.
    let json = Some("application/json");
    let conditions =
        [(None, None, json), (None, None, json), (None, Some("*"), json), (Some("*"), None, json), (None, None, None)];
    assert_eq!(journal.len(), conditions.len());
    for (entry, expected) in journal.iter().zip(conditions) {
        let header = |name: &str| entry.headers.get(name).map(String::as_str);
        assert_eq!((header("if-match"), header("if-none-match"), header("content-type")), expected);
        assert_eq!(header("accept"), json);
        assert_eq!((header("odata-version"), header("odata-maxversion")), (Some("4.0"), Some("4.0")));
        assert_eq!(header("mscrm.suppressduplicatedetection"), Some("false"));
        assert_eq!((header("callerobjectid"), header("user-agent")), (Some("0e7"), Some("contoso/1")));
        assert!(["x-canary", "cookie", "referer", "x-functions-key"].into_iter().all(|name| header(name).is_none()));
        assert!(!format!("{:?}", entry.headers).contains(host.function_key()));
    }
    let ids: BTreeSet<_> = journal.iter().filter_map(|entry| entry.headers.get("x-ms-client-request-id")).collect();
    assert_eq!(ids.len(), journal.len(), "each request has its own id");
    assert_eq!(Value::Object(journal[1].values.clone()), json!({ "firstname": "\u{e4}\u{1f600}\"\\" }));
}
