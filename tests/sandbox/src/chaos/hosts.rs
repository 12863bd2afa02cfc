//! The hosts of a run, which faults kill, stop, pause and replace, and their records, which outlive them.
//!
//! Every host has a unique name, which its handler sends with each request to Dataverse, and its own listener of the storage, so the
//! journal and the lease history identify the host also after it is gone.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::{Plan, VERSION_COLUMN};
use crate::world::World;
use stand_ins::host::{self, Host, HostRecords};
use stand_ins::storage::{ExtraListener, Storage};

/// The request header with the name of the host.
pub(super) const HOST_HEADER: &str = "x-sandbox-host";

/// How long a host that takes no more work may need for the invocations in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the invocations in flight are read.
const POLL: Duration = Duration::from_millis(20);

/// A host that ran at any time.
pub(super) struct Member {
    /// The storage's listener for it; stays open, as a handler may outlive its host for a moment.
    pub(super) listener: ExtraListener,
    pub(super) records: HostRecords,
}

/// The slots for hosts.
pub(super) struct Hosts<'a> {
    plan: &'a Plan,
    world: &'a World,
    storage: &'a Storage,
    slots: Vec<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    host: Option<Host>,
    /// All hosts that ran in it.
    members: Vec<Member>,
}

impl<'a> Hosts<'a> {
    /// Starts a host in every slot.
    pub(super) async fn start(plan: &'a Plan, world: &'a World, storage: &'a Storage) -> anyhow::Result<Self> {
        let slots = (0..plan.instances).map(|_| Mutex::default()).collect();
        let hosts = Self { plan, world, storage, slots };
        for number in 0..hosts.slots.len() {
            hosts.fill(number, &mut *hosts.slots[number].lock().await).await?;
        }
        Ok(hosts)
    }

    /// Running invocations.
    pub(super) async fn in_flight(&self) -> u64 {
        let mut sum = 0;
        for slot in &self.slots {
            sum += slot.lock().await.members.iter().map(|member| member.records.in_flight()).sum::<u64>();
        }
        sum
    }

    /// SIGKILL to the handler. The host restarts it; a host that gives up restarting is replaced.
    pub(super) async fn kill(&self, number: usize) -> anyhow::Result<()> {
        let mut slot = self.slots[number].lock().await;
        let Some(host) = &slot.host else { return Ok(()) };
        host.kill_handler().await;
        if host.ready().await { Ok(()) } else { self.fill(number, &mut slot).await }
    }

    /// The host takes no more work and its handler gets SIGTERM, after another host has started in its place.
    pub(super) async fn terminate(&self, number: usize) -> anyhow::Result<()> {
        let mut slot = self.slots[number].lock().await;
        let leaving = slot.host.take();
        self.fill(number, &mut slot).await?;
        drop(slot);
        if let Some(host) = leaving {
            drain(host).await;
        }
        Ok(())
    }

    /// Host and handler are gone; another host starts after `absent`.
    pub(super) async fn replace(&self, number: usize, absent: Duration) -> anyhow::Result<()> {
        let mut slot = self.slots[number].lock().await;
        slot.host = None;
        sleep(absent).await;
        self.fill(number, &mut slot).await
    }

    /// The handler is stopped for `pause`.
    pub(super) async fn pause(&self, number: usize, pause: Duration) -> anyhow::Result<()> {
        let slot = self.slots[number].lock().await;
        let pid = || slot.host.as_ref().and_then(Host::pid);
        let Some(paused) = pid() else { return Ok(()) };
        signal(paused, "STOP").await?;
        sleep(pause).await;
        if pid() == Some(paused) {
            signal(paused, "CONT").await?;
        }
        Ok(())
    }

    /// Stops every host, so that its records are complete; returns all hosts that ever ran.
    pub(super) async fn stop(self) -> Vec<Member> {
        let slots = self.slots.into_iter().map(Mutex::into_inner).map(|slot| (slot.host, slot.members));
        let (hosts, members): (Vec<_>, Vec<_>) = slots.unzip();
        let drained = hosts.into_iter().flatten().map(|host| timeout(DRAIN_TIMEOUT, drain(host)));
        futures::future::join_all(drained).await;
        members.into_iter().flatten().collect()
    }

    async fn fill(&self, number: usize, slot: &mut Slot) -> anyhow::Result<()> {
        let name = format!("instance-{}.{}", number + 1, slot.members.len() + 1);
        let listener = self.storage.extra_listener().await.context("opening another listener of the storage")?;
        let headers = json!({ HOST_HEADER: name }).to_string();
        let settings = [
            ("AzureWebJobsStorage", listener.connection_string()),
            ("SYNC_HEADERS", headers.as_str()),
            ("SYNC_VERSION_COLUMN", VERSION_COLUMN),
        ];
        let options = host::Options {
            visibility_timeout: Some(self.plan.visibility_timeout),
            invisibility: Some(self.plan.invisibility),
            kept_lines: Some(usize::MAX),
            ..self.world.host_options(&name, &settings)
        };
        let host = Host::start(options).await.with_context(|| format!("starting {name}"))?;
        slot.members.push(Member { listener, records: host.records() });
        slot.host = Some(host);
        Ok(())
    }
}

/// As on scale-in: invocations in flight end within the handler's own drain time.
async fn drain(host: Host) {
    host.terminate_handler().await;
    let begun = Instant::now();
    while host.records().in_flight() > 0 && begun.elapsed() < DRAIN_TIMEOUT {
        sleep(POLL).await;
    }
    host.stop().await;
}

/// Uses the shell's `kill`: the standard library supports SIGKILL only.
async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("/bin/sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await;
    // The process may have ended meanwhile.
    sent.map(drop).with_context(|| format!("sending SIG{name}"))
}
