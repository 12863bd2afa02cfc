//! The executable `handler`: settings in, the parts put together, served until SIGTERM. Its commands are for operators.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Context as _;
use azure_core::credentials::TokenCredential;
use clap::{Parser, Subcommand};
use dataverse_sync::admission::Gate;
use dataverse_sync::config::Config;
use dataverse_sync::dataverse::client::Client;
use dataverse_sync::dead_letters;
use dataverse_sync::dead_letters::command::Failure;
use dataverse_sync::doctor;
use dataverse_sync::http::Http;
use dataverse_sync::identity::Identity;
use dataverse_sync::lock::blob::BlobLocks;
use dataverse_sync::lock::local_queue::Local;
use dataverse_sync::pipeline::{FirstSeen, Sync};
use dataverse_sync::server::{Terms, Workers};
use dataverse_sync::settings::Problem;
use dataverse_sync::storage::Connection;
use dataverse_sync::telemetry::otlp::Export;
use dataverse_sync::telemetry::otlp_settings::{ENDPOINT, ExportSettings};
use dataverse_sync::{host, server, telemetry};
#[cfg(feature = "mimalloc")]
use mimalloc::MiMalloc;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// A message makes some hundreds of small allocations, on whichever thread; the C library's own would take a tenth of its time.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Settings that are missing or wrong; the host would only start the same again.
const EXIT_SETTINGS: u8 = 2;

/// Azure Functions custom handler that writes records into Microsoft Dataverse, one writer per record at a time.
///
/// Without a command it serves: the Functions host starts it that way and passes the port in FUNCTIONS_CUSTOMHANDLER_PORT.
#[derive(Parser)]
#[command(version, after_help = SETTINGS)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    DeadLetters(dead_letters::arguments::Arguments),
    Doctor(doctor::arguments::Arguments),
}

const SETTINGS: &str = "\
Settings are environment variables (app settings in Azure, Values in local.settings.json):
  DATAVERSE_URL            https://contoso.crm.dynamics.com                      required
  DATAVERSE_API_VERSION    v9.2
  AZURE_TENANT_ID, AZURE_CLIENT_ID and one of AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH (and
                           AZURE_CLIENT_CERTIFICATE_PASSWORD where it has one), AZURE_FEDERATED_TOKEN_FILE;
                           else the managed identity; else your az or azd login
  LOCK_STORAGE             AzureWebJobsStorage, the name of a connection
  LOCK_CONTAINER           sync-locks
  LOCK_LEASE_SECONDS       15, from 15 to 60
  LOCK_WAIT_SECONDS        10
  LOCK_MODE                lease, or off
  SYNC_ON_CONFLICT         verify, skip or retry
  SYNC_VERSION_COLUMN      the column that holds a record's version
  SYNC_MAX_CONCURRENCY     52
  SYNC_HOLD_SECONDS        480
  SYNC_HEADERS             JSON object of extra Dataverse request headers
  RUST_LOG                 info
  SYNC_LOG_FORMAT          text, or json
  OTEL_EXPORTER_OTLP_ENDPOINT  where traces and metrics go, such as http://localhost:4318; else there are none

Try it with nothing installed: `cargo sandbox`. By hand, with your own settings:
  FUNCTIONS_CUSTOMHANDLER_PORT=8080 handler &
  curl -d '{\"table\":\"contacts\",\"key\":{\"employeeid\":\"E1\"},\"columns\":{\"firstname\":\"Ada\"}}' \\
       http://127.0.0.1:8080/api/records";

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // One thread; where there are more cores, the serving has further threads.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the threads cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match command {
            None => handle().await,
            Some(Command::DeadLetters(arguments)) => dead_letters(arguments).await,
            Some(Command::Doctor(arguments)) => examine(&arguments).await,
        }
    })
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn handle() -> ExitCode {
    let (config, settings) = (Config::from_settings(&setting), telemetry::Settings::read(&setting));
    let (config, settings, export) = match (config, settings, ExportSettings::read(&setting)) {
        (Ok(config), Ok(settings), Ok(export)) => (config, settings, export),
        (config, settings, export) => {
            let problems = config.err().into_iter().chain(settings.err()).chain(export.err()).flatten();
            return complain_to_host(&problems.collect::<Vec<_>>());
        }
    };
    install_tls();
    let export = match export.as_ref().map(Export::start).transpose() {
        Ok(export) => export,
        Err(error) => {
            return complain_to_host(&[Problem::new(ENDPOINT, format!("leads to no exporter: {error}"))]);
        }
    };
    telemetry::start(settings, export.as_ref());
    let served = serve(config, export.as_ref()).await;
    if let Some(export) = export {
        export.finish().await;
    }
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the handler cannot go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dead_letters(arguments: dead_letters::arguments::Arguments) -> ExitCode {
    match telemetry::Settings::read(&setting) {
        Ok(settings) => telemetry::start_on_stderr(settings),
        Err(problems) => return complain(&problems),
    }
    install_tls();
    let stop = match stop_token() {
        Ok(stop) => stop,
        Err(error) => {
            eprintln!("error: listening for the signal to stop: {error}");
            return ExitCode::FAILURE;
        }
    };
    match dead_letters::command::run(arguments, &setting, stop).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Settings { problems }) => complain(&problems),
        Err(failure @ Failure::Usage { .. }) => {
            eprintln!("error: {failure}");
            ExitCode::from(EXIT_SETTINGS)
        }
        Err(failure @ (Failure::Queue { .. } | Failure::Output(_))) => {
            eprintln!("error: {:#}", anyhow::Error::from(failure));
            ExitCode::FAILURE
        }
    }
}

/// Cancelled by the first signal, or when the terminal is gone; a second signal ends the process where it stands.
fn stop_token() -> std::io::Result<CancellationToken> {
    let (first, gone) = (stop_requested()?, terminal_gone()?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = first => {}
            () = gone => {}
        }
        stop.cancel();
        // Made now: one that was made before would have seen the first signal too.
        if let Ok(second) = stop_requested() {
            second.await;
            std::process::exit(1);
        }
    });
    Ok(token)
}

/// Each line is an error of its own to the host.
fn complain_to_host(problems: &[Problem]) -> ExitCode {
    telemetry::start(telemetry::Settings::of_a_complaint(&setting), None);
    error!("{} of the settings cannot be used", problems.len());
    for problem in problems {
        error!("{problem}");
    }
    ExitCode::from(EXIT_SETTINGS)
}

fn complain(problems: &[Problem]) -> ExitCode {
    eprintln!("{} of the settings cannot be used:", problems.len());
    for problem in problems {
        eprintln!("  {problem}");
    }
    ExitCode::from(EXIT_SETTINGS)
}

/// Whoever links another provider in as well would make rustls ask which one to use.
fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn serve(config: Config, export: Option<&Export>) -> anyhow::Result<()> {
    let stop = stop_requested().context("listening for the signal to stop")?;
    let shutdown = async move {
        stop.await;
        info!("stopping: the work under way is finished first");
    };
    let listener =
        TcpListener::bind(("127.0.0.1", config.port)).await.context("FUNCTIONS_CUSTOMHANDLER_PORT: cannot listen")?;
    info!(
        dataverse = config.dataverse.url.host_str(),
        credential = config.identity.name(),
        locks = config.locks.as_ref().map_or("off", |locks| locks.address.access()),
        lock_storage = config.locks.as_ref().map(|locks| locks.address.host()),
        listening = %listener.local_addr().context("asking for the port")?,
        "handler started"
    );
    let terms = Terms { hold: config.hold, most_deliveries: most_deliveries() };
    let sync = put_together(config)?;
    if let Some(export) = export {
        export.watch(&sync.gate);
    }
    let workers = Workers::for_cores(available_parallelism().map_or(1, NonZero::get));
    server::run(listener, workers, sync, terms, shutdown).await;
    Ok(())
}

/// The host starts this program in the app's folder, where host.json lies, unless a setting overrides that.
/// <https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values>
fn most_deliveries() -> Option<u32> {
    let set = std::env::var("AzureFunctionsJobHost__extensions__queues__maxDequeueCount").ok();
    set.and_then(|count| count.trim().parse().ok())
        .or_else(|| std::fs::read_to_string("host.json").ok().as_deref().and_then(host::most_deliveries))
}

async fn examine(arguments: &doctor::arguments::Arguments) -> ExitCode {
    // Settings that cannot be read are among the findings.
    if let Ok(settings) = telemetry::Settings::read(&setting) {
        telemetry::start_on_stderr(settings);
    }
    install_tls();
    match doctor::command::run(arguments, &setting).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: the output cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

/// SIGTERM, or Ctrl-C. The Functions host in Azure sends neither, it kills.
#[cfg(unix)]
fn stop_requested() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
}

/// Ctrl-C.
#[cfg(windows)]
fn stop_requested() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupted = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupted.recv().await;
    })
}

/// The session ended, such as a connection by SSH.
#[cfg(unix)]
fn terminal_gone() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hung_up = signal(SignalKind::hangup())?;
    Ok(async move {
        hung_up.recv().await;
    })
}

/// The window was closed.
#[cfg(windows)]
fn terminal_gone() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut closed = tokio::signal::windows::ctrl_close()?;
    Ok(async move {
        closed.recv().await;
    })
}

fn put_together(config: Config) -> anyhow::Result<Sync> {
    let http = Http::for_each_thread().context("preparing TLS")?;
    let identity =
        Arc::new(Identity::open(config.identity, http.here().clone()).context("opening the Entra credential")?);
    let locks = match config.locks {
        None => None,
        Some(settings) => {
            let credential: Arc<dyn TokenCredential> = identity.clone();
            let connection = Connection::new(settings.address, &credential, http.clone());
            let blobs = BlobLocks::new(&connection, &settings.container, settings.life).context("LOCK_STORAGE")?;
            Some((Local::new(Arc::new(blobs)), settings.wait))
        }
    };
    Ok(Sync {
        store: Arc::new(Client::new(&config.dataverse, identity, http)),
        locks,
        gate: Gate::new(config.max_concurrency),
        on_conflict: config.on_conflict,
        version_column: config.version_column,
        unknown_codes: FirstSeen::default(),
    })
}
