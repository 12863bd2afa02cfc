//! Throughput against the embedded storage and the Dataverse stand-in, which keep blobs, leases and rows as the services do.
//!
//! They run in this process and cost more than the handler, so the value is messages per second of the handler's CPU time, not
//! per second.

use indicatif::ProgressBar;
use serde_json::json;

use crate::bench::driver::Load;
use crate::bench::message::{ACCOUNT, Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::runs::{Limit, Runs, Samples, compared};
use crate::bench::scene::{Scene, TARGET_CORE};
use crate::bench::target::{Start, Target};
use crate::bench::{Measurement, number};
use crate::world::{Options, World};

const IN_FLIGHT: u64 = 48;
const MESSAGES: u64 = 2_000;
const RATE: &str = "messages per second of the handler's CPU time";
const SEEN: &str = "messages per second of this machine, for the record";

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let set = async |target: &Target| Scene::set(target, false).await;
    let by_target = runs.in_turn(bar, set, async |scene, samples| lap(scene, runs, samples).await).await?;
    let mut all = compared(&by_target, RATE, "/s", Limit::None);
    all.extend(compared(&by_target, SEEN, "/s", Limit::None));
    Ok(all)
}

async fn lap(scene: &Scene, runs: &Runs, samples: &mut Samples) -> anyhow::Result<()> {
    let world = World::start(Options { handler: scene.target.path.clone(), ..Options::default() }).await?;
    world.dataverse.insert("accounts", &json!({ "accountid": ACCOUNT, "name": "Analytical Engines" }));
    let mut settings = scene.start.settings.clone();
    settings.extend(world.settings.clone());
    let start = Start { settings, cores: Some(TARGET_CORE), ..scene.start.clone() };
    let running = scene.running(start).await?;
    let template = Template::new(Columns::LongText(1_024));
    // The stand-in supports one set of columns. Every record is written once beforehand, so that blobs and rows exist.
    scene.drive(Load::of(&running, &template, IN_FLIGHT, 10 * IN_FLIGHT)).await?;
    let messages = runs.messages(MESSAGES).max(IN_FLIGHT);
    let before = Cpu::of(running.pid()?)?;
    let answers = scene.drive(Load::of(&running, &template, IN_FLIGHT, messages)).await?;
    let spent = Cpu::of(running.pid()?)?.since(&before);
    samples.add(RATE, number(messages) / spent.total.as_secs_f64());
    samples.add(SEEN, number(messages) / answers.lasted.as_secs_f64());
    running.stop().await
}
