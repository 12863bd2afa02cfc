//! Reading a table's metadata and our privileges: three and two cached requests, or no answer.

use dataverse_sync::dataverse::table_metadata::{NavigationProperty, TableMetadata};
use dataverse_sync::dataverse::{ReadAccess, Store as _};
use serde_json::{Value, json};

use super::{Act, Fixture, answer, refusal};

fn object(body: &Value) -> Act {
    Act::Send(answer("200 OK", "Content-Type: application/json\r\n", &body.to_string()))
}

fn list(items: &Value) -> Act {
    object(&json!({ "value": items }))
}

fn table() -> Act {
    list(&json!([{
        "MetadataId": "0", "LogicalName": "contact", "PrimaryIdAttribute": "contactid",
        "IsOptimisticConcurrencyEnabled": true, "TableType": "Elastic",
    }]))
}

const SSN: &str = "11111111-0000-4000-8000-000000000001";
const PICTURE: &str = "11111111-0000-4000-8000-000000000002";
const USER: &str = "22222222-0000-4000-8000-000000000001";

fn columns() -> Act {
    let id = "11111111-0000-4000-8000-000000000000";
    list(&json!([
        { "MetadataId": id, "LogicalName": "firstname", "AttributeType": "String", "IsSecured": false },
        { "MetadataId": SSN, "LogicalName": "ssn", "AttributeType": "String", "IsSecured": true },
        { "MetadataId": PICTURE, "LogicalName": "picture", "AttributeType": "Virtual" },
    ]))
}

fn lookups() -> Act {
    let to = |table: &str| {
        json!({ "ReferencingEntityNavigationPropertyName": format!("parentcustomerid_{table}"),
        "ReferencingAttribute": "parentcustomerid", "ReferencedEntity": table })
    };
    let hidden = json!({ "ReferencingEntityNavigationPropertyName": null, "ReferencingAttribute": "x", "ReferencedEntity": "y" });
    list(&json!([to("account"), hidden, to("contact")]))
}

fn caller() -> Act {
    object(&json!({ "UserId": USER, "OrganizationId": USER, "BusinessUnitId": USER }))
}

/// The privileges of a user who may read the `ssn`, and not the picture.
fn privileges() -> Act {
    let entry = |id: &str, read: u8| json!({ "AttributeId": id.to_uppercase(), "CanRead": read, "CanUpdate": 4 });
    object(&json!({ "AttributePrivileges": [entry(SSN, 4), entry(PICTURE, 0)] }))
}

/// Whether these columns of the contacts can be read.
async fn access(fixture: &Fixture, columns: &[&str]) -> ReadAccess {
    let columns: Vec<_> = columns.iter().map(|&name| name.to_owned()).collect();
    fixture.client.read_access("contacts", &columns).await
}

/// The paths that were asked for, below the service root.
fn paths(fixture: &Fixture) -> Vec<String> {
    let path = |request: String| {
        let line = request.lines().next().unwrap_or_default().to_owned();
        line.replace("GET /api/data/v9.2/", "").replace(" HTTP/1.1", "")
    };
    fixture.seen().requests.into_iter().map(path).collect()
}

#[tokio::test]
async fn one_look_reads_the_table_its_columns_and_its_lookups() {
    let fixture = Fixture::start(vec![table(), columns(), lookups()]).await;
    let found = fixture.client.metadata("contacts").await.expect("the metadata");
    let id = |id: &str| Some(id.parse().expect("a GUID"));
    let secured = [("firstname", None), ("ssn", id(SSN)), ("picture", id(PICTURE))];
    let secured = secured.map(|(name, id)| (name.to_owned(), id));
    let lookups = ["account", "contact"].map(|table| NavigationProperty {
        name: format!("parentcustomerid_{table}"),
        column: "parentcustomerid".to_owned(),
        table: table.to_owned(),
    });
    let expected = TableMetadata::new(Some("Elastic".to_owned()), secured).with_lookups(lookups.into());
    assert_eq!(*found, expected, "what is not shown counts as secured");
    assert_eq!(fixture.client.metadata("contacts").await, Some(found));
    let expected = [
        "EntityDefinitions?$select=LogicalName,PrimaryIdAttribute,IsOptimisticConcurrencyEnabled,TableType\
         &$filter=EntitySetName%20eq%20%27contacts%27",
        "EntityDefinitions(LogicalName='contact')/Attributes?$select=LogicalName,AttributeType,IsSecured",
        "EntityDefinitions(LogicalName='contact')/ManyToOneRelationships\
         ?$select=ReferencingEntityNavigationPropertyName,ReferencingAttribute,ReferencedEntity",
    ];
    assert_eq!(paths(&fixture), expected);
}

#[tokio::test]
async fn without_its_lookups_the_rest_of_a_look_counts() {
    for last in [Act::Reset, Act::Send(refusal("403 Forbidden", "", "0x80040220", "no"))] {
        let fixture = Fixture::start(vec![table(), columns(), last]).await;
        assert_eq!(access(&fixture, &["firstname"]).await, ReadAccess::Granted);
    }
}

#[tokio::test]
async fn privileges_are_asked_for_only_where_a_column_is_secured() {
    let fixture = Fixture::start(vec![table(), columns(), lookups(), caller(), privileges()]).await;
    assert_eq!(access(&fixture, &["firstname"]).await, ReadAccess::Granted);
    assert_eq!(access(&fixture, &["nosuch"]).await, ReadAccess::Unknown, "it may be new");
    assert_eq!(fixture.seen().requests.len(), 3, "the look at the table tells");
    for (columns, expected) in [
        (&["ssn"][..], ReadAccess::Granted),
        (&["firstname", "ssn"], ReadAccess::Granted),
        (&["picture"], ReadAccess::Denied),
        (&["ssn", "picture"], ReadAccess::Denied),
    ] {
        assert_eq!(access(&fixture, columns).await, expected, "{columns:?}");
    }
    let function = format!("systemusers({USER})/Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivileges()");
    assert_eq!(paths(&fixture)[3..], ["WhoAmI".to_owned(), function]);
}

#[tokio::test]
async fn without_an_answer_it_is_not_known_whether_a_secured_column_is_readable() {
    let forbidden = || Act::Send(refusal("403 Forbidden", "", "0x80040220", "no"));
    for script in [
        vec![forbidden()],
        vec![table(), columns(), lookups(), forbidden()],
        vec![table(), columns(), lookups(), object(&json!({ "UserId": "me", "OrganizationId": USER }))],
        vec![table(), columns(), lookups(), caller(), forbidden()],
        vec![table(), columns(), lookups(), caller(), Act::Reset],
        vec![table(), columns(), lookups(), caller(), object(&json!({ "value": [] }))],
    ] {
        let fixture = Fixture::start(script.clone()).await;
        for _ in 0..2 {
            assert_eq!(access(&fixture, &["ssn"]).await, ReadAccess::Unknown, "{script:?}");
        }
        assert_eq!(fixture.seen().requests.len(), script.len(), "{script:?}");
    }
    let absent = vec![table(), columns(), lookups(), caller(), object(&json!({ "AttributePrivileges": [] }))];
    assert_eq!(access(&Fixture::start(absent).await, &["ssn"]).await, ReadAccess::Denied, "it has no profile");
}

#[tokio::test]
async fn a_service_without_metadata_is_asked_once_and_hides_no_column_that_is_known() {
    for none in ["404 Not Found", "405 Method Not Allowed", "501 Not Implemented"] {
        for act in [Act::Send(answer(none, "", "<html>")), Act::Send(refusal(none, "", "0x80060888", "no segment"))] {
            let fixture = Fixture::start(vec![act]).await;
            assert_eq!(access(&fixture, &["new_version"]).await, ReadAccess::NoMetadata, "{none}");
            assert_eq!(access(&fixture, &["ssn"]).await, ReadAccess::NoMetadata, "{none}");
            assert_eq!(fixture.client.metadata("contacts").await, None, "{none}");
            assert_eq!(fixture.seen().requests.len(), 1, "{none}");
        }
    }
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
        after_table(list(&json!([{ "MetadataId": "0", "LogicalName": "ssn", "IsSecured": true }]))),
    ] {
        let fixture = Fixture::start(script.clone()).await;
        for _ in 0..2 {
            assert_eq!(fixture.client.metadata("contacts").await, None, "{script:?}");
        }
        assert_eq!(fixture.seen().requests.len(), script.len(), "{script:?}");
    }
}
