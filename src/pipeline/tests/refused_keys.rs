//! A key that is missing in its table, or not active: the operator's, and about all records that use it.

use std::pin::pin;

use super::*;

const PATIENT: Delivery = Delivery { wait_budget: Duration::from_mins(8), ..FIRST };

fn refused(table: &str) -> Answer {
    let message = format!(
        "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.{table}'. Ensure that the names and number of \
         key properties match the declared or alternate key properties for the resource 'Microsoft.Dynamics.CRM.{table}'."
    );
    Answer::Fails(Error::answered(400, Some(0x8006_0888), Some(&message)))
}

#[tokio::test(start_paused = true)]
async fn the_detail_names_the_key_that_the_request_used() {
    for (table, key) in [("contact", "contacts(employeeid)"), ("account", "accounts(accountnumber)")] {
        let outcome = World::new([refused(table)]).settle(&bound_contact("upsert")).await;
        assert_eq!(outcome.reason, Reason::Unauthorized);
        let logged = format!("the key {key} is missing or not active: Dataverse answered 400 0x80060888");
        assert!(outcome.log_detail.is_some_and(|detail| detail.starts_with(&logged)), "{logged}");
        let detail = outcome.detail.expect("why");
        assert!(
            detail.starts_with(&format!("the key {key} is missing or not active: The key in the request URI")),
            "{detail}"
        );
    }
    let read = contact(&json!({ "version": 7 }));
    let detail = World::new([refused("contact")]).settle(&read).await.detail.expect("why");
    assert!(detail.starts_with("the key contacts(employeeid) is missing or not active: "), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn records_that_use_the_key_wait_while_one_tries_and_others_go_on() {
    let upserted = || Answer::Wrote(Written::Upserted);
    let world = World::new([refused("account"), upserted(), upserted(), upserted()]);
    let begun = Instant::now();
    let with_key = |number: u32| {
        let columns = json!({ "nav@odata.bind": "https://x.example/api/data/v9.2/accounts(accountnumber='9')" });
        contact(&json!({ "table": "leads", "key": { "number": number }, "columns": columns }))
    };
    let (first, second) = (bound_contact("upsert"), with_key(1));
    let mut failing = pin!(world.pipeline.settle(&first, PATIENT));
    assert!(timeout(SECOND / 10, &mut failing).await.is_err(), "it waits to be tried again");
    let mut waiting = pin!(world.pipeline.settle(&second, PATIENT));
    assert!(timeout(SECOND / 10, &mut waiting).await.is_err(), "another table, the same key");
    assert_eq!(world.store.answers_left(), 3);
    let other = contact(&json!({ "key": { "employeeid": "E2" } }));
    assert_eq!(world.settle(&other).await.reason, Reason::Upserted, "the same table without that key");
    assert!(begun.elapsed() < SECOND / 2, "{:?}", begun.elapsed());
    assert_eq!(failing.await.reason, Reason::Upserted);
    assert_eq!(waiting.await.reason, Reason::Upserted);
}
