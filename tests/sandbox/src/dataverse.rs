//! `cargo sandbox dataverse`: the stand-ins for Dataverse and the managed identity alone, for a host of the user's.
//!
//! Addresses and the identity's header are the same each time, so that settings made once stay good. Any token is good, not only
//! the identity's own: a developer's login will do as well.

use std::io;

use anyhow::{Context as _, anyhow};

use crate::screen::Screen;
use crate::signals::StopSignal;
use crate::tables;
use stand_ins::dataverse::{self, Dataverse};
use stand_ins::identity::{self, Identity};

/// The value of `IDENTITY_HEADER`.
const HEADER: &str = "sandbox";

/// The long text of `--help`.
pub const ABOUT: &str = "\
Runs the stand-ins for Dataverse and for the managed identity's endpoint alone,
for the handler on another host, such as `func start`, and prints the settings
that it needs there.

It starts no storage and no host: func needs Azurite or a storage account in
AzureWebJobsStorage. Any token is good, so your az login will do as well.

Everything is in memory. Ctrl-C, SIGTERM and SIGHUP end it.";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo stage
  cargo sandbox dataverse &
  DATAVERSE_URL=http://127.0.0.1:7080 \\
    IDENTITY_ENDPOINT=http://127.0.0.1:7081/msi/token IDENTITY_HEADER=sandbox \\
    func start --script-root target/functionapp";

/// The command line.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The port on 127.0.0.1; the identity endpoint has the next one. 0 chooses free ones.
    #[arg(long, default_value_t = 7080, value_parser = clap::value_parser!(u16).range(..=65_534))]
    port: u16,
}

/// Runs until a signal comes.
pub async fn run(Arguments { port }: Arguments) -> anyhow::Result<()> {
    let mut stop = StopSignal::new().context("watching for signals")?;
    let dataverse = Dataverse::start(dataverse::Options { port, ..dataverse::Options::default() }).await;
    let dataverse = dataverse.map_err(|error| with_remedy(&error, port))?;
    let port = if port == 0 { 0 } else { port + 1 };
    let options = identity::Options { port, header: Some(HEADER.to_owned()), ..identity::Options::default() };
    let identity = Identity::start(options).await.map_err(|error| with_remedy(&error, port))?;
    describe(&mut Screen::stdout(), &dataverse, &identity);
    stop.recv().await;
    Ok(())
}

fn with_remedy(error: &io::Error, port: u16) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        return anyhow!("another program listens on 127.0.0.1:{port}; choose another port with --port");
    }
    anyhow!("cannot listen on 127.0.0.1:{port}: {error}")
}

fn describe(screen: &mut Screen, dataverse: &Dataverse, identity: &Identity) {
    let (url, endpoint) = (dataverse.url(), identity.endpoint());
    let settings =
        [("DATAVERSE_URL", &*url), ("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", identity.header())];
    screen.strong(&format!("Dataverse stand-in on {url}, managed identity on {endpoint}"));
    tables::list(screen, &dataverse.tables());
    screen.heading("What `func start` and `cargo sandbox host` need in their environment");
    for (name, value) in settings {
        screen.line(&format!("export {name}={value}"));
    }
    screen.text_at(0, "or in Values of local.settings.json:");
    for (name, value) in settings {
        screen.line(&format!("  \"{name}\": \"{value}\","));
    }
    screen.text_at(
        0,
        "and, as no storage runs here, a storage of yours in AzureWebJobsStorage: UseDevelopmentStorage=true is Azurite. \
         Variables of the environment win over local.settings.json.",
    );
    screen.heading("What Dataverse holds, and every write that it received");
    for path in ["rows/contacts", "journal"] {
        screen.line(&format!("curl {url}/_sandbox/{path}"));
    }
    screen.line("");
    screen.strong("Ctrl-C ends it.");
}
