//! Answers of the storage, the identity endpoint and Dataverse that never end.

use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time::timeout;

use super::super::target::Launch;
use super::super::{Bound, Samples, megabytes};
use super::calls::{Caller, record};
use super::endless_server::{EndlessServer, Script};
use super::{Fixture, with_memory};

/// In megabytes: 64 KiB, and what lies in the system's buffers when the client leaves.
const MAX_SMALL: f64 = 2.0;
/// The same for 4 MiB.
const MAX_PAGE: f64 = 8.0;
/// Dataverse's answers may be as long as a row.
const MAX_ROW: f64 = 24.0;
/// Of the whole process.
const MAX_MEMORY: f64 = 64.0;

/// A command or message that takes longer counts as stuck.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A message is answered by its first failure, without a hold.
const AT_ONCE: [(&str, &str); 2] = [("SYNC_HOLD_SECONDS", "0"), ("LOCK_WAIT_SECONDS", "1")];

/// Where an answer comes from.
#[derive(Debug, Clone, Copy)]
enum Service {
    Storage,
    Identity,
    Dataverse,
}

/// The services, how their answers begin, and the most that may be sent of one.
const ANSWERS: [(&str, Service, Script, f64); 5] = [
    ("a granted lease", Service::Storage, Script { head: "201 Created\r\nx-ms-request-id: a", body: " " }, MAX_SMALL),
    (
        "a refused lease",
        Service::Storage,
        Script { head: "503 Service Unavailable\r\nContent-Type: application/xml", body: "<Error><Message>" },
        MAX_SMALL,
    ),
    (
        "a token",
        Service::Identity,
        Script { head: "200 OK\r\nContent-Type: application/json", body: r#"{"access_token":""# },
        MAX_SMALL,
    ),
    (
        "Dataverse's refusal",
        Service::Dataverse,
        Script {
            head: "400 Bad Request\r\nContent-Type: application/json; odata.metadata=minimal\r\nOData-Version: 4.0",
            body: r#"{"error":{"code":"0x80040265","message":""#,
        },
        MAX_ROW,
    ),
    (
        "Dataverse's success",
        Service::Dataverse,
        Script {
            head: "200 OK\r\nContent-Type: application/json; odata.metadata=minimal\r\nOData-Version: 4.0",
            body: r#"{"firstname":""#,
        },
        MAX_ROW,
    ),
];

const PAGE: Script = Script {
    head: "200 OK\r\nx-ms-request-id: a\r\nContent-Type: application/xml",
    body: "<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessagesList><QueueMessage><MessageText>",
};

/// A queue message for each, and a command for the pages of a queue.
pub(super) async fn measure(mut fixture: Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let known = fixture.world.settings.clone();
    for (number, (name, service, script, most)) in ANSWERS.into_iter().enumerate() {
        let server = EndlessServer::start(script).context("starting an endless service")?;
        fixture.world.settings.clone_from(&known);
        fixture.world.settings.extend(AT_ONCE.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let (setting, value) = match service {
            Service::Storage => ("AzureWebJobsStorage", connection(&server)),
            Service::Identity => ("IDENTITY_ENDPOINT", format!("{}/msi/token", server.url())),
            Service::Dataverse => ("DATAVERSE_URL", server.url()),
        };
        fixture.world.settings.insert(setting.to_owned(), value);
        let running = fixture.launch().start().await?;
        let (caller, key, begun) = (Caller::of(&running), record(&number.to_string()), Instant::now());
        let delivered = timeout(TIMEOUT, caller.deliver(&key));
        let (answered, memory) = with_memory(running.pid, delivered).await;
        let took = answered.map_or(f64::NAN, |_| begun.elapsed().as_secs_f64());
        add(samples, name, &server, most, took, memory);
        running.stop().await?;
    }
    let server = EndlessServer::start(PAGE).context("starting an endless service")?;
    fixture.world.settings.clone_from(&known);
    fixture.world.settings.insert("AzureWebJobsStorage".to_owned(), connection(&server));
    let mut list = Launch::command(&fixture.launch());
    let mut child = list.args(["dead-letters", "list"]).stdout(Stdio::null()).spawn().context("starting a command")?;
    let pid = child.id().context("the command is gone")?;
    let begun = Instant::now();
    let (ended, memory) = with_memory(pid, timeout(TIMEOUT, child.wait())).await;
    let took = ended.map_or(f64::NAN, |_| begun.elapsed().as_secs_f64());
    add(samples, "a page of the queue", &server, MAX_PAGE, took, memory);
    Ok(())
}

/// A connection string whose services are all this one.
fn connection(server: &EndlessServer) -> String {
    let url = server.url();
    format!(
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=c2luaw==;BlobEndpoint={url}/a;QueueEndpoint={url}/a;"
    )
}

fn add(samples: &mut Samples, name: &str, server: &EndlessServer, most: f64, took: f64, memory: f64) {
    let sent = |bytes: &std::sync::atomic::AtomicU64| megabytes(bytes.load(Ordering::Relaxed));
    samples.bounded(format!("{name}: sent of one answer"), "MB", sent(&server.sent.most), Bound::AtMost(most));
    samples.add(format!("{name}: sent in all"), "MB", sent(&server.sent.total));
    samples.bounded(format!("{name}: memory at most"), "MB", memory, Bound::AtMost(MAX_MEMORY));
    samples.add(format!("{name}: until it gave up"), "s", took);
}
