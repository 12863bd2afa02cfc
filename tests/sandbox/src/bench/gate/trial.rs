//! One limit, met once through the gate and once without: the load, the stand-ins, and when to look.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::bail;
use futures::future::try_join_all;
use tokio::time::sleep;

use super::tally::Tally;
use super::{Case, Plan, naive};
use crate::bench::process::Process;
use crate::dataverse::{self, Dataverse};
use crate::net::http_client;
use crate::world::{Options as WorldOptions, World};

const INSTANCES: usize = 4;

/// Messages that each instance has on its hands: more than it may send at once.
const MESSAGES: usize = 60;

/// Messages that the naive client sends at once for each instance: what the limits name.
const NAIVE_MESSAGES: usize = 52;

/// One case, to be measured by the plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) plan: &'a Plan,
    pub(super) case: Case,
}

impl Trial<'_> {
    /// From the first request to the last.
    pub(super) fn lasts(&self) -> Duration {
        self.plan.limits(self.case).window + self.plan.time
    }

    /// Handler processes with messages of the queue.
    pub(super) async fn through_the_gate(&self) -> anyhow::Result<Tally> {
        let (handler, dataverse) = (self.plan.handler.clone(), self.dataverse());
        let world = World::start(WorldOptions { handler, dataverse, ..WorldOptions::default() }).await?;
        let names: Vec<String> = (1..=INSTANCES).map(|number| format!("instance-{number}")).collect();
        let quiet = [("RUST_LOG", "warn")];
        let processes = try_join_all(names.iter().map(|name| Process::start(&world, name, &quiet))).await?;
        let messages =
            processes.iter().flat_map(|process| (0..MESSAGES).map(|number| keep_delivering(process, number)));
        let tally = self.watch(&world.dataverse, try_join_all(messages)).await?;
        for process in processes {
            process.stop().await;
        }
        Ok(tally)
    }

    /// The same limits, and a client that does not adapt.
    pub(super) async fn naively(&self) -> anyhow::Result<Tally> {
        let dataverse = Dataverse::start(self.dataverse()).await?;
        let (http, set) = (http_client(), format!("{}/api/data/v9.2/contacts", dataverse.url()));
        let row = |number| format!("{set}(employeeid='N-{number}')");
        let messages = (0..INSTANCES * NAIVE_MESSAGES).map(|number| naive::keep_writing(&http, row(number)));
        self.watch(&dataverse, try_join_all(messages)).await
    }

    fn dataverse(&self) -> dataverse::Options {
        dataverse::Options {
            limits: Some(self.plan.limits(self.case)),
            race_window: self.case.write(),
            race_spread: 0.5,
            ..dataverse::Options::default()
        }
    }

    /// Lets the work go on for one window, in which what nobody had used before is used up, and counts what comes after it.
    async fn watch(
        &self,
        dataverse: &Dataverse,
        work: impl Future<Output = anyhow::Result<Vec<Infallible>>>,
    ) -> anyhow::Result<Tally> {
        let from = dataverse.started().elapsed() + self.plan.limits(self.case).window;
        tokio::select! {
            ended = work => bail!("{} messages came to an end", ended?.len()),
            () = sleep(self.lasts()) => {}
        }
        Ok(Tally::of(&dataverse.journal(), from, self.plan.time))
    }
}

/// Delivers messages for one row, one after the other.
async fn keep_delivering(process: &Process, number: usize) -> anyhow::Result<Infallible> {
    let key = format!("{}-{number}", process.name());
    loop {
        process.deliver(&key).await?;
    }
}
