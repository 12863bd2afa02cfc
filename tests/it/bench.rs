//! What `cargo sandbox bench` promises of the handler of these tests, as far as it takes seconds.

use sandbox::bench::gate;
use sandbox::bench::locks::{Case, Plan, measure};

async fn every_bound_is_kept(case: Case) {
    let plan = Plan::quick(super::handler());
    for result in measure(&plan, &[case]).await {
        let broken: Vec<_> = result.measurements.iter().filter(|measurement| !measurement.held).collect();
        assert!(result.held(), "{broken:#?} {:?}", result.problem);
        assert!(!result.measurements.is_empty(), "nothing was measured");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncontended_write_costs_two_storage_requests_and_a_new_key_four() {
    every_bound_is_kept(Case::Uncontended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_messages_for_one_key_share_few_leases() {
    every_bound_is_kept(Case::OneProcess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_is_measured_against_limits_that_are_met() {
    let plan = gate::Plan::quick(super::handler(), 4);
    for result in gate::measure(&plan, &[gate::Case::Requests]).await {
        assert_eq!(result.problem, None);
        let named = |name| result.measurements.iter().rfind(|measurement| measurement.name == name);
        let value = |name| named(name).map_or(f64::NAN, |measurement| measurement.value);
        assert!(value("written") > 0.0, "{:#?}", result.measurements);
        assert!((0.1..=20.0).contains(&value("the limits allow")), "{:#?}", result.measurements);
        assert!(value("429, of all requests") > 0.0, "the naive client is refused: {:#?}", result.measurements);
    }
}
