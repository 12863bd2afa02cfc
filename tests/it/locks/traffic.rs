//! How many requests and connections the locks need at once.

use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::storage::{Effect, Fault, Op};

use super::WIDTH;
use crate::caller::{Caller, contact};

#[tokio::test]
async fn hundreds_of_keys_in_one_call_need_few_connections_to_a_slow_storage() {
    let world = crate::world().await;
    let host = world.host("instance-1", &[]).await.expect("the host starts");
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    let slow = Effect::SlowAnswer(Duration::from_millis(100));
    storage.fault(Fault::until_cleared(Op::AnyBlob, slow));
    let records = (0..300).map(|number| contact(&format!("C{number}"), &json!({ "firstname": "Ada" })));
    let answer = Caller::of(&host).post(&records.collect::<Value>()).await;
    let (requests, connections) = (storage.blob_requests().most(), storage.blob_connections().most());
    println!("{requests} requests and {connections} connections at once");
    assert_eq!((answer.status, &answer.body["summary"]), (200, &json!({ "applied": 300 })));
    // As many acquisitions as writes, and as many releases.
    assert!(requests <= 2 * WIDTH as u64, "{requests} requests at once");
    assert!(connections <= 3 * WIDTH as u64, "{connections} connections at once");
}
