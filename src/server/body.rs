//! The body of a request: read within its limits, and recognised where it is not UTF-8.
//!
//! The Functions host drops `Content-Encoding`, so an encoded body is known by its first bytes alone.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::time::timeout;

use super::budget::{self, Budget, MAX_INVOCATION_BYTES, Reserved};
use crate::outcome::{Outcome, Reason};
use crate::record;
use crate::{host, json};

/// The longest time in which a body arrives: 8 MiB at 280 KB a second. A slower one would hold what others need.
const MAX_TIME: Duration = Duration::from_secs(30);

/// The memory for a body begins with so many bytes, and doubles when they are full.
const MIN_CAPACITY: usize = 8 * 1024;

/// Reads the body of a call, with or without a length. The rest of one that is refused is read and discarded, which axum's limit
/// does not do: hyper would close the connection, and a client that sends the whole body before it reads would see a reset instead
/// of the answer.
pub(super) async fn read(body: Body, budget: &Budget) -> Result<Bytes, Outcome> {
    let late = |_| invalid(format!("the body did not arrive within {} s", MAX_TIME.as_secs()));
    let Kept { text, reserved } = timeout(MAX_TIME, collect(body, budget)).await.map_err(late)??;
    if let Some(encoding) = json::other_encoding(&text) {
        return Err(invalid(format!(
            "the body is in {encoding}; the host drops Content-Encoding, so send plain UTF-8"
        )));
    }
    let bytes = budget::with_reservation(text, reserved);
    let body = bytes.slice_ref(json::without_bom(&bytes));
    if body.is_empty() {
        return Err(invalid("the body is empty; it must be a record or an array of records"));
    }
    if is_base64_of_an_object(&body) {
        return Err(invalid("the body is in base64, which only a queue message may be; send the JSON itself"));
    }
    Ok(body)
}

/// Judged by the beginning alone.
fn is_base64_of_an_object(body: &[u8]) -> bool {
    let begin = &body[..body.len().min(8)];
    std::str::from_utf8(begin).is_ok_and(|begin| host::object_in_base64(begin).is_some())
}

/// Reads the host's request for a queue message, whose memory is reserved.
///
/// # Errors
/// What is wrong with it, for the log.
pub(super) async fn read_invocation(body: Body) -> Result<BytesMut, &'static str> {
    let collected = async {
        let (mut chunks, mut text) = (body.into_data_stream(), BytesMut::new());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| "the request is incomplete")?;
            if text.len() + chunk.len() > MAX_INVOCATION_BYTES {
                return Err("the request is larger than any queue message makes it");
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    };
    timeout(MAX_TIME, collected).await.unwrap_or(Err("the request did not arrive in time"))
}

/// The part of a call's body that is kept.
struct Kept {
    text: Vec<u8>,
    reserved: Reserved,
}

async fn collect(body: Body, budget: &Budget) -> Result<Kept, Outcome> {
    let is_too_large = body.size_hint().lower() > u64::try_from(record::MAX_BYTES).unwrap_or(u64::MAX);
    let mut kept = if is_too_large { Err(too_large()) } else { Ok(Kept { text: Vec::new(), reserved: budget.call() }) };
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        // Also where there is less than its Content-Length says.
        let chunk = chunk.map_err(|_| invalid("the body is incomplete"))?;
        if let Ok(body) = &mut kept
            && let Err(refusal) = body.push(&chunk)
        {
            kept = Err(*refusal);
        }
    }
    kept
}

impl Kept {
    fn push(&mut self, chunk: &[u8]) -> Result<(), Box<Outcome>> {
        let length = self.text.len() + chunk.len();
        if length > record::MAX_BYTES {
            return Err(too_large().into());
        }
        if length > self.text.capacity() {
            let capacity = length.next_power_of_two().clamp(MIN_CAPACITY, record::MAX_BYTES);
            if !self.reserved.grow(capacity) {
                return Err(at_memory_limit().into());
            }
            self.text.reserve_exact(capacity - self.text.len());
        }
        self.text.extend_from_slice(chunk);
        Ok(())
    }
}

/// The outcome of a call whose share of the memory is used up.
pub(super) fn at_memory_limit() -> Outcome {
    Outcome::new(Reason::Unavailable).detail("the handler is at its memory limit; nothing of this call was processed")
}

fn too_large() -> Outcome {
    Outcome::new(Reason::TooLarge).detail(format!("a body has at most {} bytes", record::MAX_BYTES))
}

fn invalid(detail: impl Into<String>) -> Outcome {
    Outcome::new(Reason::InvalidMessage).detail(detail)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use futures::stream;
    use tokio::task::yield_now;
    use tokio::time::Instant;

    use super::*;

    const PART: usize = record::MAX_BYTES / 8;

    /// A body of the largest size, in eight parts with a pause between them; what was read of it is counted.
    fn in_parts(read: Arc<AtomicUsize>) -> Body {
        let parts = stream::iter(0..8).then(move |_| {
            let read = read.clone();
            async move {
                yield_now().await;
                read.fetch_add(1, Ordering::Relaxed);
                Ok::<_, io::Error>(vec![b' '; PART])
            }
        });
        Body::from_stream(parts)
    }

    /// A body that never ends, of which so many bytes arrive.
    fn stalled(bytes: usize) -> Body {
        Body::from_stream(stream::iter([Ok::<_, io::Error>(vec![b' '; bytes])]).chain(stream::pending()))
    }

    #[tokio::test]
    async fn calls_beyond_the_memory_are_refused_and_read_to_their_end_and_none_waits_for_another() {
        let (budget, read) = (Budget::new(0), Arc::new(AtomicUsize::new(0)));
        let bodies = join_all((0..24).map(|_| super::read(in_parts(read.clone()), &budget))).await;
        assert_eq!(read.load(Ordering::Relaxed), 24 * 8);
        let (kept, refused): (Vec<_>, Vec<_>) = bodies.into_iter().partition(Result::is_ok);
        assert!(!kept.is_empty() && kept.len() <= 4, "{}", kept.len());
        for refusal in refused {
            let outcome = refusal.expect_err("it is refused");
            assert_eq!(outcome.reason, Reason::Unavailable);
            assert!(outcome.detail.is_some_and(|detail| detail.contains("memory limit")));
        }
        assert!(super::read(Body::from(" {}"), &budget).await.is_ok(), "a small one is read");
        drop(kept);
        let again = join_all((0..4).map(|_| super::read(in_parts(read.clone()), &budget))).await;
        assert!(again.iter().all(Result::is_ok), "the memory is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_in_time_is_refused_and_gives_its_memory_back() {
        let (budget, begun) = (Budget::new(0), Instant::now());
        let bodies = (0..4).map(|_| super::read(stalled(record::MAX_BYTES), &budget));
        for refusal in join_all(bodies).await {
            let outcome = refusal.expect_err("it never arrives");
            assert_eq!(outcome.reason, Reason::InvalidMessage);
            assert_eq!(outcome.detail.as_deref(), Some("the body did not arrive within 30 s"));
        }
        // Nor is the rest of one that is refused read for ever.
        let refused = super::read(stalled(record::MAX_BYTES + 1), &budget).await.expect_err("it never arrives");
        assert_eq!((refused.reason, begun.elapsed()), (Reason::InvalidMessage, 2 * MAX_TIME));
        let all = join_all((0..4).map(|_| super::read(in_parts(Arc::default()), &budget))).await;
        assert!(all.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn an_invocation_is_whole_not_too_large_and_in_time() {
        assert_eq!(read_invocation(Body::from("{}")).await.as_deref(), Ok(&b"{}"[..]));
        let cases = [
            (Body::from(vec![b' '; MAX_INVOCATION_BYTES + 1]), "larger"),
            (stalled(1), "in time"),
            (Body::from_stream(stream::iter([Err::<Vec<u8>, _>(io::Error::other("reset"))])), "incomplete"),
        ];
        for (body, problem) in cases {
            let found = read_invocation(body).await.expect_err(problem);
            assert!(found.contains(problem), "{found}");
        }
    }
}
