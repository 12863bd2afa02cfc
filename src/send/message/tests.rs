use serde_json::{Value, json};

use super::*;
use crate::send::arguments::tests::options;
use crate::send::columns::Kinds;

const KEY: [&str; 4] = ["--table", "contacts", "--key", "employeeid"];

fn mapping(line: &[&str]) -> Mapping {
    let options = options(line);
    let kinds = Kinds { options: &options, definition: None };
    Mapping::new(options.clone(), |column| kinds.of(column), "a.csv".to_owned())
        .unwrap_or_else(|problem| panic!("{problem}"))
}

/// The record of a CSV line with these fields.
fn csv(line: &[&str], fields: &[(&str, &str)]) -> Result<Value, String> {
    let mapping = mapping(line);
    let options = options(line);
    let kinds = Kinds { options: &options, definition: None };
    let field = |(name, text): &(&'static str, &str)| {
        let value = (!text.is_empty()).then(|| Cow::Owned(kinds.of(name).read(text).expect("of its kind")));
        (Cow::Borrowed(*name), value)
    };
    let fields = fields.iter().map(|&(name, text)| field(&(Box::leak(name.to_owned().into_boxed_str()), text)));
    let text = mapping.of_fields(7, fields.collect()).map_err(|problem| problem.to_string())?;
    Ok(serde_json::from_str(&text).expect("JSON"))
}

/// The record of a line of NDJSON.
fn ndjson(options: &[&str], line: &str) -> Result<Value, String> {
    let text = mapping(options).of_json(7, line).map_err(|problem| problem.to_string())?;
    Ok(serde_json::from_str(&text).expect("JSON"))
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&KEY[..], more].concat()
}

#[test]
fn a_row_is_a_record_with_its_key_apart() {
    let fields = [("employeeid", "E1"), ("lastname", "Söhne"), ("jobtitle", "")];
    let record = json!({
        "table": "contacts", "key": { "employeeid": "E1" }, "messageId": "a.csv:7", "columns": { "lastname": "Söhne" },
    });
    assert_eq!(csv(&KEY, &fields), Ok(record.clone()));
    let cleared = csv(&with(&["--empty", "null"]), &fields).expect("a record");
    assert_eq!(cleared["columns"], json!({ "lastname": "Söhne", "jobtitle": null }));
    let named = csv(&with(&["--source", "hr"]), &fields).expect("a record");
    assert_eq!(named["source"], "hr");
}

#[test]
fn columns_are_in_the_order_of_the_file() {
    let fields = [("z", "1"), ("employeeid", "E1"), ("a", "2")]
        .map(|(name, value)| (Cow::Borrowed(name), Some(Cow::Owned(json(value)))));
    let text = mapping(&with(&["--set", "m=3"])).of_fields(1, fields.into()).expect("a record");
    assert!(text.ends_with(r#""columns":{"z":"1","a":"2","m":"3"}}"#), "{text}");
}

#[test]
fn a_key_has_one_column_or_several_or_is_a_guid() {
    const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";
    let several = ["--table", "new_orders", "--key", "n,region", "--types", "n=integer", "--set", "region=EU"];
    assert_eq!(csv(&several, &[("n", "7")]).expect("a record")["key"], json!({ "n": 7, "region": "EU" }));
    let primary = ["--table", "contacts", "--key", "contactid", "--types", "contactid=guid"];
    assert_eq!(csv(&primary, &[("contactid", ID)]).expect("a record")["key"], ID);
    let lookup = ["--table", "new_orders", "--key", "_p_value", "--types", "_p_value=guid"];
    assert_eq!(csv(&lookup, &[("_p_value", ID)]).expect("a record")["key"], json!({ "_p_value": ID }));
    assert_eq!(csv(&KEY, &[("employeeid", "")]), Err("column employeeid is empty; the key needs a value".to_owned()));
}

#[test]
fn a_version_is_a_number_or_a_time_and_not_a_column() {
    let options = with(&["--version", "changed", "--version-column", "new_v"]);
    let record = |changed: &str| csv(&options, &[("employeeid", "E1"), ("changed", changed)]);
    for (changed, version) in
        [("7", json!(7)), ("2026-01-31T08:00:00Z", json!("2026-01-31T08:00:00Z")), ("x", json!("x"))]
    {
        let record = record(changed).expect("a record");
        assert_eq!(
            (&record["version"], &record["versionColumn"], &record["columns"]),
            (&version, &json!("new_v"), &json!({}))
        );
    }
    assert_eq!(record(""), Err("column changed is empty; the version needs a value".to_owned()));
}

#[test]
fn a_lookup_of_an_empty_field_is_left_out_or_cleared() {
    const BIND: &str = "parentcustomerid_contact@odata.bind";
    let lookup = ["--lookup", "parentcustomerid_contact=/contacts(employeeid={manager})"];
    let columns = |more: &[&str], manager: &str| {
        let record = csv(&[&with(&lookup)[..], more].concat(), &[("employeeid", "E1"), ("manager", manager)]);
        record.map(|record| record["columns"].clone())
    };
    assert_eq!(columns(&[], "O'Neil"), Ok(json!({ BIND: "/contacts(employeeid='O''Neil')" })));
    assert_eq!(columns(&["--types", "manager=integer"], "7"), Ok(json!({ BIND: "/contacts(employeeid=7)" })));
    assert_eq!(columns(&[], ""), Ok(json!({})));
    assert_eq!(columns(&["--empty", "null"], ""), Ok(json!({ BIND: null })));
    let problem = columns(&[], "a/b").expect_err("a slash");
    assert!(problem.starts_with("column manager has a character"), "{problem}");
}

#[test]
fn a_constant_has_its_kind() {
    let options = with(&["--set", "donotemail=yes", "--set", "note=7", "--types", "donotemail=boolean"]);
    let record = csv(&options, &[("employeeid", "E1")]).expect("a record");
    assert_eq!(record["columns"], json!({ "donotemail": true, "note": "7" }));
    let options = super::super::arguments::tests::options(&["--set", "n=x", "--types", "n=integer"]);
    let kinds = Kinds { options: &options, definition: None };
    let problem = Mapping::new(options.clone(), |column| kinds.of(column), String::new()).expect_err("not a number");
    assert_eq!(problem.to_string(), "column n of --set is not a whole number");
}

#[test]
fn a_line_without_columns_and_operation_is_an_object_of_columns() {
    let line = r#"{"employeeid":"E1","key":1,"jobtitle":null,"new_score":1.50}"#;
    let expected = json!({
        "table": "contacts", "key": { "employeeid": "E1" }, "messageId": "a.csv:7",
        "columns": { "key": 1, "jobtitle": null, "new_score": 1.50 },
    });
    assert_eq!(ndjson(&KEY, line), Ok(expected));
    assert!(mapping(&KEY).of_json(7, line).expect("a record").contains("1.50"), "numbers stay as they are");
}

#[test]
fn a_record_is_only_filled_in() {
    let options = with(&["--source", "hr", "--version", "v", "--lookup", "p=/accounts(accountnumber={company})"]);
    let full = json!({
        "table": "accounts", "key": { "accountnumber": "A1" }, "columns": { "name": "x", "company": "C1", "v": 3 },
        "source": "erp", "version": 2, "messageId": "m",
    });
    let mut expected = full.clone();
    expected["columns"] = json!({ "name": "x", "v": 3, "p@odata.bind": "/accounts(accountnumber='C1')" });
    assert_eq!(ndjson(&options, &full.to_string()), Ok(expected));
    let partial = json!({ "columns": { "employeeid": "E1", "name": "x" }, "operation": "create" });
    let record = ndjson(&KEY, &partial.to_string()).expect("a record");
    assert_eq!((&record["table"], &record["key"]), (&json!("contacts"), &json!({ "employeeid": "E1" })));
    assert_eq!((&record["columns"], &record["operation"]), (&json!({ "name": "x" }), &json!("create")));
    let deletion = json!({ "key": { "employeeid": "E1" }, "operation": "delete" });
    let record = ndjson(&KEY, &deletion.to_string()).expect("a record");
    assert_eq!(
        record,
        json!({ "table": "contacts", "key": { "employeeid": "E1" }, "operation": "delete", "messageId": "a.csv:7" })
    );
    let event = r#"{"specversion":"1.0","data":{}}"#;
    assert_eq!(mapping(&KEY).of_json(7, event), Ok(event.to_owned()), "an event is sent as it is");
}

#[test]
fn a_line_that_cannot_be_read_says_why_and_quotes_no_value() {
    for (line, problem) in [
        ("7", "is not a JSON object"),
        (r#""secret""#, "is not a JSON object"),
        (r#"{"a":1"#, "is not a JSON object: EOF while parsing an object"),
        (r#"{"a":1,"a":2}"#, "is not a JSON object: duplicate member `a`"),
        (r#"{"columns":"secret"}"#, "`columns`: is not a JSON object"),
        (r#"{"lastname":"x"}"#, "column employeeid is missing"),
        (r#"{"employeeid":null}"#, "column employeeid is empty; the key needs a value"),
    ] {
        assert_eq!(ndjson(&KEY, line), Err(problem.to_owned()), "{line}");
    }
    let constant = with(&["--set", "note=x"]);
    let problem = ndjson(&constant, r#"{"employeeid":"E1","note":"y"}"#);
    assert_eq!(problem, Err("column note is in the line and in --set".to_owned()));
}
