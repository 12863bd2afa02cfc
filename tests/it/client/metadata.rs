//! A table's definition, put together from what the service says, or not had at all.

use dataverse_sync::dataverse::Store as _;
use dataverse_sync::dataverse::definition::{Definition, Kind, Lookup};
use serde_json::{Value, json};

use super::{Act, Bench, answer, refusal};

fn list(items: &Value) -> Act {
    Act::Send(answer("200 OK", "Content-Type: application/json\r\n", &json!({ "value": items }).to_string()))
}

fn table() -> Act {
    list(&json!([{ "MetadataId": "0", "LogicalName": "contact", "PrimaryIdAttribute": "contactid" }]))
}

fn attribute(name: &str, type_name: &str) -> Value {
    let derived = format!("#Microsoft.Dynamics.CRM.{}AttributeMetadata", type_name.trim_end_matches("Type"));
    json!({
        "@odata.type": derived, "MetadataId": "0", "LogicalName": name, "IsSecured": name == "ssn",
        "AttributeTypeName": { "Value": type_name },
    })
}

/// The answers for a table that has a column of every type.
fn whole() -> Vec<Act> {
    let types = [
        ("ssn", "StringType"),
        ("notes", "MemoType"),
        ("age", "IntegerType"),
        ("version", "BigIntType"),
        ("vip", "BooleanType"),
        ("family", "PicklistType"),
        ("statecode", "StateType"),
        ("statuscode", "StatusType"),
        ("topics", "MultiSelectPicklistType"),
        ("external", "UniqueidentifierType"),
        ("parentcustomerid", "CustomerType"),
        ("picture", "ImageType"),
        ("score", "DecimalType"),
        ("limit", "MoneyType"),
        ("price", "MoneyType"),
        ("latitude", "DoubleType"),
        ("seen", "DateTimeType"),
        ("opens", "DateTimeType"),
        ("born", "DateTimeType"),
        ("due", "DateTimeType"),
    ];
    let attributes = types.map(|(name, type_name)| attribute(name, type_name));
    let date = |name: &str, behavior: &str, format: &str| json!({ "LogicalName": name, "DateTimeBehavior": { "Value": behavior }, "Format": format });
    let relationship = |navigation: Value, column: &str, target: &str| {
        json!({
            "ReferencingEntityNavigationPropertyName": navigation, "ReferencingAttribute": column, "ReferencedEntity": target,
        })
    };
    vec![
        table(),
        list(&json!(attributes)),
        list(&json!([{ "LogicalName": "score", "Precision": 4 }])),
        list(&json!([
            { "LogicalName": "limit", "Precision": 2, "PrecisionSource": 0 },
            { "LogicalName": "price", "Precision": 4, "PrecisionSource": 2 },
        ])),
        list(&json!([{ "LogicalName": "latitude", "Precision": 5 }])),
        list(&json!([
            date("seen", "UserLocal", "DateAndTime"),
            date("opens", "TimeZoneIndependent", "DateAndTime"),
            date("born", "DateOnly", "DateOnly"),
            date("due", "UserLocal", "DateOnly"),
        ])),
        list(&json!([
            relationship(json!("parentcustomerid_account"), "parentcustomerid", "account"),
            relationship(Value::Null, "parentcustomerid", "contact"),
        ])),
    ]
}

fn expected() -> Definition {
    let columns = [
        ("notes", Kind::Plain),
        ("age", Kind::Plain),
        ("version", Kind::Plain),
        ("vip", Kind::Plain),
        ("family", Kind::Plain),
        ("statecode", Kind::Plain),
        ("statuscode", Kind::Plain),
        ("topics", Kind::Choices),
        ("external", Kind::Guid),
        ("parentcustomerid", Kind::Opaque),
        ("picture", Kind::Opaque),
        ("score", Kind::Decimal(Some(4))),
        ("limit", Kind::Decimal(Some(2))),
        ("price", Kind::Decimal(None)),
        ("latitude", Kind::Double(Some(5))),
        ("seen", Kind::Instant),
        ("opens", Kind::ZoneFree),
        ("born", Kind::Opaque),
        ("due", Kind::Opaque),
    ];
    let bare = Definition::new("contact", "contactid").with_column("ssn", Kind::Plain, true);
    let whole = columns.into_iter().fold(bare, |whole, (name, kind)| whole.with_column(name, kind, false));
    whole.with_lookup("parentcustomerid_account", "parentcustomerid", "account").with_lookup(
        "",
        "parentcustomerid",
        "contact",
    )
}

#[tokio::test]
async fn a_definition_knows_every_kind_of_column_and_is_asked_for_once() {
    let bench = Bench::start(whole()).await;
    let found = bench.client.definition("contacts").await.expect("a definition");
    assert_eq!(*found, expected());
    assert!(found.lookup("parentcustomerid_account").is_some_and(Lookup::is_shared));
    assert_eq!(bench.client.definition("contacts").await, Some(found));
    let lines = bench.seen().requests.into_iter().map(|request| {
        let line = request.lines().next().unwrap_or_default().to_owned();
        line.replace("GET /api/data/v9.2/EntityDefinitions", "").replace(" HTTP/1.1", "")
    });
    let cast = |name: &str, select: &str| {
        format!(
            "(LogicalName='contact')/Attributes/Microsoft.Dynamics.CRM.{name}AttributeMetadata?$select=LogicalName,{select}"
        )
    };
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "?$select=LogicalName,PrimaryIdAttribute&$filter=EntitySetName%20eq%20%27contacts%27".to_owned(),
            "(LogicalName='contact')/Attributes?$select=LogicalName,AttributeTypeName,IsSecured".to_owned(),
            cast("Decimal", "Precision"),
            cast("Money", "Precision,PrecisionSource"),
            cast("Double", "Precision"),
            cast("DateTime", "DateTimeBehavior,Format"),
            "(LogicalName='contact')/ManyToOneRelationships?$select=ReferencingAttribute,\
             ReferencingEntityNavigationPropertyName,ReferencedEntity"
                .to_owned(),
        ]
    );
}

#[tokio::test]
async fn types_that_a_table_does_not_have_are_not_asked_for() {
    let columns = json!([attribute("contactid", "UniqueidentifierType"), attribute("name", "StringType")]);
    let bench = Bench::start(vec![table(), list(&columns), list(&json!([]))]).await;
    assert!(bench.client.definition("contacts").await.is_some());
    assert_eq!(bench.seen().requests.len(), 3);
}

#[tokio::test]
async fn without_every_part_of_it_there_is_no_definition_and_nobody_asks_again_soon() {
    let forbidden = || Act::Send(refusal("403 Forbidden", "", "0x80040220", "no"));
    let rest = |at: usize, act: Act| whole().into_iter().take(at).chain([act]).collect::<Vec<_>>();
    let half = answer("200 OK", "", r#"{"value":[]}"#);
    let paged = answer("200 OK", "", r#"{"value":[],"@odata.nextLink":"https://x/"}"#);
    for script in [
        vec![forbidden()],
        vec![Act::Send(answer("404 Not Found", "", ""))],
        vec![Act::Send(answer("503 Service Unavailable", "", ""))],
        vec![Act::Reset],
        vec![list(&json!([]))],
        vec![list(&json!([{ "LogicalName": "contact" }]))],
        vec![list(&json!([{ "LogicalName": "con')tact", "PrimaryIdAttribute": "contactid" }]))],
        rest(1, Act::SendAndClose(half[..half.len() - 3].to_vec())),
        rest(3, forbidden()),
        rest(5, Act::Send(answer("200 OK", "", "<html>"))),
        rest(6, Act::Send(paged)),
    ] {
        let bench = Bench::start(script.clone()).await;
        for _ in 0..2 {
            assert_eq!(bench.client.definition("contacts").await, None, "{script:?}");
        }
        assert_eq!(bench.seen().requests.len(), script.len(), "{script:?}");
    }
}
