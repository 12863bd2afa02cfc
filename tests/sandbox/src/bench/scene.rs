//! The setup in which a target is measured: a null server in place of storage and Dataverse, an identity stand-in, the staged app,
//! and two threads for the load and the null server, apart from the target's core.
//!
//! Each target has its own scene, so that their state is not mixed.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::Context as _;

use super::cores::{Cores, PinnedRuntime};
use super::driver::{Answers, Keys, Load, TURNS};
use super::message::Template;
use super::null_server::{Blobs, NullServer};
use super::target::{Running, Start, Target};
use crate::world::Folder;
use stand_ins::identity::{self, Identity};
use stand_ins::net::Tls;

/// The target's core, if it has its own, and the load's.
pub(super) const TARGET_CORE: Cores = Cores::One(0);
pub(super) const LOAD: Cores = Cores::One(1);

/// The largest number of messages in flight.
pub(super) const WIDEST: u64 = 256;

/// The setup of one target.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) target: Target,
    pub(super) null_server: Arc<NullServer>,
    pub(super) start: Start,
    driver: PinnedRuntime,
    null_server_runtime: PinnedRuntime,
    identity: Identity,
    _app: Folder,
}

impl Scene {
    /// Sets up one target, optionally with TLS.
    pub(super) async fn set(target: &Target, tls: bool) -> anyhow::Result<Self> {
        let (driver, null_server_runtime) = (PinnedRuntime::start("driver")?, PinnedRuntime::start("null_server")?);
        let app = Folder::staged(&target.path)?;
        let tls = tls.then(Tls::generate).transpose().context("making a certificate")?;
        let identity = Identity::start(identity::Options::default()).await.context("starting the identity stand-in")?;
        let mut settings = settings(&identity);
        if let Some(tls) = &tls {
            let path = app.path().join("authority.pem");
            fs::write(&path, tls.ca_pem()).context("writing the certificate to trust")?;
            settings.insert("SSL_CERT_FILE".to_owned(), path.display().to_string());
        }
        let null_server =
            null_server_runtime.run(async move { Ok(NullServer::start(Blobs::Known, tls.as_ref()).await?) }).await?;
        settings.insert("DATAVERSE_URL".to_owned(), null_server.url());
        settings.insert("AzureWebJobsStorage".to_owned(), null_server.connection_string());
        let start = Start { settings, folder: app.path().to_owned(), cores: None, under: Vec::new() };
        Ok(Self {
            target: target.clone(),
            null_server: Arc::new(null_server),
            start,
            driver,
            null_server_runtime,
            identity,
            _app: app,
        })
    }

    /// The same without TLS, with the load pinned to another core than the target's.
    pub(super) async fn apart(target: &Target) -> anyhow::Result<Self> {
        let scene = Self::set(target, false).await?;
        scene.load_on(LOAD)?;
        Ok(scene)
    }

    /// Connections to the services and issued tokens so far.
    pub(super) fn calls(&self) -> u64 {
        let tokens = u64::try_from(self.identity.tokens_issued()).unwrap_or(u64::MAX);
        self.null_server.connections().saturating_add(tokens)
    }

    /// Pins the load to these cores.
    pub(super) fn load_on(&self, cores: Cores) -> anyhow::Result<()> {
        self.driver.pin(cores)?;
        self.null_server_runtime.pin(cores)
    }

    /// Starts the target on these cores.
    pub(super) async fn running_on(&self, cores: Option<Cores>) -> anyhow::Result<Running> {
        self.running(Start { cores, ..self.start.clone() }).await
    }

    /// Starts the target with these options.
    pub(super) async fn running(&self, start: Start) -> anyhow::Result<Running> {
        let target = self.target.clone();
        self.driver.run(async move { target.start(&start).await }).await
    }

    /// Sends a load.
    pub(super) async fn drive(&self, load: Load) -> anyhow::Result<Answers> {
        self.drive_together(vec![load]).await
    }

    /// Sends loads to several processes of the target; see [`Load::drive_together`].
    pub(super) async fn drive_together(&self, loads: Vec<Load>) -> anyhow::Result<Answers> {
        let name = self.target.name;
        self.driver.run(Load::drive_together(loads)).await.with_context(|| format!("the load of the {name}"))
    }

    /// Maps lock blobs to records, for all records that this many messages in flight use.
    pub(super) async fn learn(&self, port: u16, template: &Template, in_flight: u64) -> anyhow::Result<()> {
        let latency = self.null_server.latency();
        let records = in_flight * TURNS;
        latency.learn(true);
        let load = Load { keys: Keys::Fresh(0), ..Load::to(port, template, 1, records) };
        let driven = self.drive(load).await;
        latency.learn(false);
        let known = latency.known();
        anyhow::ensure!(u64::try_from(known) == Ok(records), "of {records} records {known} had a lock of their own");
        driven.map(drop)
    }
}

fn settings(identity: &Identity) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("FUNCTIONS_WORKER_RUNTIME".to_owned(), "custom".to_owned()),
        ("IDENTITY_ENDPOINT".to_owned(), identity.endpoint()),
        ("IDENTITY_HEADER".to_owned(), identity.header().to_owned()),
        ("SYNC_MAX_CONCURRENCY".to_owned(), WIDEST.to_string()),
    ])
}
