//! HTTP control of the stand-in when it runs as its own process: `/_sandbox/…`, plain HTTP without a token.
//!
//! `GET journal`, `GET rows/<set>`, `POST faults` with a [`Fault`](super::faults::Fault) as JSON, `DELETE faults`.
//! Everything else gets 404. Answers end with a newline, for terminals. It is not part of the service,
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/overview>.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::World;

/// The path prefix of the control requests.
pub(super) const PREFIX: &str = "/_sandbox/";

/// Handles one request; `path` is the part after [`PREFIX`].
pub(super) fn answer(world: &World, method: &Method, path: &str, body: &Bytes) -> Response {
    match (method, path) {
        (&Method::GET, "journal") => line(StatusCode::OK, &json!(world.journal())),
        (&Method::GET, _) if path.starts_with("rows/") => rows(world, &path["rows/".len()..]),
        (&Method::POST, "faults") => match serde_json::from_slice(body) {
            Ok(fault) => {
                world.faults().add(fault);
                StatusCode::NO_CONTENT.into_response()
            }
            Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        (&Method::DELETE, "faults") => {
            world.faults().clear();
            StatusCode::NO_CONTENT.into_response()
        }
        _ => refused(StatusCode::NOT_FOUND, "there are: GET journal, GET rows/<table>, POST faults, DELETE faults"),
    }
}

fn line(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn refused(status: StatusCode, why: &str) -> Response {
    line(status, &json!({ "error": why }))
}

fn rows(world: &World, set: &str) -> Response {
    match world.store().table_rows(set) {
        Ok(table_rows) => {
            let rows: Vec<Value> = table_rows.live().map(|row| Value::Object(super::values_of(row))).collect();
            line(StatusCode::OK, &Value::Array(rows))
        }
        Err(_) => refused(StatusCode::NOT_FOUND, &format!("there is no table {set}")),
    }
}
