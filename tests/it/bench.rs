//! Checks the results of `cargo sandbox bench` that can be measured within seconds.

use clap::ValueEnum as _;
use sandbox::bench::locks::{Case, Plan};
use sandbox::bench::{CaseResult, gate, measure, outage, overhead, start, throughput};

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
async fn an_outage_of_ten_minutes_loses_no_message_here_and_every_one_without_waiting_in_place() {
    let plan = outage::Plan { handler: super::handler(), factor: 30, messages: 60 };
    let results = measure(&plan, &[outage::Case::Throttled]).await;
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
async fn admission_is_measured_against_service_limits_that_are_reached() {
    let plan = gate::Plan::quick(super::handler(), 4);
    for result in measure(&plan, &[gate::Case::Requests]).await {
        assert_eq!(result.problem, None);
        let named = |name| result.measurements.iter().rfind(|measurement| measurement.name == name);
        let value = |name| named(name).map_or(f64::NAN, |measurement| measurement.value);
        assert!(value("written") > 0.0, "{:#?}", result.measurements);
        assert!((0.1..=20.0).contains(&value("the limits allow")), "{:#?}", result.measurements);
        assert!(value("429, of all requests") > 0.0, "the naive client is refused: {:#?}", result.measurements);
    }
}

/// The named value of every case; fails if a case lacks it.
fn values(results: &[CaseResult], name: &str) -> Vec<f64> {
    for result in results {
        assert_eq!(result.problem, None, "{}", result.case);
    }
    let all = results.iter().flat_map(|result| &result.measurements);
    all.filter(|measurement| measurement.name == name).map(|measurement| measurement.value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_makes_no_network_call_before_its_first_answer_and_its_memory_is_measured() {
    let results = measure(&start::Plan::quick(&super::handler()), start::Case::value_variants()).await;
    assert_eq!(values(&results, "calls to the network before it"), [0.0], "{results:#?}");
    assert!(values(&results, "exec to the first 200, client secret")[0] > 0.0, "{results:#?}");
    let [idle, full] =
        ["resident, idle", "resident, the most with 256 in flight"].map(|name| values(&results, name)[0]);
    assert!(0.0 < idle && idle <= full, "{results:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_added_latency_and_cpu_time_are_measured() {
    let cases = [overhead::Case::Path, overhead::Case::Load, overhead::Case::Relay, overhead::Case::Size];
    let results = measure(&overhead::Plan::quick(&super::handler()), &cases).await;
    assert_eq!(values(&results, "calls in all"), [3.0], "acquire, write and release: {results:#?}");
    for name in [
        "CPU per message, 48 in flight, 3 + 80 ms",
        "relay: CPU per message, 48 in flight, no latency",
        "CPU per message, columns of 1 KiB, TLS to both services",
    ] {
        assert!(values(&results, name)[0] > 0.0, "{name}: {results:#?}");
    }
    let charts: usize = results.iter().map(|result| result.charts.len()).sum();
    assert_eq!(charts, 2, "{results:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn throughput_is_measured_on_one_core_and_on_two_and_against_the_stand_ins() {
    let results = measure(&throughput::Plan::quick(&super::handler()), throughput::Case::value_variants()).await;
    for name in ["messages, 256 in flight", "messages per second of the handler's CPU time"] {
        assert!(values(&results, name)[0] > 0.0, "{name}: {results:#?}");
    }
    // Depends on the machine's load, so only its presence is checked.
    assert!(values(&results, "a second core adds")[0].is_finite(), "{results:#?}");
}
