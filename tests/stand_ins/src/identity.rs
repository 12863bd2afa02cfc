//! A stand-in for Microsoft Entra ID: the App Service managed-identity endpoint over http and, if a certificate is
//! given, the Entra token endpoint over https.
//!
//! It knows the identities, applications and credentials in [`Options`]; all others get the service's error. Tokens are
//! valid only at stand-ins that check the register ([`Identity::tokens`]) and at servers that, like Azurite, check only
//! the claims.
//!
//! Mirrors <https://learn.microsoft.com/azure/app-service/overview-managed-identity> and
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>.

mod assertion;
mod entra;
mod managed;
mod token;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::token::{Claims, Refusal, Tokens};
use crate::net::{Server, Tls};

/// The tenant's settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// The tenant's id.
    pub tenant: String,
    /// The tokens' lifetime, in whole seconds.
    pub lifetime: Duration,
    /// The managed-identity endpoint's port on 127.0.0.1; with 0 the system chooses one.
    pub port: u16,
    /// The value for `IDENTITY_HEADER`; a random one by default.
    pub header: Option<String>,
    /// The certificate of the Entra authority; `None`: there is no authority.
    pub tls: Option<Tls>,
    /// The client id of the app's system-assigned identity; `None`: the app has none.
    pub system_assigned: Option<String>,
    /// The client ids of the app's user-assigned identities.
    pub user_assigned: Vec<String>,
    /// The registered applications.
    pub apps: Vec<App>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tenant: "11111111-1111-4111-8111-111111111111".to_owned(),
            lifetime: Duration::from_hours(1),
            port: 0,
            header: None,
            tls: None,
            system_assigned: Some("22222222-2222-4222-8222-222222222222".to_owned()),
            user_assigned: Vec::new(),
            apps: Vec::new(),
        }
    }
}

/// A registered application.
#[derive(Debug, Clone)]
pub struct App {
    /// Its client id.
    pub client_id: String,
    /// Its credentials; any one is enough to authenticate.
    pub credentials: Vec<Credential>,
}

/// A credential.
#[derive(Clone)]
pub enum Credential {
    /// A client secret.
    Secret(String),
    /// A certificate. Without a key, the assertion's signature is not checked.
    Certificate {
        /// The RSA public key as a PKCS #1 `RSAPublicKey` in DER.
        public_key: Option<Vec<u8>>,
    },
    /// Trust in tokens of another issuer.
    Federated {
        /// The `iss` claim.
        issuer: String,
        /// The `sub` claim.
        subject: String,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Certificate { .. } => "Certificate",
            Self::Federated { .. } => "Federated",
        })
    }
}

/// A fault at both endpoints until [`Identity::clear_faults`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every request gets this status.
    Status(StatusCode),
    /// No request gets a response.
    Hang,
    /// Responses are delayed by this much.
    Slow(Duration),
    /// Tokens are issued for an audience other than the requested one.
    WrongAudience,
    /// Every request gets this status and body, as JSON if it begins with a brace, else as HTML.
    Answer(StatusCode, &'static str),
    /// Responses are held back until the fault ends.
    Held,
    /// `expires_on` is a number; some identity endpoints write it so.
    NumericExpiry,
}

/// The running stand-in; dropping it stops it.
#[derive(Debug)]
pub struct Identity {
    realm: Arc<Realm>,
    managed: Server,
    entra: Option<Server>,
}

impl Identity {
    /// Starts the managed-identity endpoint and, with [`Options::tls`], the Entra authority on a free port.
    pub async fn start(options: Options) -> io::Result<Self> {
        let tokens = Arc::new(Tokens::new(options.tenant.clone(), options.lifetime));
        let realm = Arc::new(Realm {
            header: options.header.clone().unwrap_or_else(|| Uuid::new_v4().simple().to_string()),
            authority: OnceLock::new(),
            faults: watch::Sender::default(),
            requests: AtomicUsize::new(0),
            tokens,
            options,
        });
        let routes = Router::new().route("/msi/token", get(managed_token)).with_state(realm.clone());
        let managed = Server::start(routes, realm.options.port, None).await?;
        let mut entra = None;
        if let Some(tls) = &realm.options.tls {
            let server = Server::start(authority_routes(realm.clone()), 0, Some(tls)).await?;
            realm.authority.set(server.url()).expect("this is the only place that sets the authority");
            entra = Some(server);
        }
        Ok(Self { realm, managed, entra })
    }

    /// The value for `IDENTITY_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("{}/msi/token", self.managed.url())
    }

    /// The value for `IDENTITY_HEADER`, a secret.
    pub fn header(&self) -> &str {
        &self.realm.header
    }

    /// The value for `AZURE_AUTHORITY_HOST`; `None` without a certificate.
    pub fn authority(&self) -> Option<String> {
        self.entra.as_ref().map(Server::url)
    }

    /// How many tokens both endpoints have issued so far.
    pub fn tokens_issued(&self) -> usize {
        self.realm.tokens.issued()
    }

    /// How many requests for a token both endpoints have received so far.
    pub fn requests(&self) -> usize {
        self.realm.requests.load(Ordering::Relaxed)
    }

    /// Revokes all tokens issued so far, for every stand-in that checks the register.
    pub fn revoke_all(&self) {
        self.realm.tokens.revoke_all();
    }

    /// The register, for resource servers to check.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.realm.tokens.clone()
    }

    /// Adds `fault` to the active faults.
    pub fn fault(&self, fault: Fault) {
        self.realm.faults.send_modify(|faults| faults.push(fault));
    }

    /// Removes `fault`; other faults stay active.
    pub fn end_fault(&self, fault: Fault) {
        self.realm.faults.send_modify(|faults| faults.retain(|set| *set != fault));
    }

    /// Removes all faults. Requests that already hang stay hung.
    pub fn clear_faults(&self) {
        self.realm.faults.send_modify(Vec::clear);
    }
}

#[derive(Debug)]
struct Realm {
    options: Options,
    header: String,
    authority: OnceLock<String>,
    tokens: Arc<Tokens>,
    faults: watch::Sender<Vec<Fault>>,
    requests: AtomicUsize,
}

impl Realm {
    fn issue(&self, resource: &str, client_id: &str) -> (String, Claims) {
        if self.faults().iter().any(|fault| matches!(fault, Fault::WrongAudience)) {
            return self.tokens.issue("https://elsewhere.invalid", client_id);
        }
        self.tokens.issue(resource, client_id)
    }

    fn authority(&self) -> &str {
        self.authority.get().map_or("", String::as_str)
    }

    fn token_url(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.authority(), self.options.tenant)
    }

    fn faults(&self) -> Vec<Fault> {
        self.faults.borrow().clone()
    }

    /// Applies the faults that occur before a response; returns the response if a fault determines it.
    async fn apply_fault(&self) -> Option<Response> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        for fault in self.faults() {
            match fault {
                Fault::Status(status) => return Some((status, "injected fault").into_response()),
                Fault::Hang => return std::future::pending().await,
                Fault::Slow(by) => tokio::time::sleep(by).await,
                Fault::Answer(status, body) => return Some(answer(status, body)),
                Fault::Held => {
                    let mut faults = self.faults.subscribe();
                    faults.wait_for(|faults| !faults.contains(&Fault::Held)).await.expect("the sender is ours");
                }
                Fault::WrongAudience | Fault::NumericExpiry => {}
            }
        }
        None
    }
}

fn authority_routes(realm: Arc<Realm>) -> Router {
    Router::new()
        .route("/common/discovery/instance", get(async |State(realm): State<Arc<Realm>>| entra::instance(&realm)))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery))
        .route("/{tenant}/oauth2/v2.0/token", post(entra_token))
        .with_state(realm)
}

async fn managed_token(State(realm): State<Arc<Realm>>, uri: Uri, headers: HeaderMap) -> Response {
    if let Some(answer) = realm.apply_fault().await {
        return answer;
    }
    managed::token(&realm, &uri, &headers)
}

async fn entra_token(State(realm): State<Arc<Realm>>, Path(tenant): Path<String>, body: Bytes) -> Response {
    if let Some(answer) = realm.apply_fault().await {
        return answer;
    }
    entra::token(&realm, &tenant, &body)
}

async fn discovery(State(realm): State<Arc<Realm>>, Path(tenant): Path<String>) -> Response {
    entra::discovery(&realm, &tenant)
}

fn answer(status: StatusCode, body: &'static str) -> Response {
    let kind = if body.starts_with('{') { "application/json" } else { "text/html" };
    (status, [(CONTENT_TYPE, kind)], body).into_response()
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8"), (CACHE_CONTROL, "no-store")], body.to_string())
        .into_response()
}

#[cfg(test)]
mod tests;
