//! `cargo sandbox up` and `cargo sandbox dataverse`: run until Ctrl-C.

use anyhow::Context as _;
use sandbox::world::{Options, QUEUE, World};
use stand_ins::dataverse::{self, Dataverse};

const RECORD: &str = r#"{"table":"contacts","key":{"employeeid":"E1"},"columns":{"firstname":"Ada"},"version":1}"#;
const MISTAKE: &str = r#"{"table":"contacts","keys":{"employeeid":"E1"}}"#;
const THROTTLING: &str =
    r#"{"method":"PATCH","times":5,"effect":{"status":{"status":429,"code":"0x80072322","retryAfter":3}}}"#;

/// Everything, with the handler running.
pub(crate) async fn up(options: Options, instances: usize) -> anyhow::Result<()> {
    let world = World::start(options).await?;
    let hosts = world.hosts(instances, &[("SYNC_VERSION_COLUMN", "new_sourceversion")]).await?;
    let addresses = hosts.iter().map(|host| format!("{}/api/records?code={}", host.http_url(), host.function_key()));
    let addresses: Vec<String> = addresses.collect();
    let (records, dataverse, storage) = (&addresses[0], world.dataverse.url(), world.storage.connection_string());
    println!("{instances} instance(s) run; their queue is {QUEUE}, and each has an address for HTTP calls:");
    println!("  {}", addresses.join("\n  "));
    println!(
        "
A record, twice the same, then one with a mistake:
  curl -i '{records}' -d '{RECORD}'
  curl -i '{records}' -d '{RECORD}'
  curl -i '{records}' -d '{MISTAKE}'

What Dataverse holds, and every write it received:
  curl {dataverse}/_sandbox/rows/contacts
  curl {dataverse}/_sandbox/journal

A fault: the next five writes are throttled for three seconds; the second command ends it early:
  curl {dataverse}/_sandbox/faults -d '{THROTTLING}'
  curl -X DELETE {dataverse}/_sandbox/faults

Messages for the queue go to (plain text or base64, any storage client):
  {storage}

Ctrl-C ends it."
    );
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")?;
    for host in &hosts {
        host.terminate_handler().await;
    }
    Ok(())
}

/// The Dataverse stand-in alone.
pub(crate) async fn dataverse(port: u16) -> anyhow::Result<()> {
    let dataverse = Dataverse::start(dataverse::Options { port, ..dataverse::Options::default() }).await;
    let dataverse = dataverse.with_context(|| format!("listening on port {port}"))?;
    let url = dataverse.url();
    println!(
        "Dataverse stand-in at {url} with the tables contacts, accounts and new_orders, all empty.

In local.settings.json: \"DATAVERSE_URL\": \"{url}\". Any token is good: your az login will do, or a
managed identity of the sandbox (`cargo sandbox up`).
  curl {url}/_sandbox/rows/contacts
  curl {url}/_sandbox/journal
Ctrl-C ends it."
    );
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
}
