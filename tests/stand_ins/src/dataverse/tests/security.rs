//! Secured columns, the privileges that reveal them, and tables without ETags.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bench, EMPLOYEE};
use crate::dataverse::Table;

/// A bench whose contacts have a secured `ssn`.
async fn secured() -> Bench {
    let bench = Bench::quick().await;
    let table = Table::new("contacts", "contact", "contactid").text("employeeid", 50).text("ssn", 20);
    bench.dataverse.define(table.key(&["employeeid"]).secured("ssn").optimistic_concurrency());
    assert_eq!(bench.patch(EMPLOYEE, &json!({ "ssn": "1" })).await.status, 204, "it can be written");
    bench
}

async fn privileges(bench: &Bench, user: &str) -> Value {
    let path = format!("systemusers({user})/Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivileges()");
    bench.get(&path).await.body["AttributePrivileges"].clone()
}

#[tokio::test]
async fn a_secured_column_reads_as_null_until_it_is_granted() {
    let bench = secured().await;
    let shown = async || bench.get(EMPLOYEE).await.body["ssn"].clone();
    assert_eq!((shown().await, &bench.contact("E1").expect("the row")["ssn"]), (Value::Null, &json!("1")));
    let found = bench.get("contacts?$filter=ssn%20eq%20'1'").await.body;
    assert_eq!(found["value"], json!([]));
    bench.dataverse.grant_read("contacts", "ssn");
    assert_eq!(shown().await, "1");
    bench.dataverse.revoke_read("contacts", "ssn");
    assert_eq!(shown().await, Value::Null);
}

#[tokio::test]
async fn the_privileges_of_the_caller_name_secured_columns_by_their_metadata_id() {
    let bench = secured().await;
    let columns = bench.get("EntityDefinitions(LogicalName='contact')/Attributes?$select=IsSecured").await.body;
    let columns = columns["value"].as_array().expect("a list");
    let id = &columns.iter().find(|column| column["IsSecured"] == true).expect("one is")["MetadataId"];
    let who = bench.get("WhoAmI").await.body["UserId"].as_str().expect("an id").to_owned();
    let entry = |read: u8| json!([{ "AttributeId": id, "CanCreate": 4, "CanUpdate": 4, "CanRead": read, "CanReadUnMasked": 0 }]);
    assert_eq!(privileges(&bench, &who).await, entry(0));
    bench.dataverse.grant_read("contacts", "ssn");
    assert_eq!(privileges(&bench, &who).await, entry(4));
    assert_eq!(privileges(&bench, "11111111-0000-4000-8000-000000000001").await, Value::Null, "not the caller");
    let other = [("callerobjectid", "11111111-0000-4000-8000-000000000001")];
    assert_ne!(bench.send(Method::GET, "WhoAmI", &other, None).await.body["UserId"], who, "whom we impersonate");
}

#[tokio::test]
async fn rows_of_a_virtual_table_have_no_etag() {
    let bench = Bench::quick().await;
    let table = Table::new("new_things", "new_thing", "new_thingid").text("new_name", 50);
    bench.dataverse.define(table.table_type("Virtual").key(&["new_name"]));
    let path = "new_things(new_name='a')";
    bench.patch(path, &json!({})).await;
    let read = bench.get(path).await;
    assert_eq!((read.status, read.header("etag"), read.body.get("@odata.etag")), (200, "", None));
    let definition = bench.get("EntityDefinitions(LogicalName='new_thing')?$select=TableType").await.body;
    assert_eq!(definition["TableType"], "Virtual");
}
