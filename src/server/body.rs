//! A request's body, read with a limit on its size and on its time.
//!
//! A sender that stops in the middle is answered and let go: between two parts there is a longest wait, and one for the whole,
//! so that a byte now and then does not keep a request for ever. While the handler stops, nobody waits for the rest at all.

use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

/// Of a body that is too large no more than this is read; the host forwards at most 100 MiB.
const MOST_BYTES_READ: usize = 100 * 1024 * 1024;

/// Room for so much is made at once, where it is announced; what is never sent costs no more.
const MOST_BYTES_AHEAD: u64 = 128 * 1024;

/// The longest wait for the next part.
const NEXT_PART: Duration = Duration::from_mins(2);

/// The longest wait for the whole; the time limit of an invocation in host.json.
const WHOLE: Duration = Duration::from_mins(10);

/// While the handler stops: the longest wait for the rest.
const LAST_PART: Duration = Duration::from_secs(2);

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// More bytes than wanted.
    #[error("a body has at most {most} bytes")]
    TooLarge {
        /// The limit.
        most: usize,
    },
    /// The connection broke, or its framing did.
    #[error("the body broke off")]
    BrokenOff,
    /// The sender stopped, or sent too slowly.
    #[error("the rest of the body did not come in time")]
    TooSlow,
}

/// Reads a body of at most `most` bytes. What is longer is read on and thrown away: a caller who is still sending when the answer
/// comes and the connection closes loses the answer.
///
/// # Errors
/// When it is longer, broke off, or did not come in time.
pub(super) async fn read(body: Body, most: usize, stop: &CancellationToken) -> Result<Bytes, Error> {
    let announced = body.size_hint().lower().min(MOST_BYTES_AHEAD);
    let mut kept = BytesMut::with_capacity(usize::try_from(announced).unwrap_or_default());
    let (mut stream, mut length) = (body.into_data_stream(), 0);
    let end = Instant::now() + WHOLE;
    let mut stopping = pin!(async {
        stop.cancelled().await;
        sleep(LAST_PART).await;
    });
    loop {
        let next = timeout_at(end.min(Instant::now() + NEXT_PART), stream.next());
        let part = tokio::select! {
            biased;
            part = next => part.map_err(|_| Error::TooSlow)?,
            () = stopping.as_mut() => return Err(Error::TooSlow),
        };
        let Some(part) = part.transpose().map_err(|_| Error::BrokenOff)? else { break };
        length += part.len();
        if length <= most {
            kept.extend_from_slice(&part);
        } else if length > MOST_BYTES_READ {
            break;
        }
    }
    if length > most { Err(Error::TooLarge { most }) } else { Ok(kept.freeze()) }
}
