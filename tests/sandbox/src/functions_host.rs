//! `cargo sandbox host`: the Functions host's stand-in as a process of its own, on an app and a storage of the user's.
//!
//! It ends as the real one does: with code 0 after the third crash of the handler in a row; after SIGTERM within 10 s, leaving
//! behind a handler that is still at work.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::signals::StopSignal;
use stand_ins::host::{Error, Host, LogLine, Options};
use stand_ins::queue;

/// The long text of `--help`.
pub const ABOUT: &str = "\
Runs an app as `func start` does, with nothing to install: a small Functions
host for custom handlers with queue and HTTP triggers.

It reads host.json and <Function>/function.json in the app's folder, starts the
executable that host.json names, listens on 127.0.0.1, and takes messages from
the queues of a real storage account, such as your Azurite. It behaves as host
4.1037 was seen to behave, also where that is inconvenient; tests/stand_ins/data
holds what was seen.

Settings are the environment and the Values of local.settings.json in the app's
folder; the environment wins. The handler gets all of them. AzureWebJobsStorage
is the connection string of the queues, unless function.json names another
setting; --storage overrides it. An identity instead of a key is not supported.

How it ends: Ctrl-C and SIGTERM take no more messages and wait 10 s for the work
in flight; a handler that still works then is left behind. The third crash of
the handler in a row ends the host, with code 0. After kill -9 nothing ends the
handler (this one ends by itself a few seconds later), and the messages in
flight stay hidden for --hidden seconds.";

/// Shown after `--help`.
pub const EXAMPLES: &str = "\
Examples:
  The staged app, on the storage of its local.settings.json:
    cargo stage
    cargo sandbox host
  On Azurite, with the Dataverse stand-in:
    npx azurite &
    cargo sandbox dataverse &
    DATAVERSE_URL=http://127.0.0.1:7080 \\
      IDENTITY_ENDPOINT=http://127.0.0.1:7081/msi/token \\
      IDENTITY_HEADER=sandbox \\
      cargo sandbox host --storage UseDevelopmentStorage=true
  HTTP calls need ?code=secret or x-functions-key, as in Azure:
    cargo sandbox host --key secret";

/// How long a host that got SIGTERM waits for the work in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// The setting with the connection string.
const CONNECTION: &str = "AzureWebJobsStorage";

/// The arguments of `cargo sandbox host`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The app's folder, with host.json and a folder for each function.
    #[arg(long, value_name = "DIR", default_value = "target/functionapp")]
    app: PathBuf,
    /// The port on 127.0.0.1; 0 chooses a free one.
    #[arg(long, default_value_t = 7071)]
    port: u16,
    /// The storage connection string, in place of AzureWebJobsStorage.
    #[arg(long, value_name = "CONNECTION")]
    storage: Option<String>,
    /// The function key that HTTP calls must have, as in Azure; without it none is needed, as with `func start`.
    #[arg(long)]
    key: Option<String>,
    /// How many seconds a message in flight is hidden from other hosts, renewed at half of it.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    hidden: u32,
    /// Sends a traceparent with every message, as a host with Application Insights does.
    #[arg(long)]
    traces: bool,
    /// Behaves as a host of 2026: streams requests (enableProxyingHttpRequest), and restarts a handler that ended with code 0.
    #[arg(long)]
    newer: bool,
}

/// local.settings.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LocalSettings {
    #[serde(default)]
    values: BTreeMap<String, String>,
}

/// Runs until a signal comes or the host gives up.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let port = arguments.port;
    let options = options(arguments, std::env::vars())?;
    let app = options.app.display().to_string();
    let missing = Host::missing_queues(&options).await.map_err(|error| with_remedy(error, &app))?;
    let mut stopped = StopSignal::new().context("watching for signals")?;
    let mut host = Host::launch(options).await.map_err(|error| with_remedy(error, &app))?;
    say(&format!("Functions of {app}:\n\n        {}\n", host.functions().join("\n        ")));
    for queue in missing {
        say(&format!("The queue {queue} does not exist. The host does not create it and waits for it."));
    }
    if port == 0 {
        say(&format!("Listening on {}", host.http_url()));
    }
    let given_up = tokio::select! {
        why = host.given_up() => Some(why),
        _ = stopped.recv() => None,
    };
    let drained = host.drain(SHUTDOWN_TIMEOUT).await;
    if let Some(why) = given_up {
        say(&format!("The host ends: {why}"));
    } else if !drained {
        let pid = host.pid().map(|pid| format!(" (process {pid})")).unwrap_or_default();
        say(&format!("The work in flight did not end within 10 s. The host ends and leaves its handler{pid} behind."));
        // Dropping the host would kill the handler.
        std::process::exit(0);
    }
    Ok(())
}

fn options(arguments: Arguments, environment: impl Iterator<Item = (String, String)>) -> anyhow::Result<Options> {
    let app = &arguments.app;
    if !app.join("host.json").is_file() {
        bail!(
            "there is no host.json in {}: --app takes the folder that holds host.json and <Function>/function.json; `cargo stage` \
             lays one out in target/functionapp",
            app.display()
        );
    }
    let mut settings = local_settings(&app.join("local.settings.json"))?;
    settings.retain(|_, value| !value.is_empty());
    settings.extend(environment);
    settings.extend(arguments.storage.map(|connection| (CONNECTION.to_owned(), connection)));
    Ok(Options {
        app: fs::canonicalize(app).with_context(|| format!("looking for {}", app.display()))?,
        settings,
        name: "host".to_owned(),
        port: arguments.port,
        without_keys: arguments.key.is_none(),
        function_key: arguments.key,
        invisibility: Some(Duration::from_secs(arguments.hidden.into())),
        traces: arguments.traces,
        newer: arguments.newer,
        print: Some(print),
        ..Options::default()
    })
}

/// Empty without the file.
fn local_settings(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.with_context(|| format!("reading {}", path.display()))?,
    };
    let settings: LocalSettings =
        serde_json::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
    Ok(settings.values)
}

/// Adds the remedy.
fn with_remedy(error: Error, app: &str) -> anyhow::Error {
    let hint = match &error {
        Error::App { problem } if problem.contains(CONNECTION) => {
            format!("set it in {app}/local.settings.json, in the environment, or with --storage")
        }
        Error::App { .. } => format!("look at {app}; `cargo stage` lays out an app that runs"),
        Error::Connection { .. } => {
            "it takes a connection string with a key, such as UseDevelopmentStorage=true".to_owned()
        }
        Error::Storage { source: queue::Error::Transport(_), .. } => {
            "the storage does not answer: start it (Azurite: `npx azurite`), or name another one with --storage"
                .to_owned()
        }
        Error::Storage { .. } => "check the account's name and key in the connection string".to_owned(),
        Error::Port { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            "another program has this port, perhaps another host: choose one with --port, or --port 0".to_owned()
        }
        Error::Port { .. } | Error::Io { .. } | Error::Handler { .. } => return error.into(),
    };
    anyhow::anyhow!("{:#}; {hint}", anyhow::Error::from(error))
}

/// A line of the log, with the time in front as `func start` shows it.
fn print(_host: &str, line: &LogLine) {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let now = OffsetDateTime::now_utc().format(format).expect("a UTC time has all these parts");
    say(&format!("[{now}] {}", line.text));
}

/// The output may be closed; the host works on.
fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(app: &Path, more: &[&str]) -> Arguments {
        let app = app.to_str().expect("temp is text");
        Line::parse_from(["host", "--app", app].iter().chain(more)).arguments
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_option_over_both() {
        let folder = tempfile::tempdir().expect("temp is writable");
        fs::write(folder.path().join("host.json"), "{}").expect("temp is writable");
        let local = r#"{"IsEncrypted":false,"Values":{"AzureWebJobsStorage":"file","A":"file","B":"file","C":""}}"#;
        fs::write(folder.path().join("local.settings.json"), local).expect("temp is writable");
        let environment =
            || [("A", "environment")].map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter();
        let options = super::options(arguments(folder.path(), &[]), environment()).expect("it is valid");
        let expected = [("A", "environment"), ("AzureWebJobsStorage", "file"), ("B", "file")];
        assert!(options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
        assert!(options.without_keys);
        let options = super::options(arguments(folder.path(), &["--storage", "option", "--key", "k"]), environment());
        let options = options.expect("it is valid");
        assert_eq!((options.settings[CONNECTION].as_str(), options.without_keys), ("option", false));
    }

    #[test]
    fn a_folder_without_an_app_is_explained() {
        let folder = tempfile::tempdir().expect("temp is writable");
        let error = super::options(arguments(folder.path(), &[]), std::iter::empty()).expect_err("it is empty");
        assert!(error.to_string().contains("no host.json") && error.to_string().contains("cargo stage"), "{error}");
    }
}
