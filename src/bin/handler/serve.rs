//! Serving: builds the parts from the settings, and answers the Functions host until the process is stopped.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use dataverse_sync::admission::Admission;
use dataverse_sync::config::Config;
use dataverse_sync::dataverse::client::Client;
use dataverse_sync::http::{Http, install_tls};
use dataverse_sync::identity::Identity;
use dataverse_sync::lock::blob::BlobLocks;
use dataverse_sync::lock::local_queue::LocalQueue;
use dataverse_sync::pipeline::{LoggedOnce, Pipeline, VisibleColumns};
use dataverse_sync::server::QueuePolicy;
use dataverse_sync::settings::environment::Environment;
use dataverse_sync::settings::{Problem, both};
use dataverse_sync::shutdown::{Cause, Parent, signalled};
use dataverse_sync::storage::Connection;
use dataverse_sync::telemetry::otlp::Export;
use dataverse_sync::{host, process_limits, server, telemetry};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::EXIT_SETTINGS;

/// Messages whose rows or tables fail hold at most this part of what the host keeps in flight; the others go back at once.
const FAILING_PART: usize = 4;

/// Idle connections to each server: for a request of each message that is admitted, and for a lock that is released meanwhile.
const IDLE_PER_MESSAGE: usize = 2;

/// Serves with these settings, or logs what is wrong with them.
pub(crate) async fn run(environment: &Environment) -> ExitCode {
    let parent = Parent::current();
    let setting = |name: &str| environment.get(name);
    let (config, settings) = match both(Config::from_settings(&setting), telemetry::Settings::read(&setting)) {
        Ok(settings) => settings,
        Err(problems) => return report_problems(&problems, environment),
    };
    install_tls();
    // Dropped last: it writes the lines that wait.
    let (export, _log) = telemetry::start(settings);
    let served = serve(config, environment, export.as_ref(), parent).await;
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

/// Logs the problems: the host takes each line as one error.
fn report_problems(problems: &[Problem], environment: &Environment) -> ExitCode {
    let (_, _log) = telemetry::start(telemetry::Settings::problems_only(&|name| environment.get(name)));
    error!("{} of the settings cannot be used", problems.len());
    for problem in problems {
        error!("{problem}");
    }
    warn_of_misspelt_names(environment);
    ExitCode::from(EXIT_SETTINGS)
}

/// One line, because a variable that has no effect is not a fault.
fn warn_of_misspelt_names(environment: &Environment) {
    let misspelt: Vec<_> = environment.misspelt().iter().map(Problem::to_string).collect();
    if !misspelt.is_empty() {
        warn!("{}", misspelt.join("; "));
    }
}

async fn serve(
    mut config: Config,
    environment: &Environment,
    export: Option<&Export>,
    parent: Parent,
) -> anyhow::Result<Cause> {
    let signalled = signalled().context("cannot listen for the shutdown signal")?;
    let shutdown = async move {
        tokio::select! {
            cause = signalled => cause,
            cause = parent.gone() => cause,
        }
    };
    let listener = TcpListener::bind(("127.0.0.1", config.port)).await;
    let listener = listener
        .with_context(|| format!("FUNCTIONS_CUSTOMHANDLER_PORT: cannot listen on 127.0.0.1:{}", config.port))?;
    info!(
        dataverse = config.dataverse.url.host_str(),
        credential = config.identity.name(),
        locks = config.locks.as_ref().map_or("off", |locks| locks.address.access()),
        lock_storage = config.locks.as_ref().map(|locks| locks.address.host()),
        listening = %listener.local_addr().context("cannot read the port")?,
        "handler started"
    );
    warn_of_misspelt_names(environment);
    if let Some(exposed) = config.identity.exposed_file() {
        warn!("{exposed}: a writer of that file chooses the identity of this process");
    }
    let max_concurrency = process_limits::max_concurrency(config.max_concurrency);
    if max_concurrency < config.max_concurrency {
        warn!(max_concurrency, "SYNC_MAX_CONCURRENCY is lowered, because the limit of open files is low");
        config.max_concurrency = max_concurrency;
    }
    let setting = |name: &str| environment.get(name);
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

fn build(config: Config, max_failing: usize) -> anyhow::Result<Pipeline> {
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
    let admission = Admission::new(config.max_concurrency, max_failing);
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
