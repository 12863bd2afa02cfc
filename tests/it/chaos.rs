//! A short run of `cargo sandbox chaos` against the real handler.

use std::time::Duration;

use sandbox::chaos::{Plan, run_seed};

/// With this seed a handler is killed, a machine is lost, and connections break before and after writes.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn after_injected_faults_every_message_is_settled_with_a_correct_reason_and_every_row_is_right() {
    let plan = Plan { instances: 2, messages: 200, ..Plan::new(super::handler(), Duration::from_secs(20)) };
    let outcome = run_seed(&plan, SEED).await.expect("the world starts");
    assert!(outcome.is_consistent(), "{}", outcome.differences);
    assert_eq!(outcome.messages, 200);
    assert!(outcome.redeliveries > 20, "{} redeliveries are too few", outcome.redeliveries);
    assert!(outcome.events >= 15, "{} events", outcome.events);
}
