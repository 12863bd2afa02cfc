//! From the exec to the first `GET /` that is answered 200.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;

use crate::bench::runs::{Limit, Runs, Samples, compared};
use crate::bench::scene::Scene;
use crate::bench::target::{READY, Running, Start, Target};
use crate::bench::{Bound, Measurement, milliseconds, number};

pub(super) const MANAGED: &str = "exec to the first 200, managed identity";
const SECRET: &str = "exec to the first 200, client secret";
const CALLS: &str = "calls to the network before it";

/// A start may take at most this many times the baseline's.
const MAX_START_RATIO: f64 = 1.5;

/// The timeout for the first response.
const PATIENCE: Duration = Duration::from_secs(30);

/// With these settings, too, no call may be made during the start; that they are invalid would show only later.
const CLIENT_SECRET: [(&str, &str); 3] = [
    ("AZURE_TENANT_ID", "11111111-1111-4111-8111-111111111111"),
    ("AZURE_CLIENT_ID", "22222222-2222-4222-8222-222222222222"),
    ("AZURE_CLIENT_SECRET", "none"),
];

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let set = async |target: &Target| Scene::set(target, false).await;
    let by_target = runs.in_turn(bar, set, lap).await?;
    let mut all = compared(&by_target, MANAGED, "ms", Limit::TimesBaseline(MAX_START_RATIO));
    all.extend(compared(&by_target, SECRET, "ms", Limit::TimesBaseline(MAX_START_RATIO)));
    all.extend(compared(&by_target, CALLS, "calls", Limit::Absolute(Bound::Exactly(0.0))));
    Ok(all)
}

/// Two starts with each of the settings.
async fn lap(scene: &Scene, samples: &mut Samples) -> anyhow::Result<()> {
    let mut secret = scene.start.clone();
    secret.settings.retain(|name, _| !name.starts_with("IDENTITY_"));
    secret.settings.extend(CLIENT_SECRET.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, start) in [(MANAGED, &scene.start), (SECRET, &secret)].repeat(2) {
        samples.add(name, milliseconds(first_answer(scene, start).await?));
    }
    samples.add(CALLS, number(scene.calls()));
    Ok(())
}

async fn first_answer(scene: &Scene, start: &Start) -> anyhow::Result<Duration> {
    let running = scene.target.exec(start).await?;
    let (begun, port) = (running.begun(), running.port());
    let waited = tokio::task::spawn_blocking(move || wait(begun, port)).await.context("the client panicked")?;
    end(running, waited, scene.target.name).await
}

/// Stops it, also if the wait failed.
async fn end(mut running: Running, waited: anyhow::Result<Duration>, name: &str) -> anyhow::Result<Duration> {
    running.must_live(name)?;
    running.stop().await?;
    waited
}

/// Polls without a pause.
fn wait(begun: Instant, port: u16) -> anyhow::Result<Duration> {
    loop {
        if ask(port).is_ok_and(|head| head.ends_with(b" 200")) {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < PATIENCE, "GET / was not answered 200 in {} s", PATIENCE.as_secs());
    }
}

fn ask(port: u16) -> std::io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(READY)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head)
}
