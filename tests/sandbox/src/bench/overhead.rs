//! What the handler adds to the cost of the network: `cargo sandbox bench overhead`.

use std::time::Duration;

use super::benchmark::Context;
use super::driver::{Keys, Load};
use super::message::{Message, long_text, many_columns};
use super::samples::Plot;
use super::target::Services;
use super::{Benchmark, Limit, Samples, median, milliseconds, number, quantile};

/// The long text of `--help`.
pub const ABOUT: &str = "\
What the handler adds to the cost of the network: CPU time, and time. Medians of
10 runs.

The load is queue messages, byte for byte as the Functions host sends them, with
1 KiB of columns unless stated otherwise. Storage and Dataverse are a null
server with a latency of 3 ms for the storage and 80 ms for Dataverse, or none.
It and the load share the machine with the handler, in another process.

Time added is the time until the response, less the median delays of the two
calls that a write waits for (acquiring the lease, the PATCH) as measured at the
null server. CPU time is user and system time of the whole process. Bounds need
--baseline: the handler of another commit, measured in alternating runs.

Cases:
  load  CPU time and time added with 1, 4, 16 and 48 messages in flight. With 48
        and network latency: CPU time, and the median of the time added, at most
        2.5 times the baseline's
  size  CPU time by kind of message, 16 in flight: columns of 1 KiB; of 32 KiB,
        as hundreds of columns and as one long text; a new lock; TLS to both
        services";

/// CPU time per message, in multiples of the baseline's.
const MAX_CPU_RATIO: f64 = 2.5;

/// Median of the time added, in multiples of the baseline's.
const MAX_ADDED_RATIO: f64 = 2.5;

/// The network, with latency and without: its name, the latency of storage and Dataverse, and the messages for each one in flight.
const NETWORKS: [(&str, [Duration; 2], u64); 2] = [
    ("3 + 80 ms", [Duration::from_millis(3), Duration::from_millis(80)], 24),
    ("no latency", [Duration::ZERO, Duration::ZERO], 160),
];

const IN_FLIGHT: [u64; 4] = [1, 4, 16, 48];

/// The load whose figures have bounds.
const BOUNDED: (&str, u64) = ("3 + 80 ms", 48);

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// CPU time and time added, by messages in flight.
    Load,
    /// CPU time by kind of message.
    Size,
}

impl Benchmark for Case {
    const NAME: &'static str = "overhead";
    const RUNS: u64 = 10;

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        match self {
            Self::Load => load(context, samples).await,
            Self::Size => size(context, samples).await,
        }
    }
}

async fn load(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let (services, message) = (Services::prepare(context.target, false).await?, Message::new(&many_columns(1_024)));
    let running = services.warm(&message).await?;
    for (network, latency, each) in NETWORKS {
        for in_flight in IN_FLIGHT {
            // Opens the connections.
            running.load(&message, in_flight, 2 * in_flight).send().await?;
            services.delay(latency);
            let load = running.load(&message, in_flight, context.or_quick(each, 1) * in_flight.max(2));
            let load = Load { spread: latency.iter().sum(), ..load };
            let (answers, cpu) = running.measure(load).await?;
            let name = |what: &str| format!("{what}, {in_flight} in flight, {network}");
            let limit = |limit| ((network, in_flight) == BOUNDED).then_some(limit);
            let each = 1_000.0 * milliseconds(cpu) / number(answers.took.len());
            let row = samples.add(name("CPU per message"), "µs", each);
            row.limit(limit(Limit::TimesBaseline(MAX_CPU_RATIO))).plotted(
                Plot::by_load("CPU time of a message"),
                network,
                in_flight,
            );
            let state = services.null_server.state();
            let added = added(&answers.took, [&state.acquires, &state.writes]);
            let row = samples.add(name("time added, median"), "ms", added[0]);
            let limit = limit(Limit::TimesBaseline(MAX_ADDED_RATIO));
            row.limit(limit).plotted(Plot::by_load("time added"), network, in_flight);
            samples.add(name("time added, p99"), "ms", added[1]);
        }
        services.delay([Duration::ZERO; 2]);
    }
    running.stop().await
}

/// The time of the messages less the medians of the network's calls, in milliseconds: the median, and the 99th percentile.
fn added(took: &[Duration], calls: [&[Duration]; 2]) -> [f64; 2] {
    let values = |times: &[Duration]| times.iter().copied().map(milliseconds).collect::<Vec<_>>();
    let network: f64 = calls.map(|times| median(&values(times))).iter().sum();
    [0.5, 0.99].map(|share| quantile(&values(took), share) - network)
}

async fn size(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let (in_flight, messages) = (16, context.or_quick(2_000, 20));
    for (name, columns, keys_are_new, tls) in [
        ("columns of 1 KiB", many_columns(1_024), false, false),
        ("columns of 1 KiB, lock seen for the first time", many_columns(1_024), true, false),
        ("columns of 1 KiB, TLS to both services", many_columns(1_024), false, true),
        ("columns of 32 KiB, hundreds of them", many_columns(32 * 1_024), false, false),
        ("columns of 32 KiB, one long text", long_text(32 * 1_024), false, false),
    ] {
        let (services, message) = (Services::prepare(context.target, tls).await?, Message::new(&columns));
        let running = services.warm(&message).await?;
        running.load(&message, in_flight, messages / 10).send().await?;
        services.null_server.state().keys_are_new = keys_are_new;
        let load = Load { keys: Keys::Fresh(1_000), ..running.load(&message, in_flight, messages) };
        let (_, cpu) = running.measure(load).await?;
        samples.add(format!("CPU per message, {name}"), "µs", 1_000.0 * milliseconds(cpu) / number(messages));
        running.stop().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_added_is_what_the_two_calls_did_not_take() {
        let ms = |all: [u64; 3]| all.map(Duration::from_millis).to_vec();
        let found = added(&ms([86, 85, 99]), [&ms([3, 4, 90]), &ms([81, 80, 1])]);
        assert_eq!(found.map(|value| value.round().to_string()), ["2", "15"]);
        assert!(added(&ms([86, 85, 99]), [&[], &[]])[0].is_nan(), "without calls nothing is known");
    }
}
