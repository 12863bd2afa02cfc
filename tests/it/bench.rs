//! The bounds of `cargo sandbox bench locks` that take seconds, kept by the handler of these tests.

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
