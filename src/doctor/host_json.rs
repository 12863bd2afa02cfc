//! host.json against what this program and its settings need. Pure.

use std::time::Duration;

use super::report::{CheckResult, Failed, Report, wrong};
use crate::config::Config;
use crate::host::{HostJson, MessageEncoding};
use crate::pipeline::INVOCATION_GRACE;

const BUNDLE: &str = "Microsoft.Azure.Functions.ExtensionBundle";

/// The most messages that the service gives at once.
const MAX_BATCH_SIZE: u32 = 32;

/// What the guide's instance size is made for, with batches.
const MAX_FETCHED: usize = 128;

/// The deliveries of a message bridge so many holds: what goes back at once, because enough messages wait in place, is not to
/// end in the poison queue before an operator could act.
const HOLDS_BRIDGED: u32 = 10;

/// Makes the checks. Without host.json or usable settings, what depends on them is not tried.
pub(super) fn check(host: Result<&HostJson, Failed>, config: Result<&Config, Failed>, report: &mut Report) {
    let both = host.and_then(|host| Ok((host, config?)));
    report.add("retry_block", host.map(|host| no_retry("host.json", host.has_retry_policy)));
    report.add("redelivery", both.map(|(host, config)| redelivery(host, config.hold)));
    report.add("message_encoding", host.map(encoding));
    report.add("forwarding", host.map(forwarding));
    report.add("concurrency", both.map(|(host, config)| concurrency(host, config)));
    report.add("time_limit", both.map(|(host, config)| time_limit(host, config)));
    sampling(host, report);
}

pub(super) fn extension_bundle(host: &HostJson) -> CheckResult {
    if host.extension_bundle.as_deref() == Some(BUNDLE) {
        let version = host.extension_bundle_version.as_deref().unwrap_or("without a version");
        return Ok(format!("version 2.0, extension bundle {version}"));
    }
    let remedy = format!(r#"add "extensionBundle": {{"id": "{BUNDLE}", "version": "[4.*, 5.0.0)"}}"#);
    wrong("host.json names no extension bundle, so the host has no queue trigger", remedy)
}

/// Queue and HTTP triggers ignore a retry policy in host.json or a function.json.
/// <https://learn.microsoft.com/azure/azure-functions/functions-bindings-error-pages#retries>
pub(super) fn no_retry(file: &str, has_retry_policy: bool) -> CheckResult {
    if !has_retry_policy {
        return Ok(format!("none in {file}"));
    }
    wrong(
        format!("{file} has a retry block, which the host ignores for queue and HTTP triggers"),
        "remove it: extensions.queues in host.json says when and how often a message is delivered again",
    )
}

fn redelivery(host: &HostJson, hold: Duration) -> CheckResult {
    let remedy = "set extensions.queues.maxDequeueCount to 160 in host.json";
    let deliveries = host.max_dequeue_count.clone().map_err(|error| (error, remedy.to_owned()))?;
    let pause_remedy = r#"set extensions.queues.visibilityTimeout to "00:00:30" in host.json"#;
    let pause = host.visibility_timeout.clone().map_err(|error| (error, pause_remedy.to_owned()))?;
    if pause == Duration::ZERO {
        let found = format!("visibilityTimeout is 0, so {deliveries} deliveries are gone within seconds");
        return wrong(found, pause_remedy);
    }
    let found = format!("{deliveries} deliveries, {} s apart", pause.as_secs_f64());
    if pause.saturating_mul(deliveries) < hold * HOLDS_BRIDGED {
        let needed = format!("{HOLDS_BRIDGED} times SYNC_HOLD_SECONDS ({} s)", hold.as_secs());
        return wrong(format!("{found} (maxDequeueCount and visibilityTimeout), which is less than {needed}"), remedy);
    }
    Ok(found)
}

fn encoding(host: &HostJson) -> CheckResult {
    match &host.message_encoding {
        Ok(MessageEncoding::None) => Ok("none: messages may be plain text or base64".to_owned()),
        Ok(MessageEncoding::Base64) => {
            Ok("base64: the host moves a message that is not base64 to the poison queue unread".to_owned())
        }
        Err(error) => wrong(error, "set extensions.queues.messageEncoding to \"none\""),
    }
}

fn forwarding(host: &HostJson) -> CheckResult {
    if host.forwards_http_requests {
        return Ok("HTTP calls are forwarded as they are".to_owned());
    }
    wrong(
        "enableForwardingHttpRequest is not true, so HTTP calls come in an envelope that SyncHttp does not read",
        "set customHandler.enableForwardingHttpRequest to true in host.json",
    )
}

/// With batches a request takes several messages, so the memory of the smallest instance is the limit.
fn concurrency(host: &HostJson, config: &Config) -> CheckResult {
    let Config { max_concurrency, batches, .. } = *config;
    let most = if batches { MAX_FETCHED.max(max_concurrency) } else { max_concurrency };
    let remedy = format!("in host.json, extensions.queues: batchSize + newBatchThreshold of at most {most}");
    let invalid = |error: &String| (error.clone(), remedy.clone());
    let batch = host.batch_size.as_ref().map_err(invalid)?;
    if !(1..=MAX_BATCH_SIZE).contains(batch) {
        return wrong(format!("batchSize must be from 1 to {MAX_BATCH_SIZE}"), remedy);
    }
    let Some(threshold) = host.new_batch_threshold.as_ref().map_err(invalid)? else {
        let found = "newBatchThreshold is not set, so it is half of batchSize for each processor of the host's machine";
        return wrong(found, remedy);
    };
    let at_once = u64::from(*batch) + u64::from(*threshold);
    let fetched = format!("{at_once} messages at once (batchSize {batch} + newBatchThreshold {threshold})");
    let requests = if batches { "requests of several messages each" } else { "messages" };
    if usize::try_from(at_once).is_ok_and(|at_once| at_once <= most) {
        return Ok(format!("{fetched}, {max_concurrency} {requests} may be in flight"));
    }
    let why = if batches { "more than the smallest instance has memory for" } else { "SYNC_MAX_CONCURRENCY" };
    wrong(format!("the host fetches {fetched}, and only {most} may be in flight ({why})"), remedy)
}

/// An invocation may last as long as its hold and what the pipeline adds at most. When one passes functionTimeout, the host kills
/// the handler with all that is in flight and starts it again.
fn time_limit(host: &HostJson, config: &Config) -> CheckResult {
    let longest = config.hold + INVOCATION_GRACE;
    let needs = format!("SYNC_HOLD_SECONDS {} + {} s", config.hold.as_secs(), INVOCATION_GRACE.as_secs());
    let remedy =
        "raise functionTimeout in host.json (at most 00:10:00 on the Consumption plan), or lower SYNC_HOLD_SECONDS";
    let limit = match &host.function_timeout {
        Ok(Some(limit)) if *limit == Duration::MAX => return Ok("none (functionTimeout is -1)".to_owned()),
        Ok(Some(limit)) => *limit,
        Ok(None) => return wrong("functionTimeout is not set, and 5 minutes on the Consumption plan", remedy),
        Err(error) => return wrong(error, remedy),
    };
    if limit < longest {
        let found = format!(
            "functionTimeout is {} s, shorter than {needs}: one invocation past it restarts the handler and costs every message in \
             flight a delivery",
            limit.as_secs()
        );
        return wrong(found, remedy);
    }
    Ok(format!("{} s, and an invocation lasts {} s at most", limit.as_secs(), longest.as_secs()))
}

/// Each record has one line in the log, and the alerts and the workbook count these lines.
fn sampling(host: Result<&HostJson, Failed>, report: &mut Report) {
    if host.is_ok_and(|host| host.samples_traces) {
        report.warn(
            "sampling",
            "Application Insights leaves out lines of the log under load, so alerts may miss records".to_owned(),
            "add Trace to logging.applicationInsights.samplingSettings.excludedTypes in host.json",
        );
    } else {
        report.add("sampling", host.map(|_| Ok("every line of the log reaches Application Insights".to_owned())));
    }
}

#[cfg(test)]
mod tests;
