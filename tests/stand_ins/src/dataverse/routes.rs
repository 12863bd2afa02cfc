//! Processes a request: token, service protection, faults, execution, journal.
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
const MOST_BYTES: usize = 117 * 1024 * 1024;

/// How a request ends.
enum End {
    Answer(Response),
    Silence,
    Cut,
}

/// Handles any request.
pub(super) async fn serve(State(world): State<Arc<World>>, wire: Wire, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_BYTES).await else { return StatusCode::PAYLOAD_TOO_LARGE.into_response() };
    if let Some(path) = parts.uri.path().strip_prefix(control::PREFIX) {
        return control::answer(&world, &parts.method, path, &body);
    }
    let call = Call::new(parts, body);
    // A separate task, so that it continues if the client disconnects.
    match tokio::spawn(async move { handle(&world, &call).await }).await {
        Ok(End::Answer(response)) => response,
        Ok(End::Silence) => std::future::pending().await,
        Ok(End::Cut) => wire.cut(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn handle(world: &World, call: &Call) -> End {
    let request_id = uuid::Uuid::new_v4().to_string();
    let mut entries = Vec::new();
    if call.method != Method::GET {
        entries.push(world.new_entry(call, &request_id));
    }
    tokio::time::sleep(world.options.latency).await;
    let mut left = None;
    let end = match admit(world, call, &mut left) {
        Ok(user) => {
            let began = Instant::now();
            let end = strike(world, call, &user, &mut entries).await;
            world.leave(&user, began.elapsed());
            end
        }
        Err(error) => Ok(refused(world, call, error, &mut entries)),
    };
    let end = end.unwrap_or_else(|error| refused(world, call, error, &mut entries));
    finish(world, call, end, entries, &request_id, left)
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
async fn strike(world: &World, call: &Call, user: &str, entries: &mut Vec<Entry>) -> Result<End, Error> {
    let (set, key) = path::glimpse(&call.path);
    let effect = world.faults().take(call.method.as_str(), &set, &key);
    match &effect {
        Some(Effect::Hang) => return Ok(End::Silence),
        Some(Effect::DropBefore) => return Ok(End::Cut),
        Some(Effect::Slow(pause)) => tokio::time::sleep(*pause).await,
        Some(
            Effect::Status(_)
            | Effect::Deadlock
            | Effect::WrappedDeadlock
            | Effect::Sandbox
            | Effect::PluginStatus(_)
            | Effect::DropAfterCommit
            | Effect::DeletedMeanwhile
            | Effect::HangAfterCommit,
        )
        | None => {}
    }
    if let Some(error) = effect.as_ref().and_then(Effect::refusal) {
        return Err(error);
    }
    let is_deleted = effect == Some(Effect::DeletedMeanwhile);
    let answer = work(world, call, user, entries, is_deleted).await;
    if effect == Some(Effect::DropAfterCommit) {
        return Ok(End::Cut);
    }
    if effect == Some(Effect::HangAfterCommit) {
        return Ok(End::Silence);
    }
    answer.map(End::Answer)
}

async fn work(
    world: &World,
    call: &Call,
    user: &str,
    entries: &mut Vec<Entry>,
    is_deleted: bool,
) -> Result<Response, Error> {
    let resource = path::parse(call.below_root()?)?;
    call.check()?;
    let is_bulk = resource.predicate.is_none() && resource.tail.as_deref() == Some(bulk::ACTION);
    match (&call.method, resource.name.as_str()) {
        (&Method::GET, "WhoAmI") => Ok(read::who_am_i(world, call, user)),
        (&Method::GET, metadata::USERS) if resource.tail.is_some() => {
            metadata::privileges(world, call, &resource, &call.author(user).by)
        }
        (&Method::GET, metadata::NAME) => metadata::get(world, call, &resource),
        (&Method::GET, _) => read::get(world, call, &resource),
        (&Method::POST, _) if is_bulk => bulk::upsert(world, call, user, &resource, entries).await,
        (&Method::PATCH | &Method::POST | &Method::DELETE, _) => {
            let entry = entries.first_mut().expect("a write begins with one entry");
            execute::one(world, call, user, &resource, entry, is_deleted).await
        }
        (method, _) => Err(Error::method_not_allowed(method.as_str())),
    }
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

fn finish(
    world: &World,
    call: &Call,
    mut end: End,
    mut entries: Vec<Entry>,
    request_id: &str,
    left: Option<Left>,
) -> End {
    let mut status = None;
    if let End::Answer(response) = &mut end {
        status = Some(response.status().as_u16());
        reply::dress(response.headers_mut(), request_id, world.options.dop_hint, left);
    }
    for entry in &mut entries {
        entry.status = status;
        entry.end = world.now().max(entry.start + Duration::from_nanos(1));
    }
    world.record(call.method.as_str(), status, entries);
    end
}
