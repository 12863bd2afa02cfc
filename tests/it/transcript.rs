//! A host's complete log, line by line: each line has the severity of its level, whatever its text.
//!
//! The handler runs under the sandbox's host, which assigns severities like the real one; real traffic causes every
//! level.

use std::collections::BTreeSet;

use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{Category, Host, InvocationRecord, InvocationResult, LogLine, Severity};

use crate::caller::{Caller, contact};
use crate::waiting::eventually;

const CLOSING: [&str; 4] = ["record settled", "record returned to the host", "record rejected", "call rejected"];

/// A log format: its setting, and how to read a member of a line.
struct Format {
    name: &'static str,
    member: fn(&str, &str) -> Option<String>,
}

const FORMATS: [Format; 2] = [Format { name: "text", member: of_text }, Format { name: "json", member: of_json }];

fn of_text(line: &str, name: &str) -> Option<String> {
    if name == "level" {
        return line.split(' ').nth(1).map(str::to_owned);
    }
    let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    let quoted = format!("\"{}\"", value.trim_matches('"'));
    serde_json::from_str(&quoted).ok()
}

fn of_json(line: &str, name: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    line[name].as_str().map(str::to_owned)
}

/// The expected severity of a level.
fn severity(level: &str) -> Option<Severity> {
    match level {
        "TRACE" | "DEBUG" | "INFO" => Some(Severity::Information),
        "WARN" => Some(Severity::Warning),
        "ERROR" => Some(Severity::Error),
        _ => None,
    }
}

struct Transcript {
    world: World,
    host: Host,
    format: &'static Format,
}

impl Transcript {
    async fn start(format: &'static Format) -> Self {
        let world = crate::world().await;
        let settings = [("SYNC_LOG_FORMAT", format.name), crate::AT_ONCE];
        let host = world.host("instance-1", &settings).await.expect("the host starts");
        Self { world, host, format }
    }

    /// Puts a message on the queue and waits until its first invocation ends.
    async fn deliver(&self, message: &Value) -> InvocationRecord {
        let before = self.host.invocations().len();
        self.world.put(&message.to_string()).await.expect("the queue takes it");
        eventually("the invocation to end", async || self.host.invocations().into_iter().nth(before)).await
    }

    fn member(&self, line: &LogLine, name: &str) -> Option<String> {
        (self.format.member)(&line.text, name)
    }

    fn lines(&self, category: Category) -> Vec<LogLine> {
        self.host.logs().into_iter().filter(|line| line.category == category).collect()
    }

    /// Waits for the handler's closing line of this message with this outcome.
    async fn printed(&self, message_id: &str, outcome: &str) -> LogLine {
        // A line about the lock's release has the same fields.
        let closes = |line: &LogLine| CLOSING.iter().any(|text| line.text.contains(text));
        let is_it = |line: &LogLine| {
            closes(line)
                && self.member(line, "message_id").as_deref() == Some(message_id)
                && self.member(line, "outcome").as_deref() == Some(outcome)
        };
        eventually("its line", async || self.lines(Category::Handler).into_iter().find(is_it)).await
    }

    /// Asserts that every line of the handler has the severity of its level; returns the levels seen.
    fn check_severities(&self) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for line in self.lines(Category::Handler) {
            let level = self.member(&line, "level").unwrap_or_default();
            assert_eq!(severity(&level), Some(line.severity), "{line:?}");
            seen.insert(level);
        }
        seen
    }

    /// The lines in an invocation's scope, the closing one last. The host logs them as information, so those above INFO
    /// are also printed with their own severity, and the copy in the scope is marked.
    fn scope(&self, invocation: &InvocationRecord) -> Vec<LogLine> {
        let (scope, printed) = (self.lines(Category::Invocation(invocation.id)), self.lines(Category::Handler));
        for line in &scope {
            assert_eq!(line.severity, Severity::Information, "{line:?}");
            let text = line.text.replace(" also_on=stderr", "").replace(r#","also_on":"stderr""#, "");
            let is_printed = printed.iter().any(|other| other.text == text);
            let is_marked = text != line.text;
            let is_above_info = self.member(line, "level").as_deref() != Some("INFO");
            assert_eq!((is_printed, is_marked), (is_above_info, is_above_info), "{line:?}");
        }
        scope
    }

    /// Delivers a message, and asserts that its invocation succeeds and its scope ends with this outcome and reason.
    async fn settles(&self, message: &Value, outcome: &str, reason: &str) -> Vec<LogLine> {
        let ended = self.deliver(message).await;
        assert_eq!(ended.result, InvocationResult::Succeeded);
        if outcome == "rejected" {
            self.printed(message["messageId"].as_str().expect("it has one"), outcome).await;
        }
        let scope = self.scope(&ended);
        let last = scope.last().expect("its closing line");
        assert_eq!(self.member(last, "outcome").as_deref(), Some(outcome), "{last:?}");
        assert_eq!(self.member(last, "reason").as_deref(), Some(reason), "{last:?}");
        assert_eq!(self.member(last, "invocation_id"), Some(ended.id.to_string()), "{last:?}");
        scope
    }

    async fn log_settled_messages_in_their_scope(&self) {
        let mut applied = contact("C1", &json!({ "firstname": "Ada" }));
        (applied["messageId"], applied["source"]) = (json!("warn-1"), json!("error"));
        let scope = self.settles(&applied, "applied", "upserted").await;
        assert_eq!(scope.len(), 1, "{scope:?}");

        let rejected = json!({ "table": "warnings", "key": { "a": "1" }, "columns": {}, "messageId": "Warn-2" });
        self.settles(&rejected, "rejected", "not_found").await;
        let line = self.printed("Warn-2", "rejected").await;
        assert_eq!(
            self.member(&line, "table").as_deref(),
            Some("warnings"),
            "an error line names the table too: {line:?}"
        );

        let mut invalid = contact("C2", &json!({}));
        (invalid["warn"], invalid["messageId"]) = (json!(1), json!("foreWARNed"));
        self.settles(&invalid, "rejected", "invalid_message").await;

        let status = Status::new(400, "0x81234567", "Not like this.");
        for (key, warnings) in [("C3-1", 1), ("C3-2", 0)] {
            self.world.dataverse.fault(Fault::new(Effect::Status(status.clone())).key(key));
            let scope = self.settles(&contact(key, &json!({})), "rejected", "invalid_data").await;
            let warns = scope.iter().filter(|line| self.member(line, "level").as_deref() == Some("WARN"));
            assert_eq!(warns.count(), warnings, "an unknown code is logged once: {scope:?}");
        }
    }

    async fn log_a_failed_message_by_its_reason_phrase(&self) {
        let mut record =
            contact("C4", &json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')" }));
        record["messageId"] = json!("error-4");
        let ended = self.deliver(&record).await;
        let line = self.printed("error-4", "retry").await;
        assert_eq!(
            (line.severity, self.member(&line, "reason").as_deref()),
            (Severity::Warning, Some("parent_missing"))
        );
        assert_eq!(self.member(&line, "invocation_id"), Some(ended.id.to_string()));
        let hash = self.member(&line, "key_hash").expect("the record has a key");
        let InvocationResult::Failed(exception) = &ended.result else { panic!("{ended:?}") };
        assert!(exception.ends_with(&format!("500 (retry/parent_missing key={hash}).")), "{exception}");
        let scope = self.lines(Category::Invocation(ended.id));
        assert!(scope.len() == 1 && scope[0].severity == Severity::Error, "only the host's own line: {scope:?}");
    }

    async fn log_http_calls_by_printed_lines(&self) {
        let caller = Caller::of(&self.host);
        let table = |table: &str, id: &str| json!({ "table": table, "key": { "employeeid": "C5" }, "columns": {}, "messageId": id });
        caller.post(&table("contacts", "warn-error-5")).await;
        assert_eq!(self.printed("warn-error-5", "applied").await.severity, Severity::Information);
        caller.post(&json!([table("warnings", "WARN-6"), table("errors", "error-7")])).await;
        for id in ["WARN-6", "error-7"] {
            assert_eq!(self.printed(id, "rejected").await.severity, Severity::Warning, "the caller knows it");
        }
    }
}

#[tokio::test]
async fn the_default_log_has_the_severity_of_each_level_and_settled_messages_in_their_scope() {
    for format in &FORMATS {
        let transcript = Transcript::start(format).await;
        transcript.log_settled_messages_in_their_scope().await;
        transcript.log_a_failed_message_by_its_reason_phrase().await;
        transcript.log_http_calls_by_printed_lines().await;
        let levels = transcript.check_severities();
        assert!(levels.iter().eq(["ERROR", "INFO", "WARN"]), "{levels:?}");
    }
}
