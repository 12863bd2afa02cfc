//! Processes a request: token, service protection, faults, execution, journal. The parts of a batch take the same way from the
//! faults on.
//!
//! Requests with an invalid token, over a limit or outside the service root are rejected before execution. Invariants:
//! execution completes even if the client disconnects, as in the service; every write is in the journal. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/authenticate-web-api>.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::World;
use super::batch;
use super::bulk;
use super::call::Call;
use super::control;
use super::errors::Error;
use super::execute;
use super::faults::Effect;
use super::journal::Entry;
use super::limits::Left;
use super::metadata;
use super::path;
use super::read;
use super::reply;
use super::write::DUPLICATE_ATTRIBUTES;
use crate::connection_reset::Wire;
use crate::identity::Refusal;

/// The maximum body size of the service, in bytes.
const MAX_BODY_BYTES: usize = 117 * 1024 * 1024;

/// How a request ends.
pub(super) enum End {
    Answer(Response),
    Silence,
    Cut,
    /// The connection breaks in the middle of this answer.
    CutMidway(Response),
    NoStatus,
}

/// Handles any request.
pub(super) async fn serve(State(world): State<Arc<World>>, wire: Wire, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    if let Some(path) = parts.uri.path().strip_prefix(control::PREFIX) {
        return control::answer(&world, &parts.method, path, &body);
    }
    let call = Call::new(parts, body);
    // A separate task, so that it continues if the client disconnects.
    match tokio::spawn(async move { handle(&world, &call).await }).await {
        Ok(End::Answer(response)) => response,
        Ok(End::Silence) => std::future::pending().await,
        Ok(End::Cut | End::CutMidway(_) | End::NoStatus) => wire.cut(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn handle(world: &World, call: &Call) -> End {
    let (request_id, mut entries) = begin(world, call);
    tokio::time::sleep(world.options.latency).await;
    let mut left = None;
    let mut end = match admit(world, call, &mut left) {
        Ok(user) => {
            let began = Instant::now();
            let end = execute_with_faults(world, call, &user, &mut entries).await;
            world.leave(&user, began.elapsed());
            end
        }
        Err(error) => refused(world, call, error, &mut entries),
    };
    if let End::Answer(response) = &mut end {
        reply::dress(response.headers_mut(), &request_id, world.options.dop_hint, left);
    }
    finish(world, call, &end, &mut entries);
    world.record(entries);
    end
}

/// Handles a part of a batch that was admitted for `user`; also returns the part's entries for the journal.
pub(super) async fn handle_part(world: &World, call: &Call, user: &str) -> (End, Vec<Entry>) {
    let (request_id, mut entries) = begin(world, call);
    let mut end = execute_with_faults(world, call, user, &mut entries).await;
    if let End::Answer(response) | End::CutMidway(response) = &mut end {
        reply::dress_part(response.headers_mut(), &request_id);
    }
    finish(world, call, &end, &mut entries);
    (end, entries)
}

/// A request id, and the journal's entry if it is a write.
fn begin(world: &World, call: &Call) -> (String, Vec<Entry>) {
    let request_id = uuid::Uuid::new_v4().to_string();
    let entry = (call.method != Method::GET).then(|| world.new_entry(call, &request_id));
    (request_id, entry.into_iter().collect())
}

/// Checks the token and the limits; returns the user's object id.
fn admit(world: &World, call: &Call, left: &mut Option<Left>) -> Result<String, Error> {
    let unauthorized = |code, text| Error::new(StatusCode::UNAUTHORIZED, code, text);
    let bearer = call.bearer().ok_or_else(|| unauthorized("", "Authorization has been denied for this request."))?;
    let user = match &world.options.tokens {
        None => bearer.to_owned(),
        Some(tokens) => match tokens.verify(bearer, world.origin()) {
            Ok(claims) => claims.object_id,
            Err(Refusal::Expired) => return Err(unauthorized("0x8004A101", "The access token is expired.")),
            Err(Refusal::WrongAudience | Refusal::Revoked | Refusal::Malformed) => {
                return Err(unauthorized("0x80040277", "The access token is not valid here."));
            }
        },
    };
    *left = world.enter(&user)?;
    Ok(user)
}

/// Executes the request, unless a fault applies.
async fn execute_with_faults(world: &World, call: &Call, user: &str, entries: &mut Vec<Entry>) -> End {
    let (set, key) = path::glimpse(&call.path);
    let effect = world.faults().take(call.method.as_str(), &set, &key, call.batch.is_some());
    match &effect {
        Some(Effect::Hang) => return End::Silence,
        Some(Effect::DropBefore) => return End::Cut,
        Some(Effect::Slow(pause)) => tokio::time::sleep(*pause).await,
        Some(
            Effect::Status(_)
            | Effect::Deadlock
            | Effect::WrappedDeadlock
            | Effect::Sandbox
            | Effect::PluginStatus(_)
            | Effect::DropAfterCommit
            | Effect::DeletedMeanwhile
            | Effect::HangAfterCommit
            | Effect::CutMidway
            | Effect::NoStatus
            | Effect::WrongOrder
            | Effect::StopAtError,
        )
        | None => {}
    }
    if let Some(error) = effect.as_ref().and_then(Effect::refusal) {
        return refused(world, call, error, entries);
    }
    let end = match work(world, call, user, entries, effect.as_ref()).await {
        Ok(end) => end,
        Err(error) => refused(world, call, error, entries),
    };
    match (effect, end) {
        (Some(Effect::DropAfterCommit), _) => End::Cut,
        (Some(Effect::HangAfterCommit), _) => End::Silence,
        (Some(Effect::CutMidway), End::Answer(response)) => End::CutMidway(response),
        (Some(Effect::NoStatus), End::Answer(_)) => End::NoStatus,
        (_, end) => end,
    }
}

async fn work(
    world: &World,
    call: &Call,
    user: &str,
    entries: &mut Vec<Entry>,
    effect: Option<&Effect>,
) -> Result<End, Error> {
    if batch::is_batch(call) {
        return batch::execute(world, call, user, entries, effect).await;
    }
    let resource = path::parse(call.below_root()?)?;
    call.check()?;
    let is_bulk = resource.predicate.is_none() && resource.tail.as_deref() == Some(bulk::ACTION);
    let response = match (&call.method, resource.name.as_str()) {
        (&Method::GET, "WhoAmI") => read::who_am_i(world, call, user),
        (&Method::GET, metadata::USERS) if resource.tail.is_some() => {
            metadata::privileges(world, call, &resource, &call.author(user).by)?
        }
        (&Method::GET, metadata::NAME) => metadata::get(world, call, &resource)?,
        (&Method::GET, _) => read::get(world, call, &resource)?,
        (&Method::POST, _) if is_bulk => bulk::upsert(world, call, user, &resource, entries).await?,
        (&Method::PATCH | &Method::POST | &Method::DELETE, _) => {
            let entry = entries.first_mut().expect("a write begins with one entry");
            let is_deleted = effect == Some(&Effect::DeletedMeanwhile);
            execute::one(world, call, user, &resource, entry, is_deleted).await?
        }
        (method, _) => return Err(Error::method_not_allowed(method.as_str())),
    };
    Ok(End::Answer(response))
}

fn refused(world: &World, call: &Call, error: Error, entries: &mut [Entry]) -> End {
    let mut error = error.with(world.options.error_codes);
    if call.wants_annotation(DUPLICATE_ATTRIBUTES) {
        error.members.append(&mut error.annotations);
    }
    for entry in entries {
        entry.code = Some(error.code.clone().into_owned());
    }
    let challenge = (error.status == StatusCode::UNAUTHORIZED).then(|| world.challenge());
    let mut response = error.into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, reply::header_value(&challenge));
    }
    End::Answer(response)
}

/// Completes the entries and counts the request. The parts of a batch are complete, but without an answer to the batch there
/// was none to a part.
fn finish(world: &World, call: &Call, end: &End, entries: &mut [Entry]) {
    let status = match end {
        End::Answer(response) => Some(response.status().as_u16()),
        End::Silence | End::Cut | End::CutMidway(_) | End::NoStatus => None,
    };
    for entry in entries {
        if entry.batch == call.batch {
            entry.status = status;
            entry.end = world.now().max(entry.start + Duration::from_nanos(1));
        } else if status.is_none() {
            entry.status = None;
        }
    }
    let method = if batch::is_batch(call) { batch::RESOURCE } else { call.method.as_str() };
    world.count(method, status);
}
