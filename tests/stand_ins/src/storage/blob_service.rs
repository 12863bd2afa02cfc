//! The blob service's operations on containers and block blobs.
//!
//! It rejects page and append blobs, blocks, snapshots, versions and tags. A rejected operation changes nothing.
//! Conditions are checked before the lease, so a create that must not overwrite gets `BlobAlreadyExists` for a leased
//! blob too; clients must handle both 409 and 412.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>.

use std::ops::Range;

use axum::http::StatusCode;
use axum::response::Response;

use super::auth::Grant;
use super::blobs::{Blob, Blobs, Stamp};
use super::call::Call;
use super::error::{
    INVALID_HEADER_VALUE, INVALID_RANGE, MISSING_CONTENT_LENGTH, NOT_IMPLEMENTED, PERMISSION_MISMATCH, Result,
};
use super::lease::Lease;
use super::operation::Operation;
use super::reply::{Now, Reply, http_date};
use super::{blob_lease, blob_list, conditions};

/// Executes one operation.
pub(super) fn serve(blobs: &mut Blobs, call: &Call, operation: Operation, grant: Grant, now: Now) -> Result<Response> {
    let container = call.container.as_deref().unwrap_or_default();
    let name = call.name.as_deref().unwrap_or_default();
    match operation {
        Operation::ListContainers => blob_list::containers(blobs, call),
        Operation::ListBlobs => blob_list::blobs(blobs, call, container, now),
        Operation::CreateContainer => {
            let created = blobs.create(container, call.metadata()?, now)?;
            Ok(stamped(StatusCode::CREATED, &created.stamp).done())
        }
        Operation::ContainerProperties => {
            let found = blobs.container(container)?;
            let reply = stamped(StatusCode::OK, &found.stamp).metadata(&found.metadata);
            Ok(reply.header("x-ms-lease-state", "available").header("x-ms-lease-status", "unlocked").done())
        }
        Operation::DeleteContainer => {
            blobs.delete(container, now)?;
            Ok(Reply::new(StatusCode::ACCEPTED).done())
        }
        Operation::PutBlob => put(blobs, call, grant, now),
        Operation::GetBlob => get(blobs.blob(container, name)?, call, now),
        Operation::BlobProperties => properties(blobs.blob(container, name)?, call, now),
        Operation::SetMetadata => set_metadata(blobs, call, now),
        Operation::DeleteBlob => delete(blobs, call, now),
        Operation::Acquire | Operation::Renew | Operation::Release | Operation::Break | Operation::Change => {
            blob_lease::serve(blobs.blob_mut(container, name)?, call, operation, now)
        }
        _ => Err(NOT_IMPLEMENTED),
    }
}

/// A response with the resource's ETag and modification time.
pub(super) fn stamped(status: StatusCode, stamp: &Stamp) -> Reply {
    Reply::new(status).header("etag", &stamp.etag).header("last-modified", &http_date(stamp.modified))
}

fn put(blobs: &mut Blobs, call: &Call, grant: Grant, now: Now) -> Result<Response> {
    if call.header("content-length").is_none() {
        return Err(MISSING_CONTENT_LENGTH);
    }
    if call.required_header("x-ms-blob-type")? != "BlockBlob" {
        return Err(INVALID_HEADER_VALUE.because("x-ms-blob-type"));
    }
    let metadata = call.metadata()?;
    let given = call.guid("x-ms-lease-id")?;
    let stamp = blobs.stamp(now);
    let container = blobs.container_mut(call.container.as_deref().unwrap_or_default())?;
    let name = call.name.clone().unwrap_or_default();

    let present = container.blobs.get(&name);
    if present.is_some() && grant == Grant::CreateOnly {
        return Err(PERMISSION_MISMATCH);
    }
    conditions::of_write(call, present.map(|blob| &blob.stamp))?;
    let lease = present.map_or(Lease::Available, |blob| blob.lease).write(given, now.instant)?;

    let content_type = call.header("x-ms-blob-content-type").or_else(|| call.header("content-type"));
    let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
    let reply = stamped(StatusCode::CREATED, &stamp).header("x-ms-request-server-encrypted", "true");
    container.blobs.insert(name, Blob { content: call.body.clone(), content_type, metadata, stamp, lease });
    Ok(reply.done())
}

fn get(blob: &Blob, call: &Call, now: Now) -> Result<Response> {
    let length = blob.content.len();
    let Some(wanted) = call.header("x-ms-range").or_else(|| call.header("range")) else {
        return Ok(described(StatusCode::OK, blob, call, now)?.bytes(blob.content.clone()).done());
    };
    let range = parse_range(wanted, length).ok_or(INVALID_RANGE)?;
    let shown = format!("bytes {}-{}/{length}", range.start, range.end - 1);
    let reply = described(StatusCode::PARTIAL_CONTENT, blob, call, now)?.header("content-range", &shown);
    Ok(reply.bytes(blob.content.slice(range)).done())
}

fn properties(blob: &Blob, call: &Call, now: Now) -> Result<Response> {
    // A response to HEAD has the blob's length and no body.
    let length = blob.content.len().to_string();
    let of_metadata = call.query("comp") == Some("metadata");
    let reply = described(StatusCode::OK, blob, call, now)?;
    Ok(if of_metadata { reply } else { reply.header("content-length", &length) }.done())
}

fn described(status: StatusCode, blob: &Blob, call: &Call, now: Now) -> Result<Reply> {
    conditions::of_read(call, &blob.stamp)?;
    blob.lease.read(call.guid("x-ms-lease-id")?, now.instant)?;
    let lease = blob.lease.at(now.instant);
    let mut reply = stamped(status, &blob.stamp)
        .metadata(&blob.metadata)
        .header("content-type", &blob.content_type)
        .header("accept-ranges", "bytes")
        .header("x-ms-blob-type", "BlockBlob")
        .header("x-ms-lease-state", lease.state().as_str())
        .header("x-ms-lease-status", if lease.state().is_locked() { "locked" } else { "unlocked" });
    if let Some(duration) = lease.duration() {
        reply = reply.header("x-ms-lease-duration", duration);
    }
    Ok(reply)
}

fn set_metadata(blobs: &mut Blobs, call: &Call, now: Now) -> Result<Response> {
    let metadata = call.metadata()?;
    let given = call.guid("x-ms-lease-id")?;
    let stamp = blobs.stamp(now);
    let (container, name) = (call.container.as_deref().unwrap_or_default(), call.name.as_deref().unwrap_or_default());
    let blob = blobs.blob_mut(container, name)?;
    conditions::of_write(call, Some(&blob.stamp))?;
    blob.lease = blob.lease.write(given, now.instant)?;
    blob.metadata = metadata;
    blob.stamp = stamp;
    Ok(stamped(StatusCode::OK, &blob.stamp).header("x-ms-request-server-encrypted", "true").done())
}

fn delete(blobs: &mut Blobs, call: &Call, now: Now) -> Result<Response> {
    let given = call.guid("x-ms-lease-id")?;
    let (container, name) = (call.container.as_deref().unwrap_or_default(), call.name.as_deref().unwrap_or_default());
    let blob = blobs.blob(container, name)?;
    conditions::of_lease(call, &blob.stamp)?;
    blob.lease.write(given, now.instant)?;
    blobs.container_mut(container)?.blobs.remove(name);
    Ok(Reply::new(StatusCode::ACCEPTED).header("x-ms-delete-type-permanent", "true").done())
}

/// `bytes=first-` or `bytes=first-last`; a last byte beyond the end is cut to the end.
fn parse_range(text: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last: usize = if last.is_empty() { usize::MAX } else { last.parse().ok()? };
    let end = last.saturating_add(1).min(length);
    (first < end).then_some(first..end)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Barrier;
    use tokio::task::JoinSet;

    use super::super::LeaseState;
    use super::super::testing::{Fixture, VERSION};

    const ID: &str = "11111111-1111-1111-1111-111111111111";
    const OTHER: &str = "22222222-2222-2222-2222-222222222222";
    const BLOCK: (&str, &str) = ("x-ms-blob-type", "BlockBlob");
    const FIFTEEN: (&str, &str) = ("x-ms-lease-duration", "15");

    #[tokio::test]
    async fn a_container_is_created_once_and_its_name_stays_taken_after_deletion() {
        let fixture = Fixture::start(super::super::Options::default()).await;
        let create = || fixture.blob("PUT", "locks?restype=container", &[], "");
        let created = create().await;
        assert_eq!(created.status, 201);
        assert_eq!(created.header("x-ms-version"), VERSION);
        assert!(!created.header("x-ms-request-id").is_empty() && !created.header("date").is_empty());
        let again = create().await;
        assert_eq!(again.refusal(), (409, "ContainerAlreadyExists"));
        assert_eq!(again.element("Code"), "ContainerAlreadyExists");
        assert_eq!(fixture.blob("DELETE", "locks?restype=container", &[], "").await.status, 202);
        assert_eq!(create().await.refusal(), (409, "ContainerBeingDeleted"));
    }

    #[tokio::test]
    async fn a_blob_is_written_read_described_listed_and_deleted() {
        let fixture = Fixture::with_blob().await;
        let headers = [BLOCK, ("x-ms-meta-kind", "lock"), ("content-type", "text/plain")];
        assert_eq!(fixture.blob("PUT", "locks/a%20b/c", &headers, "hello").await.status, 201);
        let read = fixture.blob("GET", "locks/a%20b/c", &[], "").await;
        assert_eq!((read.text.as_str(), read.header("x-ms-meta-kind")), ("hello", "lock"));
        let part = fixture.blob("GET", "locks/a%20b/c", &[("x-ms-range", "bytes=1-2")], "").await;
        assert_eq!((part.status, part.text.as_str(), part.header("content-range")), (206, "el", "bytes 1-2/5"));
        let head = fixture.blob("HEAD", "locks/a%20b/c", &[], "").await;
        assert_eq!((head.status, head.header("content-length"), head.header("content-type")), (200, "5", "text/plain"));
        let view = fixture.storage.blob("locks", "a b/c").expect("it was written");
        assert_eq!((view.length, view.metadata["kind"].as_str()), (5, "lock"));
        let list = fixture.blob("GET", "locks?restype=container&comp=list&prefix=a", &[], "").await;
        assert_eq!((list.element("Name"), list.text.matches("<Blob>").count()), ("a b/c", 1));
        assert_eq!(fixture.blob("DELETE", "locks/a%20b/c", &[], "").await.status, 202);
        assert_eq!(fixture.blob("GET", "locks/a%20b/c", &[], "").await.refusal(), (404, "BlobNotFound"));
    }

    #[tokio::test]
    async fn a_listing_shows_leases_and_with_include_metadata() {
        let fixture = Fixture::with_blob().await;
        let headers = [BLOCK, ("x-ms-meta-tombstone", "a<b")];
        assert_eq!(fixture.blob("PUT", "locks/two", &headers, "").await.status, 201);
        fixture.lease("acquire", &[FIFTEEN]).await;
        let list = fixture.blob("GET", "locks?restype=container&comp=list", &[], "").await;
        let lease =
            "<LeaseStatus>locked</LeaseStatus><LeaseState>leased</LeaseState><LeaseDuration>fixed</LeaseDuration>";
        assert_eq!((list.text.matches(lease).count(), list.text.matches("LeaseDuration").count()), (1, 2), "{list:?}");
        assert!(!list.text.contains("Metadata"), "{list:?}");
        let list = fixture.blob("GET", "locks?restype=container&comp=list&include=metadata", &[], "").await;
        assert_eq!(list.element("tombstone"), "a&lt;b");
        assert_eq!(list.text.matches("<Metadata>").count(), 2, "an empty one too: {list:?}");
        fixture.storage.expire_leases(None);
        let list = fixture.blob("GET", "locks?restype=container&comp=list", &[], "").await;
        assert!(list.text.contains("<LeaseStatus>unlocked</LeaseStatus><LeaseState>expired</LeaseState>"), "{list:?}");
        let tags = fixture.blob("GET", "locks?restype=container&comp=list&include=tags", &[], "").await;
        assert_eq!(tags.status, 501);
    }

    #[tokio::test]
    async fn a_create_that_must_not_overwrite_is_refused_when_the_blob_exists() {
        let fixture = Fixture::with_blob().await;
        let headers = [BLOCK, ("if-none-match", "*")];
        assert_eq!(fixture.blob("PUT", "locks/two", &headers, "").await.status, 201);
        assert_eq!(fixture.blob("PUT", "locks/two", &headers, "").await.refusal(), (409, "BlobAlreadyExists"));
        let stale = [BLOCK, ("if-match", "\"0x0\"")];
        assert_eq!(fixture.blob("PUT", "locks/two", &stale, "").await.refusal(), (412, "ConditionNotMet"));
        assert_eq!(fixture.blob("PUT", "none/two", &[BLOCK], "").await.refusal(), (404, "ContainerNotFound"));
        assert_eq!(fixture.blob("PUT", "locks/two", &[], "").await.refusal(), (400, "MissingRequiredHeader"));
    }

    #[tokio::test]
    async fn a_lease_is_acquired_renewed_and_released_once() {
        let fixture = Fixture::with_blob().await;
        let before = fixture.blob("HEAD", "locks/one", &[], "").await;
        let acquired = fixture.lease("acquire", &[FIFTEEN, ("x-ms-proposed-lease-id", ID)]).await;
        assert_eq!((acquired.status, acquired.header("x-ms-lease-id")), (201, ID));
        assert_eq!(acquired.header("etag"), before.header("etag"), "a lease does not touch the blob");
        let again = fixture.lease("acquire", &[FIFTEEN, ("x-ms-proposed-lease-id", ID)]).await;
        assert_eq!(again.status, 201, "a repeated acquire with the same id is harmless");
        let other = fixture.lease("acquire", &[FIFTEEN, ("x-ms-proposed-lease-id", OTHER)]).await;
        assert_eq!(other.refusal(), (409, "LeaseAlreadyPresent"));
        let foreign = fixture.lease("renew", &[("x-ms-lease-id", OTHER)]).await;
        assert_eq!(foreign.refusal(), (409, "LeaseIdMismatchWithLeaseOperation"));
        assert_eq!(fixture.lease("renew", &[("x-ms-lease-id", ID)]).await.status, 200);
        assert_eq!(fixture.lease("release", &[("x-ms-lease-id", ID)]).await.status, 200);
        assert_eq!(fixture.lease("release", &[("x-ms-lease-id", ID)]).await.status, 409);
        let counts = fixture.storage.counts();
        assert_eq!((counts.acquire, counts.acquire_conflict, counts.renew, counts.release), (3, 1, 2, 2));
    }

    #[tokio::test]
    async fn lease_headers_that_the_service_refuses_are_refused() {
        let fixture = Fixture::with_blob().await;
        let invalid = (400, "InvalidHeaderValue");
        for duration in ["14", "61", "0", "-2", "x"] {
            let refused = fixture.lease("acquire", &[("x-ms-lease-duration", duration)]).await;
            assert_eq!(refused.refusal(), invalid, "{duration}");
        }
        let refused = fixture.lease("acquire", &[FIFTEEN, ("x-ms-proposed-lease-id", "mine")]).await;
        assert_eq!(refused.refusal(), invalid);
        assert_eq!(fixture.lease("acquire", &[]).await.refusal(), (400, "MissingRequiredHeader"));
        assert_eq!(fixture.lease("renew", &[]).await.refusal(), (400, "MissingRequiredHeader"));
        assert_eq!(fixture.lease("steal", &[]).await.refusal(), invalid);
        let missing =
            fixture.blob("PUT", "locks/none?comp=lease", &[("x-ms-lease-action", "acquire"), FIFTEEN], "").await;
        assert_eq!(missing.refusal(), (404, "BlobNotFound"));
    }

    #[tokio::test]
    async fn a_leased_blob_is_written_and_deleted_only_with_its_id() {
        let fixture = Fixture::with_blob().await;
        fixture.lease("acquire", &[FIFTEEN, ("x-ms-proposed-lease-id", ID)]).await;
        assert_eq!(fixture.blob("PUT", "locks/one", &[BLOCK], "").await.refusal(), (412, "LeaseIdMissing"));
        assert_eq!(fixture.blob("DELETE", "locks/one", &[], "").await.refusal(), (412, "LeaseIdMissing"));
        let wrong = [BLOCK, ("x-ms-lease-id", OTHER)];
        let refused = fixture.blob("PUT", "locks/one", &wrong, "").await;
        assert_eq!(refused.refusal(), (412, "LeaseIdMismatchWithBlobOperation"));
        assert_eq!(fixture.blob("PUT", "locks/one", &[BLOCK, ("x-ms-lease-id", ID)], "").await.status, 201);
        let metadata = [("x-ms-lease-id", ID), ("x-ms-meta-row", "7")];
        assert_eq!(fixture.blob("PUT", "locks/one?comp=metadata", &metadata, "").await.status, 200);
        assert_eq!(fixture.storage.leases()[0].state, LeaseState::Leased, "writing with the id keeps the lease");
        assert_eq!(fixture.blob("DELETE", "locks/one", &[("x-ms-lease-id", ID)], "").await.status, 202);
    }

    #[tokio::test]
    async fn an_operator_can_end_leases_by_breaking_or_letting_them_run_out() {
        let fixture = Fixture::with_blob().await;
        let mine = [FIFTEEN, ("x-ms-proposed-lease-id", ID)];
        fixture.lease("acquire", &mine).await;
        assert_eq!(fixture.storage.break_leases(Some(("locks", "other"))), 0);
        assert_eq!(fixture.storage.break_leases(None), 1);
        let refused = fixture.lease("renew", &[("x-ms-lease-id", ID)]).await;
        assert_eq!(refused.refusal(), (409, "LeaseIsBrokenAndCannotBeRenewed"));
        fixture.lease("acquire", &mine).await;
        assert_eq!(fixture.storage.expire_leases(Some(("locks", "one"))), 1);
        let foreign = fixture.lease("renew", &[("x-ms-lease-id", OTHER)]).await;
        assert_eq!(foreign.refusal(), (409, "LeaseIdMismatchWithLeaseOperation"), "also when it ran out");
        assert_eq!(fixture.lease("renew", &[("x-ms-lease-id", ID)]).await.status, 200, "it was not acquired since");
        let broken = fixture.lease("break", &[("x-ms-lease-break-period", "3")]).await;
        assert_eq!((broken.status, broken.header("x-ms-lease-time")), (202, "3"));
    }

    #[tokio::test]
    async fn of_many_that_acquire_at_once_one_wins() {
        let fixture = Arc::new(Fixture::with_blob().await);
        let barrier = Arc::new(Barrier::new(16));
        let mut tasks = JoinSet::new();
        for _ in 0..16 {
            let (fixture, barrier) = (fixture.clone(), barrier.clone());
            tasks.spawn(async move {
                barrier.wait().await;
                fixture.lease("acquire", &[FIFTEEN]).await.status
            });
        }
        let mut statuses = tasks.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![201], vec![409; 15]].concat());
    }
}
