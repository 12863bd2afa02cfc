//! One handler process under load: started by the sandbox's host, called on its own port.
//!
//! The calls go directly to the handler, as the Functions host makes them, so that the host stand-in is not measured. A response is
//! its status and the outcome that the handler reports.

use std::fs;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{Backing, World};
use stand_ins::host::Host;
use stand_ins::net::http_client;
use stand_ins::storage::Storage;

/// The path of calls.
const CALLS: &str = "/api/records";

/// The path of queue messages.
const MESSAGES: &str = "/SyncQueue";

/// A running handler and a client for it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    host: Host,
    http: reqwest::Client,
    url: String,
}

/// The response to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The contract's reason: `upserted`, `lock_busy`, …
    pub(super) reason: String,
}

/// The part of the response to an array that is checked.
#[derive(Deserialize)]
struct Batch {
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    applied: usize,
}

impl Process {
    /// Starts a handler with the world's settings and `settings` over them.
    pub(super) async fn start(world: &World, name: &str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let host = world.host(name, settings).await?;
        let url = format!("http://127.0.0.1:{}", host.port_of_handler());
        Ok(Self { name: name.to_owned(), host, http: http_client(), url })
    }

    /// The host's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes one row of `contacts` and waits for the answer.
    pub(super) async fn write(&self, key: &str) -> anyhow::Result<Answer> {
        let (status, text) = self.post(CALLS, record(key, &self.name).to_string()).await?;
        let body: Value = serde_json::from_str(&text).with_context(|| format!("the answer {status} is no JSON"))?;
        Ok(Answer { status, reason: body["reason"].as_str().unwrap_or_default().to_owned() })
    }

    /// The same, and anything but `applied` is an error.
    pub(super) async fn apply(&self, key: &str) -> anyhow::Result<()> {
        let answer = self.write(key).await?;
        ensure!(matches!(answer.status, 200 | 201), "the write of {key} was answered {answer:?}");
        Ok(())
    }

    /// Writes an array of rows in one call; all of them must be applied.
    pub(super) async fn apply_all(&self, keys: &[String]) -> anyhow::Result<()> {
        let records: Vec<Value> = keys.iter().map(|key| record(key, &self.name)).collect();
        let (status, text) = self.post(CALLS, Value::Array(records).to_string()).await?;
        let batch: Batch =
            serde_json::from_str(&text).with_context(|| format!("the response {status} is not a result"))?;
        let applied = batch.summary.applied;
        ensure!(applied == keys.len(), "only {applied} of {} records were applied ({status})", keys.len());
        Ok(())
    }

    /// Delivers one row of `contacts` as a queue message, which the handler may hold for long; it must be applied.
    pub(super) async fn deliver(&self, key: &str) -> anyhow::Result<()> {
        let (status, _) = self.post(MESSAGES, envelope(&record(key, &self.name)).to_string()).await?;
        ensure!(status == 200, "the message for {key} would have gone back to the queue ({status})");
        Ok(())
    }

    async fn post(&self, path: &str, body: String) -> anyhow::Result<(u16, String)> {
        let request =
            self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json").body(body);
        let response = request.send().await.with_context(|| format!("calling {}", self.name))?;
        let status = response.status().as_u16();
        let text = response.text().await.with_context(|| format!("reading the answer of {}", self.name))?;
        Ok((status, text))
    }

    /// The process's resident memory in bytes.
    pub(super) fn resident(&self) -> anyhow::Result<u64> {
        let pid = self.host.pid().context("the handler is gone")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        let status = status.context("resident memory is read from /proc, which Linux has")?;
        resident(&status).context("/proc has no VmRSS")
    }

    /// Kills it, as Azure does.
    pub(super) async fn stop(self) {
        self.host.stop().await;
    }
}

/// The embedded storage of a world, which counts requests.
pub(super) fn store(world: &World) -> anyhow::Result<&Storage> {
    match &world.storage {
        Backing::Embedded(storage) => Ok(storage),
        Backing::Azurite(_) => anyhow::bail!("benchmarks are counted by the embedded store"),
    }
}

fn record(key: &str, writer: &str) -> Value {
    json!({ "table": "contacts", "key": { "employeeid": key }, "columns": { "firstname": "Ada", "jobtitle": writer } })
}

/// The part of the host's envelope that the handler reads; its texts are JSON-encoded twice.
fn envelope(message: &Value) -> Value {
    let text = Value::String(message.to_string()).to_string();
    json!({ "Data": { "record": text }, "Metadata": { "DequeueCount": "1" } })
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status_file() {
        let status = "Name:\thandler\nVmPeak:\t  712 kB\nVmRSS:\t   10240 kB\nRssAnon:\t    4 kB\n";
        assert_eq!(resident(status), Some(10_485_760));
        assert_eq!(resident("Name:\thandler\n"), None);
    }
}
