//! A world whose only token issuer is an Entra tenant behind TLS.

use sandbox::world::{self, World};
use stand_ins::host::{Host, Options as HostOptions};
use stand_ins::identity::{App, Credential, Options};

use crate::trust::{self, Folder};

/// The registered application.
pub(crate) const CLIENT: &str = "33333333-3333-4333-8333-333333333333";

/// Its client secret, in tests that use one.
pub(crate) const SECRET: &str = "kept-by-the-sandbox";

/// The tenant, and a world that trusts it.
pub(crate) struct Tenant {
    pub(crate) world: World,
    id: String,
    authority: String,
    trusted: String,
    _folder: Folder,
}

impl Tenant {
    /// A tenant in which the application has these credentials.
    pub(crate) async fn start(credentials: Vec<Credential>) -> Self {
        let tls = trust::authority();
        let apps = vec![App { client_id: CLIENT.to_owned(), credentials }];
        let identity = Options { tls: Some(tls.clone()), apps, ..Options::default() };
        let id = identity.tenant.clone();
        let mut world = crate::world_with(world::Options { identity, ..Default::default() }).await;
        world.settings.remove("IDENTITY_ENDPOINT");
        world.settings.remove("IDENTITY_HEADER");
        let folder = Folder::new();
        let trusted = folder.write("authority.pem", tls.ca_pem());
        let authority = world.identity.authority().expect("the tenant has a certificate");
        Self { world, id, authority, trusted, _folder: folder }
    }

    /// A host whose handler is this tenant's application, with these credential settings.
    pub(crate) async fn host(&self, settings: &[(&str, &str)]) -> Host {
        Host::start(self.options(settings)).await.expect("the handler starts")
    }

    /// The options that `host` starts a host with.
    pub(crate) fn options(&self, settings: &[(&str, &str)]) -> HostOptions {
        let mut all: Vec<_> = self.settings().into();
        all.extend_from_slice(settings);
        self.world.host_options("one", &all)
    }

    /// The settings of the application, without its credential.
    pub(crate) fn settings(&self) -> [(&'static str, &str); 4] {
        [
            ("AZURE_TENANT_ID", self.id.as_str()),
            ("AZURE_CLIENT_ID", CLIENT),
            ("AZURE_AUTHORITY_HOST", &self.authority),
            ("SSL_CERT_FILE", &self.trusted),
        ]
    }
}
