//! Azure Storage: connections by name, signed requests, errors and retries, for the locks and for dead letters.
//!
//! A connection name is resolved as by the Functions host: the variable of that name holds a connection string, or
//! `<name>__blobServiceUri`, `<name>__queueServiceUri`, `<name>__serviceUri` or `<name>__accountName` name an account that is
//! accessed with Entra ID.
//! <https://learn.microsoft.com/azure/azure-functions/functions-reference#connections>
//! <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string>
//!
//! Keys and signatures are secrets: they are in no Debug output and no error.

mod error;
mod retry;
mod shared_key;
mod transport;

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use url::Url;

use crate::http::Http;
use crate::http::sdk::SdkTransport;
use crate::identity::{self, Choice, Identity};
use crate::settings::{Lookup, Problem, is_confidential, read_resolved};
pub use error::Error;
pub(crate) use error::{OLD_DATE, WRONG_NETWORK};
pub(crate) use retry::{Retried, RetryPolicy};
use shared_key::SharedKey;
use transport::StorageTransport;

/// The public account and key of Azurite and every other emulator.
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#connection-strings>
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The connection of the host itself, for blobs and queues alike; such a connection has no `__serviceUri`.
/// <https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections>
const SHARED: &str = "AzureWebJobsStorage";

/// The services of a storage account that this program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Locks are blobs.
    Blob,
    /// Records and dead letters are queue messages.
    Queue,
}

impl Service {
    /// The service in host names and in `<name>__blobServiceUri`, its member of a connection string, and the port of an emulator.
    fn names(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::Blob => ("blob", "BlobEndpoint", 10_000),
            Self::Queue => ("queue", "QueueEndpoint", 10_001),
        }
    }
}

/// One service of a storage account, and the access to it.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    identity: Arc<Identity>,
    client: reqwest::Client,
}

/// A connection as the settings define it.
#[derive(Debug, Clone)]
pub struct Address {
    service: Url,
    access: Access,
}

#[derive(Debug, Clone)]
enum Access {
    Entra,
    SharedKey(SharedKey),
    Sas(Secret),
}

impl Address {
    /// Resolves the Functions connection `name` for `service`, with the settings that `lookup` gives.
    ///
    /// # Errors
    /// What is wrong, with the variable's name.
    pub fn resolve(service: Service, name: &str, lookup: &Lookup) -> Result<Self, Problem> {
        if let Some(text) = lookup(name) {
            return from_connection_string(service, &text).map_err(|text| Problem::new(name, text));
        }
        let (label, ..) = service.names();
        let (uri, account) = (format!("{name}__{label}ServiceUri"), format!("{name}__accountName"));
        let any_uri = format!("{name}__serviceUri");
        let entra = |service| Self { service, access: Access::Entra };
        if let Some((uri, text)) = [&uri, &any_uri].into_iter().find_map(|uri| Some((uri, lookup(uri)?))) {
            if *uri == any_uri && name == SHARED {
                let text = format!(
                    "cannot name both blobs and queues, which {SHARED} is for; set {SHARED}__{label}ServiceUri"
                );
                return Err(Problem::new(uri, text));
            }
            let problem = format!("must be an https address such as https://account.{label}.core.windows.net");
            return https(&text).map(entra).ok_or_else(|| Problem::new(uri, problem));
        }
        if let Some(text) = lookup(&account) {
            return account_url("https", &text, service, "core.windows.net").map(entra).ok_or_else(|| {
                Problem::new(&account, "is not a storage account name (3 to 24 lower-case letters and digits)")
            });
        }
        Err(Problem::new(
            name,
            format!("is not set, nor is {uri} or {account}; one of them must name a storage account"),
        ))
    }

    /// Whether access needs an Entra ID token.
    pub(crate) fn needs_identity(&self) -> bool {
        matches!(self.access, Access::Entra)
    }

    /// The kind of access, for the log.
    pub fn access(&self) -> &'static str {
        match self.access {
            Access::Entra => "entra",
            Access::SharedKey(_) => "shared_key",
            Access::Sas(_) => "sas",
        }
    }

    /// The host, for the log.
    pub fn host(&self) -> &str {
        self.service.host_str().unwrap_or_default()
    }
}

impl Connection {
    /// A connection to `address`, with tokens from `identity` if it needs them.
    pub fn new(address: Address, identity: Arc<Identity>, http: &Http) -> Self {
        let client = http.to(address.service.as_str()).clone();
        Self { address, identity, client }
    }

    /// The same for a command: opens the credential that the settings choose, if `address`, that of the connection `name`, needs one.
    ///
    /// # Errors
    /// Everything about the credential that is missing or wrong.
    pub(crate) fn open(address: Address, name: &str, lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        // With a key or a signature no token is requested.
        let choice = if address.needs_identity() {
            read_resolved(lookup, Choice::from_settings)?
        } else {
            Choice::DeveloperTools
        };
        let unusable = |problem: String| vec![Problem::new(name, format!("cannot be used: {problem}"))];
        let (identity, http) = identity::open(choice).map_err(unusable)?;
        Ok(Self::new(address, identity, &http))
    }

    /// The Entra credential, if one is needed.
    pub(crate) fn credential(&self) -> Option<Arc<dyn TokenCredential>> {
        self.address.needs_identity().then(|| self.identity.clone() as Arc<dyn TokenCredential>)
    }

    /// The URL of a container or queue, with the shared access signature if there is one.
    pub(crate) fn url(&self, name: &str) -> Url {
        let mut url = self.address.service.clone();
        url.path_segments_mut().expect("checked when it was resolved").pop_if_empty().push(name);
        if let Access::Sas(signature) = &self.address.access {
            url.set_query(Some(signature.secret()));
        }
        url
    }

    /// Options for an SDK client that reads answers of at most `body_cap` bytes. It does not retry: [`RetryPolicy`] does.
    pub(crate) fn client_options(&self, body_cap: usize) -> ClientOptions {
        let inner = SdkTransport { client: self.client.clone(), body_cap };
        let transport = Transport::new(Arc::new(StorageTransport { inner, identity: self.identity.clone() }));
        let mut options =
            ClientOptions { retry: RetryOptions::none(), transport: Some(transport), ..ClientOptions::default() };
        if let Access::SharedKey(key) = &self.address.access {
            options.per_try_policies.push(Arc::new(key.clone()));
        }
        options
    }
}

/// Whether it can be the name of a container or a queue.
/// <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>
/// <https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata>
pub(crate) fn is_name(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !(text.starts_with('-') || text.ends_with('-') || text.contains("--"))
}

fn https(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host())
}

fn account_url(scheme: &str, account: &str, service: Service, suffix: &str) -> Option<Url> {
    let valid = (3..=24).contains(&account.len())
        && account.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !valid {
        return None;
    }
    Url::parse(&format!("{scheme}://{account}.{}.{suffix}", service.names().0)).ok()
}

fn from_connection_string(service: Service, text: &str) -> Result<Address, String> {
    let (_, endpoint, emulator) = service.names();
    let part = |name: &str| {
        let parts = text.split(';').filter_map(|part| part.trim().split_once('='));
        parts.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    if part("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let host = part("DevelopmentStorageProxyUri").unwrap_or("http://127.0.0.1").trim_end_matches('/');
        let text = format!(
            "AccountName={DEVELOPMENT_ACCOUNT};AccountKey={DEVELOPMENT_KEY};{endpoint}={host}:{emulator}/{DEVELOPMENT_ACCOUNT}"
        );
        return from_connection_string(service, &text)
            .map_err(|_| "has a DevelopmentStorageProxyUri that is not an http URL of this machine".to_owned());
    }
    let account = part("AccountName");
    let address = match (part(endpoint), account) {
        (Some(text), _) => Url::parse(text).ok().filter(|url| url.has_host() && !url.cannot_be_a_base()),
        (None, Some(account)) => {
            let scheme = part("DefaultEndpointsProtocol").unwrap_or("https");
            let suffix = part("EndpointSuffix").unwrap_or("core.windows.net");
            (scheme == "https" || scheme == "http").then(|| account_url(scheme, account, service, suffix)).flatten()
        }
        (None, None) => {
            return Err(format!("is not a storage connection string: it has neither AccountName nor {endpoint}"));
        }
    };
    let unusable = || format!("is a connection string whose account name or {endpoint} is not usable");
    let service = address.ok_or_else(unusable)?;
    if !is_confidential(&service) {
        return Err("is a connection string that allows http to another machine; use https".to_owned());
    }
    Ok(Address { service, access: access(account, &part)? })
}

fn access<'a>(account: Option<&str>, part: &dyn Fn(&str) -> Option<&'a str>) -> Result<Access, &'static str> {
    match (part("AccountKey"), part("SharedAccessSignature"), account) {
        (Some(key), _, Some(account)) => {
            Ok(Access::SharedKey(SharedKey::new(account, key).ok_or("has an AccountKey that is not base64")?))
        }
        (Some(_), _, None) => Err("has an AccountKey but no AccountName"),
        (None, Some(sas), _) => Ok(Access::Sas(Secret::new(sas.trim_start_matches('?').to_owned()))),
        (None, None, _) => Err("has neither AccountKey nor SharedAccessSignature"),
    }
}

#[cfg(test)]
mod tests;
