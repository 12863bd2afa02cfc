use super::*;

const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";
const OTHER_ID: &str = "00000000-0000-0000-0000-000000000001";

pub(super) fn columns(sent: &str) -> Vec<Column<'_>> {
    let Members(members) = serde_json::from_str(sent).expect("an object");
    members.into_iter().map(|(name, value)| Column { name, value }).collect()
}

pub(super) fn comparison(sent: &str, stored: &str) -> Comparison {
    compare(&columns(sent), &Row::from_json(stored.to_owned()).expect("an object"))
}

/// `None` if not verified; otherwise the columns whose nulls must be readable.
pub(super) fn compared(sent: &str, stored: &str) -> Option<Vec<String>> {
    let Comparison { differs, unproven, nulls_sent, nulls_read } = comparison(sent, stored);
    (!differs && !unproven && nulls_read.is_empty()).then_some(nulls_sent)
}

#[test]
fn equal_values_are_proven() {
    for (sent, stored) in [
        (r#"{"a":"x","b":1.50,"c":true}"#, r#"{"a":"x","b":1.5,"c":true,"@odata.etag":"W/1"}"#),
        (r#"{"a":""}"#, r#"{"a":""}"#),
        (r#"{"a":"\u0061"}"#, r#"{"a":"a"}"#),
        (r#"{"a":12e2}"#, r#"{"a":1200}"#),
        (r#"{"a":"2026-01-31"}"#, r#"{"a":"2026-01-31"}"#),
        (r#"{"a":"1,9"}"#, r#"{"a":"1,9"}"#),
        ("{}", "{}"),
    ] {
        assert_eq!(compared(sent, stored), Some(Vec::new()), "{sent} {stored}");
    }
}

#[test]
fn other_values_are_not_proven() {
    for (sent, stored) in [
        (r#"{"a":"x"}"#, r#"{"a":"X"}"#),
        (r#"{"a":"x "}"#, r#"{"a":"x"}"#),
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":1}"#, r#"{"a":true}"#),
        (r#"{"a":3}"#, r#"{"a":2}"#),
        (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#),
        (r#"{"a":10.0059}"#, r#"{"a":10.01}"#),
        (r#"{"a":"9, 1"}"#, r#"{"a":"1,9"}"#),
        (r#"{"a":null}"#, r#"{"a":0}"#),
        (r#"{"a":null}"#, r#"{"a":""}"#),
        (r#"{"a":""}"#, r#"{"a":null}"#),
        (r#"{"a":"x"}"#, r#"{"a":null}"#),
        (r#"{"a":"x","b":1}"#, r#"{"a":"x","b":3}"#),
        (r#"{"a":"x"}"#, r#"{"b":"x"}"#),
        (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
    ] {
        assert_eq!(compared(sent, stored), None, "{sent} {stored}");
    }
}

#[test]
fn only_a_value_that_can_be_read_and_cannot_be_ours_differs() {
    let bound = format!(r#"{{"p@odata.bind":"/accounts({ID})"}}"#);
    for (sent, stored, differs) in [
        (r#"{"a":"x"}"#, r#"{"a":"X"}"#, true),
        (r#"{"a":1}"#, r#"{"a":2}"#, true),
        (r#"{"a":1}"#, r#"{"a":"1"}"#, true),
        (r#"{"a":null}"#, r#"{"a":0}"#, true),
        (r#"{"a":10.02}"#, r#"{"a":10.01}"#, true),
        (r#"{"a":"1,9"}"#, r#"{"a":"1,8"}"#, true),
        (r#"{"a":"2026-01-31T07:00:00Z"}"#, r#"{"a":"2026-01-31T07:00:01Z"}"#, true),
        (r#"{"a":"x","b":{"c":1}}"#, r#"{"a":"y"}"#, true),
        (&bound, &format!(r#"{{"_p_value":"{OTHER_ID}"}}"#), true),
        // What the service makes of a value.
        (r#"{"a":10.0059}"#, r#"{"a":10.01}"#, false),
        (r#"{"a":"9, 1"}"#, r#"{"a":"1,9"}"#, false),
        (r#"{"a":" x\r\ny "}"#, r#"{"a":"x\ny"}"#, false),
        (r#"{"a":""}"#, r#"{"a":null}"#, false),
        (r#"{"a":"2026-01-31T07:00:00.25+00:00"}"#, r#"{"a":"2026-01-31T07:00:00Z"}"#, false),
        (r#"{"a":"2026-01-31T07:00:00Z"}"#, r#"{"a":"2026-01-31"}"#, false),
        // What cannot be seen.
        (r#"{"a":"x"}"#, r#"{"a":null}"#, false),
        (r#"{"a":"x"}"#, "{}", false),
        (r#"{"a":[1]}"#, r#"{"a":2}"#, false),
        (r#"{"p@odata.bind":"/accounts(accountnumber='7')"}"#, &format!(r#"{{"_p_value":"{ID}"}}"#), false),
        (&bound, "{}", false),
    ] {
        assert_eq!(comparison(sent, stored).differs, differs, "{sent} {stored}");
    }
}

#[test]
fn a_null_that_was_read_for_a_value_is_listed() {
    let found = comparison(r#"{"a":"x","b":1}"#, r#"{"a":null,"b":1}"#);
    assert_eq!((found.nulls_read, found.unproven), (vec!["a".to_owned()], false));
}

#[test]
fn nulls_that_were_read_back_are_listed() {
    let found = compared(r#"{"a":null,"b":1,"c":null}"#, r#"{"a":null,"b":1,"c":null,"d":null}"#);
    assert_eq!(found, Some(vec!["a".to_owned(), "c".to_owned()]));
    assert_eq!(compared(r#"{"a":null,"b":1}"#, r#"{"a":null,"b":2}"#), None, "there is no need to ask");
}

#[test]
fn instants_are_equal_at_any_offset() {
    let stored = r#"{"a":"2026-01-31T07:00:00Z"}"#;
    for (sent, is_proven) in [
        ("2026-01-31T08:00:00+01:00", true),
        ("2026-01-30T19:00:00-12:00", true),
        ("2026-01-31T07:00:00.000Z", true),
        ("2026-01-31T07:00:00.25Z", false),
        ("2026-01-31T07:00:01Z", false),
        ("2026-01-31T07:00:00+01:00", false),
        ("2026-01-31T07:00:00", false),
        ("2026-01-31", false),
    ] {
        assert_eq!(compared(&format!(r#"{{"a":"{sent}"}}"#), stored).is_some(), is_proven, "{sent}");
    }
}

#[test]
fn guids_are_equal_in_any_notation() {
    let stored = format!(r#"{{"a":"{ID}"}}"#);
    for (sent, is_proven) in [
        (format!("{{{}}}", ID.to_uppercase()), true),
        (ID.to_uppercase(), true),
        (OTHER_ID.to_owned(), false),
        ("9b2e0c3a111142228333444455556666".to_owned(), false),
    ] {
        assert_eq!(compared(&format!(r#"{{"a":"{sent}"}}"#), &stored).is_some(), is_proven, "{sent}");
    }
}

#[test]
fn text_that_the_service_would_write_otherwise_is_not_read_as_an_instant_or_a_guid() {
    for (sent, stored) in [
        ("2026-01-31T07:00:00Z", "2026-01-31T08:00:00+01:00".to_owned()),
        (ID, ID.to_uppercase()),
        (ID, format!("{{{ID}}}")),
    ] {
        assert_eq!(compared(&format!(r#"{{"a":"{sent}"}}"#), &format!(r#"{{"a":"{stored}"}}"#)), None, "{stored}");
    }
}

#[test]
fn a_lookup_is_proven_by_its_guid() {
    let lookup = format!(r#"{{"_new_accountid_value":"{ID}"}}"#);
    let bind = |value: String| format!(r#"{{"new_AccountId@odata.bind":{value}}}"#);
    for (address, is_proven) in [
        (format!("/accounts({ID})"), true),
        (format!("accounts({{{}}})", ID.to_uppercase()), true),
        (format!("https://contoso.crm4.dynamics.com/api/data/v9.2/accounts({ID})"), true),
        (format!("/accounts({OTHER_ID})"), false),
        ("/accounts(accountnumber='7')".to_owned(), false),
        (format!("/accounts(new_externalid={ID})"), false),
        (format!("/accounts({ID})/x"), false),
        ("$1".to_owned(), false),
        (ID.to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(compared(&bind(format!("\"{address}\"")), &lookup).is_some(), is_proven, "{address}");
    }
    let bound = bind(format!("\"/accounts({ID})\""));
    for stored in ["{}", r#"{"_new_accountid_value":null}"#, r#"{"new_accountid":"x"}"#] {
        assert_eq!(compared(&bound, stored), None, "{stored}");
    }
    assert_eq!(compared(&bind("7".to_owned()), &lookup), None);
    assert_eq!(compared(&bind("null".to_owned()), &lookup), None);
}

#[test]
fn a_cleared_lookup_needs_a_readable_column() {
    for sent in [r#"{"new_AccountId@odata.bind":null}"#, r#"{"new_AccountId":null}"#] {
        let nulls = compared(sent, r#"{"_new_accountid_value":null}"#);
        assert_eq!(nulls, Some(vec!["new_accountid".to_owned()]), "{sent}");
        assert_eq!(compared(sent, &format!(r#"{{"_new_accountid_value":"{ID}"}}"#)), None, "{sent}");
    }
}

#[test]
fn a_lookup_into_several_tables_is_proven_by_its_guid_and_its_table() {
    let sent = format!(r#"{{"parentcustomerid_account@odata.bind":"/accounts({ID})"}}"#);
    for (table, is_proven) in [(Some("account"), true), (Some("contact"), false), (None, false)] {
        let table = table.map(|table| format!(r#","_parentcustomerid_value{LOOKUP_TABLE}":"{table}""#));
        let stored = format!(r#"{{"_parentcustomerid_value":"{ID}"{}}}"#, table.unwrap_or_default());
        assert_eq!(compared(&sent, &stored).is_some(), is_proven, "{stored}");
    }
}

#[test]
fn nested_bodies_binds_by_alternate_key_annotations_and_unusual_names_cannot_be_compared() {
    let is_comparable = |sent: &str| columns(sent).iter().all(is_comparable);
    for sent in [
        r#"{"a":{"b":1}}"#,
        r#"{"a":[1]}"#,
        r#"{"@odata.type":"x"}"#,
        r#"{"a@odata.type":"x"}"#,
        r#"{"a,b":1}"#,
        r#"{"a&$expand=x":1}"#,
        r#"{"a@odata.bind":"/x(a='1')"}"#,
        r#"{"a@odata.bind":["/x(a='1')"]}"#,
        r#"{"a@odata.bind":"$1"}"#,
    ] {
        assert!(!is_comparable(sent), "{sent}");
    }
    assert!(is_comparable(&format!(r#"{{"a":"x","b":null,"c@odata.bind":null,"d@odata.bind":"/x({ID})"}}"#)));
}
