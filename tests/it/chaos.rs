//! A short storm over the real handler, and a ledger that balances: `cargo sandbox chaos` in small.

use std::time::Duration;

use sandbox::chaos::{Plan, storm};

/// This seed's storm kills a handler, takes a machine away and breaks connections on both sides of the work.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_storm_every_message_is_settled_for_a_true_reason_and_every_row_is_right() {
    let plan = Plan { instances: 2, messages: 200, ..Plan::new(super::handler(), Duration::from_secs(20)) };
    let outcome = storm(&plan, SEED).await.expect("the world starts");
    assert!(outcome.balances(), "{}", outcome.differences);
    assert_eq!(outcome.messages, 200);
    assert!(outcome.redeliveries > 20, "{} redeliveries: the storm was none", outcome.redeliveries);
    assert!(outcome.events >= 15, "{} events", outcome.events);
}
