//! A world whose only token issuer is an Entra tenant behind TLS.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::world::{self, World};
use serde_json::{Value, json};
use stand_ins::host::{Host, Options as HostOptions};
use stand_ins::identity::{Credential, Options};

use super::app;
use crate::trust::{self, Folder};

/// The registered application.
pub(super) const CLIENT: &str = "33333333-3333-4333-8333-333333333333";

/// Its client secret, in tests that use one.
pub(super) const SECRET: &str = "kept-by-the-sandbox";

/// The tenant, and a world that trusts it.
pub(super) struct Tenant {
    pub(super) world: World,
    id: String,
    trusted: String,
    _folder: Folder,
}

impl Tenant {
    /// A tenant in which the application has these credentials.
    pub(super) async fn start(credentials: Vec<Credential>) -> Self {
        let tls = trust::authority();
        let identity = Options { tls: Some(tls.clone()), apps: vec![app(credentials)], ..Options::default() };
        let id = identity.tenant.clone();
        let mut world = crate::world_with(world::Options { identity, ..Default::default() }).await;
        world.settings.remove("IDENTITY_ENDPOINT");
        world.settings.remove("IDENTITY_HEADER");
        let folder = Folder::new();
        let trusted = folder.write("authority.pem", tls.ca_pem());
        Self { world, id, trusted, _folder: folder }
    }

    /// A host whose handler is this tenant's application; `proof` has its credential settings.
    pub(super) async fn host(&self, proof: &[(&str, &str)]) -> Host {
        Host::start(self.options(proof)).await.expect("the handler starts")
    }

    /// The options that `host` starts a host with.
    pub(super) fn options(&self, proof: &[(&str, &str)]) -> HostOptions {
        let authority = self.world.identity.authority().expect("the tenant has a certificate");
        let mut settings = vec![
            ("AZURE_TENANT_ID", self.id.as_str()),
            ("AZURE_CLIENT_ID", CLIENT),
            ("AZURE_AUTHORITY_HOST", &authority),
            ("SSL_CERT_FILE", &self.trusted),
        ];
        settings.extend_from_slice(proof);
        self.world.host_options("one", &settings)
    }
}

/// A token like the one that Kubernetes mounts into a pod. Its signature is not checked here.
pub(super) fn federated_token(issuer: &str, subject: &str) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    let claims =
        json!({ "iss": issuer, "sub": subject, "aud": "api://AzureADTokenExchange", "exp": 32_503_680_000_u64 });
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("unsigned"))
}
