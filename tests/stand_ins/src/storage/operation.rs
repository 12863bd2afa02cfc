//! Which operation a request is for, and which shared-access permissions that operation needs.
//!
//! A request for any other operation gets 501, so that it is noticed when a client starts to use another one. The
//! permissions are the tables of <https://learn.microsoft.com/rest/api/storageservices/create-account-sas> and
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>.

use axum::http::Method;

use super::call::{Call, Service};
use super::error::{INVALID_HEADER_VALUE, MISSING_HEADER, NOT_IMPLEMENTED, Result};

/// A supported operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    ListContainers,
    CreateContainer,
    ContainerProperties,
    DeleteContainer,
    ListBlobs,
    PutBlob,
    GetBlob,
    BlobProperties,
    SetMetadata,
    DeleteBlob,
    Acquire,
    Renew,
    Release,
    Break,
    Change,
    ListQueues,
    CreateQueue,
    QueueMetadata,
    SetQueueMetadata,
    DeleteQueue,
    PutMessage,
    GetMessages,
    PeekMessages,
    ClearMessages,
    UpdateMessage,
    DeleteMessage,
}

/// What a shared access signature must allow. Any one letter of a field suffices; an empty field allows nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    /// The account SAS resource type: `s`, `c` or `o`.
    pub(super) resource_type: char,
    /// Letters of an account SAS.
    pub(super) account: &'static str,
    /// Letters of a service SAS on a blob.
    pub(super) blob: &'static str,
    /// Letters of a service SAS on a container.
    pub(super) container: &'static str,
}

impl Operation {
    /// Derives the operation from the method, path depth, `restype`, `comp` and the lease action.
    pub(super) fn of(call: &Call) -> Result<Self> {
        match call.service {
            Service::Blob => Self::of_blob(call),
            Service::Queue => Self::of_queue(call),
        }
    }

    fn of_blob(call: &Call) -> Result<Self> {
        let of_container = call.query("restype") == Some("container");
        let comp = call.query("comp");
        match (call.method.as_str(), call.container.is_some(), call.name.is_some()) {
            ("GET", false, false) if comp == Some("list") => Ok(Self::ListContainers),
            ("PUT", true, false) if of_container && comp.is_none() => Ok(Self::CreateContainer),
            ("GET", true, false) if of_container && comp == Some("list") => Ok(Self::ListBlobs),
            ("GET" | "HEAD", true, false) if of_container && comp.is_none() => Ok(Self::ContainerProperties),
            ("DELETE", true, false) if of_container && comp.is_none() => Ok(Self::DeleteContainer),
            ("PUT", true, true) if comp == Some("lease") => Self::of_lease(call),
            ("PUT", true, true) if comp == Some("metadata") => Ok(Self::SetMetadata),
            ("PUT", true, true) if comp.is_none() => Ok(Self::PutBlob),
            ("GET", true, true) if comp.is_none() => Ok(Self::GetBlob),
            ("HEAD", true, true) if comp.is_none() => Ok(Self::BlobProperties),
            ("GET" | "HEAD", true, true) if comp == Some("metadata") => Ok(Self::BlobProperties),
            ("DELETE", true, true) if comp.is_none() => Ok(Self::DeleteBlob),
            _ => Err(NOT_IMPLEMENTED),
        }
    }

    fn of_lease(call: &Call) -> Result<Self> {
        let Some(action) = call.header("x-ms-lease-action") else { return Err(MISSING_HEADER) };
        match action.to_ascii_lowercase().as_str() {
            "acquire" => Ok(Self::Acquire),
            "renew" => Ok(Self::Renew),
            "release" => Ok(Self::Release),
            "break" => Ok(Self::Break),
            "change" => Ok(Self::Change),
            _ => Err(INVALID_HEADER_VALUE),
        }
    }

    fn of_queue(call: &Call) -> Result<Self> {
        let comp = call.query("comp");
        let messages = call.name.as_deref() == Some("messages");
        let one_message = call.message_id().is_some();
        match (&call.method, call.container.is_some(), call.name.is_some()) {
            (&Method::GET, false, false) if comp == Some("list") => Ok(Self::ListQueues),
            (&Method::PUT, true, false) if comp.is_none() => Ok(Self::CreateQueue),
            (&Method::GET | &Method::HEAD, true, false) if comp == Some("metadata") => Ok(Self::QueueMetadata),
            (&Method::PUT, true, false) if comp == Some("metadata") => Ok(Self::SetQueueMetadata),
            (&Method::DELETE, true, false) if comp.is_none() => Ok(Self::DeleteQueue),
            (&Method::POST, true, true) if messages => Ok(Self::PutMessage),
            (&Method::GET, true, true) if messages && call.query("peekonly") == Some("true") => Ok(Self::PeekMessages),
            (&Method::GET, true, true) if messages => Ok(Self::GetMessages),
            (&Method::DELETE, true, true) if messages => Ok(Self::ClearMessages),
            (&Method::PUT, true, true) if one_message => Ok(Self::UpdateMessage),
            (&Method::DELETE, true, true) if one_message => Ok(Self::DeleteMessage),
            _ => Err(NOT_IMPLEMENTED),
        }
    }

    /// What a shared access signature must allow for this operation.
    pub(super) const fn needed(self) -> Needed {
        let (resource_type, account, blob, container) = match self {
            Self::ListContainers | Self::ListQueues => ('s', "l", "", ""),
            Self::CreateContainer | Self::CreateQueue => ('c', "cw", "", ""),
            Self::ContainerProperties | Self::QueueMetadata => ('c', "r", "", ""),
            Self::SetQueueMetadata => ('c', "w", "", ""),
            Self::DeleteContainer | Self::DeleteQueue => ('c', "d", "", ""),
            Self::ListBlobs => ('c', "l", "", "l"),
            Self::PutBlob => ('o', "cw", "cw", "cw"),
            Self::GetBlob | Self::BlobProperties => ('o', "r", "r", "r"),
            Self::DeleteBlob => ('o', "d", "d", "d"),
            Self::SetMetadata | Self::Acquire | Self::Renew | Self::Release | Self::Change => ('o', "w", "w", "w"),
            Self::Break => ('o', "dw", "dw", "dw"),
            Self::PutMessage => ('o', "a", "", ""),
            Self::PeekMessages => ('o', "r", "", ""),
            Self::GetMessages | Self::DeleteMessage => ('o', "p", "", ""),
            Self::UpdateMessage => ('o', "u", "", ""),
            Self::ClearMessages => ('o', "d", "", ""),
        };
        Needed { resource_type, account, blob, container }
    }
}
