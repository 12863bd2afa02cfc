//! The main job, told to a newcomer and checked: what `cargo sandbox` does.
//!
//! Every claim is compared with the journal of the Dataverse stand-in, and the story ends badly when one is wrong. It begins
//! with the experiment that started the project (Hajek 2022): Dataverse's upsert is a look-up followed by a create, so two
//! first writes of one row race.

mod call;
mod race;
mod report;
mod round;

use std::path::PathBuf;
use std::time::Instant;

use crate::dataverse;
use crate::world::{Options as WorldOptions, StorageKind, World};
use report::Report;
use round::{Policy, Round};

/// What this environment recommends: as many requests at once as it allows. The more are under way, the more of them race, and
/// that is what the story is about; in an environment that recommends few the handler's gate lets few race.
const PARALLELISM: u32 = 52;

/// How the story is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The handler's executable.
    pub handler: PathBuf,
    /// A staged app to use instead.
    pub app: Option<PathBuf>,
    /// Hosts with one handler each.
    pub instances: usize,
    /// Which storage.
    pub storage: StorageKind,
}

/// Tells the whole story; gives whether every claim held.
pub async fn tell(options: Options) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut report = Report::default();
    report.line(
        "dataverse-sync, tried on this machine: real handler processes, real sockets, and stand-ins for Dataverse,",
    );
    report.line("Entra ID, storage and the Functions host that behave as the services are documented to.");
    let dataverse = dataverse::Options { dop_hint: PARALLELISM, ..dataverse::Options::default() };
    let world_options = WorldOptions {
        handler: options.handler,
        app: options.app,
        storage: options.storage,
        dataverse,
        ..WorldOptions::default()
    };
    let world = World::start(world_options).await?;

    race::show(&world, &mut report).await?;

    let rounds = [
        Round { label: "b", sources: &["hr"], policy: Policy::Skip, leases: false },
        Round { label: "c", sources: &["hr", "shop"], policy: Policy::Retry, leases: false },
        Round { label: "d1", sources: &["hr"], policy: Policy::Skip, leases: true },
        Round { label: "d2", sources: &["hr", "shop"], policy: Policy::Retry, leases: true },
    ];
    for round in rounds {
        round.show(&world, options.instances, &mut report).await?;
    }

    call::show(&world, &mut report).await?;
    Ok(report.close(begun.elapsed()))
}
