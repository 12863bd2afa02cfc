//! The executable: command line, settings, port, shutdown and output.

mod drain;
mod limits;
pub(crate) mod running;
mod settings;
mod unread;

use std::net::Ipv4Addr;
use std::time::Duration;

use sandbox::world::World;
use serde_json::json;
use stand_ins::dataverse::{Effect, Fault};
use stand_ins::net::http_client;
use stand_ins::storage::LeaseState;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::UNREACHABLE_URL;
use crate::caller::{answer, contact};
use crate::command::{CommandOutput, command};
use crate::waiting::{TIMEOUT, eventually};
use running::{Running, signal};

async fn output(arguments: &[&str], settings: &[(&str, &str)]) -> CommandOutput {
    CommandOutput::of(command(arguments, settings.iter().copied())).await
}

#[tokio::test]
async fn version_is_the_package_version_and_an_unknown_argument_is_an_error() {
    let version = output(&["--version"], &[]).await;
    assert_eq!((version.code, version.stdout.as_str()), (Some(0), "dataverse-sync 0.1.0\n"));
    let unknown = output(&["--serve"], &[]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("--serve"), "{unknown:?}");
}

#[tokio::test]
async fn get_on_the_root_answers_when_no_service_can_be_reached() {
    let storage =
        format!("AccountName=a;AccountKey=a2V5;BlobEndpoint={UNREACHABLE_URL}/a;QueueEndpoint={UNREACHABLE_URL}/a");
    let identity = format!("{UNREACHABLE_URL}/msi/token");
    let settings = [
        ("DATAVERSE_URL", UNREACHABLE_URL),
        ("AzureWebJobsStorage", &*storage),
        ("IDENTITY_ENDPOINT", &*identity),
        ("IDENTITY_HEADER", "x"),
    ];
    let handler = Running::start(&settings).await;
    let answer = answer(http_client().get(handler.url("/"))).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "dataverse-sync 0.1.0\n"));
}

#[tokio::test]
async fn it_listens_on_127_0_0_1_and_nowhere_else() {
    let world = crate::world().await;
    let handler = Running::in_world(&world, &[]).await;
    TcpStream::connect((Ipv4Addr::LOCALHOST, handler.port())).await.expect("it listens here");
    // All of 127.0.0.0/8 is this machine, so a listener on every address would answer here.
    TcpStream::connect(("127.0.0.2", handler.port())).await.expect_err("it does not listen there");
    TcpStream::connect(("::1", handler.port())).await.expect_err("it does not listen on ::1");
}

/// Whether any lock is held.
fn has_lease(world: &World) -> bool {
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    storage.leases().iter().any(|lease| lease.state == LeaseState::Leased)
}

#[tokio::test]
async fn sigterm_and_sigint_let_a_running_write_finish_answer_it_and_release_its_lock() {
    let world = crate::world().await;
    for (signal, key, code) in [("TERM", "C1", 143), ("INT", "C2", 0)] {
        let handler = Running::in_world(&world, &[]).await;
        world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_millis(500))).key(key));
        let record = contact(key, &json!({ "firstname": "Ada" })).to_string();
        let call = answer(http_client().post(handler.url("/api/records")).body(record));
        let stopping = async {
            eventually("its lease", async || has_lease(&world).then_some(())).await;
            handler.signal(signal).await;
            eventually("a closed port", async || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, handler.port())).await.is_err().then_some(())
            })
            .await;
        };
        let (answer, ()) = tokio::join!(call, stopping);
        assert_eq!((answer.status, &answer.body["reason"]), (200, &json!("upserted")), "{}", answer.text);
        assert_eq!(handler.ended().await.code(), Some(code), "after SIG{signal}");
        assert!(world.dataverse.row("contacts", &[("employeeid", key)]).is_some());
        assert!(!has_lease(&world), "its lock is not released");
    }
}

/// The host never starts a handler again that exited with 0, and fails every message.
#[tokio::test]
async fn after_sigterm_to_the_handler_alone_the_host_starts_another_one_and_the_messages_behind_it_are_applied() {
    let world = crate::world().await;
    let host = world.host("instance-1", &[]).await.expect("it starts");
    let first = host.pid().expect("it runs");
    world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_millis(500))).key("C1"));
    world.put(&contact("C1", &json!({ "firstname": "Ada" })).to_string()).await.expect("the queue takes it");
    eventually("its lease", async || has_lease(&world).then_some(())).await;
    signal("TERM", first).await;
    for number in 2..=20 {
        let record = contact(&format!("C{number}"), &json!({ "firstname": "Ada" }));
        world.put(&record.to_string()).await.expect("the queue takes it");
    }
    eventually("all of them in Dataverse", async || (world.dataverse.rows("contacts").len() == 20).then_some(())).await;
    assert_ne!(host.pid().expect("it runs"), first);
    assert_eq!((host.stats().restarts, host.stats().poisoned), (1, 0));
}

/// An orphan would keep its port, and no host would ever call it.
#[tokio::test]
async fn a_handler_whose_host_is_killed_finishes_what_is_in_flight_and_ends() {
    let world = crate::world().await;
    let handler = Running::under_a_shell(&world).await;
    world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_secs(5))).key("C1"));
    let record = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    let call = tokio::spawn(answer(http_client().post(handler.url("/api/records")).body(record)));
    eventually("its lease", async || has_lease(&world).then_some(())).await;
    handler.signal("KILL").await;
    let answer = call.await.expect("it does not panic");
    assert_eq!((answer.status, &answer.body["reason"]), (200, &json!("upserted")), "{}", answer.text);
    let printed = timeout(TIMEOUT, handler.silent()).await.expect("it ends");
    assert!(printed.contains("cause=host_gone"), "{printed}");
    assert!(!has_lease(&world), "its lock is not released");
}
