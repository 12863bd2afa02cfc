//! The host with a handler inside the test: an axum router, on whose port the host is attached.
//!
//! Every call waits until the test answers it. Tests that need queues use the embedded
//! storage.

mod http_frontend;
mod queues;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::sync::{mpsc, oneshot};

use super::scratch::StagedApp;
use super::*;
use crate::net::Server;

/// A call to the handler.
struct Call {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    answer: oneshot::Sender<(u16, String)>,
}

impl Call {
    /// Answers with a status and a body of JSON.
    fn answer(self, status: u16, body: &str) {
        // The caller may have disconnected.
        let _ = self.answer.send((status, body.to_owned()));
    }
}

/// A handler whose calls the test answers.
struct ScriptedHandler {
    server: Server,
    calls: mpsc::Receiver<Call>,
}

impl ScriptedHandler {
    async fn start() -> Self {
        let (calls, receiver) = mpsc::channel(64);
        let respond = async move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let (answer, answered) = oneshot::channel();
            calls.send(Call { uri, headers, body, answer }).await.expect("the test listens");
            let (status, text) = answered.await.unwrap_or((500, String::new()));
            let status = StatusCode::from_u16(status).expect("the test knows its numbers");
            (status, [("content-type", "application/json")], text)
        };
        let server = Server::start(Router::new().fallback(respond), 0, None).await.expect("a port is free");
        Self { server, calls: receiver }
    }

    async fn next(&mut self) -> Call {
        self.calls.recv().await.expect("the host calls")
    }
}

fn options(app: &StagedApp, connection: &str) -> Options {
    Options {
        app: app.path().to_owned(),
        settings: BTreeMap::from([("AzureWebJobsStorage".to_owned(), connection.to_owned())]),
        name: "test".to_owned(),
        polling: Some(Duration::from_millis(20)),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_handler_that_crashes_at_start_is_reported_with_what_it_printed() {
    let app = StagedApp::new("echo DATAVERSE_URL is missing >&2; exit 2");
    let Err(Error::Handler { why, logs }) = Host::start(options(&app, http_frontend::NOWHERE)).await.map(drop) else {
        panic!("it cannot start");
    };
    assert!(why.contains("exit status: 2"), "{why}");
    assert!(logs.iter().any(|line| line.text == "DATAVERSE_URL is missing" && line.severity == Severity::Error));
}

#[tokio::test]
async fn a_missing_connection_is_named() {
    let app = StagedApp::new("exit 0");
    let options = Options { app: app.path().to_owned(), ..Options::default() };
    let Err(error) = Host::start(options).await.map(drop) else { panic!("it cannot start") };
    assert!(error.to_string().contains("AzureWebJobsStorage"), "{error}");
}
