//! A storage without a queue, a folder for files, and the executable as an operator runs it there.

use std::fs;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::world::QUEUE;
use serde_json::{Value, json};
use stand_ins::queue::QueueService;
use stand_ins::storage::{Options, Storage};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::command::{CommandOutput, command};
use crate::trust::Folder;

/// The table and key of employees.
pub(super) const EMPLOYEES: [&str; 4] = ["--table", "contacts", "--key", "employeeid"];

pub(super) struct Sender {
    pub(super) storage: Storage,
    pub(super) folder: Folder,
}

impl Sender {
    pub(super) async fn new() -> Self {
        let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
        Self { storage, folder: Folder::new() }
    }

    /// `handler send` with these arguments; the connection is its only variable.
    fn command(&self, arguments: &[&str]) -> Command {
        let settings = [("AzureWebJobsStorage", self.storage.connection_string())];
        let mut command = command(&[&["send"], arguments].concat(), settings);
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

    /// Runs the command with this standard input.
    pub(super) async fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> CommandOutput {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the handler can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input).await.expect("it is read");
        drop(stdin);
        child.wait_with_output().await.expect("it ends").into()
    }

    /// Checks a file, without any setting.
    pub(super) async fn dry_run(&self, arguments: &[&str]) -> CommandOutput {
        let mut command = self.command(&[arguments, &["--dry-run"]].concat());
        command.env_clear();
        CommandOutput::of(command).await
    }

    /// The texts on the queue, oldest first.
    pub(super) fn texts(&self) -> Vec<String> {
        self.storage.messages(QUEUE).into_iter().map(|message| message.text).collect()
    }

    /// The records on the queue, oldest first.
    pub(super) fn records(&self) -> Vec<Value> {
        let record = |text: String| {
            let decoded = STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes());
            serde_json::from_slice(&decoded).expect("a record")
        };
        self.texts().into_iter().map(record).collect()
    }

    /// The records on the queue, which is empty then.
    pub(super) async fn take_records(&self) -> Vec<Value> {
        let records = self.records();
        let service = QueueService::from_connection_string(&self.storage.connection_string()).expect("it is valid");
        service.queue(QUEUE).clear().await.expect("the queue answers");
        records
    }

    /// The names of the files in the folder, sorted.
    pub(super) fn folder_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path("")).expect("it is readable");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }
}

/// The columns of an employee, by number.
pub(super) fn employee(number: u32) -> String {
    json!({ "employeeid": format!("E{number}"), "lastname": "Müller" }).to_string()
}

/// The numbers of employees, sorted.
pub(super) fn numbered(records: &[Value]) -> Vec<u32> {
    let number = |record: &Value| record["key"]["employeeid"].as_str()?.strip_prefix('E')?.parse().ok();
    let mut numbers: Vec<_> = records.iter().map(|record| number(record).expect("an employee")).collect();
    numbers.sort_unstable();
    numbers
}
