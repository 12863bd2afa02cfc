//! Values over HTTP: valid ones are returned in stored form, invalid ones are rejected.

use reqwest::Method;
use serde_json::json;

use super::{Bench, EMPLOYEE};

#[tokio::test]
async fn a_row_comes_back_in_the_forms_that_the_service_keeps() {
    let bench = Bench::quick().await;
    let sent = json!({
        "creditlimit": 10.239,
        "new_topics": "9, 1",
        "birthdate": "1990-02-03",
        "lastonholdtime": "2024-03-01T12:00:00.5+02:00",
        "jobtitle": "",
        "donotemail": true,
        "familystatuscode": 2,
        "new_sourceversion": 9_007_199_254_740_993_i64,
    });
    assert_eq!(bench.patch(EMPLOYEE, &sent).await.status, 204);
    let row = bench.get(EMPLOYEE).await.body;
    assert_eq!(row["creditlimit"], 10.24);
    assert_eq!(row["new_topics"], "1,9");
    assert_eq!(row["birthdate"], "1990-02-03");
    assert_eq!(row["lastonholdtime"], "2024-03-01T10:00:00Z");
    assert_eq!(row["jobtitle"], json!(null));
    assert_eq!(row["new_sourceversion"], 9_007_199_254_740_993_i64);
    assert_eq!(row["lastname"], json!(null), "columns without a value are shown as null");
}

#[tokio::test]
async fn what_a_column_cannot_hold_writes_nothing() {
    let bench = Bench::quick().await;
    let cases = [
        (json!({ "nosuch": 1 }), "0x80060888"),
        (json!({ "firstname": 1 }), "0x80048d19"),
        (json!({ "firstname": "x".repeat(51) }), "0x80044331"),
        (json!({ "firstname": "a\u{2}" }), "0x80040278"),
        (json!({ "numberofchildren": -1 }), "0x80044330"),
        (json!({ "familystatuscode": 77 }), "0x8004431A"),
        (json!({ "birthdate": "1600-01-01" }), "0x80040239"),
        (json!([]), "0x80048d19"),
    ];
    for (body, code) in cases {
        assert_eq!(bench.patch(EMPLOYEE, &body).await.verdict(), (400, code), "{body}");
        assert!(bench.contact("E1").is_none());
    }
    let key = format!("contacts(employeeid='{}')", "x".repeat(51));
    assert_eq!(bench.patch(&key, &json!({})).await.verdict(), (400, "0x80044331"), "a key is validated as a column");
}

#[tokio::test]
async fn a_body_has_to_be_json_and_to_say_so() {
    let bench = Bench::quick().await;
    let untyped = bench.send(Method::PATCH, EMPLOYEE, &[], None).await;
    assert_eq!(untyped.status, 415);
    let empty = bench.send(Method::PATCH, EMPLOYEE, &[("content-type", "application/json")], None).await;
    assert_eq!(empty.verdict(), (400, "0x80048d19"));
    let old = bench.send(Method::PATCH, EMPLOYEE, &[("odata-version", "3.0")], Some(&json!({}))).await;
    assert_eq!(old.status, 400);
}
