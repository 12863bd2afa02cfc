//! A property that Dataverse does not know: a hint from the table's metadata, and no look at it for any other refusal.

use super::*;
use crate::dataverse::table_metadata::{NavigationProperty, TableMetadata};

const UNDECLARED: &str = "An undeclared property 'parentcustomerid' which only has property annotations in the payload";

fn refused(code: u32, message: &str) -> Answer {
    Answer::Fails(Error::answered(400, (code != 0).then_some(code), Some(message)))
}

fn contacts() -> TableMetadata {
    let lookup = |name: &str, table: &str| NavigationProperty {
        name: name.to_owned(),
        column: "parentcustomerid".to_owned(),
        table: table.to_owned(),
    };
    let columns = ["firstname", "parentcustomerid"].map(|name| (name.to_owned(), None));
    let lookups = vec![lookup("parentcustomerid_account", "account"), lookup("parentcustomerid_contact", "contact")];
    TableMetadata::new(None, columns).with_lookups(lookups)
}

/// The detail of a record with these columns that gets this answer, and how often the metadata was looked at.
async fn detail(columns: Json, answer: Answer) -> (String, usize) {
    let world = World::new([answer]);
    world.store.set_metadata(contacts());
    let outcome = world.settle(&contact(&json!({ "columns": columns }))).await;
    (outcome.detail.expect("why"), world.store.looks())
}

#[tokio::test(start_paused = true)]
async fn the_name_that_fits_stands_before_what_dataverse_says() {
    let bind = json!({ "parentcustomerid@odata.bind": "/accounts(accountnumber='7')" });
    let (found, looks) = detail(bind, refused(0x8004_8D19, UNDECLARED)).await;
    assert_eq!(found, format!("`parentcustomerid`: did you mean `parentcustomerid_account`? {UNDECLARED}"));
    assert_eq!(looks, 1);
    let invalid = "Invalid property 'FirstName' was found in entity 'Microsoft.Dynamics.CRM.contact'.";
    for code in [0, 0x8006_0888] {
        let (found, _) = detail(json!({ "FirstName": "Ada" }), refused(code, invalid)).await;
        assert_eq!(found, format!("`FirstName`: did you mean `firstname`? {invalid}"));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_looked_at_for_other_refusals_and_for_properties_that_were_not_sent() {
    let bind = || json!({ "parentcustomerid@odata.bind": "/accounts(accountnumber='7')" });
    for (columns, answer) in [
        (bind(), refused(0x8004_8D19, "Cannot convert the literal 'Charity' to the expected type 'Edm.Int32'.")),
        (bind(), refused(0x8004_0265, UNDECLARED)),
        (bind(), refused(0x8004_4331, "The length of the 'new_name' attribute exceeded the maximum")),
        (json!({ "firstname": "Ada" }), refused(0x8004_8D19, UNDECLARED)),
        (json!({ "firstname": "Ada" }), Answer::wait(503, None)),
    ] {
        let (found, looks) = detail(columns, answer.clone()).await;
        assert!(!found.contains("did you mean") && looks == 0, "{answer:?}: {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_metadata_or_a_name_that_fits_the_detail_is_what_dataverse_says() {
    let columns = json!({ "parentcustomerid@odata.bind": "/accounts(accountnumber='7')" });
    let world = World::new([refused(0x8004_8D19, UNDECLARED)]);
    let outcome = world.settle(&contact(&json!({ "columns": columns }))).await;
    assert_eq!((outcome.detail.as_deref(), world.store.looks()), (Some(UNDECLARED), 1));
    let unlike = "Invalid property 'birthdate' was found in entity 'Microsoft.Dynamics.CRM.contact'.";
    assert_eq!(detail(json!({ "birthdate": null }), refused(0, unlike)).await, (unlike.to_owned(), 1));
}
