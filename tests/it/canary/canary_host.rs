//! A host whose settings contain canaries, its two functions, and all of their output.

use dataverse_sync::outcome::{Disposition, Reason};
use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::collector::Collector;
use stand_ins::host::{Host, Options as HostOptions};
use stand_ins::identity::Credential;
use stand_ins::net::http_client;
use stand_ins::storage::Storage;
use uuid::Uuid;

use super::{COLUMN, KEY, SAID};
use crate::caller::{Answer, answer, send};
use crate::tenant::Tenant;
use crate::waiting::eventually;

const SECRET: &str = "canary-of-a-client-secret";
const HEADER: &str = "canary-of-a-header";
const COLLECTOR_KEY: &str = "canary-of-a-collector";

/// The prefix of the stand-in's tokens: `{"alg":` in base64.
const TOKEN: &str = "eyJhbGciOi";

/// The service's message is withheld from the caller for these reasons.
const FOR_OPERATORS: [Reason; 3] = [Reason::Unavailable, Reason::Unauthorized, Reason::StorageUnavailable];

/// The function that receives a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    Http,
    Queue,
}

/// A host with every secret that can be set at the same time.
pub(super) struct CanaryHost {
    tenant: Tenant,
    pub(super) host: Host,
    /// Another host, which takes no locks.
    unlocked: Host,
    collector: Collector,
}

impl CanaryHost {
    pub(super) async fn start() -> Self {
        let mut tenant = Tenant::start(vec![Credential::Secret(SECRET.to_owned())]).await;
        let collector = Collector::start().await.expect("loopback has free ports");
        let set = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("api-key={COLLECTOR_KEY}")),
            ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
            ("AZURE_CLIENT_SECRET", SECRET.to_owned()),
            ("SYNC_HEADERS", json!({ "CallerObjectId": HEADER }).to_string()),
            ("SYNC_VERSION_COLUMN", "new_sourceversion".to_owned()),
            ("LOCK_WAIT_SECONDS", "1".to_owned()),
            ("SYNC_HOLD_SECONDS", "0".to_owned()),
            ("RUST_LOG", "trace".to_owned()),
        ];
        tenant.world.settings.extend(set.map(|(name, value)| (name.to_owned(), value)));
        tenant.world.settings.extend(tenant.settings().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let start = async |name, settings: &[(&str, &str)]| {
            let options = tenant.world.host_options(name, settings);
            Host::start(HostOptions { kept_lines: Some(1_000_000), ..options }).await.expect("the host starts")
        };
        let (host, unlocked) = tokio::join!(start("canary", &[]), start("unlocked", &[("LOCK_MODE", "off")]));
        Self { tenant, host, unlocked, collector }
    }

    pub(super) fn world(&self) -> &World {
        &self.tenant.world
    }

    pub(super) fn storage(&self) -> &Storage {
        self.world().storage.embedded().expect("this world is on the embedded storage")
    }

    /// The texts that no output may contain, not even output with data.
    pub(super) fn secrets(&self) -> Vec<String> {
        let connection = &self.world().settings["AzureWebJobsStorage"];
        let account = connection.split(';').find_map(|part| part.strip_prefix("AccountKey="));
        let account = account.expect("the connection string has a key");
        let [key, other_key] = [&self.host, &self.unlocked].map(Host::function_key);
        [SECRET, HEADER, COLLECTOR_KEY, TOKEN, "Bearer ey", account, key, other_key].map(str::to_owned).into()
    }

    /// Sends a record; asserts its reason, and that the answer contains only what is allowed in it.
    pub(super) async fn send(&self, trigger: Trigger, record: &Value, reason: Reason) {
        // Under a lock no other instance writes.
        let host = if reason == Reason::WrittenElsewhere { &self.unlocked } else { &self.host };
        match trigger {
            Trigger::Http => self.call(host, record, reason).await,
            Trigger::Queue => self.invoke(host, &json!({ "record": record.to_string() }), record, reason).await,
        }
    }

    async fn call(&self, host: &Host, record: &Value, reason: Reason) {
        let url = format!("{}/api/records?code={}", host.http_url(), host.function_key());
        let answer = answer(http_client().post(url).body(record.to_string())).await;
        check_members(&answer, record, reason);
        self.holds_nothing(&format!("{:?}", answer.headers), "the headers");
        if FOR_OPERATORS.contains(&reason) {
            assert!(!answer.text.contains(SAID), "{}", answer.text);
        }
        let mut body = answer.body;
        remove_messages(&mut body);
        body.as_object_mut().expect("an object").remove("key");
        self.holds_nothing(&body.to_string(), reason.code());
    }

    /// Calls the function as the host does, with this `Data`.
    pub(super) async fn invoke(&self, host: &Host, data: &Value, record: &Value, reason: Reason) {
        let url = format!("http://127.0.0.1:{}/SyncQueue", host.port_of_handler());
        let invocation = json!({ "Data": data, "Metadata": record }).to_string();
        let response = http_client().post(url).body(invocation).send().await.expect("the handler answers");
        let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>().map(|phrase| phrase.as_bytes().to_vec());
        let head = format!("{:?} {:?}", String::from_utf8(phrase.unwrap_or_default()), response.headers());
        self.holds_nothing(&head, "the reason phrase and the headers");
        let text = response.text().await.expect("the answer is whole");
        let Ok(mut body) = serde_json::from_str::<Value>(&text) else {
            assert!(text.contains(reason.code()) && head.contains(reason.code()), "{reason:?}: {text} {head}");
            return self.holds_nothing(&text, reason.code());
        };
        let mut lines = body["Logs"].as_array().expect("lines").iter().filter_map(Value::as_str);
        assert!(lines.any(|line| line.contains(reason.code())), "{reason:?}: {body}");
        if let Some(letter) = body.pointer_mut("/Outputs/deadLetter") {
            assert_eq!(letter["message"].take(), record.to_string(), "a dead letter holds the message");
            remove_messages(letter);
        }
        self.holds_nothing(&body.to_string(), reason.code());
    }

    /// Waits until a plain record is applied again after an outage.
    pub(super) async fn recovers(&self) {
        // Each time another row: a fault may keep the lease of the last one from being released.
        let applied = async || send(&self.host, &Uuid::new_v4().to_string()).await.status == 200;
        eventually("a success", async || applied().await.then_some(())).await;
    }

    /// Stops the handler as Core Tools does, then checks all of its output, its exports and the names of its lock blobs.
    pub(super) async fn check_logs_and_exports(self) {
        let mut logs = Vec::new();
        for host in [&self.host, &self.unlocked] {
            assert_eq!(host.terminate_handler().await, Some(143));
            logs.extend(host.logs());
        }
        // A queue message's own line is in its answer, and without a lock nothing is done after it.
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::WrittenElsewhere) {
            // The log line of an invalid invocation request has no reason.
            let text = if reason == Reason::Internal { "invalid invocation request" } else { reason.code() };
            assert!(logs.iter().any(|line| line.text.contains(text)), "{text} is not logged");
        }
        assert!(logs.iter().any(|line| line.text.to_uppercase().contains("TRACE")), "the log level must be trace");
        for line in logs {
            self.holds_nothing(&line.text, "the log");
        }
        self.holds_nothing(&format!("{:?}", self.storage().leases()), "the names of locks");
        self.check_exports();
    }

    fn check_exports(&self) {
        let deliveries = self.collector.deliveries();
        assert!(deliveries.iter().all(|delivery| delivery.headers["api-key"] == COLLECTOR_KEY));
        let exported: Vec<u8> = deliveries.into_iter().flat_map(|delivery| delivery.body).collect();
        let exported = String::from_utf8_lossy(&exported);
        for reason in Reason::ALL {
            assert!(exported.contains(reason.code()), "{reason:?} is not exported");
        }
        assert!(!exported.contains("employeeid"), "a key column is exported");
        self.holds_nothing(&exported, "the exports");
    }

    /// Asserts that a text contains neither secrets nor data.
    pub(super) fn holds_nothing(&self, text: &str, what: &str) {
        self.holds_no_secret(text, what);
        for canary in [COLUMN, KEY, SAID] {
            assert!(!text.contains(canary), "{canary} in {what}: {text}");
        }
    }

    pub(super) fn holds_no_secret(&self, text: &str, what: &str) {
        for secret in self.secrets() {
            assert!(!text.contains(&secret), "{secret} in {what}: {text}");
        }
    }
}

/// Asserts that this is the contract's answer for this reason: a result or a problem document, with the record's own
/// members, and a delay only for a retry.
fn check_members(answer: &Answer, record: &Value, reason: Reason) {
    let mut members = answer.body.clone();
    assert_eq!(members["outcome"], reason.disposition().code(), "{}", answer.text);
    assert_eq!((&members["reason"], &members["attempts"]), (&json!(reason.code()), &json!(1)), "{}", answer.text);
    assert_eq!(members["messageId"], record["messageId"]);
    if reason != Reason::InvalidMessage {
        assert_eq!((&members["table"], &members["key"]), (&record["table"], &record["key"]));
    }
    let status = reason.http_status();
    if status < 400 {
        return answer.is_result(status, &members);
    }
    for name in ["title", "status", "detail"] {
        members.as_object_mut().expect("an object").remove(name);
    }
    answer.is_problem(status, &members);
    let seconds = answer.header("retry-after").map(str::parse::<u64>);
    assert_eq!(seconds.is_some(), reason.disposition() == Disposition::Retry, "{reason:?}: {seconds:?}");
    assert!(seconds.is_none_or(|seconds| seconds.is_ok_and(|seconds| seconds > 0)), "{reason:?}");
}

/// Removes Dataverse's messages, and asserts that they contain no other canary.
fn remove_messages(result: &mut Value) {
    for pointer in ["/detail", "/dataverse/message"] {
        let Some(message) = result.pointer_mut(pointer).map(Value::take) else { continue };
        let message = message.to_string();
        assert!(!message.contains(COLUMN) && !message.contains(KEY), "{pointer}: {message}");
    }
}
