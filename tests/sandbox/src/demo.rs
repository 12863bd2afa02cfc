//! The demonstration of the main job: `cargo sandbox`.
//!
//! Every claim is checked against the journal of the Dataverse stand-in, and the command fails if one does not hold. It
//! begins with the experiment that started the project (Hajek 2022): Dataverse's upsert is a lookup followed by a
//! create, so two first writes of one row race.

mod call;
mod race;
mod report;
mod round;

use std::time::Instant;

use crate::world::{self, World};
use report::Report;
use round::Round;
use stand_ins::dataverse;

/// The degree of parallelism that the stand-in recommends: the service's maximum, so that many requests race. With a
/// lower value the handler's admission control would prevent most races.
const PARALLELISM: u32 = 52;

/// Runs the demonstration in this world with this many hosts; returns whether every claim held.
pub async fn run(options: world::Options, instances: usize) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut report = Report::default();
    println!(
        "dataverse-sync, tried on this machine: real handler processes, real sockets, and stand-ins for Dataverse,"
    );
    println!("Entra ID, storage and the Functions host that behave as the services are documented to.");
    let dataverse = dataverse::Options { dop_hint: PARALLELISM, ..options.dataverse };
    let world = World::start(world::Options { dataverse, ..options }).await?;

    race::show(&world, &mut report).await?;

    let rounds = [
        Round { label: "b", sources: &["hr"], policy: "skip", leases: false },
        Round { label: "c", sources: &["hr", "shop"], policy: "retry", leases: false },
        Round { label: "d1", sources: &["hr"], policy: "skip", leases: true },
        Round { label: "d2", sources: &["hr", "shop"], policy: "retry", leases: true },
    ];
    for round in rounds {
        round.show(&world, instances, &mut report).await?;
    }

    call::show(&world, &mut report).await?;
    Ok(report.close(begun.elapsed()))
}
