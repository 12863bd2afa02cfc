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
    let (url, key) = (hosts[0].http_url(), hosts[0].function_key().to_owned());
    let dataverse = world.dataverse.url();
    println!("{instances} instance(s) run; their queue is {QUEUE}, and each has an address for HTTP calls:");
    for host in &hosts {
        println!("  {}/api/records?code={}", host.http_url(), host.function_key());
    }
    println!();
    println!("A record, twice the same, then one with a mistake:");
    for body in [RECORD, RECORD, MISTAKE] {
        println!("  curl -i '{url}/api/records?code={key}' -d '{body}'");
    }
    println!();
    println!("What Dataverse holds, and every write it saw:");
    println!("  curl {dataverse}/_sandbox/rows/contacts");
    println!("  curl {dataverse}/_sandbox/journal");
    println!();
    println!("Trouble: the next five writes are throttled for three seconds; then all is well again:");
    println!("  curl {dataverse}/_sandbox/faults -d '{THROTTLING}'");
    println!("  curl -X DELETE {dataverse}/_sandbox/faults");
    println!();
    println!("Messages for the queue go to (base64, any storage client):");
    println!("  {}", world.storage.connection_string());
    println!();
    println!("Ctrl-C ends it.");
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
    println!("Dataverse stand-in at {} with the tables contacts, accounts and new_orders, all empty.", dataverse.url());
    println!();
    println!(
        "In local.settings.json: \"DATAVERSE_URL\": \"{}\". Any token is good: your az login will do, or a",
        dataverse.url()
    );
    println!("managed identity of the sandbox (`cargo sandbox up`).");
    println!("  curl {}/_sandbox/rows/contacts", dataverse.url());
    println!("  curl {}/_sandbox/journal", dataverse.url());
    println!("Ctrl-C ends it.");
    tokio::signal::ctrl_c().await.context("waiting for Ctrl-C")
}
