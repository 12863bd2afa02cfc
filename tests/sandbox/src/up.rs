//! `cargo sandbox up`: hosts with handlers and all stand-ins, until a signal comes.
//!
//! Unlike the demonstration it keeps host.json's redelivery: what is tried here behaves as it will when it is deployed. The first
//! signal ends the handlers as a deployment does, with SIGTERM, and waits for their work; a second one does not wait.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use futures::future::join_all;

use crate::screen::Screen;
use crate::signals::StopSignal;
use crate::tables;
use crate::world::{Options, QUEUE, World};
use stand_ins::host::{self, Category, Error, Host, LogLine};

/// The function key, the same each time, so that commands can be repeated.
const KEY: &str = "sandbox";

const RECORD: &str = r#"{"table":"contacts","key":{"employeeid":"E1"},
    "columns":{"firstname":"Ada"},"version":1}"#;
const MISTAKE: &str = r#"{"table":"contacts","keys":{"employeeid":"E1"}}"#;
const THROTTLING: &str = r#"{"method":"PATCH","times":5,"effect":
    {"status":{"status":429,"code":"0x80072322","retryAfter":3}}}"#;

/// The long text of `--help`.
pub const ABOUT: &str = "\
Runs the handler on stand-ins for Dataverse, Entra ID, storage and the Functions
host, and prints what to try: HTTP calls, rows, faults, the queue.

Each instance is a Functions host with a handler process of its own; all of them
read one queue. Everything is in memory and on 127.0.0.1. A failed message comes
back as host.json says: after 30 s.

Ctrl-C, SIGTERM, and SIGHUP (a closed terminal) end it: the handlers finish
their work and end, and nothing stays behind. A second signal does not wait for
the work. After kill -9 the handlers end by themselves within seconds; the
folder dataverse-sandbox-… in the temporary folder stays until a later start
removes it.";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox up                              three instances, free ports
  cargo sandbox up --port 7071 --instances 1    HTTP on 127.0.0.1:7071
  cargo sandbox up --log                        with the handlers' log
  cargo sandbox up --app target/functionapp     the app of `cargo stage`";

/// What `up` runs, beyond the world.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The number of hosts.
    pub instances: u16,
    /// The port of the first host; the others have the next ones. 0: free ports.
    pub port: u16,
    /// Prints the handlers' log.
    pub log: bool,
}

/// Runs until a signal comes, also one that comes before everything has started.
pub async fn run(world: impl Future<Output = anyhow::Result<Options>>, plan: Plan) -> anyhow::Result<()> {
    let mut stop = StopSignal::new().context("watching for signals")?;
    let starting = async {
        let world = World::start(world.await?).await?;
        let hosts = start(&world, plan).await?;
        anyhow::Ok((world, hosts))
    };
    let (world, hosts) = tokio::select! {
        started = starting => started?,
        _ = stop.recv() => return Ok(()),
    };
    let mut screen = Screen::stdout();
    describe(&mut screen, &world, &hosts, plan);
    stop.recv().await;
    screen.line("");
    screen.text_at(0, "Ending: the handlers finish their work. Once more does not wait for it.");
    tokio::select! {
        _ = join_all(hosts.iter().map(Host::terminate_handler)) => screen.line("The handlers have ended."),
        _ = stop.recv() => screen.line("The handlers are killed."),
    }
    Ok(())
}

async fn start(world: &World, plan: Plan) -> anyhow::Result<Vec<Host>> {
    let mut hosts = Vec::new();
    for number in 1..=plan.instances {
        let name = format!("instance-{number}");
        let port = if plan.port == 0 { 0 } else { plan.port + number - 1 };
        let options = host::Options {
            port,
            function_key: Some(KEY.to_owned()),
            polling: None,
            visibility_timeout: None,
            print: plan.log.then_some(print as host::Print),
            ..world.host_options(&name, &[("SYNC_VERSION_COLUMN", "new_sourceversion")])
        };
        hosts.push(Host::start(options).await.map_err(with_remedy)?);
    }
    Ok(hosts)
}

/// Adds the remedy.
fn with_remedy(error: Error) -> anyhow::Error {
    match &error {
        Error::Port { port, source } if source.kind() == io::ErrorKind::AddrInUse => anyhow!(
            "another program listens on 127.0.0.1:{port}, perhaps another `cargo sandbox up`; choose another port with --port, \
             or leave --port out for free ones"
        ),
        Error::Handler { logs, .. } => {
            let printed = logs.iter().filter(|line| line.category == Category::Handler);
            let printed: Vec<_> = printed.map(|line| line.text.as_str()).collect();
            anyhow!("{error}\n  {}", printed.join("\n  "))
        }
        Error::App { .. }
        | Error::Connection { .. }
        | Error::Storage { .. }
        | Error::Port { .. }
        | Error::Io { .. } => error.into(),
    }
}

/// A line of the handler's log or of its host's. The reader may be gone.
fn print(host: &str, line: &LogLine) {
    let _ = writeln!(io::stdout().lock(), "{host}  {}", line.text);
}

fn describe(screen: &mut Screen, world: &World, hosts: &[Host], plan: Plan) {
    let calls = |host: &Host| format!("{}/api/records?code={KEY}", host.http_url());
    screen.strong(&format!("{} instances of the handler run; their queue is {QUEUE}.", hosts.len()));
    for (number, host) in (1..).zip(hosts) {
        screen.line(&format!("  instance-{number}  {}", calls(host)));
    }
    screen.text_at(0, &redelivery(&hosts[0]));
    let log = if plan.log { "Their log follows below." } else { "`--log` shows their log." };
    screen.text_at(0, log);
    tables::list(screen, &world.dataverse.tables());
    try_it(screen, &calls(&hosts[0]), &world.dataverse.url(), world.app(), &world.settings);
}

fn redelivery(host: &Host) -> String {
    let policy = host.queue_policy();
    format!(
        "As host.json says, a failed message comes back after {} s and is delivered at most {} times; an idle queue is looked at every \
         {} s.",
        policy.visibility_timeout.as_secs_f64(),
        policy.max_dequeue_count,
        policy.max_polling_interval.as_secs_f64(),
    )
}

fn try_it(screen: &mut Screen, records: &str, dataverse: &str, app: &Path, settings: &BTreeMap<String, String>) {
    screen.heading("Try it, in another terminal");
    let text = format!(
        "RECORDS='{records}'
DATAVERSE={dataverse}

# A record, twice the same, then one with a mistake:
curl -i \"$RECORDS\" -d '{RECORD}'
curl -i \"$RECORDS\" -d '{RECORD}'
curl -i \"$RECORDS\" -d '{MISTAKE}'

# What Dataverse holds, and every write that it received:
curl $DATAVERSE/_sandbox/rows/contacts
curl $DATAVERSE/_sandbox/journal

# A fault: the next five writes are throttled for three seconds.
# The second command ends it early.
curl $DATAVERSE/_sandbox/faults -d '{THROTTLING}'
curl -X DELETE $DATAVERSE/_sandbox/faults

# The handler itself and its settings, for commands such as `handler status`,
# `handler send` and `handler dead-letters list`.
# Any storage client may put messages on the queue {QUEUE}.
export PATH='{}':\"$PATH\"
",
        app.display()
    );
    text.lines().for_each(|line| screen.line(line));
    for (name, value) in settings.iter().filter(|(name, _)| *name != "FUNCTIONS_WORKER_RUNTIME") {
        screen.line(&format!("export {name}='{value}'"));
    }
    screen.line("");
    screen.strong("Ctrl-C ends it.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::WIDTH;

    #[test]
    fn all_that_can_be_folded_fits_the_terminal() {
        let mut screen = Screen::keeping(false);
        try_it(
            &mut screen,
            "http://127.0.0.1:54321/api/records?code=sandbox",
            "http://127.0.0.1:54321",
            Path::new("target/functionapp"),
            &BTreeMap::new(),
        );
        for line in screen.text().lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}
