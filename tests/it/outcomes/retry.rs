//! Retry: 503, or 429 for throttling, always with a `Retry-After`.

use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::dataverse::{BodyForm, Effect, Fault, Status};
use stand_ins::identity;
use stand_ins::storage;

use super::{DUPLICATE, Scene, about, about_refusal};
use crate::caller::{Answer, Caller, contact};
use crate::waiting::eventually;

impl Answer {
    /// Asserts a retry: a problem document with this status, reason and delay. Returns its detail.
    fn is_retry(&self, status: u16, seconds: u64, members: &Value) -> &str {
        let detail = self.is_problem(status, members);
        assert_eq!(self.header("retry-after"), Some(&*seconds.to_string()), "{}", self.text);
        detail
    }
}

#[tokio::test]
async fn a_lock_held_in_this_or_another_process_is_busy() {
    let scene = Scene::with(&[("LOCK_WAIT_SECONDS", "1")]).await;
    let elsewhere = scene.world.host("instance-2", &[("LOCK_WAIT_SECONDS", "1")]).await.expect("the host starts");
    scene.world.dataverse.fault(Fault::new(Effect::Hang).key("C1"));
    let first = contact("C1", &json!({ "firstname": "Ada" }));
    let rivals = async {
        eventually("the first one's lease", async || (scene.storage().counts().acquire > 0).then_some(())).await;
        for caller in [&scene.caller, &Caller::of(&elsewhere)] {
            let answer = caller.post(&contact("C1", &json!({ "firstname": "Grace" }))).await;
            let detail = answer.is_retry(503, 1, &about("C1", "retry", "lock_busy"));
            assert_eq!(detail, "the lock was held by another writer for 1 s");
        }
    };
    tokio::select! {
        answer = scene.post(&first) => panic!("the first one hangs: {answer:?}"),
        () = rivals => {}
    }
}

#[tokio::test]
async fn a_lease_that_is_broken_during_the_write_is_lost() {
    let scene = Scene::start().await;
    scene.world.dataverse.fault(Fault::new(Effect::Hang).key("C1"));
    let record = contact("C1", &json!({ "firstname": "Ada" }));
    let broken = eventually("a lease to break", async || (scene.storage().break_leases(None) > 0).then_some(()));
    let (answer, ()) = tokio::join!(scene.post(&record), broken);
    let detail = answer.is_retry(503, 1, &about("C1", "retry", "lock_lost"));
    assert!(detail.contains("lease"), "{detail}");
}

#[tokio::test]
async fn a_race_that_is_lost_repeatedly_under_the_policy_retry_is_a_conflict() {
    let scene = Scene::with(&[("SYNC_ON_CONFLICT", "retry")]).await;
    scene.refuse(4, "C1", Status::new(412, "0x80040237", DUPLICATE));
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    let said = scene.said(412, "0x80040237", DUPLICATE);
    let detail = answer.is_retry(503, 1, &about_refusal("C1", "retry", "conflict", said));
    assert_eq!(detail, DUPLICATE);
    assert_eq!(scene.world.dataverse.requests().of("PATCH", 412), 4, "the first one and three more");
}

#[tokio::test]
async fn a_lookup_to_a_row_that_does_not_exist_yet_is_parent_missing_until_it_does() {
    let scene = Scene::start().await;
    let columns = json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')" });
    let answer = scene.upsert("C1", &columns).await;
    let text = "A record with the specified key values does not exist in the table.";
    let said = scene.said(404, "0x80060891", text);
    assert_eq!(answer.is_retry(503, 30, &about_refusal("C1", "retry", "parent_missing", said)), text);

    scene.world.dataverse.insert("accounts", &json!({ "accountnumber": "A1" }));
    scene.upsert("C1", &columns).await.is_result(200, &about("C1", "applied", "upserted"));
}

#[tokio::test]
async fn throttling_is_429_with_the_delay_that_dataverse_named() {
    let scene = Scene::start().await;
    let text = "Number of requests exceeded the limit of 6000 over time window of 300 seconds.";
    scene.refuse(1, "C1", Status { retry_after: Some(37), ..Status::new(429, "0x80072322", text) });
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    let said = scene.said(429, "0x80072322", text);
    assert_eq!(answer.is_retry(429, 37, &about_refusal("C1", "retry", "throttled", said)), text);

    // The pause exceeds an HTTP caller's wait budget, so the next call is answered at once and sends no request.
    let answer = scene.upsert("C2", &json!({ "firstname": "Ada" })).await;
    let rest = answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok()).expect("seconds");
    assert!((21..=46).contains(&rest), "{rest}");
    answer.is_problem(429, &about("C2", "retry", "throttled"));
    assert_eq!(scene.world.dataverse.journal().len(), 1);
}

#[tokio::test]
async fn a_short_throttling_is_waited_out_in_place() {
    let scene = Scene::start().await;
    scene.refuse(1, "C1", Status { retry_after: Some(1), ..Status::new(429, "0x80072326", "Too many at once.") });
    scene.upsert("C1", &json!({ "firstname": "Ada" })).await.is_result(200, &about("C1", "applied", "upserted"));
    let journal = scene.world.dataverse.journal();
    let gap = journal[1].start.saturating_sub(journal[0].end);
    assert!(gap >= Duration::from_millis(900), "sent after {gap:?}, though a second was asked for");
    for line in ["Dataverse asks for a pause", "the pause is over"] {
        eventually(line, async || scene.host.logs().iter().any(|log| log.text.contains(line)).then_some(())).await;
    }
}

#[tokio::test]
async fn a_service_that_is_down_is_unavailable_in_every_form_of_answer() {
    let scene = Scene::at_once().await;
    let text = "The server is busy.";
    let busy = Status { retry_after: Some(6), ..Status::new(503, "0x8004a001", text) };
    scene.refuse(1, "C1", busy);
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    let said = scene.said(503, "0x8004a001", text);
    answer.is_retry(503, 6, &about_refusal("C1", "retry", "unavailable", said));

    // A gateway's answer leaves the outcome unknown and the lease held, so each case has its own key. A truncated
    // answer from Dataverse still has its code.
    for (key, form, kept) in [
        ("C2", BodyForm::Html, &["status", "requestId"][..]),
        ("C3", BodyForm::Empty, &["status", "requestId"]),
        ("C4", BodyForm::Truncated, &["status", "requestId", "code"]),
    ] {
        scene.refuse(1, key, Status { form, ..Status::new(502, "0x8004a001", text) });
        let answer = scene.upsert(key, &json!({ "firstname": "Ada" })).await;
        let mut said = scene.said(502, "0x8004a001", "");
        said.as_object_mut().expect("an object").retain(|name, _| kept.contains(&name.as_str()));
        answer.is_retry(503, 10, &about_refusal(key, "retry", "unavailable", said));
        // A success in between: several failures in a row would open the circuit breaker.
        assert_eq!(scene.upsert("C0", &json!({ "firstname": "Ada" })).await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_twice_is_unavailable_unless_the_row_proves_the_write() {
    let scene = Scene::at_once().await;
    scene.world.dataverse.fault(Fault::new(Effect::DropBefore).method("PATCH").key("C0"));
    scene.upsert("C0", &json!({ "firstname": "Ada" })).await.is_result(200, &about("C0", "applied", "upserted"));

    scene.world.dataverse.fault(Fault::new(Effect::DropBefore).method("PATCH").key("C1").times(2));
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    let detail = answer.is_retry(503, 10, &about("C1", "retry", "unavailable"));
    assert_eq!(detail, "Dataverse did not answer: the connection broke");
    assert_eq!(scene.stored("C1", "firstname"), None);

    scene.world.dataverse.fault(Fault::new(Effect::DropAfterCommit).method("PATCH").key("C2").times(2));
    let answer = scene.upsert("C2", &json!({ "firstname": "Ada" })).await;
    let mut applied = about("C2", "applied", "upserted");
    applied["detail"] = json!("no answer came, but the row is as it was sent");
    answer.is_result(200, &applied);
    assert_eq!(scene.stored("C2", "firstname"), Some(json!("Ada")));
}

#[tokio::test]
async fn three_deadlocks_are_sent_again_in_place_and_a_fourth_is_unavailable() {
    let scene = Scene::at_once().await;
    scene.world.dataverse.fault(Fault::new(Effect::Deadlock).key("C1").times(3));
    scene.upsert("C1", &json!({ "firstname": "Ada" })).await.is_result(200, &about("C1", "applied", "upserted"));
    scene.world.dataverse.fault(Fault::new(Effect::Deadlock).key("C2").times(4));
    let answer = scene.upsert("C2", &json!({ "firstname": "Ada" })).await;
    let text = answer.body["detail"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("Sql Number: 1205"), "{}", answer.text);
    let said = scene.said(500, "0x80044150", &text);
    answer.is_retry(503, 10, &about_refusal("C2", "retry", "unavailable", said));
}

#[tokio::test]
async fn a_missing_privilege_is_unauthorized_and_loses_no_message() {
    let scene = Scene::at_once().await;
    let text = "Principal user is missing prvCreateContact privilege.";
    scene.refuse(1, "C1", Status::new(403, "0x80040220", text));
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    let said = scene.said(403, "0x80040220", text);
    assert_eq!(answer.is_retry(503, 10, &about_refusal("C1", "retry", "unauthorized", said)), text);
}

#[tokio::test]
async fn an_identity_that_gets_no_token_is_unauthorized_and_one_that_gets_no_answer_unavailable() {
    for (status, reason) in [(403, "unauthorized"), (500, "unavailable")] {
        let scene = Scene::at_once().await;
        let status = reqwest::StatusCode::from_u16(status).expect("a status");
        scene.world.identity.fault(identity::Fault::Status(status));
        let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
        // The next probe is due within a second.
        let detail = answer.is_retry(503, 1, &about("C1", "retry", reason));
        assert!(detail.starts_with("there is no Entra ID token"), "{detail}");
        assert_eq!(scene.world.dataverse.journal().len(), 0, "nothing was sent without a token");
    }
}

#[tokio::test]
async fn a_lock_storage_that_refuses_fails_or_breaks_is_unavailable_and_nothing_is_written() {
    let scene = Scene::at_once().await;
    let answered = |code, error_code| storage::Effect::Status { code, error_code, retry_after: None };
    for (effect, detail) in [
        (answered(403, "AuthorizationFailure"), "the storage refuses access (403 AuthorizationFailure)"),
        (answered(503, "ServerBusy"), "the storage answered 503 ServerBusy"),
        (storage::Effect::DropBefore, "the storage cannot be reached: the connection broke"),
    ] {
        scene.storage().fault(storage::Fault::until_cleared(storage::Op::AnyBlob, effect));
        let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
        assert_eq!(answer.is_retry(503, 10, &about("C1", "retry", "storage_unavailable")), detail);
        scene.storage().clear_faults();
    }
    assert_eq!(scene.world.dataverse.journal().len(), 0);
    scene.upsert("C1", &json!({ "firstname": "Ada" })).await.is_result(200, &about("C1", "applied", "upserted"));
}
