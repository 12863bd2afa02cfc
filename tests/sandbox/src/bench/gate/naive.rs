//! A client that does not adapt: each message is retried independently, as in an SDK's retry loop.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::Client;
use serde_json::json;
use tokio::time::sleep;

/// Upserts one row repeatedly; a rejected request is repeated after its `Retry-After`.
pub(super) async fn keep_writing(http: &Client, url: String) -> anyhow::Result<Infallible> {
    let body = json!({ "firstname": "Ada" }).to_string();
    loop {
        let request = http.patch(&url).bearer_auth("naive").header(CONTENT_TYPE, "application/json").body(body.clone());
        let response = request.send().await.context("calling the Dataverse stand-in")?;
        let status = response.status();
        if status != StatusCode::TOO_MANY_REQUESTS {
            ensure!(status.is_success(), "the naive client was answered {status}");
            continue;
        }
        let named = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        sleep(Duration::from_secs(named.context("a 429 names no time to wait")?)).await;
    }
}
