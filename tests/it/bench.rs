//! Smoke tests of `cargo sandbox bench`: every benchmark measures, and the bounds that do not depend on the machine are kept.

use clap::ValueEnum as _;
use sandbox::bench::{Benchmark, Plan, attacks, bulk, gate, locks, measure, outage, overhead, start, throughput};

/// Runs these cases as smoke tests. Every value must have been obtained, and these names must be among them.
async fn smoke<B: Benchmark>(cases: &[B], names: &[&str]) {
    let results = measure(&Plan::quick(&super::handler()), cases).await;
    for result in &results {
        assert_eq!(result.problem, None, "{}", result.case);
        assert!(result.measurements.iter().all(|found| found.value.is_finite()), "{result:#?}");
    }
    let measurements = || results.iter().flat_map(|result| &result.measurements);
    for name in names {
        let found = measurements().find(|found| found.name == *name);
        assert!(found.is_some_and(|found| found.held), "{name}: {results:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn start_overhead_and_throughput_are_measured() {
    let names = ["calls to the network before it", "exec to the first 200, client secret", "resident, idle"];
    smoke(start::Case::value_variants(), &names).await;
    let names = ["CPU per message, 48 in flight, 3 + 80 ms", "CPU per message, columns of 1 KiB, TLS to both services"];
    smoke(overhead::Case::value_variants(), &names).await;
    smoke(throughput::Case::value_variants(), &["messages, 16 in flight", "in step, 4 in flight"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_costs_few_requests() {
    let names = ["storage requests: most, known key", "storage requests: most, new key", "lease requests"];
    smoke(&[locks::Case::Uncontended, locks::Case::OneProcess], &names).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_limits_are_reached() {
    smoke(&[gate::Case::Requests], &["handlers: written", "naive client: 429, of all requests"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_measured_beside_single_requests() {
    let names = ["40 ms: 429, naive", "40 ms, versioned: rows, auto", "p99, auto", "20 new rows, off"];
    smoke(&[bulk::Case::Rows, bulk::Case::Rest, bulk::Case::Array], &names).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_ten_minutes_loses_no_message() {
    smoke(&[outage::Case::Throttled], &["as deployed: in poison", "applied"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_letters_and_endless_answers_are_measured() {
    let names = ["drop: exit code", "show: visible afterwards", "a token: sent of one answer"];
    smoke(&[attacks::Case::Letters, attacks::Case::Endless], &names).await;
}
