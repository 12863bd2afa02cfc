//! Messages per second by messages in flight: `cargo sandbox bench throughput`.

use std::time::Duration;

use super::benchmark::Context;
use super::driver::Load;
use super::message::{Message, many_columns};
use super::samples::Plot;
use super::target::Services;
use super::{Benchmark, Samples, number};

/// The long text of `--help`.
pub const ABOUT: &str = "\
Messages per second, by messages in flight: medians of 10 runs. Everything is
printed; nothing has a bound.

The load is queue messages in the host's envelope, 1 to 256 in flight. The load
and the null server, which replaces storage and Dataverse, share the machine
with the handler, so beside the rate stands the CPU time that the handler used:
in cores, and as messages per second of CPU time, which one core could do. More
than one core used is what a second core adds.

Cases:
  latency   each message waits 2 ms for the lease and 6 ms for the PATCH, and
            the connections start staggered over that time. In step: the rate as
            a share of what 1 in flight does times the number in flight
  at-once   without latency, so that the machine is the limit";

/// The latency of storage and Dataverse.
const LATENCY: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(6)];

const RATE: Plot = Plot::by_load("messages per second");

const IN_FLIGHT: [u64; 5] = [1, 4, 16, 64, 256];

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The rate with network latency.
    Latency,
    /// The rate without network latency.
    AtOnce,
}

impl Benchmark for Case {
    const NAME: &'static str = "throughput";
    const RUNS: u64 = 10;

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        let (services, message) = (Services::prepare(context.target, false).await?, Message::new(&many_columns(1_024)));
        let running = services.warm(&message).await?;
        let (latency, least) = if self == Self::Latency { (LATENCY, 300) } else { ([Duration::ZERO; 2], 3_000) };
        services.delay(latency);
        let mut one = f64::NAN;
        for in_flight in context.or_quick(&IN_FLIGHT[..], &IN_FLIGHT[..3]).iter().copied() {
            running.load(&message, in_flight, 2 * in_flight).send().await?;
            let messages = context.or_quick(least.max(20 * in_flight), 2 * in_flight);
            let load = Load { spread: latency.iter().sum(), ..running.load(&message, in_flight, messages) };
            let (answers, cpu) = running.measure(load).await?;
            let rate = number(messages) / answers.lasted.as_secs_f64();
            one = if in_flight == 1 { rate } else { one };
            let name = |what: &str| format!("{what}, {in_flight} in flight");
            samples.add(name("messages"), "/s", rate).plotted(RATE, "rate", in_flight);
            let by_cpu = number(messages) / cpu.as_secs_f64();
            let row = samples.add(name("messages per second of CPU time"), "/s", by_cpu);
            row.plotted(RATE, "of CPU time", in_flight);
            samples.add(name("cores used"), "cores", cpu.div_duration_f64(answers.lasted));
            if self == Self::Latency {
                samples.add(name("in step"), "%", 100.0 * rate / (one * number(in_flight)));
            }
        }
        running.stop().await
    }
}
