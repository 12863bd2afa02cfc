//! A short run of `cargo sandbox chaos` against the real handler.

use std::time::Duration;

use sandbox::chaos::{Plan, Totals, run_seed};

/// With this seed handlers are killed, an instance is replaced, and connections break before and after the work is done.
const SEED: u64 = 26_281;

#[tokio::test(flavor = "multi_thread")]
async fn after_injected_faults_every_message_is_settled_with_a_correct_reason_and_every_row_is_right() {
    // A lease of a killed handler expires after 15 s, so the faults end early and a redelivery is due soon.
    let plan = Plan {
        minutes: Duration::from_millis(5_400),
        instances: 2,
        messages: 200,
        visibility_timeout: Duration::from_secs(1),
        invisibility: Duration::from_secs(3),
    };
    let outcome = run_seed(&plan, &super::handler(), SEED, &mut Totals::default()).await.expect("the world starts");
    assert_eq!(outcome.differences, "");
    assert!(outcome.redeliveries > 20, "{} redeliveries are too few", outcome.redeliveries);
    assert!(outcome.faults >= 15, "{} faults are too few", outcome.faults);
}
