//! A lock storage separate from the world's own storage, which has the queues.

use sandbox::world::World;
use stand_ins::azurite::{Azurite, AzuriteOptions};
use stand_ins::host::Host;
use stand_ins::net::{Tls, http_client};
use stand_ins::storage::{self, EMULATOR_ACCOUNT as ACCOUNT, EMULATOR_KEY as KEY, Storage};

use crate::sas;
use crate::trust::{self, Folder};

/// The connection name that `LOCK_STORAGE` is set to.
pub(super) const NAME: &str = "Locks";

/// The lock storage, and a world whose handlers lock there.
pub(super) struct LockStorage {
    pub(super) world: World,
    endpoint: String,
    http: reqwest::Client,
    trusted: Option<String>,
    storage: Backing,
    _folder: Folder,
}

/// Kept alive while the storage is used.
enum Backing {
    Embedded(Storage),
    #[expect(dead_code, reason = "held for its drop")]
    Azurite(Azurite),
}

impl LockStorage {
    pub(super) async fn embedded() -> Self {
        Self::start(None).await
    }

    async fn start(tls: Option<Tls>) -> Self {
        let options = storage::Options { tls: tls.clone(), ..storage::Options::default() };
        let storage = Storage::start(options).await.expect("loopback has free ports");
        Self::new(storage.blob_endpoint(), tls, Backing::Embedded(storage)).await
    }

    pub(super) async fn embedded_behind_tls() -> Self {
        Self::start(Some(trust::authority())).await
    }

    /// Azurite behind TLS, accepting Entra tokens.
    pub(super) async fn azurite() -> Self {
        let tls = trust::authority();
        let azurite = Azurite::start(AzuriteOptions { tls: Some(tls.clone()), oauth: true }).await;
        let azurite = azurite.expect("Azurite starts");
        Self::new(azurite.blob_endpoint(), Some(tls), Backing::Azurite(azurite)).await
    }

    async fn new(endpoint: String, tls: Option<Tls>, storage: Backing) -> Self {
        let world = crate::world().await;
        let folder = Folder::new();
        let trusted = tls.as_ref().map(|tls| folder.write("authority.pem", tls.ca_pem()));
        let http = tls.as_ref().map_or_else(http_client, trust::client);
        Self { world, endpoint, http, trusted, storage, _folder: folder }
    }

    /// Has the next request to take a lease refused with this status and code.
    pub(super) fn refuse_a_lease(&self, code: u16, error_code: &'static str) {
        let Backing::Embedded(storage) = &self.storage else { panic!("Azurite has no faults") };
        let effect = storage::Effect::Status { code, error_code, retry_after: None };
        storage.fault(storage::Fault::once(storage::Op::Acquire, effect));
    }

    /// The blob service's URL, including the account.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A connection string with the account's key.
    pub(super) fn with_key(&self) -> String {
        format!("AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={}", self.endpoint)
    }

    /// A connection string with an account signature.
    pub(super) fn with_signature(&self, permissions: &str, expiry: &str) -> String {
        let signature = sas::signature(permissions, expiry);
        format!("BlobEndpoint={};SharedAccessSignature={signature}", self.endpoint)
    }

    /// A host whose handler locks here, in `container`.
    pub(super) async fn host(&self, container: &str, settings: &[(&str, &str)]) -> Host {
        let mut all = vec![("LOCK_STORAGE", NAME), ("LOCK_CONTAINER", container)];
        all.extend(self.trusted.as_deref().map(|file| ("SSL_CERT_FILE", file)));
        all.extend_from_slice(settings);
        self.world.host("one", &all).await.expect("the handler starts")
    }

    /// The lease state of every lock blob in `container`; empty if there is no such container.
    pub(super) async fn lease_states(&self, container: &str) -> Vec<String> {
        let signature = sas::everything();
        let url = format!("{}/{container}?restype=container&comp=list&{signature}", self.endpoint);
        let answer = self.http.get(url).send().await.expect("the storage answers");
        let text = answer.text().await.expect("the answer is whole");
        let states = text.split("<LeaseState>").skip(1).filter_map(|rest| rest.split('<').next());
        states.map(str::to_owned).collect()
    }
}
