//! The two queues on an embedded storage, and the executable as an operator runs it, with only the connection set.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::world::{POISON_QUEUE, QUEUE};
use serde_json::json;
use stand_ins::queue::{Queue, QueueService};
use stand_ins::storage::{Options, Storage};
use tokio::process::{Child, Command};

use crate::command::{CommandOutput, command};
use crate::trust::Folder;

/// The storage, its queues, and the working folder.
pub(super) struct Queues {
    pub(super) storage: Storage,
    pub(super) poison: Queue,
    pub(super) records: Queue,
    folder: Folder,
}

impl Queues {
    pub(super) async fn empty() -> Self {
        let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
        let [poison, records] = create(&storage.connection_string()).await;
        Self { storage, poison, records, folder: Folder::new() }
    }

    /// With this many records that the host moved to the poison queue, each with its number as its key.
    pub(super) async fn with_moved(records: usize) -> Self {
        let queues = Self::empty().await;
        for number in 0..records {
            queues.letter(&record("contacts", &number.to_string())).await;
        }
        queues
    }

    /// Puts a dead letter as the host would write it.
    pub(super) async fn letter(&self, content: &str) {
        self.poison.put(&encoded(content.as_bytes())).await.expect("the queue takes it");
    }

    /// Writes a host.json into the working folder.
    pub(super) fn host_json(&self, text: &str) {
        self.folder.write("host.json", text);
    }

    /// The path of a file in the working folder.
    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    /// `handler dead-letters` with these arguments; the connection is its only variable.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = dead_letters(arguments, &[("AzureWebJobsStorage", &self.storage.connection_string())]);
        command.current_dir(self.folder.path(""));
        command
    }

    /// Runs the command until it exits.
    pub(super) async fn run(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(self.command(arguments)).await
    }

    /// Starts the command; dropping the child kills it.
    pub(super) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the handler can be started")
    }

    /// The texts of all visible dead letters, which stay visible.
    pub(super) async fn visible(&self) -> Vec<String> {
        let letters = drained(&self.poison).await;
        self.storage.redeliver(POISON_QUEUE, usize::MAX);
        letters
    }

    /// Receives all messages from the queue that the handler reads, sorted.
    pub(super) async fn messages(&self) -> Vec<String> {
        let mut messages = drained(&self.records).await;
        self.records.clear().await.expect("the queue answers");
        messages.sort();
        messages
    }
}

/// The poison queue and the queue of records, created.
pub(crate) async fn create(connection: &str) -> [Queue; 2] {
    let service = QueueService::from_connection_string(connection).expect("it is a connection string");
    let queues = [POISON_QUEUE, QUEUE].map(|name| service.queue(name));
    for queue in &queues {
        queue.create_if_missing().await.expect("the storage answers");
    }
    queues
}

/// Receives all visible messages, which become hidden, and returns their texts.
pub(super) async fn drained(queue: &Queue) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let some = queue.receive(32, Duration::from_mins(10)).await.expect("the queue answers");
        if some.is_empty() {
            return texts;
        }
        texts.extend(some.into_iter().map(|message| message.text));
    }
}

/// `handler dead-letters` with these arguments and this environment.
pub(super) fn dead_letters(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    command(&[&["dead-letters"], arguments].concat(), settings.iter().copied())
}

/// Sends a signal, named without SIG.
pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it still runs").to_string();
    let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await;
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} was not sent");
}

/// A message's text as a host with base64 encoding writes it.
pub(super) fn encoded(content: &[u8]) -> String {
    STANDARD.encode(content)
}

/// A record from the source `hr`.
pub(crate) fn record(table: &str, key: &str) -> String {
    json!({ "table": table, "key": { "employeeid": key }, "columns": { "firstname": "Ada" }, "source": "hr" })
        .to_string()
}

/// A dead letter as the handler writes it.
pub(crate) fn ours(message: &str, reason: &str, code: &str) -> String {
    json!({
        "message": message, "reason": reason, "detail": "it was refused", "attempts": 1, "invocationId": "id-1",
        "dataverse": { "status": 412, "code": code, "message": "Dataverse's own words", "requestId": "r-1" },
        "at": "2026-01-02T03:04:05Z",
    })
    .to_string()
}
