mod properties;

use bytes::Bytes;
use time::macros::datetime;

use super::*;

const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

fn record(json: &str) -> Record {
    decode(&Bytes::copy_from_slice(json.as_bytes())).unwrap_or_else(|(error, _)| panic!("{json}: {error}"))
}

fn problem(json: &str) -> String {
    decode(&Bytes::copy_from_slice(json.as_bytes())).expect_err(json).0.to_string()
}

#[test]
fn the_whole_format_is_read() {
    let record = record(
        r#"{"table":"contacts","key":{"employeeid":"E1"},"columns":{"firstname":"Ada","creditlimit":1.50,
            "parentcustomerid_account@odata.bind":"/accounts(accountnumber='7')"},"operation":"update","source":"hr",
            "version":"2026-01-31T08:00:00+01:00","onConflict":"skip","messageId":"m-1"}"#,
    );
    assert_eq!(record.table, "contacts");
    assert_eq!(record.columns.list().len(), 3);
    assert_eq!(record.columns.list()[1].value.get(), "1.50");
    assert_eq!(record.operation, Operation::Update);
    assert_eq!(record.source.as_deref(), Some("hr"));
    assert_eq!(record.version, Some(Version::Time(datetime!(2026-01-31 07:00 UTC))));
    assert_eq!(record.on_conflict, Some(OnConflict::Skip));
    assert_eq!(record.message_id.as_deref(), Some("m-1"));
    assert_eq!(record.key_sent.get(), r#"{"employeeid":"E1"}"#);
}

#[test]
fn a_version_that_would_supersede_all_that_follow_is_refused() {
    let versioned =
        |version: &str| record(&format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},"version":{version}}}"#));
    let now = datetime!(2026-11-23 10:00 UTC);
    for (version, is_fine) in [
        ("9007199254740992", true),
        ("-9007199254740992", true),
        ("9.007199254740992e15", true),
        (r#""2026-11-24T10:00:00Z""#, true),
        (r#""2026-11-24T10:00:00.1Z""#, false),
        (r#""2026-11-24T11:00:00+01:00""#, true),
        (r#""2026-11-24T10:00:00-00:01""#, false),
        (r#""9999-12-31T23:59:59Z""#, false),
        (r#""0000-01-01T00:00:00Z""#, true),
    ] {
        let checked = versioned(version).check(&Tables::default(), now);
        assert_eq!(checked.is_ok(), is_fine, "{version}");
        assert!(checked.is_ok() || checked.is_err_and(|error| error.to_string().starts_with("`version` is more")));
    }
    for stored in [i64::MIN, i64::MAX, MAX_VERSION + 1] {
        assert!(!Version::Number(stored).is_plausible(now), "{stored}");
    }
}

#[test]
fn a_table_that_may_not_be_written_is_a_problem_of_its_field() {
    let record = record(&format!(r#"{{"table":"Roles","key":"{ID}","columns":{{}}}}"#));
    let check = |tables: &Tables| record.check(tables, datetime!(2026-11-23 10:00 UTC));
    let problem = check(&Tables::default()).expect_err("it decides who may do what").to_string();
    assert!(problem.starts_with("`table` ") && problem.contains("SYNC_TABLES"), "{problem}");
    assert!(check(&Tables::parse("roles").expect("a list")).is_ok());
}

#[test]
fn a_leading_byte_order_mark_is_dropped_and_only_one() {
    let text = format!(r#"{{"table":"contacts","key":"{ID}","columns":{{"a": 1.50}}}}"#);
    assert_eq!(record(&format!("\u{feff}{text}")).columns.object(), r#"{"a": 1.50}"#);
    let event = format!(r#"{{"specversion":"1.0","source":"/hr","id":"7","data":{text}}}"#);
    assert_eq!(record(&format!("\u{feff}{event}")).message_id.as_deref(), Some("7"));
    assert!(problem(&format!("\u{feff}\u{feff}{text}")).contains("not a JSON object"));
    assert!(problem(&format!(" \u{feff}{text}")).contains("not a JSON object"));
}

#[test]
fn a_key_of_an_elastic_table_is_refused_with_its_reason() {
    for key in [r#"{"partitionid":"p"}"#, &format!(r#"{{"new_sensorid":"{ID}","partitionid":"device-1"}}"#)] {
        let problem = problem(&format!(r#"{{"table":"new_sensors","key":{key},"columns":{{}}}}"#));
        assert!(problem.contains("`key.partitionid`") && problem.contains("replaces the whole row"), "{problem}");
    }
}

#[test]
fn defaults_are_upsert_and_nothing_else() {
    let record = record(&format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},"version":null,"source":null}}"#));
    assert_eq!(record.operation, Operation::Upsert);
    assert_eq!((record.source, record.version, record.on_conflict), (None, None, None));
}

#[test]
fn a_record_may_name_the_column_of_its_version() {
    let with = |fields: &str| format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},{fields}}}"#);
    let named = record(&with(r#""version":7,"versionColumn":"new_v""#));
    assert_eq!(named.version_column.as_deref(), Some("new_v"));
    assert_eq!(record(&with(r#""version":7,"versionColumn":null"#)).version_column, None);
    for (fields, named) in [
        (r#""versionColumn":"new_v""#, "`versionColumn` requires `version`"),
        (r#""version":7,"versionColumn":"New V""#, "`versionColumn` is not a column name"),
        (r#""version":7,"versionColumn":7"#, "`versionColumn` is a number"),
    ] {
        assert!(problem(&with(fields)).contains(named), "{fields}: {}", problem(&with(fields)));
    }
}

#[test]
fn a_delete_needs_no_columns_and_everything_else_does() {
    assert!(record(&format!(r#"{{"table":"contacts","key":"{ID}","operation":"delete"}}"#)).columns.is_empty());
    assert_eq!(problem(&format!(r#"{{"table":"contacts","key":"{ID}"}}"#)), "the field `columns` is missing");
}

#[test]
fn a_key_column_repeated_in_columns_is_dropped_when_equal_and_an_error_when_not() {
    let record = record(r#"{"table":"orders","key":{"n":7,"r":"x"},"columns":{"n":7.0,"r":"x","name":"y"}}"#);
    let names: Vec<_> = record.columns.list().into_iter().map(|column| column.name.into_owned()).collect();
    assert_eq!(names, ["name"]);
    let text = problem(r#"{"table":"orders","key":{"n":7},"columns":{"n":8}}"#);
    assert_eq!(text, "`columns.n` contradicts `key.n`");
}

#[test]
fn a_cloud_event_supplies_the_record_and_where_missing_its_source_and_id() {
    let event = |data: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"x","source":"shop","id":"ev-7","datacontenttype":"application/json","data":{data}}}"#
        )
    };
    let plain = record(&event(&format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}}}}"#)));
    assert_eq!((plain.source.as_deref(), plain.message_id.as_deref()), (Some("shop"), Some("ev-7")));
    let named =
        record(&event(&format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},"source":"hr","messageId":"m"}}"#)));
    assert_eq!((named.source.as_deref(), named.message_id.as_deref()), (Some("hr"), Some("m")));
}

#[test]
fn broken_cloud_events_say_what_is_wrong() {
    assert!(problem(r#"{"specversion":"0.3","data":{}}"#).contains("specversion"));
    assert!(problem(r#"{"specversion":"1.0"}"#).contains("data"));
    assert!(problem(r#"{"specversion":"1.0","data":"x"}"#).contains("data"));
    assert!(problem(r#"{"specversion":"1.0","data":{"tabel":1}}"#).contains("`tabel`"));
}

#[test]
fn every_problem_names_its_field() {
    let ok = format!(r#""table":"contacts","key":"{ID}","columns":{{}}"#);
    for (message, name) in [
        ("{}".to_owned(), "table"),
        (r#"{"table":"contacts"}"#.to_owned(), "key"),
        (r#"{"table":7,"key":{}}"#.to_owned(), "table"),
        (r#"{"table":"con tacts","key":{}}"#.to_owned(), "table"),
        (r#"{"table":"contacts(1)/x","key":{}}"#.to_owned(), "table"),
        (format!(r#"{{{ok},"colums":1}}"#), "colums"),
        (format!(r#"{{{ok},"operation":"patch"}}"#), "operation"),
        (format!(r#"{{{ok},"onConflict":"maybe"}}"#), "onConflict"),
        (format!(r#"{{{ok},"version":1.5}}"#), "version"),
        (format!(r#"{{{ok},"version":"yesterday"}}"#), "version"),
        (format!(r#"{{{ok},"version":99999999999999999999}}"#), "version"),
        (format!(r#"{{{ok},"version":9007199254740993}}"#), "version"),
        (format!(r#"{{{ok},"version":-9007199254740993}}"#), "version"),
        (format!(r#"{{{ok},"version":"9999-12-31T23:59:59-01:00"}}"#), "version"),
        (format!(r#"{{{ok},"version":"0000-01-01T00:00:00+01:00"}}"#), "version"),
        (format!(r#"{{{ok},"source":7}}"#), "source"),
        (format!(r#"{{{ok},"messageId":"a\nb"}}"#), "messageId"),
        (format!(r#"{{"table":"contacts","key":"{ID}","columns":[]}}"#), "columns"),
        (format!(r#"{{"table":"contacts","key":"{ID}","columns":{{"a":1,"a":2}}}}"#), "columns"),
        (format!(r#"{{{ok},"table":"accounts"}}"#), "table"),
    ] {
        let text = problem(&message);
        assert!(text.contains(&format!("`{name}")), "{message}: {text}");
    }
}

#[test]
fn the_error_for_a_message_that_is_not_an_object_does_not_quote_it() {
    for message in ["", "nonsense", "[1]", "7", r#""secret-value""#, r#"{"table":"#, "\u{0}"] {
        let text = problem(message);
        assert!(text.starts_with("the message is not a JSON object"), "{text}");
        assert!(!text.contains("secret-value"), "{text}");
    }
    let (error, _) = decode(&Bytes::from_static(b"{\"table\":\"\xff\"}")).expect_err("not UTF-8");
    assert_eq!(error.to_string(), "the message is not text: byte 10 is not UTF-8");
}

#[test]
fn half_of_a_surrogate_pair_is_allowed_in_a_column_and_nowhere_else() {
    let value = r#""\ud83d""#;
    let record = record(&format!(r#"{{"table":"contacts","key":"{ID}","columns":{{"firstname":{value}}}}}"#));
    assert_eq!(record.columns.list()[0].value.get(), value);
    for (message, name) in [
        (format!(r#"{{"table":{value},"key":"{ID}","columns":{{}}}}"#), "`table`"),
        (format!(r#"{{"table":"contacts","key":{value},"columns":{{}}}}"#), "`key`"),
        (format!(r#"{{"table":"contacts","key":{{"name":{value}}},"columns":{{}}}}"#), "`key.name`"),
        (format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},"source":{value}}}"#), "`source`"),
        (format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},"version":{value}}}"#), "`version`"),
        (format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},"operation":{value}}}"#), "`operation`"),
    ] {
        let text = problem(&message);
        assert!(text.contains(name), "{message}: {text}");
    }
}

#[test]
fn a_message_that_is_too_large_is_an_error_of_its_own() {
    let (error, _) = decode(&vec![b' '; MAX_BYTES + 1].into()).expect_err("too large");
    assert!(matches!(error, Error::TooLarge { bytes } if bytes == MAX_BYTES + 1));
}

#[test]
fn an_invalid_message_still_gives_its_message_id() {
    let message = format!(r#"{{"table":"contacts","key":"{ID}","columns":{{}},"messageId":"m-9","oops":1}}"#);
    let (_, partial) = decode(&Bytes::copy_from_slice(message.as_bytes())).expect_err("unknown field");
    assert_eq!(partial.message_id.as_deref(), Some("m-9"));
}

#[test]
fn columns_are_not_copied_unless_a_key_column_is_dropped() {
    let places = |text: &'static str| {
        let message = Bytes::from_static(text.as_bytes());
        let columns = decode(&message).expect("a record").columns.object();
        (message.as_ptr_range(), columns.as_ptr())
    };
    let record = r#"{"table":"a","key":{"k":"v"},"columns":{"b":1}}"#;
    let event = r#"{"specversion":"1.0","source":"s","id":"e","data":{"table":"a","key":{"k":"v"},"columns":{"b":1}}}"#;
    for text in [record, event] {
        let (message, columns) = places(text);
        assert!(message.contains(&columns), "{text}");
    }
    let (message, columns) = places(r#"{"table":"a","key":{"k":"v"},"columns":{"k":"v","b":1}}"#);
    assert!(!message.contains(&columns));
}

#[test]
fn a_key_or_a_name_that_no_table_could_have_is_not_kept() {
    let long = "x".repeat(100_000);
    let text = problem(&format!(r#"{{"table":"a","key":{{"k":"{long}"}},"columns":{{}}}}"#));
    assert_eq!(text, "`key` has more than 16384 bytes");
    let text = problem(&format!(r#"{{"table":"a","{long}":1}}"#));
    assert!(text.starts_with("unknown field `xxx") && text.len() < 500, "{}", text.len());
}
