//! Reading a table's metadata: two cached requests, or no metadata.

use dataverse_sync::dataverse::Store as _;
use dataverse_sync::dataverse::table_metadata::TableMetadata;
use serde_json::{Value, json};

use super::{Act, Fixture, answer, refusal};

fn list(items: &Value) -> Act {
    Act::Send(answer("200 OK", "Content-Type: application/json\r\n", &json!({ "value": items }).to_string()))
}

fn table() -> Act {
    list(&json!([{
        "MetadataId": "0", "LogicalName": "contact", "PrimaryIdAttribute": "contactid",
        "IsOptimisticConcurrencyEnabled": true, "TableType": "Elastic",
    }]))
}

fn columns() -> Act {
    list(&json!([
        { "MetadataId": "0", "LogicalName": "firstname", "AttributeType": "String", "IsSecured": false },
        { "MetadataId": "1", "LogicalName": "ssn", "AttributeType": "String", "IsSecured": true },
        { "MetadataId": "2", "LogicalName": "picture", "AttributeType": "Virtual" },
    ]))
}

#[tokio::test]
async fn one_look_reads_the_table_and_its_columns() {
    let fixture = Fixture::start(vec![table(), columns()]).await;
    let found = fixture.client.metadata("contacts").await.expect("the metadata");
    let secured = [("firstname", false), ("ssn", true), ("picture", true)].map(|(name, is)| (name.to_owned(), is));
    assert_eq!(*found, TableMetadata::new(Some("Elastic".to_owned()), secured), "what is not shown counts as secured");
    assert_eq!(fixture.client.metadata("contacts").await, Some(found));
    let lines = fixture.seen().requests.into_iter().map(|request| {
        let line = request.lines().next().unwrap_or_default().to_owned();
        line.replace("GET /api/data/v9.2/EntityDefinitions", "").replace(" HTTP/1.1", "")
    });
    let expected = [
        "?$select=LogicalName,PrimaryIdAttribute,IsOptimisticConcurrencyEnabled,TableType\
         &$filter=EntitySetName%20eq%20%27contacts%27",
        "(LogicalName='contact')/Attributes?$select=LogicalName,AttributeType,IsSecured",
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn an_incomplete_look_gives_no_metadata_and_is_not_repeated_soon() {
    let forbidden = || Act::Send(refusal("403 Forbidden", "", "0x80040220", "no"));
    let after_table = |act: Act| vec![table(), act];
    let half = answer("200 OK", "", r#"{"value":[]}"#);
    let paged = answer("200 OK", "", r#"{"value":[],"@odata.nextLink":"https://x/"}"#);
    for script in [
        vec![forbidden()],
        vec![Act::Send(answer("503 Service Unavailable", "", ""))],
        vec![Act::Reset],
        vec![list(&json!([]))],
        vec![list(&json!([{ "LogicalName": "contact" }]))],
        vec![list(&json!([{ "LogicalName": "con')tact", "PrimaryIdAttribute": "contactid" }]))],
        after_table(Act::SendAndClose(half[..half.len() - 3].to_vec())),
        after_table(forbidden()),
        after_table(Act::Send(answer("200 OK", "", "<html>"))),
        after_table(Act::Send(paged)),
    ] {
        let fixture = Fixture::start(script.clone()).await;
        for _ in 0..2 {
            assert_eq!(fixture.client.metadata("contacts").await, None, "{script:?}");
        }
        assert_eq!(fixture.seen().requests.len(), script.len(), "{script:?}");
    }
}
