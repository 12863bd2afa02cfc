//! HTTP control of the stand-in when it runs as its own process: `/_sandbox/…`, plain HTTP without a token.
//!
//! `GET journal`, `GET rows/<set>`, `POST faults` with a [`Fault`](super::faults::Fault) as JSON, `DELETE faults`.
//! Everything else gets 404. It is not part of the service,
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/overview>.

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::World;
use super::reply;

/// The path prefix of the control requests.
pub(super) const PREFIX: &str = "/_sandbox/";

/// Handles one request; `path` is the part after [`PREFIX`].
pub(super) fn answer(world: &World, method: &Method, path: &str, body: &Bytes) -> Response {
    match (method, path) {
        (&Method::GET, "journal") => reply::json(StatusCode::OK, &json!(world.journal())),
        (&Method::GET, _) if path.starts_with("rows/") => rows(world, &path["rows/".len()..]),
        (&Method::POST, "faults") => match serde_json::from_slice(body) {
            Ok(fault) => {
                world.faults().add(fault);
                StatusCode::NO_CONTENT.into_response()
            }
            Err(error) => reply::json(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() })),
        },
        (&Method::DELETE, "faults") => {
            world.faults().clear();
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn rows(world: &World, set: &str) -> Response {
    match world.store().table_rows(set) {
        Ok(table_rows) => {
            let rows: Vec<Value> = table_rows.live().map(|row| Value::Object(super::values_of(row))).collect();
            reply::json(StatusCode::OK, &Value::Array(rows))
        }
        Err(error) => error.into_response(),
    }
}
