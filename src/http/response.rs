//! Reading answers: bodies up to a cap, and what can go wrong on the wire.

use std::error::Error;

use bytes::Bytes;
use reqwest::Response;

/// Why there is no complete answer. Neither the text nor the source holds an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The request is malformed and was not sent.
    #[error("the request could not be built")]
    NotSendable(#[source] Box<dyn Error + Send + Sync>),
    /// There was no connection, so the request was not sent.
    #[error("no connection")]
    NoConnection(#[source] reqwest::Error),
    /// The connection broke; the request may have arrived.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// The body or the headers are larger than their cap.
    #[error("the answer is too large")]
    TooLarge,
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_builder() {
            Self::NotSendable(Box::new(error))
        } else if error.is_connect() {
            Self::NoConnection(error)
        } else {
            Self::Broken(error)
        }
    }
}

/// Reads a whole body of at most `cap` bytes.
pub(crate) async fn read_body(response: Response, cap: usize) -> Result<Bytes, TransportError> {
    let mut body = Vec::new();
    read_into(&mut body, response, cap).await?;
    Ok(body.into())
}

/// Appends a body to `body`, which then has at most `cap` bytes. After an error, and when dropped, `body` has what arrived.
pub(crate) async fn read_into(body: &mut Vec<u8>, mut response: Response, cap: usize) -> Result<(), TransportError> {
    while let Some(chunk) = response.chunk().await? {
        let fits = chunk.len().min(cap - body.len());
        body.extend_from_slice(&chunk[..fits]);
        if fits < chunk.len() {
            return Err(TransportError::TooLarge);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &'static str) -> Response {
        http::Response::new(body).into()
    }

    #[tokio::test]
    async fn reads_a_body_up_to_its_cap() {
        assert_eq!(read_body(answer("12345"), 5).await.expect("it fits"), "12345");
        let mut body = Vec::new();
        let error = read_into(&mut body, answer("123456"), 5).await.expect_err("one byte too many");
        assert!(matches!(error, TransportError::TooLarge), "{error:?}");
        assert_eq!(body, b"12345", "what fits is kept");
    }
}
