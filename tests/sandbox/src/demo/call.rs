//! HTTP calls, and the dead letter of an invalid message.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::report::Report;
use crate::world::World;
use stand_ins::host::Host;
use stand_ins::net::http_client;

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn show(world: &World, report: &mut Report<'_>) -> anyhow::Result<()> {
    let host = world.host("instance-1", &[]).await?;
    report.act("over HTTP: POST /api/records with a function key");
    let good = r#"{"table":"contacts","key":{"employeeid":"E-1"},"columns":{"firstname":"Ada"}}"#;
    let bad = r#"{"table":"contacts","key":{"employeeid":"E-1"},"colums":{"firstname":"Ada"}}"#;
    let gone = r#"{"table":"contacts","key":{"employeeid":"E-9"},"columns":{"firstname":"Ada"},"operation":"update"}"#;
    let (status, _) = call(report, &host, "a good record", good).await?;
    report.claim(status == 200, "it is applied: 200");
    let (status, body) = call(report, &host, "a misspelt one", bad).await?;
    let named = body["detail"].as_str().is_some_and(|detail| detail.contains("`colums`"));
    report.claim(status == 400 && named, "it is rejected with 400, and the response names the field");
    let (status, body) =
        call(report, &host, "an array: the two, and an update of a missing row", &format!("[{good},{bad},{gone}]"))
            .await?;
    let reasons: Vec<_> =
        body["results"].as_array().into_iter().flatten().map(|result| result["reason"].clone()).collect();
    report.claim(
        status == 207 && reasons == [json!("upserted"), json!("invalid_message"), json!("not_found")],
        "each record has its own result, in the order sent: 207",
    );
    dead_letter(world, report).await?;
    host.stop().await;
    Ok(())
}

async fn call(report: &mut Report<'_>, host: &Host, what: &str, body: &str) -> anyhow::Result<(u16, Value)> {
    let url = format!("{}/api/records", host.http_url());
    let request = http_client().post(url).header("x-functions-key", host.function_key());
    let response = request.header("content-type", "application/json").body(body.to_owned()).send();
    let response = response.await.context("calling the host")?;
    let status = response.status().as_u16();
    let text = response.text().await.context("reading the answer")?;
    report.screen.line(&format!("  {what}:"));
    report.screen.data("    ", body);
    report.screen.data("    → ", &format!("{status} {}", text.trim_end()));
    Ok((status, serde_json::from_str(&text).context("the response is not JSON")?))
}

async fn dead_letter(world: &World, report: &mut Report<'_>) -> anyhow::Result<()> {
    report.act("an invalid message on the queue");
    let message = r#"{"table":"contacts","key":{"employeeid":"E-7"},"columns":{"shoesize":42},"messageId":"m-1"}"#;
    report.screen.data("  ", message);
    world.put(message).await?;
    let begun = Instant::now();
    let text = loop {
        if let Some(letter) = world.dead_letters().await?.into_iter().next() {
            break letter;
        }
        ensure!(begun.elapsed() < TIMEOUT, "no dead letter after {} s", TIMEOUT.as_secs());
        sleep(Duration::from_millis(50)).await;
    };
    let letter: Value = serde_json::from_str(&text).context("the dead letter is not JSON")?;
    report.screen.line("  The dead letter in sync-records-poison:");
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        report.screen.data(&" ".repeat(4 + indent), line.trim());
    }
    report.claim(letter["message"] == message, "the dead letter holds the message, unchanged");
    report.claim(letter["reason"] == "invalid_data", "and gives the reason: invalid_data, with Dataverse's message");
    report.claim(letter["attempts"] == 1, "on its first delivery, as a retry cannot help");
    Ok(())
}
