//! The hosts of a run: killed, stopped, paused, replaced; and their books, which outlive them.
//!
//! Every host has a name of its own, which its handler sends along with each request to Dataverse, and a door of its own to the
//! storage: so the journal and the lease history say who did what, also when the host is long gone.

use std::sync::{Mutex as Shared, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::Plan;
use crate::host::{self, Books, Host};
use crate::storage::{Door, Storage};
use crate::world::World;

/// The header by which a handler says which host it belongs to.
pub(super) const HOST_HEADER: &str = "x-sandbox-host";

/// What a host that has stopped taking work may need for what it has under way.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

const LOOK: Duration = Duration::from_millis(20);

/// A host that was there at any time.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// `instance-2.1`: the second place, its first host.
    pub(super) name: String,
    /// The host and port by which the storage knows it.
    pub(super) caller: String,
    pub(super) books: Books,
}

/// The places for hosts, and everybody who was in one of them.
pub(super) struct Fleet<'a> {
    world: &'a World,
    storage: &'a Storage,
    plan: &'a Plan,
    places: Vec<Mutex<Place>>,
    members: Shared<Vec<Member>>,
}

#[derive(Default)]
struct Place {
    host: Option<Host>,
    started: usize,
    /// Closed with the fleet: a handler that lives on for a moment must find it open.
    doors: Vec<Door>,
}

impl<'a> Fleet<'a> {
    /// Starts a host in every place.
    pub(super) async fn start(world: &'a World, storage: &'a Storage, plan: &'a Plan) -> anyhow::Result<Self> {
        let places = (0..plan.instances).map(|_| Mutex::default()).collect();
        let fleet = Self { world, storage, plan, places, members: Shared::default() };
        for number in 0..plan.instances {
            let mut place = fleet.places[number].lock().await;
            fleet.fill(number, &mut place).await?;
        }
        Ok(fleet)
    }

    /// Everybody who was there so far.
    pub(super) fn members(&self) -> Vec<Member> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Invocations that run now.
    pub(super) fn in_flight(&self) -> u64 {
        self.members().iter().map(|member| member.books.in_flight()).sum()
    }

    /// SIGKILL to the handler. The host starts it again; a host that has had enough of that is replaced.
    pub(super) async fn kill(&self, number: usize) -> anyhow::Result<()> {
        let mut place = self.places[number].lock().await;
        let Some(host) = &place.host else { return Ok(()) };
        host.kill_handler().await;
        if host.ready().await {
            return Ok(());
        }
        self.fill(number, &mut place).await
    }

    /// The host takes no more work and its handler gets SIGTERM; another host is in its place already.
    pub(super) async fn terminate(&self, number: usize) -> anyhow::Result<()> {
        let mut place = self.places[number].lock().await;
        let leaving = place.host.take();
        self.fill(number, &mut place).await?;
        drop(place);
        if let Some(host) = leaving {
            close(host).await;
        }
        Ok(())
    }

    /// Host and handler are gone; another host comes after `absent`.
    pub(super) async fn lose(&self, number: usize, absent: Duration) -> anyhow::Result<()> {
        let mut place = self.places[number].lock().await;
        place.host = None;
        sleep(absent).await;
        self.fill(number, &mut place).await
    }

    /// The handler sleeps for `pause` and does not know it.
    pub(super) async fn pause(&self, number: usize, pause: Duration) -> anyhow::Result<()> {
        let place = self.places[number].lock().await;
        let pid = || place.host.as_ref().and_then(Host::pid);
        let Some(paused) = pid() else { return Ok(()) };
        signal(paused, "STOP").await?;
        sleep(pause).await;
        if pid() == Some(paused) {
            signal(paused, "CONT").await?;
        }
        Ok(())
    }

    /// Ends every host, so that its last lines are in its books.
    pub(super) async fn end(self) -> Vec<Member> {
        let members = self.members();
        let hosts = self.places.into_iter().filter_map(|place| place.into_inner().host);
        futures::future::join_all(hosts.map(|host| timeout(LAST_MOMENTS, close(host)))).await;
        members
    }

    async fn fill(&self, number: usize, place: &mut Place) -> anyhow::Result<()> {
        place.started += 1;
        let name = format!("instance-{}.{}", number + 1, place.started);
        let door = self.storage.door().await.context("opening a door of the storage")?;
        let headers = json!({ HOST_HEADER: name }).to_string();
        let settings = [
            ("AzureWebJobsStorage", door.connection_string()),
            ("SYNC_HEADERS", headers.as_str()),
            ("SYNC_VERSION_COLUMN", super::VERSION_COLUMN),
        ];
        let options = host::Options {
            visibility_timeout: Some(self.plan.visibility_timeout),
            invisibility: Some(self.plan.invisibility),
            kept_lines: Some(usize::MAX),
            ..self.world.host_options(&name, &settings)
        };
        let host = Host::start(options).await.with_context(|| format!("starting {name}"))?;
        let member = Member { name, caller: door.authority(), books: host.books() };
        self.members.lock().unwrap_or_else(PoisonError::into_inner).push(member);
        place.doors.push(door);
        place.host = Some(host);
        Ok(())
    }
}

/// As on scale-in: what is under way is finished, within the handler's own time for that.
async fn close(host: Host) {
    host.terminate_handler().await;
    let begun = Instant::now();
    while host.books().in_flight() > 0 && begun.elapsed() < LAST_MOMENTS {
        sleep(LOOK).await;
    }
    host.stop().await;
}

/// Through the shell's own `kill`: the standard library knows SIGKILL only.
async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("/bin/sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await;
    // A process that is gone meanwhile was struck by something else.
    sent.map(drop).with_context(|| format!("sending SIG{name}"))
}
