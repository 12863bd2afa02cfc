//! The state of new rows: Dataverse creates every row as Active (0, with the status 1).

use super::*;

const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";
const CREATED_ACTIVE: Answer = Answer::Returned(Written::Created, ACTIVE);
const ACTIVE: &str =
    r#"{"@odata.etag":"W/\"1\"","statecode":0,"statuscode":1,"contactid":"9b2e0c3a-1111-4222-8333-444455556666"}"#;
const INACTIVE: &str =
    r#"{"@odata.etag":"W/\"1\"","statecode":1,"statuscode":2,"contactid":"9b2e0c3a-1111-4222-8333-444455556666"}"#;
const SAME: Answer = Answer::Row(r#"{"firstname":"Ada"}"#);
const UPDATED: Answer = Answer::Wrote(Written::Updated);
const OURS: Answer = Answer::Row(r#"{"_createdby_value":"0c7b3f3e-1111-4222-8333-444455550000"}"#);
const FOREIGN: Answer = Answer::Row(r#"{"_createdby_value":"0c7b3f3e-1111-4222-8333-444455559999"}"#);

const UPSERT: &str = "upsert returning statecode,statuscode";
const CREATE: &str = "create returning statecode,statuscode";
const CREATE_WITHOUT_STATE: &str = r#"create {"firstname":"Ada"} returning statecode,statuscode"#;
const SET: &str = r#"update found {"statecode":1,"statuscode":2}"#;
const SET_AT_7: &str = r#"update W/"1" {"statecode":1,"statuscode":2} new_version=7"#;

/// A contact that is to be inactive, with some more fields.
fn inactive(operation: &str, fields: Json) -> Record {
    let mut all = fields;
    all["operation"] = json!(operation);
    all["columns"] = json!({ "firstname": "Ada", "statecode": 1, "statuscode": 2 });
    contact(&all)
}

fn refused() -> Answer {
    Answer::refused(400, 0x8004_8408)
}

fn taken() -> Answer {
    Answer::refused(412, DUPLICATE)
}

async fn check(record: &Record, answers: Vec<Answer>, reason: Reason, requests: &[&str]) {
    let world = World::readable(answers.clone());
    assert_eq!(world.reason(record, FIRST).await, reason, "{answers:?}");
    assert_eq!(world.store.requests(), requests, "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_request_sets_the_state_unless_the_row_has_it() {
    for (operation, first) in [("upsert", UPSERT), ("create", CREATE)] {
        let record = inactive(operation, json!({}));
        check(&record, vec![CREATED_ACTIVE, UPDATED], Reason::Created, &[first, SET]).await;
        let has_it = |written| vec![Answer::Returned(written, INACTIVE)];
        check(&record, has_it(Written::Created), Reason::Created, &[first]).await;
        check(&record, has_it(Written::Updated), Reason::Updated, &[first]).await;
        let unknown = vec![Answer::Wrote(Written::Upserted), UPDATED];
        check(&record, unknown, Reason::Upserted, &[first, SET]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_sent_is_compared_and_set() {
    for (columns, row, requests) in [
        (json!({ "statecode": 1 }), INACTIVE, vec!["upsert returning statecode"]),
        (json!({ "statecode": 1 }), ACTIVE, vec!["upsert returning statecode", r#"update found {"statecode":1}"#]),
        (json!({ "statuscode": 1.0, "a": 1 }), ACTIVE, vec!["upsert returning statuscode"]),
        (json!({ "statuscode": 3 }), ACTIVE, vec!["upsert returning statuscode", r#"update found {"statuscode":3}"#]),
    ] {
        let second = (requests.len() > 1).then_some(UPDATED);
        let answers = [Answer::Returned(Written::Created, row)].into_iter().chain(second).collect();
        check(&contact(&json!({ "columns": columns })), answers, Reason::Created, &requests).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_sets_no_state_or_creates_no_row_costs_one_request() {
    let plain = |operation: &str| contact(&json!({ "operation": operation }));
    check(&plain("upsert"), vec![Answer::Wrote(Written::Upserted)], Reason::Upserted, &["upsert"]).await;
    check(&plain("create"), vec![Answer::Wrote(Written::Created)], Reason::Created, &["create"]).await;
    check(&inactive("update", json!({})), vec![UPDATED], Reason::Updated, &["update"]).await;
    let versioned = contact(&json!({ "version": 7 }));
    let requests = ["read new_version", "create new_version=7"];
    check(&versioned, vec![Answer::NoRow, Answer::Wrote(Written::Created)], Reason::Created, &requests).await;
    let older = Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":6}"#);
    let requests = ["read new_version", "update W/\"1\" new_version=7"];
    check(&inactive("upsert", json!({ "version": 7 })), vec![older, UPDATED], Reason::Updated, &requests).await;
}

#[tokio::test(start_paused = true)]
async fn where_a_create_refuses_the_state_the_row_is_created_without_it() {
    for (operation, first) in [("upsert", UPSERT), ("create", CREATE)] {
        let answers = vec![refused(), CREATED_ACTIVE, UPDATED];
        let requests = [first, CREATE_WITHOUT_STATE, SET];
        check(&inactive(operation, json!({})), answers, Reason::Created, &requests).await;
    }
    let (upsert, present) = (inactive("upsert", json!({})), Answer::Row("{}"));
    let requests = [UPSERT, CREATE_WITHOUT_STATE, "read employeeid", "upsert"];
    let exists = |last| vec![refused(), taken(), present.clone(), last];
    check(&upsert, exists(refused()), Reason::InvalidData, &requests).await;
    check(&upsert, exists(UPDATED), Reason::Updated, &requests).await;
    // The row was created after the first request had been refused.
    let answers = vec![refused(), taken(), SAME];
    let requests = [CREATE, CREATE_WITHOUT_STATE, "read firstname"];
    check(&inactive("create", json!({})), answers, Reason::Exists, &requests).await;
}

#[tokio::test(start_paused = true)]
async fn a_collision_is_found_without_the_state_too() {
    let answers = vec![refused(), taken(), Answer::NoRow, Answer::NoRow, taken(), Answer::NoRow];
    let world = World::new(answers);
    assert_eq!(world.reason(&inactive("upsert", json!({})), FIRST).await, Reason::KeyCollision);
    let world = World::new([taken(), Answer::NoRow, refused(), CREATED_ACTIVE, UPDATED]);
    assert_eq!(world.reason(&inactive("upsert", json!({})), FIRST).await, Reason::Created, "the winner rolled back");
}

#[tokio::test(start_paused = true)]
async fn with_a_version_the_second_request_writes_it_with_the_state() {
    let answers = || vec![Answer::NoRow, CREATED_ACTIVE, UPDATED];
    let requests = ["read new_version", CREATE_WITHOUT_STATE, SET_AT_7];
    check(&inactive("upsert", json!({ "version": 7 })), answers(), Reason::Created, &requests).await;
    check(&inactive("create", json!({ "version": 7 })), answers()[1..].to_vec(), Reason::Created, &requests[1..]).await;
    let columns = json!({ "firstname": "Ada", "statecode": 1, "statuscode": 2, "new_version": 7 });
    let own = contact(&json!({ "version": 7, "columns": columns }));
    check(&own, answers(), Reason::Created, &requests).await;
    let already = vec![Answer::NoRow, Answer::Returned(Written::Created, INACTIVE), UPDATED];
    check(&inactive("upsert", json!({ "version": 7 })), already, Reason::Created, &requests).await;
    let no_etag = vec![Answer::NoRow, Answer::Wrote(Written::Created)];
    check(&inactive("upsert", json!({ "version": 7 })), no_etag, Reason::Unavailable, &requests[..2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_not_written_is_written_by_the_next_delivery() {
    let record = inactive("upsert", json!({ "version": 7 }));
    let null = Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":null}"#);
    for second in [
        vec![Answer::wait(503, None)],
        vec![Answer::refused(412, STALE)],
        vec![Answer::lost(true), null.clone()],
        vec![Answer::lost(true), Answer::wait(503, None)],
    ] {
        let first = [Answer::NoRow, CREATED_ACTIVE].into_iter().chain(second.clone());
        let world = World::readable(first.chain([null.clone(), UPDATED]));
        let outcome = world.settle(&record).await;
        assert_eq!(outcome.disposition, crate::outcome::Disposition::Retry, "{second:?}");
        // After a write without an answer the lease expires by itself.
        tokio::time::advance(15 * SECOND).await;
        assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::Updated, "{second:?}");
        let last = world.store.requests().pop();
        assert_eq!(last.as_deref(), Some(r#"update W/"1" new_version=7"#), "the whole record");
    }
    let written = Answer::Row(r#"{"new_version":7}"#);
    let world = World::readable([Answer::NoRow, CREATED_ACTIVE, Answer::lost(true), written]);
    assert_eq!(world.reason(&record, FIRST).await, Reason::Upserted, "version and state are written together");
}

#[tokio::test(start_paused = true)]
async fn a_second_request_that_fails_is_settled_by_its_verdict() {
    for (second, reason) in [
        (vec![Answer::wait(503, None)], Reason::Unavailable),
        (vec![Answer::wait(429, None)], Reason::Throttled),
        (vec![Answer::refused(403, 0x8004_0220)], Reason::Unauthorized),
        (vec![Answer::lost(false)], Reason::Unavailable),
        (vec![Answer::lost(true), Answer::lost(true)], Reason::Unavailable),
        (vec![Answer::refused(404, MISSING)], Reason::Conflict),
        (vec![refused()], Reason::InvalidData),
        (vec![deadlock(), UPDATED], Reason::Created),
        (vec![Answer::lost(true), UPDATED], Reason::Created),
    ] {
        let world = World::new([CREATED_ACTIVE].into_iter().chain(second.clone()));
        let outcome = world.settle(&inactive("upsert", json!({}))).await;
        assert_eq!((outcome.reason, world.store.answers_left()), (reason, 0), "{second:?}");
        let says_it = outcome.detail.is_some_and(|detail| detail.contains("its state was not set"));
        assert_eq!(says_it, reason != Reason::Created, "{second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_before_the_second_request_is_answered_goes_back_and_heals() {
    let record = inactive("upsert", json!({}));
    let name = LockName::new(record.key.lock_name("", "contacts"));
    let again = Answer::Returned(Written::Updated, INACTIVE);
    let world = World::new([CREATED_ACTIVE, Answer::Slow(10 * SECOND, Written::Updated), again]);
    let (outcome, ()) = tokio::join!(world.settle(&record), async {
        tokio::time::sleep(SECOND).await;
        world.locks.break_lease(&name);
    });
    assert_eq!(outcome.reason, Reason::LockLost);
    assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::Updated);
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_create_whose_row_lacks_only_its_state_sets_it() {
    let record = inactive("create", json!({}));
    let lacks_it = || vec![taken(), SAME, Answer::Row(ACTIVE), OURS, UPDATED];
    let requests = [CREATE, "read firstname", "read statecode,statuscode", "creator", "read", SET];
    let world = World::new(lacks_it());
    assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::Created);
    assert_eq!(world.store.requests(), requests);
    let world = World::new([taken(), SAME, Answer::Row(INACTIVE)]);
    assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::AlreadyWritten);
    let world = World::new([taken(), SAME, Answer::Row(ACTIVE), FOREIGN]);
    assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::Exists, "another user's row keeps its state");
    for (row, delivery) in [(SAME, FIRST), (Answer::Row(r#"{"firstname":"Eve"}"#), SECOND_TIME)] {
        assert_eq!(World::new([taken(), row]).reason(&record, delivery).await, Reason::Exists);
    }
    let world = World::new([taken(), SAME, Answer::NoRow]);
    assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::Conflict, "it was deleted meanwhile");
    // Retried in place after the first attempt had created the row.
    for second in [Answer::wait(503, None), Answer::Fails(Error::Withheld)] {
        let world = World::new([CREATED_ACTIVE, second].into_iter().chain(lacks_it()));
        let patient = Delivery { wait_budget: Duration::from_mins(8), ..FIRST };
        assert_eq!(world.reason(&record, patient).await, Reason::Created);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_create_with_a_version_completes_only_a_row_without_one() {
    let record = inactive("create", json!({ "version": 7 }));
    let null = r#"{"@odata.etag":"W/\"1\"","statecode":1,"statuscode":2,"new_version":null}"#;
    let world = World::readable([taken(), SAME, Answer::Row(null), OURS, UPDATED]);
    assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::Created);
    let read = "read statecode,statuscode,new_version";
    let requests = [CREATE_WITHOUT_STATE, "read firstname", read, "creator", "read", SET_AT_7];
    assert_eq!(world.store.requests(), requests);
    let hidden = World::new([taken(), SAME, Answer::Row(null)]);
    assert_eq!(hidden.reason(&record, SECOND_TIME).await, Reason::Unavailable);
    for row in [r#"{"statecode":0,"statuscode":1,"new_version":7}"#, r#"{"statecode":0,"new_version":8}"#] {
        let world = World::new([taken(), SAME, Answer::Row(row)]);
        assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::AlreadyWritten, "changed since: {row}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unaddressable_new_row_is_completed_by_its_primary_key() {
    let key = json!({ "key": { "employeeid": "R&D/1" } });
    let set = SET.replace("update found", &format!("update found {ID}"));
    let requests = ["read employeeid", CREATE, &set];
    for operation in ["upsert", "create"] {
        let answers = vec![Answer::NoRow, CREATED_ACTIVE, UPDATED];
        check(&inactive(operation, key.clone()), answers, Reason::Created, &requests).await;
    }
    let without_id = vec![Answer::NoRow, Answer::Returned(Written::Created, r#"{"statecode":0}"#)];
    check(&inactive("upsert", key.clone()), without_id, Reason::Unavailable, &requests[..2]).await;
    let found = vec![Answer::Row(ACTIVE), UPDATED];
    let requests = ["read employeeid".to_owned(), format!("update found {ID}")];
    check(&inactive("upsert", key), found, Reason::Updated, &requests.each_ref().map(String::as_str)).await;
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_create_is_not_already_written_where_the_row_has_an_older_version() {
    for (record, first) in [
        (inactive("create", json!({ "version": 7 })), CREATE_WITHOUT_STATE),
        (contact(&json!({ "operation": "create", "version": 7 })), "create new_version=7"),
    ] {
        let older = r#"{"@odata.etag":"W/\"1\"","statecode":0,"statuscode":1,"new_version":6}"#;
        let text = r#"{"@odata.etag":"W/\"1\"","statecode":0,"statuscode":1,"new_version":"x"}"#;
        for row in [older, text] {
            let world = World::readable([taken(), SAME, Answer::Row(row)]);
            assert_eq!(world.deliver(&record, SECOND_TIME).await.reason, Reason::Exists, "{first} {row}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_create_is_already_written_only_where_the_row_may_have_its_version() {
    let record = contact(&json!({ "operation": "create", "version": 7 }));
    let null = Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":null}"#);
    let world = World::readable([taken(), SAME, null.clone()]);
    assert_eq!(world.deliver(&record, SECOND_TIME).await.reason, Reason::Exists, "no version");
    for (row, reason) in [(OURS, Reason::AlreadyWritten), (FOREIGN, Reason::Exists)] {
        let hidden = World::new([taken(), SAME, null.clone(), row]);
        assert_eq!(hidden.reason(&record, SECOND_TIME).await, reason, "a hidden version");
    }
    for row in [r#"{"new_version":7}"#, r#"{"new_version":8}"#] {
        let world = World::new([taken(), SAME, Answer::Row(row)]);
        assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::AlreadyWritten, "{row}");
    }
}
