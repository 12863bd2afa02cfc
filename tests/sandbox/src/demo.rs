//! The demonstration of the main job: `cargo sandbox`.
//!
//! Every claim is checked against the journal of the Dataverse stand-in, and the command fails if one does not hold. It
//! begins with the experiment that started the project (Hajek 2022): Dataverse's upsert is a lookup followed by a
//! create, so two first writes of one row race.

mod call;
mod race;
mod report;
mod round;

use std::path::PathBuf;
use std::time::Instant;

use crate::world::{Options as WorldOptions, StorageKind, World};
use report::Report;
use round::{Policy, Round};
use stand_ins::dataverse;

/// The degree of parallelism that the stand-in recommends: the service's maximum, so that many requests race. With a
/// lower value the handler's admission control would prevent most races.
const PARALLELISM: u32 = 52;

/// How the demonstration runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The handler's executable.
    pub handler: PathBuf,
    /// A staged app to use instead.
    pub app: Option<PathBuf>,
    /// The number of hosts, with one handler each.
    pub instances: usize,
    /// The kind of storage.
    pub storage: StorageKind,
}

/// Runs the demonstration; returns whether every claim held.
pub async fn run(options: Options) -> anyhow::Result<bool> {
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
