//! What a subject is measured in: a sink in place of storage and Dataverse, an identity, the staged app, and two threads for
//! them, apart from the subject's core.
//!
//! Each subject has a scene of its own, so that what is learnt about one is not mistaken for the other.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use anyhow::Context as _;

use super::cores::{Cores, Lane};
use super::driver::{Answers, Keys, Load, TURNS};
use super::message::Template;
use super::null_server::{Blobs, Sink};
use super::target::{Running, Start, Subject};
use crate::identity::{self, Identity};
use crate::net::Tls;
use crate::world::Folder;

/// The subject's core, where it has one to itself, and the load's.
pub(super) const SUBJECT: Cores = Cores::One(0);
pub(super) const LOAD: Cores = Cores::One(1);

/// As many as are ever in flight.
pub(super) const WIDEST: u64 = 256;

/// The stage.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) subject: Subject,
    pub(super) sink: Arc<Sink>,
    pub(super) start: Start,
    driver: Lane,
    sinks: Lane,
    identity: Identity,
    _app: Folder,
}

impl Scene {
    /// Sets the stage for one subject, over TLS if that is wanted.
    pub(super) async fn set(subject: &Subject, tls: bool) -> anyhow::Result<Self> {
        let (driver, sinks) = (Lane::start("driver")?, Lane::start("sink")?);
        let app = Folder::staged(&subject.path)?;
        let tls = tls.then(Tls::generate).transpose().context("making a certificate")?;
        let identity = Identity::start(identity::Options::default()).await.context("starting the identity stand-in")?;
        let mut settings = settings(&identity);
        if let Some(tls) = &tls {
            let path = app.path().join("authority.pem");
            fs::write(&path, tls.ca_pem()).context("writing the certificate to trust")?;
            settings.insert("SSL_CERT_FILE".to_owned(), path.display().to_string());
        }
        let sink = sinks.run(async move { Ok(Sink::start(Blobs::Known, tls.as_ref()).await?) }).await?;
        settings.insert("DATAVERSE_URL".to_owned(), sink.url());
        settings.insert("AzureWebJobsStorage".to_owned(), sink.connection_string());
        let start = Start { settings, folder: app.path().to_owned(), cores: None, under: Vec::new() };
        Ok(Self { subject: subject.clone(), sink: Arc::new(sink), start, driver, sinks, identity, _app: app })
    }

    /// The same without TLS, and the load kept on a core apart from the subject's.
    pub(super) async fn apart(subject: &Subject) -> anyhow::Result<Self> {
        let scene = Self::set(subject, false).await?;
        scene.load_on(LOAD)?;
        Ok(scene)
    }

    /// Connections to the services and tokens so far.
    pub(super) fn calls(&self) -> u64 {
        let tokens = u64::try_from(self.identity.tokens_issued()).unwrap_or(u64::MAX);
        self.sink.connections().saturating_add(tokens)
    }

    /// Keeps the load on these cores.
    pub(super) fn load_on(&self, cores: Cores) -> anyhow::Result<()> {
        self.driver.pin(cores)?;
        self.sinks.pin(cores)
    }

    /// Starts the subject on these cores.
    pub(super) async fn running_on(&self, cores: Option<Cores>) -> anyhow::Result<Running> {
        self.running(Start { cores, ..self.start.clone() }).await
    }

    /// Starts the subject in this way.
    pub(super) async fn running(&self, start: Start) -> anyhow::Result<Running> {
        let subject = self.subject.clone();
        self.driver.run(async move { subject.start(&start).await }).await
    }

    /// Sends a load.
    pub(super) async fn drive(&self, load: Load) -> anyhow::Result<Answers> {
        self.drive_together(vec![load]).await
    }

    /// Sends loads to several processes of the subject; see [`Load::drive_together`].
    pub(super) async fn drive_together(&self, loads: Vec<Load>) -> anyhow::Result<Answers> {
        let name = self.subject.name;
        self.driver.run(Load::drive_together(loads)).await.with_context(|| format!("the load of the {name}"))
    }

    /// Learns which blob belongs to which record, for all records that come round with so many in flight.
    pub(super) async fn learn(&self, port: u16, template: &Template, in_flight: u64) -> anyhow::Result<()> {
        let own_times = self.sink.own_times();
        let records = in_flight * TURNS;
        own_times.learn(true);
        let load = Load { keys: Keys::Fresh(0), ..Load::to(port, template, 1, records) };
        let driven = self.drive(load).await;
        own_times.learn(false);
        let known = own_times.known();
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
