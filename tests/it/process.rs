//! The executable itself: its command line, its settings, its port, its end, and what it prints.

mod drain;
mod logs;
pub(crate) mod running;
mod settings;

use std::net::Ipv4Addr;
use std::process::Output;
use std::time::Duration;

use sandbox::dataverse::{Effect, Fault};
use sandbox::net::http_client;
use sandbox::storage::LeaseState;
use sandbox::world::Backing;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::caller::{answer, contact};
use crate::waiting::eventually;
use running::{Running, command};

async fn output(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = command(settings);
    command.args(arguments).output().await.expect("the handler can be started")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn help_explains_itself_and_version_is_the_packages() {
    let help = output(&["--help"], &[]).await;
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("FUNCTIONS_CUSTOMHANDLER_PORT"), "{}", stdout(&help));
    let version = output(&["--version"], &[]).await;
    assert_eq!((version.status.code(), stdout(&version)), (Some(0), "dataverse-sync 0.1.0\n".to_owned()));
    let unknown = output(&["--serve"], &[]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("--serve"), "{}", stderr(&unknown));
}

/// An address of this machine at which nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

#[tokio::test]
async fn get_on_the_root_answers_when_nothing_else_can_be_reached() {
    let nobody = nobody().await;
    let storage = format!("AccountName=a;AccountKey=a2V5;BlobEndpoint={nobody}/a;QueueEndpoint={nobody}/a");
    let identity = format!("{nobody}/msi/token");
    for identity in [&[("IDENTITY_ENDPOINT", &*identity), ("IDENTITY_HEADER", "x")][..], &[]] {
        let mut settings = vec![("DATAVERSE_URL", &*nobody), ("AzureWebJobsStorage", &*storage)];
        settings.extend(identity);
        let handler = Running::start(&settings).await;
        let answer = answer(http_client().get(handler.url("/"))).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "dataverse-sync 0.1.0\n"));
    }
}

#[tokio::test]
async fn it_listens_on_127_0_0_1_and_nowhere_else() {
    let world = crate::world().await;
    let handler = Running::in_world(&world, &[]).await;
    TcpStream::connect((Ipv4Addr::LOCALHOST, handler.port())).await.expect("here it listens");
    // All of 127.0.0.0/8 is this machine: whoever listened on every address would answer here too.
    TcpStream::connect(("127.0.0.2", handler.port())).await.expect_err("there it does not");
    TcpStream::connect(("::1", handler.port())).await.expect_err("nor there");
}

#[tokio::test]
async fn a_second_handler_on_the_same_port_says_so_and_fails() {
    let world = crate::world().await;
    let first = Running::in_world(&world, &[]).await;
    let port = first.port().to_string();
    let mut settings: Vec<_> = world.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.push(("FUNCTIONS_CUSTOMHANDLER_PORT", &port));
    let second = output(&[], &settings).await;
    assert_eq!(second.status.code(), Some(1), "a crash to the host, which starts it again; 0 would be for ever");
    let text = stderr(&second);
    assert!(text.contains("FUNCTIONS_CUSTOMHANDLER_PORT") && text.to_lowercase().contains("in use"), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one line is one error in the host's log: {text}");
    assert_eq!(answer(http_client().get(first.url("/"))).await.status, 200);
}

#[tokio::test]
async fn sigterm_and_sigint_let_the_write_under_way_finish_answer_it_and_give_its_lock_back() {
    let world = crate::world().await;
    let Backing::Embedded(storage) = &world.storage else { panic!("this world is on the embedded storage") };
    for (signal, key) in [("TERM", "C1"), ("INT", "C2")] {
        let handler = Running::in_world(&world, &[]).await;
        world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_secs(2))).key(key));
        let record = contact(key, &json!({ "firstname": "Ada" })).to_string();
        let call = answer(http_client().post(handler.url("/api/records")).body(record));
        let stopping = async {
            let held = |lease: &sandbox::storage::LeaseView| lease.state == LeaseState::Leased;
            eventually("its lease", async || storage.leases().iter().any(held).then_some(())).await;
            handler.signal(signal).await;
            eventually("a closed door", async || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, handler.port())).await.is_err().then_some(())
            })
            .await;
        };
        let (answer, ()) = tokio::join!(call, stopping);
        assert_eq!((answer.status, &answer.body["reason"]), (200, &json!("upserted")), "{}", answer.text);
        assert_eq!(handler.ended().await.code(), Some(0), "after SIG{signal}");
        assert!(world.dataverse.row("contacts", &[("employeeid", key)]).is_some());
        assert!(storage.leases().iter().all(|lease| lease.state != LeaseState::Leased), "{:?}", storage.leases());
    }
}

#[tokio::test]
async fn an_idle_handler_that_is_told_to_stop_stops_though_a_connection_is_kept_open() {
    let world = crate::world().await;
    let handler = Running::in_world(&world, &[]).await;
    let http = http_client();
    assert_eq!(answer(http.get(handler.url("/"))).await.status, 200);
    let _silent = TcpStream::connect((Ipv4Addr::LOCALHOST, handler.port())).await.expect("it listens");
    handler.signal("TERM").await;
    assert_eq!(handler.ended().await.code(), Some(0));
    drop(http);
}
