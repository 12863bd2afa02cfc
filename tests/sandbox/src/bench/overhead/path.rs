//! The critical path of an uncontended write: how many network calls its response waits for.
//!
//! One message at a time. A call counts if its response was sent before the message's; with network latency, a call in the
//! background is answered later. Later calls are counted as well: a lease must be released.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::time::sleep;

use super::steps::FIXED;
use crate::bench::driver::{Keys, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::runs::{Limit, Runs, Samples, compared};
use crate::bench::scene::Scene;
use crate::bench::target::Running;
use crate::bench::{Bound, Measurement, number, report};

const MESSAGES: u64 = 20;

/// How long calls are still counted after the response.
const AFTERWARDS: Duration = Duration::from_millis(100);

const WAITED_FOR: &str = "calls that the answer waits for";
const IN_ALL: &str = "calls in all";

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let mut by_target = Vec::new();
    report::begin(bar, MESSAGES * u64::try_from(runs.targets.len())?, "messages");
    for target in &runs.targets {
        let (scene, mut samples) = (Scene::set(target, false).await?, Samples::default());
        let running = scene.running_on(None).await?;
        let template = Template::new(Columns::Many(1_024));
        // The first messages request the token and open the connections.
        scene.drive(Load::of(&running, &template, 1, 4)).await?;
        scene.null_server.pace(FIXED);
        for record in 0..MESSAGES {
            count(&scene, &running, &template, record, &mut samples).await?;
            bar.inc(1);
        }
        running.stop().await?;
        by_target.push((target.name, samples));
    }
    let mut all = compared(&by_target, WAITED_FOR, "calls", Limit::Absolute(Bound::Exactly(2.0)));
    all.extend(compared(&by_target, IN_ALL, "calls", Limit::Absolute(Bound::AtMost(3.0))));
    Ok(all)
}

/// The calls of one message.
async fn count(
    scene: &Scene,
    running: &Running,
    template: &Template,
    record: u64,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    sleep(AFTERWARDS).await;
    scene.null_server.answered();
    let mut load = Load::of(running, template, 1, 1);
    load.keys = Keys::Fresh(record);
    scene.drive(load).await?;
    let answered = Instant::now();
    sleep(AFTERWARDS).await;
    let calls = scene.null_server.answered();
    samples.add(WAITED_FOR, number(calls.iter().filter(|call| **call <= answered).count()));
    samples.add(IN_ALL, number(calls.len()));
    Ok(())
}
