//! Dataverse, identity and storage stand-ins on one machine, and Functions hosts that run the staged app against them.
//!
//! The stand-ins live as long as the [`World`]; hosts can be started and stopped. It sets what Azure would set (the
//! managed identity's endpoint, connection strings), and nothing that reveals the sandbox to the handler.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::stage;
use stand_ins::azurite::{Azurite, AzuriteOptions};
use stand_ins::dataverse::{self, Dataverse};
use stand_ins::host::{self, Host};
use stand_ins::identity::{self, Identity};
use stand_ins::queue::{Queue, QueueService};
use stand_ins::storage::{self, Counts, Storage};

/// The queue that the app reads.
pub const QUEUE: &str = "sync-records";

/// The queue that dead letters go to.
pub const POISON_QUEUE: &str = "sync-records-poison";

/// How the names of temporary folders begin.
const PREFIX: &str = "dataverse-sandbox-";

/// A folder that changed within this time may be one that another process is about to lock.
const NEW: Duration = Duration::from_mins(1);

/// Which storage to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum StorageKind {
    /// The store inside the sandbox: nothing to install.
    #[default]
    Embedded,
    /// Azurite, started with npx: needs Node.
    Azurite,
}

/// How to set up a [`World`].
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The handler's executable, to be staged in a temporary app.
    pub handler: PathBuf,
    /// A staged app to use unchanged instead.
    pub app: Option<PathBuf>,
    /// The kind of storage.
    pub storage: StorageKind,
    /// Options of the embedded storage, if it is used.
    pub embedded: storage::Options,
    /// Options of Dataverse. Its token check is always replaced by the world's identity stand-in.
    pub dataverse: dataverse::Options,
    /// Options of the identity stand-in.
    pub identity: identity::Options,
}

/// The storage in use.
#[derive(Debug)]
pub enum Backing {
    /// The store inside the sandbox.
    Embedded(Storage),
    /// The emulator.
    Azurite(Azurite),
}

impl Backing {
    /// A connection string for blobs and queues.
    pub fn connection_string(&self) -> String {
        match self {
            Self::Embedded(storage) => storage.connection_string(),
            Self::Azurite(azurite) => azurite.connection_string(),
        }
    }

    /// The embedded storage, if it is used: it can be inspected and made to fail.
    pub fn embedded(&self) -> Option<&Storage> {
        match self {
            Self::Embedded(storage) => Some(storage),
            Self::Azurite(_) => None,
        }
    }

    /// Requests so far; `None` for Azurite.
    pub fn counts(&self) -> Option<Counts> {
        self.embedded().map(Storage::counts)
    }
}

/// The stand-ins, and a staged app for hosts to run.
#[derive(Debug)]
pub struct World {
    /// The Web API.
    pub dataverse: Dataverse,
    /// The managed identity and, with TLS, the Entra authority.
    pub identity: Identity,
    /// Blobs and queues.
    pub storage: Backing,
    /// The queue that the app reads.
    pub queue: Queue,
    /// The queue of dead letters.
    pub poison: Queue,
    /// The app settings of every host.
    pub settings: BTreeMap<String, String>,
    app: PathBuf,
    /// The app's folder, if it is the world's own.
    _staged: Option<Folder>,
}

/// A temporary folder, removed on drop. It is locked as long as its process lives, so one that is not was left by a process that was
/// killed; the next process removes it.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    _lock: Option<File>,
}

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> anyhow::Result<Self> {
        remove_left_over(&std::env::temp_dir());
        let folder = TempDir::with_prefix(PREFIX).context("creating a temporary folder")?;
        // Where the system cannot lock a folder, none is ever taken for one that was left.
        let lock = locked(folder.path());
        Ok(Self { folder, _lock: lock })
    }

    /// Stages the app with this executable.
    pub(crate) fn staged(executable: &Path) -> anyhow::Result<Self> {
        let folder = Self::new()?;
        stage::lay_out(folder.path(), executable).context("staging the app")?;
        Ok(folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The folder with a lock that ends with this process, unless it is locked.
fn locked(folder: &Path) -> Option<File> {
    File::open(folder).ok().filter(|folder| folder.try_lock().is_ok())
}

fn remove_left_over(temporary: &Path) {
    for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > NEW));
        if is_old && entry.file_name().to_string_lossy().starts_with(PREFIX) && locked(&entry.path()).is_some() {
            // One of another user stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl World {
    /// Starts the stand-ins and stages the app. No host runs yet.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let identity = Identity::start(options.identity).await.context("starting the identity stand-in")?;
        let dataverse = dataverse::Options { tokens: Some(identity.tokens()), ..options.dataverse };
        let dataverse = Dataverse::start(dataverse).await.context("starting the Dataverse stand-in")?;
        let storage = match options.storage {
            StorageKind::Embedded => {
                Backing::Embedded(Storage::start(options.embedded).await.context("starting the storage")?)
            }
            StorageKind::Azurite => {
                Backing::Azurite(Azurite::start(AzuriteOptions::default()).await.context("starting Azurite")?)
            }
        };
        let connection = storage.connection_string();
        let queues = QueueService::from_connection_string(&connection).context("reading the connection string")?;
        let (queue, poison) = (queues.queue(QUEUE), queues.queue(POISON_QUEUE));
        queue.create_if_missing().await.context("creating the queue")?;
        poison.create_if_missing().await.context("creating the poison queue")?;
        let (app, staged) = if let Some(app) = options.app {
            if !app.join("host.json").is_file() {
                bail!("there is no staged app in {}: `cargo stage` lays one out", app.display());
            }
            (std::path::absolute(&app).with_context(|| format!("looking for {}", app.display()))?, None)
        } else {
            let staged = Folder::staged(&options.handler)?;
            (staged.path().to_owned(), Some(staged))
        };
        let settings = BTreeMap::from([
            ("FUNCTIONS_WORKER_RUNTIME".to_owned(), "custom".to_owned()),
            ("AzureWebJobsStorage".to_owned(), connection),
            ("DATAVERSE_URL".to_owned(), dataverse.url()),
            ("IDENTITY_ENDPOINT".to_owned(), identity.endpoint()),
            ("IDENTITY_HEADER".to_owned(), identity.header().to_owned()),
        ]);
        Ok(Self { dataverse, identity, storage, queue, poison, settings, app, _staged: staged })
    }

    /// The staged app.
    pub fn app(&self) -> &Path {
        &self.app
    }

    /// The options of a host in this world: the world's settings overridden by `settings`, and times scaled down so
    /// that a redelivery takes a second instead of half a minute.
    pub fn host_options(&self, name: &str, settings: &[(&str, &str)]) -> host::Options {
        let mut all = self.settings.clone();
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        host::Options {
            app: self.app().to_owned(),
            settings: all,
            name: name.to_owned(),
            polling: Some(Duration::from_millis(100)),
            visibility_timeout: Some(Duration::from_secs(1)),
            traces: true,
            ..host::Options::default()
        }
    }

    /// Starts one host.
    pub async fn host(&self, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Host> {
        Host::start(self.host_options(name, settings)).await.with_context(|| format!("starting {name}"))
    }

    /// Starts `count` hosts.
    pub async fn hosts(&self, count: usize, settings: &[(&str, &str)]) -> anyhow::Result<Vec<Host>> {
        let mut hosts = Vec::with_capacity(count);
        for number in 1..=count {
            hosts.push(self.host(&format!("instance-{number}"), settings).await?);
        }
        Ok(hosts)
    }

    /// Puts a message on the queue, as plain text; returns its id.
    pub async fn put(&self, message: &str) -> anyhow::Result<String> {
        self.queue.put(message).await.context("putting a message on the queue")
    }

    /// The texts of up to 32 dead letters, oldest first, without dequeuing them.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<String>> {
        let letters = self.poison.peek(32).await.context("looking at the dead letters")?;
        Ok(letters.into_iter().map(|letter| letter.text).collect())
    }

    /// The number of messages on the queue, including hidden ones.
    pub async fn waiting(&self) -> anyhow::Result<u64> {
        self.queue.approximate_count().await.context("counting the queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_folder_that_a_killed_process_left_is_removed_and_no_other() {
        let temporary = Folder::new().expect("the temporary folder is writable");
        let made = ["left", "locked", "new"].map(|name| temporary.path().join(format!("{PREFIX}{name}")));
        let others = temporary.path().join("dataverse-other");
        for path in made.iter().chain([&others]) {
            fs::create_dir(path).expect("writable");
            fs::write(path.join("handler"), "").expect("writable");
            if !path.ends_with(format!("{PREFIX}new")) {
                let long_ago = std::time::SystemTime::now() - 2 * NEW;
                File::open(path).and_then(|folder| folder.set_modified(long_ago)).expect("ours");
            }
        }
        let lock = locked(&made[1]).expect("free");
        remove_left_over(temporary.path());
        assert_eq!(made.map(|path| path.exists()), [false, true, true]);
        assert!(others.exists());
        drop(lock);
    }
}
