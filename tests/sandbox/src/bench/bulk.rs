//! Rows per second with and without batches under service protection limits: `cargo sandbox bench bulk`.

mod array;
mod rest;

use std::time::Duration;

use anyhow::Context as _;
use futures::future::try_join_all;
use tokio::time::sleep;

use super::benchmark::Context;
use super::limited::{COLUMNS, Fleet, Summary, Trial, scaled};
use super::message::Message;
use super::samples::Plot;
use super::{Benchmark, Bound, Limit, Samples};

/// The long text of `--help`.
pub const ABOUT: &str = "\
Rows per second with and without batches under service protection limits, beside
a client that does not adapt.

Three senders at the same time, each with a Dataverse stand-in and a user of its
own: the handler with SYNC_BATCH=off, the handler with SYNC_BATCH=auto, and a
naive client, which has 52 single requests in flight and sends each again after
the Retry-After of its own 429. A handler gets 128 queue messages in flight for
each instance, as host.json lets the host fetch. The measurements of the case
rows run at the same time as well. Each sender spends an unused window as fast
as the machine allows, and again whenever a window has passed, so their
beginnings are spread over a window: two that do so at once would lengthen each
other's writes.

The stand-in has the documented limits: 6,000 requests and 1,200 s of execution
time in 300 s, 52 concurrent requests; a batch is one request, and costs the
execution time of all its parts. The measurement begins after one window and
lasts for two. --factor 2 halves the windows and what they allow, so the rates
stay the same. The handler's own times are not scaled: it raises its rate again
after a minute at the earliest, and each window costs each process a rejection.
So with a shorter window 429 is more frequent and the rates are lower than at
the service; then values are printed without bounds.

An execution takes the time t, varied by half of it, and what the machine adds
to it, which counts as it does in the service. The limits allow single requests
20 rows a second or 4/t, batches 4/t. It takes 23 minutes.

The bounds, of auto: 4.5 times the rows of off at 40 ms, 8 times at 20 ms, and
at 200 ms, where batches gain nothing, 0.95 times: off alone differs by so much
from run to run, by the lengths of its pauses; 429 on at most 1 % of the
requests; at rest the median of off within 5 %, and its p99 within 20 %.

Cases:
  rows       one instance; an execution takes 20, 40, 100 and 200 ms, with a
             plot; at 40 ms also records with a version, whose rows are read
             before they are written, and four instances with one user
  rest       the time of one message at a time, off and auto in turns
  array      an HTTP array of 1,000 new rows after a spent window, windows
             scaled 1:30; 40 ms. What is answered retry is sent again at once";

/// The factor by which windows are scaled down: with half of the window one instance gets three to six percent less of it.
const FACTOR: u32 = 1;

/// Messages in flight for each instance, as host.json lets the host fetch.
const MESSAGES: u64 = 128;

/// The work of the senders.
#[derive(Debug, Clone, Copy)]
struct Work {
    /// The time of an execution.
    millis: u64,
    /// How many times the rows of `off` there are at least.
    times: Option<f64>,
    instances: u64,
    versioned: bool,
}

impl Work {
    const fn new(millis: u64, times: Option<f64>) -> Self {
        Self { millis, times, instances: 1, versioned: false }
    }
}

const FORTY: Work = Work::new(40, Some(4.5));

/// In the order of the plot.
const ROWS: [Work; 6] = [
    Work::new(20, Some(8.0)),
    FORTY,
    Work { versioned: true, ..FORTY },
    Work { instances: 4, ..FORTY },
    Work::new(100, None),
    Work::new(200, Some(0.95)),
];

const PLOT: Plot = Plot { title: "rows per second", across: "ms of execution for a row" };

const MODES: [&str; 2] = ["off", "auto"];

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// By the time of an execution, and with several instances.
    Rows,
    /// One message at a time.
    Rest,
    /// An HTTP array.
    Array,
}

impl Benchmark for Case {
    const NAME: &'static str = "bulk";
    const RUNS: u64 = 1;
    const FACTOR: Option<u32> = Some(FACTOR);

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        match self {
            Self::Rows => rows(context, samples, context.or_quick(&ROWS[..], &ROWS[1..3])).await,
            Self::Rest => rest::measure(context, samples).await,
            Self::Array => array::measure(context, samples).await,
        }
    }
}

impl Work {
    fn trial(&self, context: &Context<'_>) -> Trial {
        let limits = scaled(context.or_quick(context.factor, 60));
        let time = context.or_quick(2, 1) * limits.window;
        Trial { limits, write: Duration::from_millis(self.millis), time }
    }

    fn fleet<'a>(&self, context: &'a Context<'_>, settings: &'a [(&'a str, &'a str)]) -> Fleet<'a> {
        let Self { instances, versioned, .. } = *self;
        let message = if versioned { Message::versioned(COLUMNS) } else { Message::new(COLUMNS) };
        Fleet { handler: &context.target.path, settings, instances, message, in_flight: MESSAGES, each: 8 }
    }

    /// Measures the three senders, which begin `apart`; the first begins after `delay`.
    async fn measure(&self, context: &Context<'_>, delay: Duration, apart: Duration) -> anyhow::Result<[Summary; 3]> {
        let (trial, settings) = (self.trial(context), MODES.map(|mode| [("SYNC_BATCH", mode)]));
        let [off, auto] = settings.each_ref().map(|settings| trial.handlers(self.fleet(context, settings)));
        let naive = trial.naive_client(self.instances);
        let (off, auto, naive) = tokio::try_join!(
            self.named("off", after(delay, off)),
            self.named("auto", after(delay + apart, auto)),
            self.named("naive", after(delay + 2 * apart, naive))
        )?;
        Ok([off, auto, naive])
    }

    /// Says in an error whose it is.
    async fn named<T>(&self, sender: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        work.await.with_context(|| format!("{} ms{}: {sender}", self.millis, self.kind()))
    }

    fn kind(&self) -> &'static str {
        match (self.versioned, self.instances) {
            (true, _) => ", versioned",
            (false, 1) => "",
            (false, _) => ", four instances",
        }
    }

    fn add(&self, context: &Context<'_>, samples: &mut Samples, [off, auto, naive]: [Summary; 3]) {
        let limits = self.trial(context).limits;
        let is_judged = !context.quick && context.factor <= FACTOR;
        let limit = |bound: Option<Bound>| bound.filter(|_| is_judged).map(Limit::Always);
        let kind = self.kind();
        let name = |what: &str| format!("{} ms{kind}: {what}", self.millis);
        let times = samples.add(name("rows of auto, times those of off"), "×", auto.rate() / off.rate());
        times.limit(limit(self.times.map(Bound::AtLeast)));
        let refused = samples.add(name("429, auto"), "%", auto.refused());
        refused.limit(limit(Some(Bound::AtMost(1.0))));
        for (sender, found) in [("off", off), ("naive", naive)] {
            samples.add(name(&format!("429, {sender}")), "%", found.refused());
        }
        for (sender, found) in [("off", off), ("auto", auto), ("naive", naive)] {
            let row = samples.add(name(&format!("rows, {sender}")), "/s", found.rate());
            if kind.is_empty() {
                row.plotted(PLOT, sender, self.millis);
            }
        }
        samples.add(name("rows per request, auto"), "rows", auto.per_request());
        for (sender, found) in [("off", off), ("auto", auto)] {
            samples.add(
                name(&format!("execution time, of what the limits allow, {sender}")),
                "%",
                found.execution_used(&limits),
            );
        }
        samples.add(name("execution time for a row, auto"), "ms", auto.execution_of_write());
    }
}

/// Does all of this at the same time. The senders' beginnings are spread over a window, because each spends a new window as fast as
/// the machine allows: writes that take longer then cost execution time, and would teach a handler too low a rate.
async fn rows(context: &Context<'_>, samples: &mut Samples, all: &[Work]) -> anyhow::Result<()> {
    let trial = FORTY.trial(context);
    let apart = trial.limits.window / u32::try_from(3 * all.len())?;
    let works = (0..).zip(all).map(|(number, work)| work.measure(context, 3 * number * apart, apart));
    let (found, ()) = tokio::try_join!(try_join_all(works), trial.show(context.bar, trial.limits.window))?;
    for (work, found) in all.iter().zip(found) {
        work.add(context, samples, found);
    }
    Ok(())
}

async fn after<T>(delay: Duration, work: impl Future<Output = T>) -> T {
    sleep(delay).await;
    work.await
}
