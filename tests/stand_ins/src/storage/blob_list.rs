//! The two listings of the blob service, as XML.
//!
//! It rejects delimiters (no virtual folders) and, of what `include` can add, everything but metadata. A page ends at
//! `maxresults`, and its marker is the next name.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/list-blobs> and
//! <https://learn.microsoft.com/rest/api/storageservices/list-containers2>.

use axum::http::StatusCode;
use axum::response::Response;
use quick_xml::escape::escape;

use super::blobs::{Blob, Blobs, Container};
use super::call::{Call, Metadata};
use super::error::{NOT_IMPLEMENTED, Result};
use super::reply::{Now, Reply, http_date};

const MAX_PAGE: i64 = 5000;

/// Lists the containers.
pub(super) fn containers(blobs: &Blobs, call: &Call) -> Result<Response> {
    let (page, next) = page(blobs.containers.iter(), call)?;
    let items: String = page.into_iter().map(|(name, container)| container_xml(name, container)).collect();
    Ok(results("", &format!("<Containers>{items}</Containers>"), next))
}

/// Lists the blobs of a container.
pub(super) fn blobs(blobs: &Blobs, call: &Call, container: &str, now: Now) -> Result<Response> {
    if call.query("delimiter").is_some() {
        return Err(NOT_IMPLEMENTED);
    }
    let with_metadata = match call.query("include").unwrap_or_default() {
        "" => false,
        "metadata" => true,
        _ => return Err(NOT_IMPLEMENTED),
    };
    let (page, next) = page(blobs.container(container)?.blobs.iter(), call)?;
    let items = page.into_iter().map(|(name, blob)| {
        let metadata = if with_metadata { metadata_xml(&blob.metadata) } else { String::new() };
        format!("<Blob>{}{metadata}</Blob>", blob_xml(name, blob, now))
    });
    let items: String = items.collect();
    Ok(results(&format!(" ContainerName=\"{container}\""), &format!("<Blobs>{items}</Blobs>"), next))
}

type Named<'a, T> = (&'a String, &'a T);

fn page<'a, T>(all: impl Iterator<Item = Named<'a, T>>, call: &Call) -> Result<(Vec<Named<'a, T>>, Option<&'a str>)> {
    let limit = call.number("maxresults", 1..=MAX_PAGE)?.unwrap_or(MAX_PAGE);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let prefix = call.query("prefix").unwrap_or_default();
    let marker = call.query("marker").unwrap_or_default();
    let mut rest = all.filter(|(name, _)| name.starts_with(prefix) && name.as_str() >= marker);
    let page = rest.by_ref().take(limit).collect();
    Ok((page, rest.next().map(|(name, _)| name.as_str())))
}

fn results(attributes: &str, items: &str, next: Option<&str>) -> Response {
    let next = escape(next.unwrap_or_default());
    let xml = format!("<EnumerationResults{attributes}>{items}<NextMarker>{next}</NextMarker></EnumerationResults>");
    Reply::new(StatusCode::OK).xml(&xml).done()
}

fn container_xml(name: &str, container: &Container) -> String {
    let (modified, etag) = (http_date(container.stamp.modified), unquoted(&container.stamp.etag));
    format!(
        "<Container><Name>{name}</Name><Properties><Last-Modified>{modified}</Last-Modified><Etag>{etag}</Etag>\
         <LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState></Properties></Container>",
    )
}

fn blob_xml(name: &str, blob: &Blob, now: Now) -> String {
    let lease = blob.lease.at(now.instant);
    let state = lease.state();
    let status = if state.is_locked() { "locked" } else { "unlocked" };
    let duration = lease.duration().map(|kind| format!("<LeaseDuration>{kind}</LeaseDuration>")).unwrap_or_default();
    format!(
        "<Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>{}</Etag>\
         <Content-Length>{}</Content-Length><Content-Type>{}</Content-Type><BlobType>BlockBlob</BlobType>\
         <LeaseStatus>{status}</LeaseStatus><LeaseState>{}</LeaseState>{duration}</Properties>",
        escape(name),
        http_date(blob.stamp.modified),
        unquoted(&blob.stamp.etag),
        blob.content.len(),
        escape(&blob.content_type),
        state.as_str(),
    )
}

fn metadata_xml(metadata: &Metadata) -> String {
    let items = metadata.iter().map(|(name, value)| format!("<{name}>{}</{name}>", escape(value)));
    format!("<Metadata>{}</Metadata>", items.collect::<String>())
}

/// Listings show ETags without the quotes that headers use.
fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}
