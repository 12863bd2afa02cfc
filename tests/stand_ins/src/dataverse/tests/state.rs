//! `statecode` and `statuscode` in creates and updates.

use serde_json::{Value, json};

use super::super::{Options, StateOnCreate};
use super::{Bench, EMPLOYEE};

const INVALID: (u16, &str) = (400, "0x80048408");

fn state(bench: &Bench) -> [Value; 2] {
    let row = bench.contact("E1").expect("the row");
    ["statecode", "statuscode"].map(|column| row[column].clone())
}

#[tokio::test]
async fn a_new_row_is_active_whatever_state_was_sent() {
    for (sent, status) in [(json!({}), 1), (json!({ "statecode": 1 }), 1), (json!({ "statuscode": 3 }), 3)] {
        let bench = Bench::quick().await;
        assert_eq!(bench.patch(EMPLOYEE, &sent).await.status, 204, "{sent}");
        assert_eq!(state(&bench), [0, status], "{sent}");
    }
}

#[tokio::test]
async fn a_create_refuses_the_status_of_another_state_or_ignores_it() {
    let (inactive, alone) = (json!({ "statecode": 1, "statuscode": 2 }), json!({ "statuscode": 2 }));
    let bench = Bench::quick().await;
    for sent in [&inactive, &alone] {
        let refused = bench.patch(EMPLOYEE, sent).await;
        assert_eq!(refused.verdict(), INVALID);
        let text = refused.body["error"]["message"].as_str().expect("a text");
        assert_eq!(text, "2 is not a valid status code for state code ContactState.Active on contact.");
    }
    assert!(bench.contact("E1").is_none());
    let bench = Bench::start(Options { state_on_create: StateOnCreate::Ignored, ..Options::default() }).await;
    assert_eq!(bench.patch(EMPLOYEE, &alone).await.verdict(), INVALID);
    assert_eq!(bench.patch(EMPLOYEE, &inactive).await.status, 204);
    assert_eq!(state(&bench), [0, 1]);
}

#[tokio::test]
async fn an_update_sets_the_state_and_a_status_of_this_state() {
    let bench = Bench::quick().await;
    bench.patch(EMPLOYEE, &json!({})).await;
    for (sent, then) in [
        (json!({ "statuscode": 3 }), Ok([0, 3])),
        (json!({ "statuscode": 2 }), Err(())),
        (json!({ "statecode": 1, "statuscode": 1 }), Err(())),
        (json!({ "statecode": 1, "statuscode": 4 }), Ok([1, 4])),
        (json!({ "firstname": "Ada" }), Ok([1, 4])),
        (json!({ "statecode": 1 }), Ok([1, 2])),
        (json!({ "statecode": 0 }), Ok([0, 1])),
    ] {
        let before = state(&bench);
        let answer = bench.patch(EMPLOYEE, &sent).await;
        match then {
            Ok(then) => assert_eq!((answer.status, state(&bench)), (204, then.map(Value::from)), "{sent}"),
            Err(()) => assert_eq!((answer.verdict(), state(&bench)), (INVALID, before), "{sent}"),
        }
    }
}
