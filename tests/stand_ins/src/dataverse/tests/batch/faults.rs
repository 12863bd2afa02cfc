//! Faults of batches: which part or batch they apply to, and what the client sees of the answer.

use serde_json::json;

use super::super::super::{Effect, Fault, Status};
use super::super::{Bench, EMPLOYEE};
use super::{CONTINUE, body, patch};

/// A batch of three contacts; the second is E2.
fn three() -> [String; 3] {
    ["E1", "E2", "E3"].map(|key| patch(key, &json!({})))
}

/// Which of the three exist.
fn written(bench: &Bench) -> [bool; 3] {
    ["E1", "E2", "E3"].map(|key| bench.contact(key).is_some())
}

/// The journal's statuses.
fn statuses(bench: &Bench) -> Vec<Option<u16>> {
    bench.dataverse.journal().iter().map(|entry| entry.status).collect()
}

#[tokio::test]
async fn a_fault_of_a_table_or_a_key_applies_to_that_part() {
    let bench = Bench::quick().await;
    let mut throttled = Status::new(429, "0x80072322", "Number of requests exceeded");
    throttled.retry_after = Some(7);
    bench.dataverse.fault(Fault::new(Effect::Status(throttled)).set("contacts").nth(2));
    let response = bench.batch(&[CONTINUE], &three()).await;
    assert_eq!((response.status, response.verdicts()), (200, vec![(204, ""), (429, "0x80072322"), (204, "")]));
    assert_eq!(response.parts[1].1.header("retry-after"), "7");
    bench.dataverse.fault(Fault::new(Effect::Deadlock).key("E3"));
    assert_eq!(bench.batch(&[CONTINUE], &three()).await.verdicts(), [(204, ""), (204, ""), (500, "0x80044150")]);
    bench.dataverse.fault(Fault::new(Effect::Deadlock));
    assert_eq!(bench.batch(&[CONTINUE], &three()).await.verdicts()[0], (500, "0x80044150"), "an effect on a row");
}

#[tokio::test]
async fn a_fault_of_any_request_applies_to_the_batch_and_not_to_its_parts() {
    let bench = Bench::quick().await;
    let unavailable = Fault::new(Effect::Status(Status::new(503, "0x8004A001", "busy"))).times(2);
    bench.dataverse.fault(unavailable);
    for set in ["$batch", "contacts"] {
        let status = if set == "$batch" {
            bench.send_batch(&[], body(&three())).await.expect("an answer").status().as_u16()
        } else {
            bench.patch(EMPLOYEE, &json!({})).await.status
        };
        assert_eq!(status, 503, "{set}");
        assert_eq!(bench.dataverse.journal().last().map(|entry| entry.set.as_str()), Some(set));
    }
    assert_eq!(written(&bench), [false; 3]);
}

#[tokio::test]
async fn a_service_without_batches_serves_single_requests() {
    for status in [404, 405, 501] {
        let bench = Bench::quick().await;
        bench.dataverse.fault(Fault::new(Effect::Status(Status::new(status, "", "No."))).set("$batch").until_cleared());
        for _ in 0..2 {
            assert_eq!(bench.send_batch(&[], body(&three())).await.expect("an answer").status(), status);
        }
        assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 204);
        assert_eq!(written(&bench), [true, false, false]);
    }
}

#[tokio::test]
async fn an_answer_breaks_off_in_the_middle_of_a_part_and_all_parts_are_executed() {
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::CutMidway).key("E2"));
    let mut response = bench.send_batch(&[], body(&three())).await.expect("the head arrives");
    assert_eq!(response.status(), 200);
    let mut text = String::new();
    let error = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).expect("text")),
            Ok(None) => panic!("it does not break off: {text}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.status(), None);
    let counts = ["--batchresponse", "odata-version"].map(|wanted| text.matches(wanted).count());
    assert_eq!(counts, [2, 1], "the second part has begun and is not complete: {text}");
    assert_eq!((written(&bench), statuses(&bench)), ([true; 3], vec![Some(204), None, None]));
}

#[tokio::test]
async fn a_part_can_have_no_status() {
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::NoStatus).key("E2"));
    let response = bench.send_batch(&[], body(&three())).await.expect("an answer");
    let text = response.text().await.expect("all of it");
    let parts: Vec<_> = text.split("--batchresponse").skip(1).map(|part| part.contains("HTTP/1.1 204")).collect();
    assert_eq!(parts, [true, false, true, false], "{text}");
    assert_eq!((written(&bench), statuses(&bench)), ([true; 3], vec![Some(204), None, Some(204)]));
}

#[tokio::test]
async fn a_batch_can_end_at_an_error_in_spite_of_the_preference() {
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::StopAtError));
    let parts = [patch("E1", &json!({})), patch("E2", &json!({ "nosuch": 1 })), patch("E3", &json!({}))];
    let stopped = bench.batch(&[CONTINUE], &parts).await;
    assert_eq!((stopped.status, stopped.verdicts()), (400, vec![(204, ""), (400, "0x80060888")]));
    assert_eq!(written(&bench), [true, false, false]);
    assert_eq!(bench.batch(&[CONTINUE], &parts).await.status, 200);
}

#[tokio::test]
async fn answers_can_come_in_another_order() {
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::WrongOrder));
    let response = bench.batch(&[], &three()).await;
    let ids: Vec<_> = response.parts.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["3", "2", "1"]);
    assert_eq!(bench.batch(&[], &three()).await.parts[0].0, "1");
}

#[tokio::test]
async fn a_connection_that_drops_in_a_part_leaves_every_part_without_an_answer() {
    for (effect, executed) in
        [(Effect::DropBefore, [true, false, false]), (Effect::DropAfterCommit, [true, true, false])]
    {
        let bench = Bench::quick().await;
        bench.dataverse.fault(Fault::new(effect).key("E2"));
        bench.send_batch(&[], body(&three())).await.expect_err("it is dropped");
        assert_eq!((written(&bench), statuses(&bench)), (executed, vec![None, None]));
    }
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::DropAfterCommit));
    bench.send_batch(&[], body(&three())).await.expect_err("it is dropped");
    assert_eq!((written(&bench), statuses(&bench)), ([true; 3], vec![None; 3]));
}

#[tokio::test]
async fn alone_the_faults_of_parts_are_dropped_answers() {
    for effect in [Effect::CutMidway, Effect::NoStatus] {
        let bench = Bench::quick().await;
        bench.dataverse.fault(Fault::new(effect));
        bench.try_send(reqwest::Method::PATCH, EMPLOYEE, &[], Some(&json!({}))).await.expect_err("it is dropped");
        assert_eq!((written(&bench), statuses(&bench)), ([true, false, false], vec![None]));
    }
}
