//! Answers met in the field, from their bytes to the outcome: the real client and pipeline against a server that gives one.
//!
//! `answers.ndjson` holds one answer a line: status, headers, body, the request that met it, and what to conclude. Each line is
//! judged by the forms of request that we send in its place; the others are listed apart, each with the reason, and must only be
//! neither applied nor skipped. `cargo test --test it captured -- --nocapture` prints the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataverse_sync::admission::Admission;
use dataverse_sync::dataverse::Store;
use dataverse_sync::dataverse::client::Client;
use dataverse_sync::outcome::{Disposition, Outcome, Reason};
use dataverse_sync::pipeline::{Delivery, LoggedOnce, Pipeline, VisibleColumns};
use dataverse_sync::record::{OnConflict, Tables, decode};
use serde::Deserialize;
use serde_json::json;

use super::{Act, Scripted, answer, client};

const ANSWERS: &str = include_str!("answers.ndjson");

/// The row that a read finds, where the answer is not one to a read.
const ROW: &str =
    r#"{"@odata.etag":"W/\"1\"","contactid":"9b2e0c3a-1111-4222-8333-444455556666","firstname":"Eve","new_version":1}"#;

const ONCE: Delivery = Delivery {
    attempts: Some(1),
    last: false,
    wait_budget: Duration::ZERO,
    queue_budget: Duration::from_secs(20),
    waited: Duration::ZERO,
    fail_fast: false,
    parent_wait: Duration::ZERO,
    behind: None,
};

/// One line.
#[derive(Deserialize)]
struct Captured {
    id: String,
    status: u16,
    headers: BTreeMap<String, OneOrMany>,
    body: String,
    request: String,
    expected: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The request that gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Upsert,
    Create,
    Update,
    /// `If-Match: <etag>`, for a record with a version.
    UpdateUnchanged,
    Delete,
    DeleteUnchanged,
    /// The read of a record with a version, before its write.
    Read,
}

/// A request and the lookup that it binds, if any.
struct Judged {
    form: Form,
    bind: Option<String>,
}

impl Captured {
    fn bytes(&self) -> Vec<u8> {
        let mut headers = String::new();
        for (name, value) in &self.headers {
            let values = match value {
                OneOrMany::One(value) => std::slice::from_ref(value),
                OneOrMany::Many(values) => values,
            };
            for value in values.iter().filter(|_| !name.eq_ignore_ascii_case("content-length")) {
                write!(headers, "{name}: {value}\r\n").expect("writing to a string cannot fail");
            }
        }
        match self.status {
            204 | 304 => format!("HTTP/1.1 {} X\r\n{headers}\r\n", self.status).into_bytes(),
            status => answer(&format!("{status} X"), &headers, &self.body),
        }
    }

    /// The forms of our requests that the line is about, or why there are none.
    fn forms(&self) -> Result<Vec<Judged>, &'static str> {
        let has = |part: &str| self.request.contains(part);
        if self.expected.starts_with("unknown") {
            return Err("without a verdict");
        }
        if self.expected.starts_with("not used by the handler") || has("UpsertMultiple") || has("/searchquery") {
            return Err("a request that is never sent");
        }
        if has("RelationshipDefinitions") || has("EntityDefinitions") {
            return Err("metadata that is never requested in this way");
        }
        if self.request.starts_with("PUT") {
            return Err("a method that is never used");
        }
        let forms: &[Form] = match self.request.split([' ', ',']).next().unwrap_or_default() {
            "GET/PATCH/DELETE" => &[Form::Delete, Form::Update, Form::Upsert],
            "GET" if !has("/WhoAmI") => &[Form::Read],
            "DELETE" if has("If-Match: W/") => &[Form::DeleteUnchanged],
            "DELETE" if self.expected.contains("on a create") => &[Form::Delete, Form::Create],
            "DELETE" => &[Form::Delete],
            _ if has("If-None-Match: *") => &[Form::Create],
            _ if has("If-Match: *") => &[Form::Update],
            _ if has("If-Match: ") => &[Form::UpdateUnchanged],
            _ if self.expected.contains("(update)") => &[Form::Update, Form::Upsert],
            "POST" if self.expected == "created" => &[Form::Create],
            _ => &[Form::Upsert],
        };
        let quoted = || self.request.split("@odata.bind: \"").nth(1)?.split('"').next().map(str::to_owned);
        let owner = || has("an owner").then(|| "/systemusers(9b2e0c3a-1111-4222-8333-444455557777)".to_owned());
        let parent =
            |form| (form == Form::Create && self.expected.contains("parent_missing")).then(|| "/as(b='7')".to_owned());
        let bind = |form| quoted().or_else(owner).or_else(|| parent(form));
        Ok(forms.iter().map(|form| Judged { form: *form, bind: bind(*form) }).collect())
    }

    /// The reasons that `expected` allows for a form, and how often the request is sent at least and at most.
    fn allowed(&self, form: Form) -> (&'static [Reason], std::ops::RangeInclusive<usize>) {
        let any = 0..=usize::MAX;
        let starts = |text: &str| self.expected.starts_with(text);
        match form {
            Form::Create if starts("exists") => (&[Reason::Exists], any),
            Form::Update if starts("race path") => (&[Reason::KeyCollision], any),
            _ if starts("race path") => (&[Reason::AlreadyWritten, Reason::Upserted, Reason::KeyCollision], any),
            // Always refused here, so it ends when it was read again often enough.
            Form::UpdateUnchanged | Form::DeleteUnchanged if starts("read again") => (&[Reason::Conflict], 2..=10),
            Form::Delete if starts("row missing") => (&[Reason::AlreadyAbsent], any),
            Form::Update if starts("row missing") => (&[Reason::NotFound], any),
            _ if starts("row missing") => (&[Reason::InvalidData], any),
            Form::Create if starts("invalid_data (delete); parent_missing") => (&[Reason::ParentMissing], any),
            _ if starts("operator's matter") => (&[Reason::Unauthorized], any),
            _ if starts("one more try, then invalid_data") => (&[Reason::InvalidData], 2..=2),
            _ if starts("one more try, then by status") && self.status == 500 => (&[Reason::Unavailable], 2..=2),
            _ if starts("send again, at most 3 times, then unavailable") => (&[Reason::Unavailable], 4..=4),
            _ if starts("send again or unavailable") => (&[Reason::Unavailable], any),
            _ if starts("send again, then key_collision") => (&[Reason::KeyCollision], 2..=4),
            _ if starts("ok") => (&[Reason::Upserted, Reason::Updated, Reason::Created], any),
            _ => {
                let word = self.expected.split([' ', ';', ',']).next().unwrap_or_default();
                let reason = Reason::ALL.iter().find(|reason| reason.code() == word);
                let reason = reason.unwrap_or_else(|| panic!("{}: `{}` names no reason", self.id, self.expected));
                (std::slice::from_ref(reason), any)
            }
        }
    }
}

/// What the server answers.
#[derive(Default)]
struct Answers {
    bytes: Vec<u8>,
    is_for_reads: bool,
    /// The requests that got the answer.
    given: usize,
}

struct Fixture {
    answers: Arc<Mutex<Answers>>,
    store: Arc<dyn Store>,
    _tenant: stand_ins::identity::Identity,
    _server: Scripted,
}

impl Fixture {
    async fn start() -> Self {
        let answers = Arc::new(Mutex::new(Answers::default()));
        let shared = answers.clone();
        let server = Scripted::answering(move |request| {
            let mut answers = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let is_read = request.starts_with("GET ");
            if is_read != answers.is_for_reads {
                return Act::Send(answer("200 OK", "Content-Type: application/json\r\n", ROW));
            }
            answers.given += 1;
            Act::Send(answers.bytes.clone())
        })
        .await;
        let (client, tenant): (Client, _) =
            client(server.port(), "secret", stand_ins::identity::Options::default()).await;
        Self { answers, store: Arc::new(client), _tenant: tenant, _server: server }
    }

    /// The outcome of a record whose request always gets this answer, and how often it was sent.
    async fn settle(&self, captured: &Captured, judged: &Judged) -> (Outcome, usize) {
        let is_for_reads = judged.form == Form::Read;
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) =
            Answers { bytes: captured.bytes(), is_for_reads, given: 0 };
        let (operation, version) = match judged.form {
            Form::Upsert => ("upsert", None),
            Form::Create => ("create", None),
            Form::Update => ("update", None),
            Form::UpdateUnchanged | Form::Read => ("update", Some(7)),
            Form::Delete => ("delete", None),
            Form::DeleteUnchanged => ("delete", Some(7)),
        };
        let mut columns = json!({ "firstname": "Ada" });
        if let Some(bind) = &judged.bind {
            columns["new_nav@odata.bind"] = bind.as_str().into();
        }
        let message = json!({
            "table": "contacts", "key": { "employeeid": "E1" }, "operation": operation, "columns": columns,
            "version": version, "versionColumn": version.map(|_| "new_version"),
        });
        let record = decode(&message.to_string().into()).unwrap_or_else(|(error, _)| panic!("{message}: {error}"));
        let pipeline = Pipeline {
            store: self.store.clone(),
            environment: "contoso".to_owned(),
            locks: None,
            admission: Admission::new(4, 4),
            on_conflict: OnConflict::Verify,
            version_column: None,
            visible_columns: VisibleColumns::default(),
            tables: Tables::default(),
            unknown_codes: LoggedOnce::default(),
            implausible_versions: LoggedOnce::default(),
        };
        let outcome = pipeline.settle(&record, ONCE).await;
        (outcome, self.answers.lock().unwrap_or_else(PoisonError::into_inner).given)
    }
}

#[tokio::test]
async fn every_captured_answer_leads_to_what_is_expected_of_it() {
    let fixture = Fixture::start().await;
    let (mut table, mut apart, mut wrong) = (String::new(), String::new(), Vec::new());
    let (mut judged_lines, mut apart_lines) = (0, 0);
    for line in ANSWERS.lines() {
        let captured: Captured = serde_json::from_str(line).expect("a captured answer");
        let forms = captured.forms();
        let (id, expected) = (&captured.id, &captured.expected);
        let Ok(forms) = forms else {
            apart_lines += 1;
            let why = forms.err().unwrap_or_default();
            let (outcome, _) = fixture.settle(&captured, &Judged { form: Form::Upsert, bind: None }).await;
            let is_lost = outcome.disposition == Disposition::Applied && captured.status >= 300;
            if is_lost || outcome.disposition == Disposition::Skipped {
                wrong.push(format!("{id}: {}", outcome.reason.code()));
            }
            writeln!(apart, "| {id} | {why} | {expected} | {} |", outcome.reason.code()).expect("in memory");
            continue;
        };
        judged_lines += 1;
        for judged in forms {
            let (outcome, sent) = fixture.settle(&captured, &judged).await;
            let (reasons, times) = captured.allowed(judged.form);
            let form = format!("{:?}{}", judged.form, if judged.bind.is_some() { ", bound" } else { "" });
            let found = format!("{}/{}", outcome.disposition.code(), outcome.reason.code());
            if !reasons.contains(&outcome.reason) || !times.contains(&sent) {
                wrong.push(format!("{id} ({form}): {found} after {sent} requests; expected: {expected}"));
            }
            writeln!(table, "| {id} | {form} | {expected} | {found} | {sent} |").expect("in memory");
        }
    }
    println!("| answer | judged as | expected | outcome | sent |\n|---|---|---|---|---|\n{table}");
    println!("Apart:\n\n| answer | why | expected | outcome as an upsert |\n|---|---|---|---|\n{apart}");
    println!("{judged_lines} lines judged, {apart_lines} apart");
    assert_eq!(judged_lines + apart_lines, ANSWERS.lines().count());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
