//! The Dataverse client against a server that violates HTTP: every answer is reported as it was, and no request is
//! repeated.
//!
//! Tokens come from the sandbox's Entra tenant.

mod answers;
mod batch;
mod captured;
mod metadata;
mod returning;
mod scripted;
mod silence;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use dataverse_sync::dataverse::client::{Client, Environment};
use dataverse_sync::dataverse::{Change, Error, Row, Store as _, Write, Written};
use dataverse_sync::http::Http;
use dataverse_sync::identity::{Choice, Identity};
use dataverse_sync::record::{Record, decode};
use reqwest::header::HeaderMap;
use scripted::{Act, Scripted, Seen};
use stand_ins::identity::{self, App, Credential};

use super::trust;

/// A client, the server that it calls, and the tenant that issues its tokens.
struct Fixture {
    server: Scripted,
    tenant: identity::Identity,
    client: Client,
}

impl Fixture {
    async fn start(script: Vec<Act>) -> Self {
        Self::start_as("secret", script).await
    }

    /// Like `start`, with this client secret, which may be wrong.
    async fn start_as(secret: &str, script: Vec<Act>) -> Self {
        Self::start_with(secret, identity::Options::default(), script).await
    }

    /// Like `start_as`, with these settings of the tenant.
    async fn start_with(secret: &str, options: identity::Options, script: Vec<Act>) -> Self {
        let server = Scripted::start(script).await;
        let (client, tenant) = client(server.port(), secret, options).await;
        Self { server, tenant, client }
    }

    /// A client whose only request is answered with `act`.
    async fn with(act: Act) -> Self {
        Self::start(vec![act]).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, Error> {
        let deletes = matches!(write, Write::Delete | Write::DeleteUnchanged(_));
        let record = record(if deletes { "delete" } else { "upsert" });
        let change = Change { record: &record, columns: &record.columns, id: None, write, version: None };
        self.client.write(&change).await
    }

    async fn upsert(&self) -> Result<Written, Error> {
        self.write(Write::Upsert).await
    }

    async fn read(&self) -> Result<Option<Row>, Error> {
        let columns = ["firstname".to_owned()];
        let record = record("upsert");
        self.client.read(&record.table, &record.key, &columns).await
    }

    fn seen(&self) -> Seen {
        self.server.seen()
    }
}

/// A client of the server on that port that authenticates with `secret`, and its tenant, whose valid secret is
/// "secret".
async fn client(port: u16, secret: &str, options: identity::Options) -> (Client, identity::Identity) {
    let tls = trust::authority();
    let app = App { client_id: "app".to_owned(), credentials: vec![Credential::Secret("secret".to_owned())] };
    let options = identity::Options { tls: Some(tls.clone()), apps: vec![app], ..options };
    let id = options.tenant.clone();
    let tenant = identity::Identity::start(options).await.expect("loopback has free ports");
    let authority = tenant.authority().expect("it has a certificate");
    let settings = |name: &str| match name {
        "AZURE_TENANT_ID" => Some(id.clone()),
        "AZURE_CLIENT_ID" => Some("app".to_owned()),
        "AZURE_CLIENT_SECRET" => Some(secret.to_owned()),
        "AZURE_AUTHORITY_HOST" => Some(authority.clone()),
        _ => None,
    };
    let choice = Choice::from_settings(&settings).expect("the settings are complete");
    let identity = Identity::open(choice, &trust::client(&tls).into()).expect("the settings are valid");
    let http = Http::new().expect("this machine has root certificates");
    (Client::new(&environment(port), Arc::new(identity), &http), tenant)
}

fn environment(port: u16) -> Environment {
    let url = format!("http://127.0.0.1:{port}/").parse().expect("an address");
    Environment { url, api_version: "v9.2".to_owned(), headers: HeaderMap::new() }
}

fn record(operation: &str) -> Record {
    let message = serde_json::json!({
        "table": "contacts",
        "key": { "employeeid": "E1" },
        "columns": { "firstname": "Ada" },
        "operation": operation,
    });
    decode(&message.to_string().into()).expect("a record")
}

/// An answer with these headers, each ending in a line break, and this body.
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An error answer in the standard shape.
fn refusal(status: &str, headers: &str, code: &str, message: &str) -> Vec<u8> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } }).to_string();
    answer(status, &format!("{headers}Content-Type: application/json\r\n"), &body)
}

/// The facts in an error answer.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    code: Option<u32>,
    message: Option<String>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
}

impl Answered {
    fn new(status: u16, code: Option<u32>, message: Option<&str>) -> Self {
        let message = message.map(str::to_owned);
        Self { status, code, message, request_id: None, retry_after: None }
    }

    /// The facts in the error answer that this result must be.
    fn of<T>(result: Result<T, Error>) -> Self {
        match result {
            Err(Error::Answered { status, code, message, request_id, retry_after, .. }) => {
                Self { status, code, message, request_id, retry_after }
            }
            Err(other) => panic!("no answer: {other}"),
            Ok(_) => panic!("a success"),
        }
    }
}

/// For an unanswered request: whether it may have arrived, and the problem.
fn unanswered<T>(result: Result<T, Error>) -> (bool, &'static str) {
    match result {
        Err(Error::NoAnswer { sent, problem }) => (sent, problem),
        Err(other) => panic!("another fault: {other}"),
        Ok(_) => panic!("a success"),
    }
}
