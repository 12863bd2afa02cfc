//! The five lease actions on a blob: parses the headers, applies a transition of the lease's state machine, writes the
//! headers.
//!
//! It rejects lengths other than 15 to 60 seconds or -1, break periods above 60 seconds, and ids that are not GUIDs. A
//! lease action never changes the blob's ETag or modification time.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/lease-blob>.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;

use super::blob_service::stamped;
use super::blobs::Blob;
use super::call::Call;
use super::conditions;
use super::error::{INVALID_HEADER_VALUE, Result};
use super::lease::Length;
use super::operation::Operation;
use super::reply::Now;

/// Executes one lease action.
pub(super) fn serve(blob: &mut Blob, call: &Call, operation: Operation, now: Now) -> Result<Response> {
    conditions::of_lease(call, &blob.stamp)?;
    let given = || call.required_guid("x-ms-lease-id");
    let (status, lease) = match operation {
        Operation::Acquire => {
            let proposed = call.guid("x-ms-proposed-lease-id")?;
            (StatusCode::CREATED, blob.lease.acquire(proposed, length(call)?, now.instant)?)
        }
        Operation::Renew => (StatusCode::OK, blob.lease.renew(given()?, now.instant)?),
        Operation::Change => {
            let proposed = call.required_guid("x-ms-proposed-lease-id")?;
            (StatusCode::OK, blob.lease.change(given()?, proposed, now.instant)?)
        }
        Operation::Break => (StatusCode::ACCEPTED, blob.lease.break_after(break_period(call)?, now.instant)?),
        _ => (StatusCode::OK, blob.lease.release(given()?)?),
    };
    blob.lease = lease;

    let mut reply = stamped(status, &blob.stamp);
    if operation == Operation::Break {
        let left = lease.ends().map_or(Duration::ZERO, |ends| ends.duration_since(now.instant));
        reply = reply.header("x-ms-lease-time", &left.as_millis().div_ceil(1000).to_string());
    } else if let Some(id) = lease.id() {
        reply = reply.header("x-ms-lease-id", &id.to_string());
    }
    Ok(reply.done())
}

fn length(call: &Call) -> Result<Length> {
    match call.required_header("x-ms-lease-duration")?.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(seconds @ 15..=60) => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        _ => Err(INVALID_HEADER_VALUE.because("x-ms-lease-duration")),
    }
}

fn break_period(call: &Call) -> Result<Option<Duration>> {
    let Some(text) = call.header("x-ms-lease-break-period") else { return Ok(None) };
    match text.parse::<u64>() {
        Ok(seconds @ 0..=60) => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(INVALID_HEADER_VALUE.because("x-ms-lease-break-period")),
    }
}
