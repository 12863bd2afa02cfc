//! An OpenTelemetry collector: receives traces and metrics by OTLP over HTTP with protobuf, and keeps them for tests.
//!
//! It rejects what it cannot decode, and otherwise accepts, rejects, or never responds, as configured. Requests are
//! also kept as raw bytes, so that a test can search them for values that must not be exported.
//!
//! Contract: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

mod decode;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;

use crate::net::Server;

const PROTOBUF: &str = "application/x-protobuf";

/// How the collector responds to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Accepts it.
    #[default]
    Takes,
    /// Responds with this status.
    Refuses(StatusCode),
    /// Never responds.
    Hangs,
}

/// A span, reduced to what tests check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace: String,
    /// 16 hexadecimal digits.
    pub id: String,
    /// The parent's id; `None` for a root.
    pub parent: Option<String>,
    /// The name.
    pub name: String,
    /// `Internal`, `Server`, `Client`, `Producer` or `Consumer`.
    pub kind: String,
    /// Attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether its status is an error.
    pub failed: bool,
    /// Nanoseconds since 1970.
    pub began: u64,
    /// Nanoseconds since 1970.
    pub ended: u64,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// A current value, or a sum that may shrink.
    Gauge,
    /// Counts of values by bucket.
    Histogram,
}

/// One series of a metric, as last received.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The metric's name.
    pub name: String,
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit.
    pub unit: String,
    /// The labels of the series, as text.
    pub attributes: BTreeMap<String, String>,
    /// The number of values of a histogram, or the value of a counter or gauge.
    pub count: u64,
    /// A histogram's sum; 0 for other kinds.
    pub sum: f64,
}

/// The running collector; dropping it stops it.
#[derive(Debug)]
pub struct Collector {
    kept: Arc<Received>,
    server: Server,
}

#[derive(Debug, Default)]
struct Received {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    behaviour: Behaviour,
    spans: Vec<Span>,
    points: Vec<Point>,
    resource: BTreeMap<String, String>,
    deliveries: Vec<Delivery>,
}

/// One request to the collector.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Collector {
    /// Starts a collector on a free port.
    pub async fn start() -> io::Result<Self> {
        let kept = Arc::new(Received::default());
        let routes = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .with_state(kept.clone());
        Ok(Self { kept, server: Server::start(routes, 0, None).await? })
    }

    /// The value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Sets how the collector responds from now on.
    pub fn behaviour(&self, behaviour: Behaviour) {
        self.kept.inner().behaviour = behaviour;
    }

    /// All spans received.
    pub fn spans(&self) -> Vec<Span> {
        self.kept.inner().spans.clone()
    }

    /// The spans of one trace.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.trace == id).collect()
    }

    /// The latest values of every series; they are cumulative.
    pub fn points(&self) -> Vec<Point> {
        self.kept.inner().points.clone()
    }

    /// The resource attributes of the last request.
    pub fn resource(&self) -> BTreeMap<String, String> {
        self.kept.inner().resource.clone()
    }

    /// Every request received, whatever the response was.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.kept.inner().deliveries.clone()
    }
}

impl Received {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and responds as configured.
    async fn take(&self, headers: HeaderMap, body: &Bytes, keep: impl FnOnce(&mut Inner) -> bool) -> Response {
        let is_protobuf = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
        let behaviour = {
            let mut inner = self.inner();
            inner.deliveries.push(Delivery { headers, body: body.clone() });
            inner.behaviour
        };
        match behaviour {
            Behaviour::Takes if !is_protobuf => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
            // An empty message means full success.
            Behaviour::Takes if keep(&mut self.inner()) => [(CONTENT_TYPE, PROTOBUF)].into_response(),
            Behaviour::Takes => StatusCode::BAD_REQUEST.into_response(),
            Behaviour::Refuses(status) => status.into_response(),
            Behaviour::Hangs => std::future::pending().await,
        }
    }
}

async fn traces(State(kept): State<Arc<Received>>, headers: HeaderMap, body: Bytes) -> Response {
    kept.take(headers, &body, |inner| {
        let Some((resource, spans)) = decode::spans(&body) else { return false };
        inner.resource = resource;
        inner.spans.extend(spans);
        true
    })
    .await
}

async fn metrics(State(kept): State<Arc<Received>>, headers: HeaderMap, body: Bytes) -> Response {
    kept.take(headers, &body, |inner| {
        let Some((resource, points)) = decode::points(&body) else { return false };
        inner.resource = resource;
        for point in points {
            inner.points.retain(|kept| (&kept.name, &kept.attributes) != (&point.name, &point.attributes));
            inner.points.push(point);
        }
        true
    })
    .await
}
