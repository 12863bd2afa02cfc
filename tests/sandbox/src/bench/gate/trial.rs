//! One limit, measured once with handlers and once with a naive client.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::bail;
use futures::future::try_join_all;
use tokio::time::sleep;

use super::summary::Summary;
use super::{Case, Plan, naive};
use crate::bench::process::Process;
use crate::world::{Options as WorldOptions, World};
use stand_ins::dataverse::{self, Dataverse};
use stand_ins::net::http_client;

const INSTANCES: usize = 4;

/// Messages in flight for each instance: more than it may send concurrently.
const MESSAGES: usize = 60;

/// Concurrent messages of the naive client for each instance: the documented limit.
const NAIVE_MESSAGES: usize = 52;

/// One case of the plan.
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

    /// Measures handler processes with queue messages.
    pub(super) async fn handlers(&self) -> anyhow::Result<Summary> {
        let (handler, dataverse) = (self.plan.handler.clone(), self.dataverse());
        let world = World::start(WorldOptions { handler, dataverse, ..WorldOptions::default() }).await?;
        let names: Vec<String> = (1..=INSTANCES).map(|number| format!("instance-{number}")).collect();
        let quiet = [("RUST_LOG", "warn")];
        let processes = try_join_all(names.iter().map(|name| Process::start(&world, name, &quiet))).await?;
        let messages =
            processes.iter().flat_map(|process| (0..MESSAGES).map(|number| keep_delivering(process, number)));
        let summary = self.watch(&world.dataverse, try_join_all(messages)).await?;
        for process in processes {
            process.stop().await;
        }
        Ok(summary)
    }

    /// Measures a client that does not adapt, under the same limits.
    pub(super) async fn naive_client(&self) -> anyhow::Result<Summary> {
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

    /// Runs the work for one window, because the limits' windows are empty at first, then counts.
    async fn watch(
        &self,
        dataverse: &Dataverse,
        work: impl Future<Output = anyhow::Result<Vec<Infallible>>>,
    ) -> anyhow::Result<Summary> {
        let from = dataverse.started().elapsed() + self.plan.limits(self.case).window;
        tokio::select! {
            ended = work => bail!("{} messages ended", ended?.len()),
            () = sleep(self.lasts()) => {}
        }
        Ok(Summary::of(&dataverse.journal(), from, self.plan.time))
    }
}

/// Delivers messages for one row in sequence.
async fn keep_delivering(process: &Process, number: usize) -> anyhow::Result<Infallible> {
    let key = format!("{}-{number}", process.name());
    loop {
        process.deliver(&key).await?;
    }
}
