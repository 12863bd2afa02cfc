//! What `cargo sandbox bench` promises of the handler of these tests, as far as it takes seconds.

use sandbox::bench::locks::{Case, Plan, measure};
use sandbox::bench::{gate, outage};

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
async fn an_outage_of_ten_minutes_costs_no_message_here_and_all_of_them_where_the_host_is_left_alone() {
    let plan = outage::Plan { handler: super::handler(), factor: 30, messages: 60 };
    let results = outage::measure(&plan, &[outage::Case::Throttled]).await;
    let values = |name: &str| -> Vec<f64> {
        let all = results.iter().flat_map(|result| &result.measurements);
        all.filter(|measurement| measurement.name == name).map(|measurement| measurement.value).collect()
    };
    assert_eq!(values("as deployed: in poison"), [0.0], "{results:#?}");
    assert_eq!(values("applied"), [60.0, 0.0], "{results:#?}");
    assert!(values("most deliveries of one message").iter().all(|most| *most <= 2.0), "{results:#?}");
    assert_eq!(values("left alone: in poison"), [60.0], "{results:#?}");
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
