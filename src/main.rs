//! The executable `handler`: reads the settings, builds the parts, and serves until it is stopped or runs a command for operators.
//!
//! Only this file reads the process environment.

use std::io;
use std::num::NonZero;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use dataverse_sync::admission::Admission;
use dataverse_sync::config::Config;
use dataverse_sync::dataverse::client::Client;
use dataverse_sync::dead_letters;
use dataverse_sync::dead_letters::command::Failure;
use dataverse_sync::doctor;
use dataverse_sync::http::Http;
use dataverse_sync::identity::Identity;
use dataverse_sync::lock::blob::BlobLocks;
use dataverse_sync::lock::local_queue::LocalQueue;
use dataverse_sync::pipeline::{LoggedOnce, Pipeline, VisibleColumns};
use dataverse_sync::server::QueuePolicy;
use dataverse_sync::settings::Problem;
use dataverse_sync::shutdown::{Cause, Parent, signalled};
use dataverse_sync::status;
use dataverse_sync::storage::Connection;
use dataverse_sync::telemetry::otlp::Export;
use dataverse_sync::{host, process_limits, server, telemetry};
use futures::future::select;
use mimalloc::MiMalloc;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::ctrl_close;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// A message makes some hundreds of small allocations; the C library's allocator would take a tenth of its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit code for missing or wrong settings and arguments.
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
    Status(status::arguments::Arguments),
}

/// Messages whose rows or tables fail hold at most this part of what the host keeps in flight; the others go back at once.
const FAILING_PART: usize = 4;

/// Idle connections to each server: for a request of each message that is admitted, and for a lock that is released meanwhile.
const IDLE_PER_MESSAGE: usize = 2;

/// Worker threads of the runtime: no Dataverse environment takes as many messages as these can send.
const MAX_WORKERS: usize = 8;

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
  SYNC_BATCH               auto, or off
  SYNC_HOLD_SECONDS        480
  SYNC_TABLES              entity sets that may be written, such as contacts,accounts; else all but the
                           environment's own code and privileges
  SYNC_HEADERS             JSON object of extra Dataverse request headers
  RUST_LOG                 info
  SYNC_LOG_FORMAT          text, or json
  OTEL_EXPORTER_OTLP_ENDPOINT  where traces and metrics go, such as http://localhost:4318; else there are none

Try it with nothing installed: `cargo sandbox`. By hand, with your own settings:
  FUNCTIONS_CUSTOMHANDLER_PORT=8080 handler &
  curl -d '{\"table\":\"contacts\",\"key\":{\"employeeid\":\"E1\"},\"columns\":{\"firstname\":\"Ada\"}}' \\
       http://127.0.0.1:8080/api/records";

fn main() -> ExitCode {
    run(Arguments::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Option<Command>) -> anyhow::Result<ExitCode> {
    process_limits::apply();
    let workers = available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        match command {
            None => Ok(run_handler().await),
            Some(Command::DeadLetters(arguments)) => run_dead_letters(arguments).await,
            Some(Command::Doctor(arguments)) => run_doctor(&arguments).await,
            Some(Command::Status(arguments)) => run_status(&arguments).await,
        }
    })
}

fn setting(name: &str) -> Option<String> {
    if !name.starts_with(host::OVERRIDE_PREFIX) {
        return std::env::var(name).ok();
    }
    // The host compares these names without case.
    let (_, value) = std::env::vars_os().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    value.into_string().ok()
}

async fn run_handler() -> ExitCode {
    let parent = Parent::current();
    let (config, settings) = (Config::from_settings(&setting), telemetry::Settings::read(&setting));
    let (config, settings) = match (config, settings) {
        (Ok(config), Ok(settings)) => (config, settings),
        (config, settings) => {
            let problems = config.err().into_iter().chain(settings.err()).flatten();
            return report_problems(&problems.collect::<Vec<_>>());
        }
    };
    install_tls();
    // Dropped last: it writes the lines that wait.
    let (export, _log) = telemetry::start(settings);
    let served = serve(config, export.as_ref(), parent).await;
    if let Some(export) = export {
        export.finish().await;
    }
    match served {
        Ok(cause) => ExitCode::from(cause.exit_code()),
        Err(error) => {
            error!("the handler failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run_dead_letters(arguments: dead_letters::arguments::Arguments) -> anyhow::Result<ExitCode> {
    match telemetry::Settings::read(&setting) {
        Ok(settings) => telemetry::start_on_stderr(settings),
        Err(problems) => return Ok(print_problems(&problems)),
    }
    install_tls();
    let stop = stop_token().context("cannot listen for the shutdown signal")?;
    match dead_letters::command::run(arguments, &setting, stop).await {
        Ok(is_complete) => Ok(ExitCode::from(u8::from(!is_complete))),
        Err(Failure::Settings(problems)) => Ok(print_problems(&problems)),
        Err(failure @ Failure::Usage(_)) => {
            eprintln!("error: {failure}");
            Ok(ExitCode::from(EXIT_SETTINGS))
        }
        Err(failure @ (Failure::Queue(_) | Failure::Output(_))) => Err(failure.into()),
    }
}

async fn run_doctor(arguments: &doctor::arguments::Arguments) -> anyhow::Result<ExitCode> {
    // Invalid settings are among the findings.
    if let Ok(settings) = telemetry::Settings::read(&setting) {
        telemetry::start_on_stderr(settings);
    }
    install_tls();
    let is_well = doctor::command::run(arguments, &setting).await.context("cannot write the output")?;
    Ok(ExitCode::from(u8::from(!is_well)))
}

async fn run_status(arguments: &status::arguments::Arguments) -> anyhow::Result<ExitCode> {
    match telemetry::Settings::read(&setting) {
        Ok(settings) => telemetry::start_on_stderr(settings),
        Err(problems) => return Ok(print_problems(&problems)),
    }
    install_tls();
    let stop = stop_token().context("cannot listen for the shutdown signal")?;
    match status::command::run(arguments, &setting, stop).await {
        Ok(is_well) => Ok(ExitCode::from(u8::from(!is_well))),
        Err(status::command::Failure::Settings(problems)) => Ok(print_problems(&problems)),
        Err(failure @ status::command::Failure::Output(_)) => Err(failure.into()),
    }
}

/// Cancelled by the first signal or when the terminal is closed; a second signal ends the process at once.
fn stop_token() -> io::Result<CancellationToken> {
    let (first, closed) = (signalled()?, terminal_closed()?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        select(pin!(first), pin!(closed)).await;
        stop.cancel();
        // Registered only now: an earlier one would have received the first signal too.
        if let Ok(second) = signalled() {
            second.await;
            std::process::exit(1);
        }
    });
    Ok(token)
}

/// Logs the problems: the host takes each line as one error.
fn report_problems(problems: &[Problem]) -> ExitCode {
    let (_, _log) = telemetry::start(telemetry::Settings::errors_only(&setting));
    error!("{} of the settings cannot be used", problems.len());
    for problem in problems {
        error!("{problem}");
    }
    ExitCode::from(EXIT_SETTINGS)
}

fn print_problems(problems: &[Problem]) -> ExitCode {
    eprintln!("{} of the settings cannot be used:", problems.len());
    for problem in problems {
        eprintln!("  {problem}");
    }
    ExitCode::from(EXIT_SETTINGS)
}

/// rustls does not choose by itself if a dependency links a second provider.
fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn serve(mut config: Config, export: Option<&Export>, parent: Parent) -> anyhow::Result<Cause> {
    let signalled = signalled().context("cannot listen for the shutdown signal")?;
    let shutdown = async move {
        tokio::select! {
            cause = signalled => cause,
            cause = parent.gone() => cause,
        }
    };
    let listener =
        TcpListener::bind(("127.0.0.1", config.port)).await.context("FUNCTIONS_CUSTOMHANDLER_PORT: cannot listen")?;
    info!(
        dataverse = config.dataverse.url.host_str(),
        credential = config.identity.name(),
        locks = config.locks.as_ref().map_or("off", |locks| locks.address.access()),
        lock_storage = config.locks.as_ref().map(|locks| locks.address.host()),
        listening = %listener.local_addr().context("cannot read the port")?,
        "handler started"
    );
    if let Some(exposed) = config.identity.exposed_file() {
        warn!("{exposed}: a writer of that file chooses the identity of this process");
    }
    let max_concurrency = process_limits::max_concurrency(config.max_concurrency);
    if max_concurrency < config.max_concurrency {
        warn!(max_concurrency, "SYNC_MAX_CONCURRENCY is lowered, because the limit of open files is low");
        config.max_concurrency = max_concurrency;
    }
    let (max_deliveries, encoding) = (host::max_dequeue_count(&setting), host::message_encoding(&setting));
    let in_flight = host::messages_in_flight(&setting).and_then(|count| usize::try_from(count).ok());
    let in_flight = in_flight.unwrap_or(config.max_concurrency);
    let queue = QueuePolicy { hold: config.hold, max_deliveries, in_flight, encoding };
    let pipeline = build(config, in_flight / FAILING_PART)?;
    if let Some(export) = export {
        let admission = pipeline.admission.clone();
        export.observe_admission(move || admission.figures());
    }
    Ok(server::run(listener, pipeline, queue, shutdown).await)
}

/// Completes when the session ends, such as an SSH connection.
#[cfg(unix)]
fn terminal_closed() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move { hangup.recv().await.unwrap_or_default() })
}

/// Completes when the window is closed.
#[cfg(windows)]
fn terminal_closed() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut close = ctrl_close()?;
    Ok(async move { close.recv().await.unwrap_or_default() })
}

fn build(config: Config, failing_seats: usize) -> anyhow::Result<Pipeline> {
    let http = Http::with_idle(IDLE_PER_MESSAGE * config.max_concurrency).context("cannot prepare TLS")?;
    let identity = Arc::new(Identity::open(config.identity, &http).context("cannot open the Entra credential")?);
    let locks = match config.locks {
        None => None,
        Some(settings) => {
            let connection = Connection::new(settings.address, identity.clone(), &http);
            let blobs = BlobLocks::new(&connection, &settings.container, settings.life).context("LOCK_STORAGE")?;
            Some((LocalQueue::new(Arc::new(blobs), config.max_concurrency), settings.wait))
        }
    };
    let admission = Admission::new(config.max_concurrency, failing_seats);
    let client = Client::new(&config.dataverse, identity, &http);
    let client = if config.batches { client.with_batches(Arc::new(admission.clone())) } else { client };
    Ok(Pipeline {
        store: Arc::new(client),
        environment: config.dataverse.url.authority().to_owned(),
        locks,
        admission,
        on_conflict: config.on_conflict,
        version_column: config.version_column,
        tables: config.tables,
        unknown_codes: LoggedOnce::default(),
        implausible_versions: LoggedOnce::default(),
        visible_columns: VisibleColumns::default(),
    })
}
