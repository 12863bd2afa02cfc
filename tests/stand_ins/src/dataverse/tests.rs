//! Tests the stand-in over a real socket; this file has the shared client.

mod batch;
mod captured;
mod guard;
mod keys;
mod metadata;
mod security;
mod state;
mod upsert;
mod wire_values;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value};

use super::{Dataverse, Options};

/// Long enough for two requests to overlap in it on any machine.
const WIDE: Duration = Duration::from_millis(400);

const EMPLOYEE: &str = "contacts(employeeid='E1')";

/// One response.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// Status and service code.
    fn verdict(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or_default())
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the stand-in sends plain headers"))
    }
}

/// A stand-in and its client.
struct Bench {
    dataverse: Dataverse,
    http: reqwest::Client,
    token: String,
}

impl Bench {
    async fn start(options: Options) -> Self {
        let dataverse = Dataverse::start(options).await.expect("loopback has a free port");
        Self { dataverse, http: plain_client(), token: "any".to_owned() }
    }

    /// Without a race window, for tests with one request at a time.
    async fn quick() -> Self {
        Self::start(Options { race_window: Duration::ZERO, ..Options::default() }).await
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let url = format!("{}/api/data/v9.2/{path}", self.dataverse.url());
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        self.try_send(method, path, headers, body).await.expect("the stand-in answers")
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, &[], Some(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    fn contact(&self, employee: &str) -> Option<Map<String, Value>> {
        self.dataverse.row("contacts", &[("employeeid", employee)])
    }
}

/// A client without trusted certificates; enough for plain http.
fn plain_client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().expect("the settings are valid")
}
