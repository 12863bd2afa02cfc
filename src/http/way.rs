//! The way to one server: straight to it, or through a proxy.

use std::error::Error;

use axum::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Either;
use hyper::body::Incoming;

use super::{Direct, Http, Server};

/// The body of an answer, whichever way it came.
pub type Body = Either<Incoming, reqwest::Body>;

type Source = Box<dyn Error + Send + Sync>;

/// The way to one server.
#[derive(Debug)]
pub enum Way {
    /// By the thread's connections to it.
    Direct(Box<Direct>),
    /// By the thread's client for all servers, through a proxy it may be.
    Client(Http),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It was not sent, nor will it ever be.
    #[error("the request cannot be sent")]
    NotSendable(#[source] Source),
    /// It was not sent.
    #[error("no connection")]
    NoConnection(#[source] Source),
    /// It may have been sent.
    #[error("the connection broke")]
    Broken(#[source] Source),
}

impl Way {
    /// The way to `server`, which is at `address`.
    pub fn to(address: &str, server: Server, http: Http) -> Self {
        match http.direct(address, server) {
            Some(direct) => Self::Direct(Box::new(direct)),
            None => Self::Client(http),
        }
    }

    /// Sends a request, and waits for the answer's head. Nothing but the wait for a connection has a time limit.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, NoAnswer> {
        match self {
            Self::Direct(direct) => {
                let answer = direct.send(request).await;
                Ok(answer.map_err(|error| NoAnswer::new(error.is_connect(), error))?.map(Either::Left))
            }
            Self::Client(http) => {
                let request = request.try_into().map_err(|error| NoAnswer::NotSendable(Box::new(error)))?;
                let answer = http.here().execute(request).await;
                let answer = answer.map_err(|error| NoAnswer::new(error.is_connect(), error))?;
                Ok(Response::from(answer).map(Either::Right))
            }
        }
    }
}

impl NoAnswer {
    fn new(no_connection: bool, error: impl Error + Send + Sync + 'static) -> Self {
        let source = Box::new(error);
        if no_connection { Self::NoConnection(source) } else { Self::Broken(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_request_is_never_sent() {
        let http = Http::from(super::super::client().expect("the settings are valid"));
        // Nobody can say whom it is for.
        let error = Way::Client(http).send(Request::new(Bytes::new())).await.expect_err("it has no address");
        assert!(matches!(error, NoAnswer::NotSendable(_)), "{error:?}");
    }
}
