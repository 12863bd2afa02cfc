//! Table definitions over HTTP: documented queries, and rejected ones.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, EMPLOYEE};
use crate::dataverse::Table;

const CONTACT: &str = "EntityDefinitions(LogicalName='contact')";
const LOOKUP_TABLES: (&str, &str) =
    ("prefer", "odata.include-annotations=\"Microsoft.Dynamics.CRM.lookuplogicalname\"");

/// The items of a collection, without their ids.
async fn list(bench: &Bench, path: &str) -> Vec<Value> {
    let mut answer = bench.get(path).await.body;
    let items = answer["value"].as_array_mut().unwrap_or_else(|| panic!("{path} is not a list")).split_off(0);
    let without_id = |mut item: Value| {
        let id = item.as_object_mut().expect("an object").remove("MetadataId");
        assert!(id.is_some(), "the id always comes along");
        item
    };
    items.into_iter().map(without_id).collect()
}

#[tokio::test]
async fn a_table_is_found_by_its_set_or_its_name() {
    let bench = Bench::quick().await;
    let by_set = "EntityDefinitions?$select=LogicalName,PrimaryIdAttribute&$filter=EntitySetName%20eq%20'contacts'";
    let expected = json!({ "LogicalName": "contact", "PrimaryIdAttribute": "contactid" });
    assert_eq!(list(&bench, by_set).await, [expected]);
    assert!(list(&bench, "EntityDefinitions?$filter=EntitySetName%20eq%20'Contacts'").await.is_empty());
    assert_eq!(list(&bench, "EntityDefinitions").await.len(), 3);
    let by_name = bench.get(CONTACT).await.body;
    assert_eq!(
        (&by_name["EntitySetName"], &by_name["IsOptimisticConcurrencyEnabled"]),
        (&json!("contacts"), &json!(true))
    );
    assert_eq!(bench.get("EntityDefinitions(LogicalName='nosuch')").await.status, 404);
    assert!(bench.get("WhoAmI()").await.body["UserId"].is_string());
}

#[tokio::test]
async fn columns_say_their_type_and_what_is_derived_only_under_its_cast() {
    let bench = Bench::quick().await;
    let columns = list(&bench, &format!("{CONTACT}/Attributes?$select=LogicalName,AttributeTypeName,IsSecured")).await;
    let topics = json!({
        "@odata.type": "#Microsoft.Dynamics.CRM.MultiSelectPicklistAttributeMetadata",
        "LogicalName": "new_topics", "AttributeTypeName": { "Value": "MultiSelectPicklistType" }, "IsSecured": false,
    });
    assert!(columns.contains(&topics), "{columns:?}");
    let cast = |name: &str, select: &str| {
        format!("{CONTACT}/Attributes/Microsoft.Dynamics.CRM.{name}AttributeMetadata?$select=LogicalName,{select}")
    };
    for (name, select, expected) in [
        (
            "Money",
            "Precision,PrecisionSource",
            json!([{ "LogicalName": "creditlimit", "Precision": 2, "PrecisionSource": 0 }]),
        ),
        ("Decimal", "Precision", json!([{ "LogicalName": "new_score", "Precision": 4 }])),
        ("Double", "Precision", json!([{ "LogicalName": "address1_latitude", "Precision": 5 }])),
        (
            "DateTime",
            "Format,DateTimeBehavior",
            json!([
                { "LogicalName": "birthdate", "Format": "DateOnly", "DateTimeBehavior": { "Value": "DateOnly" } },
                { "LogicalName": "createdon", "Format": "DateAndTime", "DateTimeBehavior": { "Value": "UserLocal" } },
                { "LogicalName": "lastonholdtime", "Format": "DateAndTime", "DateTimeBehavior": { "Value": "UserLocal" } },
            ]),
        ),
    ] {
        assert_eq!(Value::from(list(&bench, &cast(name, select)).await), expected);
    }
    for wrong in [format!("{CONTACT}/Attributes?$select=Precision"), cast("Decimal", "PrecisionSource")] {
        assert_eq!(bench.get(&wrong).await.verdict(), (400, "0x80060888"), "{wrong}");
    }
    assert_eq!(bench.get(&cast("Nosuch", "Precision")).await.status, 404);
    let whole = list(&bench, &format!("{CONTACT}/Attributes")).await;
    assert!(whole.iter().any(|column| column["LogicalName"] == "creditlimit" && column["Precision"] == 2));
}

#[tokio::test]
async fn keys_and_relationships_are_listed_with_what_they_refer_to() {
    let bench = Bench::quick().await;
    let keys = list(&bench, &format!("{CONTACT}/Keys?$select=KeyAttributes")).await;
    assert_eq!(keys, [json!({ "KeyAttributes": ["employeeid"] }), json!({ "KeyAttributes": ["emailaddress1"] })]);
    let select = "ReferencingAttribute,ReferencingEntityNavigationPropertyName,ReferencedEntity";
    let lookups = list(&bench, &format!("{CONTACT}/ManyToOneRelationships?$select={select}")).await;
    let lookup = |target: &str| {
        json!({
            "ReferencingAttribute": "parentcustomerid",
            "ReferencingEntityNavigationPropertyName": format!("parentcustomerid_{target}"),
            "ReferencedEntity": target,
        })
    };
    assert_eq!(lookups, [lookup("account"), lookup("contact")]);
}

#[tokio::test]
async fn a_key_whose_index_is_still_being_built_is_listed_and_no_row_is_found_by_it() {
    let bench = Bench::quick().await;
    let columns = Table::new("contacts", "contact", "contactid").text("employeeid", 50).text("nickname", 50);
    bench.dataverse.define(columns.key(&["employeeid"]).key_in_progress(&["nickname"]));
    let status = |name: &str, status: &str| json!({ "KeyAttributes": [name], "EntityKeyIndexStatus": status });
    let keys = list(&bench, &format!("{CONTACT}/Keys?$select=KeyAttributes,EntityKeyIndexStatus")).await;
    assert_eq!(keys, [status("employeeid", "Active"), status("nickname", "InProgress")]);
    for employee in ["E1", "E2"] {
        let path = format!("contacts(employeeid='{employee}')");
        assert_eq!(bench.patch(&path, &json!({ "nickname": "Ada" })).await.status, 204, "they are not kept apart");
    }
    assert_eq!(bench.get("contacts(nickname='Ada')").await.status, 400);
}

#[tokio::test]
async fn a_lookup_attribute_names_its_target_table() {
    let bench = Bench::quick().await;
    bench.patch("contacts(employeeid='E2')", &json!({})).await;
    let bind = json!({ "parentcustomerid_contact@odata.bind": "/contacts(employeeid='E2')" });
    assert_eq!(bench.patch(EMPLOYEE, &bind).await.status, 204);
    let annotation = "_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname";
    let path = format!("{EMPLOYEE}?$select=_parentcustomerid_value");
    let asked = bench.send(Method::GET, &path, &[LOOKUP_TABLES], None).await;
    assert_eq!(asked.body[annotation], "contact");
    assert_eq!(asked.header("preference-applied"), LOOKUP_TABLES.1);
    assert_eq!(bench.get(&path).await.body.get(annotation), None);
    assert!(bench.contact("E1").expect("the row").keys().all(|name| !name.contains('@')));
    bench.patch(EMPLOYEE, &json!({ "parentcustomerid_contact": null })).await;
    let cleared = bench.send(Method::GET, &path, &[LOOKUP_TABLES], None).await;
    assert_eq!(cleared.body.get(annotation), None);
}
