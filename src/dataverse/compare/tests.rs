use super::super::definition::Kind;
use super::*;

const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";
const OTHER_ID: &str = "00000000-0000-0000-0000-000000000001";

fn columns(sent: &str) -> Vec<Column<'_>> {
    let Members(members) = serde_json::from_str(sent).expect("an object");
    members.into_iter().map(|(name, value)| Column { name, value }).collect()
}

fn row(stored: &str) -> Row {
    Row::from_json(stored.to_owned()).expect("an object")
}

/// Without metadata.
fn bare(sent: &str, stored: &str) -> Comparison {
    compare(&columns(sent), &row(stored), None, &[])
}

/// Values of a column of this kind.
fn of_kind(kind: Kind, sent: &str, stored: &str) -> Comparison {
    let definition = Definition::new("thing", "thingid").with_column("c", kind, false);
    let (sent, stored) = (format!("{{\"c\":{sent}}}"), format!("{{\"c\":{stored}}}"));
    compare(&columns(&sent), &row(&stored), Some(&definition), &[])
}

/// A contact, with a lookup that only accounts are in and one that is shared.
fn contact() -> Definition {
    Definition::new("contact", "contactid")
        .with_column("new_accountid", Kind::Opaque, false)
        .with_column("parentcustomerid", Kind::Opaque, false)
        .with_column("managerid", Kind::Opaque, true)
        .with_lookup("new_AccountId", "new_accountid", "account")
        .with_lookup("managerid", "managerid", "contact")
        .with_lookup("parentcustomerid_account", "parentcustomerid", "account")
        .with_lookup("parentcustomerid_contact", "parentcustomerid", "contact")
}

fn of_contact(sent: &str, stored: &str) -> Comparison {
    compare(&columns(sent), &row(stored), Some(&contact()), &[])
}

#[test]
fn what_is_equal_as_written_is_the_same_without_metadata() {
    for (sent, stored) in [
        (r#"{"a":"x","b":1.50,"c":true,"d":null}"#, r#"{"a":"x","b":1.5,"c":true,"d":null,"@odata.etag":"W/1"}"#),
        (r#"{"a":""}"#, r#"{"a":null}"#),
        (r#"{"a":null}"#, r#"{"a":""}"#),
        (r#"{"a":"2026-01-31T07:00:00.75Z"}"#, r#"{"a":"2026-01-31T07:00:00.75Z"}"#),
        (r#"{"a":"1,9"}"#, r#"{"a":"1,9"}"#),
        ("{}", "{}"),
    ] {
        assert_eq!(bare(sent, stored), Comparison::Same, "{sent} {stored}");
    }
}

#[test]
fn what_is_unequal_under_every_reading_differs_without_metadata() {
    for (sent, stored) in [
        (r#"{"a":"x"}"#, r#"{"a":"X"}"#),
        (r#"{"a":"x "}"#, r#"{"a":"x"}"#),
        (r#"{"a":1}"#, r#"{"a":"2"}"#),
        (r#"{"a":3}"#, r#"{"a":2}"#),
        (r#"{"a":true}"#, r#"{"a":false}"#),
        (r#"{"a":null}"#, r#"{"a":0}"#),
        (r#"{"a":"x","b":1}"#, r#"{"a":"x","b":3}"#),
        (r#"{"a":"1,9"}"#, r#"{"a":"1,8"}"#),
        (r#"{"a":"2026-01-31T07:00:00Z"}"#, r#"{"a":"2026-01-31T08:00:00Z"}"#),
    ] {
        assert_eq!(bare(sent, stored), Comparison::Differs, "{sent} {stored}");
    }
}

#[test]
fn what_is_equal_under_some_reading_is_unknown_without_metadata() {
    for (sent, stored) in [
        (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992.6}"#),
        (r#"{"a":10.0059}"#, r#"{"a":10.01}"#),
        (r#"{"a":"10.5"}"#, r#"{"a":10.5}"#),
        (r#"{"a":"9, 1"}"#, r#"{"a":"1,9"}"#),
        (r#"{"a":"007"}"#, r#"{"a":"7"}"#),
        (r#"{"a":"2026-01-31T08:00:00+01:00"}"#, r#"{"a":"2026-01-31T07:00:00Z"}"#),
        (r#"{"a":"2026-01-31T07:00:00"}"#, r#"{"a":"2026-01-31T07:00:00Z"}"#),
        (r#"{"a":"{9B2E0C3A-1111-4222-8333-444455556666}"}"#, r#"{"a":"9b2e0c3a-1111-4222-8333-444455556666"}"#),
    ] {
        assert_eq!(bare(sent, stored), Comparison::Unknown, "{sent} {stored}");
    }
}

#[test]
fn plain_columns_hold_what_was_written_and_nothing_like_it() {
    for (sent, stored) in [
        (r#""2026-01-31T08:00:00+01:00""#, r#""2026-01-31T07:00:00Z""#),
        (r#""9, 1""#, r#""1,9""#),
        (r#""{9B2E0C3A-1111-4222-8333-444455556666}""#, r#""9b2e0c3a-1111-4222-8333-444455556666""#),
        (r#""10.50""#, r#""10.5""#),
        ("7", "8"),
        ("7.4", "7"),
        ("1", "true"),
    ] {
        assert_eq!(of_kind(Kind::Plain, sent, stored), Comparison::Differs, "{sent} {stored}");
    }
    for (sent, stored) in [("7.0", "7"), ("12e2", "1200"), (r#""\u0061""#, r#""a""#), ("false", "false")] {
        assert_eq!(of_kind(Kind::Plain, sent, stored), Comparison::Same, "{sent} {stored}");
    }
}

#[test]
fn decimals_are_the_same_when_the_stored_one_is_what_is_left_at_the_columns_precision() {
    for (places, sent, stored, found) in [
        (Some(2), "10.0059", "10.01", Comparison::Same),
        (Some(2), "-10.0059", "-10.01", Comparison::Same),
        (Some(2), "10.00499", "10.00", Comparison::Same),
        (Some(0), "9007199254740993.25", "9007199254740993", Comparison::Same),
        (Some(2), "10.0059", "10.02", Comparison::Differs),
        (Some(2), "10.0059", "10.00", Comparison::Differs),
        (Some(2), "10", "10.01", Comparison::Differs),
        (Some(2), "10.005", "10.01", Comparison::Unknown),
        (Some(2), "10.005", "10.00", Comparison::Unknown),
        (Some(2), "10.00500000001", "10.01", Comparison::Unknown),
        (Some(2), "10.00499999999", "10.00", Comparison::Unknown),
        (Some(2), "10.0059", "10.0060", Comparison::Unknown),
        (Some(2), "\"10.01\"", "10.01", Comparison::Unknown),
        (None, "10.0059", "10.01", Comparison::Unknown),
        (None, "10.01", "10.010", Comparison::Same),
        (None, "10", "11", Comparison::Differs),
        (Some(2), "1e60", "1.1e60", Comparison::Unknown),
    ] {
        assert_eq!(of_kind(Kind::Decimal(places), sent, stored), found, "{places:?} {sent} {stored}");
    }
}

#[test]
fn doubles_are_the_same_when_they_are_one_binary_number_at_the_columns_precision() {
    for (places, sent, stored, found) in [
        (Some(5), "47.639583", "47.63958", Comparison::Same),
        (Some(5), "47.639583", "47.639580000000002", Comparison::Same),
        (None, "0.1", "0.1000000000000000055", Comparison::Same),
        (Some(5), "47.639583", "47.63959", Comparison::Differs),
        (Some(5), "47.639585", "47.63958", Comparison::Unknown),
        (None, "47.639583", "47.63958", Comparison::Unknown),
    ] {
        assert_eq!(of_kind(Kind::Double(places), sent, stored), found, "{places:?} {sent} {stored}");
    }
}

#[test]
fn instants_are_the_same_at_any_offset_but_not_beyond_half_a_second() {
    let stored = "\"2026-01-31T07:00:00Z\"";
    for (sent, found) in [
        ("\"2026-01-31T08:00:00+01:00\"", Comparison::Same),
        ("\"2026-01-30T19:00:00-12:00\"", Comparison::Same),
        ("\"2026-01-31T07:00:00\"", Comparison::Same),
        ("\"2026-01-31T07:00:00.000Z\"", Comparison::Same),
        ("\"2026-01-31T07:00:00.499+00:00\"", Comparison::Same),
        ("\"2026-01-31T07:00:00.5Z\"", Comparison::Unknown),
        ("\"2026-01-31T06:59:59.5Z\"", Comparison::Unknown),
        ("\"2026-01-31T06:59:59.499Z\"", Comparison::Differs),
        ("\"2026-01-31T07:00:01Z\"", Comparison::Differs),
        ("\"2026-01-31T07:00:00+01:00\"", Comparison::Differs),
        ("\"2026-01-31\"", Comparison::Unknown),
        ("\"soon\"", Comparison::Unknown),
        ("7", Comparison::Unknown),
    ] {
        assert_eq!(of_kind(Kind::Instant, sent, stored), found, "{sent}");
    }
    let (early, kept) = ("\"1969-12-31T23:59:58.25Z\"", "\"1969-12-31T23:59:58Z\"");
    assert_eq!(of_kind(Kind::Instant, early, kept), Comparison::Same, "seconds are counted downwards before 1970 too");
    let (sent, kept) = ("\"2026-01-31T07:00:00.25Z\"", "\"2026-01-31T07:00:00.26Z\"");
    assert_eq!(of_kind(Kind::Instant, sent, kept), Comparison::Unknown, "then fractions are kept after all");
}

#[test]
fn a_column_without_a_zone_says_nothing_about_offsets() {
    let stored = "\"2026-01-31T07:00:00Z\"";
    for (sent, found) in [
        ("\"2026-01-31T07:00:00\"", Comparison::Same),
        ("\"2026-01-31T07:00:00.2Z\"", Comparison::Same),
        ("\"2026-01-31T07:00:00+00:00\"", Comparison::Same),
        ("\"2026-01-31T08:00:00+01:00\"", Comparison::Unknown),
        ("\"2026-01-31T07:00:00+01:00\"", Comparison::Unknown),
        ("\"2026-01-31T09:00:00\"", Comparison::Differs),
    ] {
        assert_eq!(of_kind(Kind::ZoneFree, sent, stored), found, "{sent}");
    }
}

#[test]
fn choices_are_a_set() {
    for (sent, stored, found) in [
        ("\"1, 9\"", "\"1,9\"", Comparison::Same),
        ("\"9,1,9\"", "\"1,9\"", Comparison::Same),
        ("\" -1 \"", "\"-1\"", Comparison::Same),
        ("\"1,9\"", "\"1\"", Comparison::Differs),
        ("\"1\"", "\"1,9\"", Comparison::Differs),
        ("\"1,\"", "\"1\"", Comparison::Unknown),
        ("\"1;9\"", "\"1,9\"", Comparison::Unknown),
        ("\"+1\"", "\"1\"", Comparison::Unknown),
        ("1", "\"1\"", Comparison::Unknown),
        ("\"\"", "\"1\"", Comparison::Differs),
    ] {
        assert_eq!(of_kind(Kind::Choices, sent, stored), found, "{sent} {stored}");
    }
}

#[test]
fn guids_are_the_same_in_capitals_and_braces() {
    let stored = format!("\"{ID}\"");
    for (sent, found) in [
        (format!("\"{{{}}}\"", ID.to_uppercase()), Comparison::Same),
        (format!("\"{OTHER_ID}\""), Comparison::Differs),
        ("\"9b2e0c3a111142228333444455556666\"".to_owned(), Comparison::Unknown),
    ] {
        assert_eq!(of_kind(Kind::Guid, &sent, &stored), found, "{sent}");
    }
}

#[test]
fn of_days_and_other_kinds_only_equal_notations_are_known_to_be_equal() {
    assert_eq!(of_kind(Kind::Opaque, "\"2026-01-31\"", "\"2026-01-31\""), Comparison::Same);
    assert_eq!(of_kind(Kind::Opaque, "\"2026-01-31T00:00:00Z\"", "\"2026-01-31\""), Comparison::Unknown);
}

#[test]
fn empty_text_is_null_in_every_column() {
    for kind in [Kind::Plain, Kind::Decimal(Some(2)), Kind::Instant, Kind::Choices, Kind::Guid, Kind::Opaque] {
        assert_eq!(of_kind(kind, "\"\"", "null"), Comparison::Same);
        assert_eq!(of_kind(kind, "null", "null"), Comparison::Same);
        assert_eq!(of_kind(kind, "null", "\"x\""), Comparison::Differs);
        assert_eq!(of_kind(kind, "\"x\"", "null"), Comparison::Differs);
    }
}

#[test]
fn null_proves_nothing_where_column_security_may_hide_a_value() {
    let definition = Definition::new("thing", "thingid").with_column("c", Kind::Plain, true);
    let found = |sent, stored| compare(&columns(sent), &row(stored), Some(&definition), &[]);
    assert_eq!(found(r#"{"c":null}"#, r#"{"c":null}"#), Comparison::Unknown);
    assert_eq!(found(r#"{"c":""}"#, r#"{"c":null}"#), Comparison::Unknown);
    assert_eq!(found(r#"{"c":"x"}"#, r#"{"c":null}"#), Comparison::Unknown);
    assert_eq!(found(r#"{"c":"x"}"#, r#"{"c":"x"}"#), Comparison::Same);
    assert_eq!(of_contact(r#"{"managerid@odata.bind":null}"#, r#"{"_managerid_value":null}"#), Comparison::Unknown);
}

#[test]
fn a_lookup_comes_back_under_its_columns_name() {
    let lookup = format!(r#"{{"_new_accountid_value":"{ID}"}}"#);
    for (sent, stored, found) in [
        (format!(r#"{{"new_AccountId@odata.bind":"/accounts({ID})"}}"#), lookup.as_str(), Comparison::Same),
        (
            format!(r#"{{"new_AccountId@odata.bind":"/accounts({{{}}})"}}"#, ID.to_uppercase()),
            &lookup,
            Comparison::Same,
        ),
        (format!(r#"{{"new_AccountId@odata.bind":"/accounts({OTHER_ID})"}}"#), &lookup, Comparison::Differs),
        (format!(r#"{{"new_AccountId@odata.bind":"/accounts({ID})"}}"#), "{}", Comparison::Unknown),
        (
            format!(r#"{{"new_AccountId@odata.bind":"/accounts({ID})"}}"#),
            r#"{"_new_accountid_value":null}"#,
            Comparison::Differs,
        ),
        (r#"{"new_AccountId@odata.bind":null}"#.to_owned(), r#"{"_new_accountid_value":null}"#, Comparison::Same),
        (r#"{"new_AccountId":null}"#.to_owned(), r#"{"_new_accountid_value":null}"#, Comparison::Same),
        (r#"{"new_AccountId@odata.bind":null}"#.to_owned(), &lookup, Comparison::Differs),
        (r#"{"new_AccountId":null}"#.to_owned(), &lookup, Comparison::Differs),
        (r#"{"new_AccountId@odata.bind":"$1"}"#.to_owned(), &lookup, Comparison::Unknown),
        (r#"{"new_AccountId@odata.bind":""}"#.to_owned(), r#"{"_new_accountid_value":null}"#, Comparison::Differs),
        (r#"{"new_AccountId@odata.bind":7}"#.to_owned(), &lookup, Comparison::Unknown),
        (format!(r#"{{"new_accountid@odata.bind":"/accounts({ID})"}}"#), &lookup, Comparison::Unknown),
    ] {
        assert_eq!(of_contact(&sent, stored), found, "{sent} {stored}");
    }
}

#[test]
fn a_lookup_that_several_tables_share_is_the_same_only_when_its_table_is_too() {
    let sent = format!(r#"{{"parentcustomerid_account@odata.bind":"/accounts({ID})"}}"#);
    for (table, found) in
        [(Some("account"), Comparison::Same), (Some("contact"), Comparison::Differs), (None, Comparison::Unknown)]
    {
        let annotation =
            table.map(|table| format!(r#","_parentcustomerid_value@{LOOKUP_TABLE}":"{table}""#)).unwrap_or_default();
        let stored = format!(r#"{{"_parentcustomerid_value":"{ID}"{annotation}}}"#);
        assert_eq!(of_contact(&sent, &stored), found, "{stored}");
    }
}

#[test]
fn a_lookup_needs_the_definition_for_no_other_column_to_be_taken_for_it() {
    let sent = format!(r#"{{"managerid@odata.bind":"/contacts({ID})"}}"#);
    assert_eq!(bare(&sent, &format!(r#"{{"_managerid_value":"{ID}"}}"#)), Comparison::Unknown);
    assert_eq!(select(&columns(&sent), None), None);
}

#[test]
fn a_bind_by_alternate_key_is_as_good_as_what_is_known_of_its_row() {
    let sent = columns(r#"{"new_AccountId@odata.bind":"/accounts(accountnumber='7')"}"#);
    let stored = row(&format!(r#"{{"_new_accountid_value":"{ID}"}}"#));
    let with = |targets: &[Target]| compare(&sent, &stored, Some(&contact()), targets);
    let target = |id: &str| Target { property: "new_AccountId@odata.bind".to_owned(), id: guid(id).expect("a GUID") };
    assert_eq!(with(&[]), Comparison::Unknown);
    assert_eq!(with(&[target(ID)]), Comparison::Same);
    assert_eq!(with(&[target(OTHER_ID)]), Comparison::Differs);
    assert_eq!(with(&[Target { property: "managerid@odata.bind".to_owned(), ..target(ID) }]), Comparison::Unknown);
}

#[test]
fn only_binds_by_alternate_key_that_may_hold_are_looked_up() {
    let sent = format!(
        r#"{{"new_AccountId@odata.bind":"/accounts(accountnumber='7')","managerid@odata.bind":"/contacts({ID})",
            "parentcustomerid_account@odata.bind":"/accounts(accountnumber='8')","firstname":"/accounts(a='9')"}}"#
    );
    let sent = columns(&sent);
    let stored = row(&format!(
        r#"{{"_new_accountid_value":"{ID}","_managerid_value":"{ID}","_parentcustomerid_value":null,"firstname":"x"}}"#
    ));
    let found: Vec<_> = unresolved(&sent, &stored, &contact()).into_iter().map(|(property, _)| property).collect();
    assert_eq!(found, ["new_AccountId@odata.bind"]);
}

#[test]
fn the_columns_to_read_are_the_stored_ones_each_once() {
    let names = |sent: &str, definition: Option<&Definition>| select(&columns(sent), definition);
    let text = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(names(r#"{"a":"x","b":null}"#, None), text(&["a", "b"]));
    let both = r#"{"parentcustomerid_account@odata.bind":"$1","parentcustomerid_contact":null,"a":1}"#;
    assert_eq!(names(both, Some(&contact())), text(&["_parentcustomerid_value", "a"]));
    for hopeless in [
        r#"{"a":{"b":1}}"#,
        r#"{"a":[1]}"#,
        r#"{"@odata.type":"x"}"#,
        r#"{"a@odata.type":"x"}"#,
        r#"{"a,b":1}"#,
        r#"{"a&$expand=x":1}"#,
        r#"{"a@odata.bind":["/x(a='1')"]}"#,
    ] {
        assert!(is_beyond_comparison(&columns(hopeless)), "{hopeless}");
    }
    assert!(!is_beyond_comparison(&columns(both)));
    assert_eq!(names(r#"{"a":{"b":1}}"#, Some(&contact())), None);
    assert_eq!(names(r#"{"nobody@odata.bind":null}"#, Some(&contact())), None);
}

#[test]
fn what_is_beyond_comparison_or_missing_is_never_the_same() {
    for (sent, stored) in [
        (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
        (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"a":"x"}"#, r#"{"b":"x"}"#),
        (r#"{"a":1}"#, r#"{"a":{"b":1}}"#),
        (r#"{"@odata.type":"x"}"#, r#"{"@odata.type":"x"}"#),
    ] {
        assert_eq!(bare(sent, stored), Comparison::Unknown, "{sent} {stored}");
    }
}

#[test]
fn a_difference_outweighs_what_is_unknown() {
    assert_eq!(bare(r#"{"a":[1],"b":1}"#, r#"{"b":3}"#), Comparison::Differs);
}
