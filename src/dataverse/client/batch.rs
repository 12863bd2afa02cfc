//! Reads and writes that wait together are sent as one `$batch` request: it counts as one against the service's limit.
//!
//! There is no timer. A request that finds a free slot is sent at once, by itself. Where nearly all slots are taken, it waits for those
//! that are on their way to it; a slot that gets free takes whatever waits, up to the size that [`size`] has learned. A slot that is
//! not free after [`SLOW`] is not waited for.
//!
//! Rows whose request is slow or gets no answer are sent alone: see [`isolation`].
//!
//! The callers see what they would see of a request of their own: the answer to their part, or that none came. What waits when
//! sending stops for a pause is not sent: its callers release their locks and wait for admission again.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api>

mod exchange;
mod isolation;
mod line;
mod size;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, Request};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span, warn};
use uuid::Uuid;

use super::exchange::Answer;
use crate::dataverse::Error;
use crate::telemetry::{metrics, trace};
use exchange::{AfterRefusal, BROKEN, after_refusal, is_executed, is_strained, is_throttled};
pub(super) use exchange::{Exchange, UNANSWERED};
use isolation::Isolation;
use line::{Line, Waiting};
use size::BatchSize;

/// The bodies of one batch have at most so many bytes together, unless one alone has more.
const MAX_BYTES: usize = 1_000_000;

/// So many requests may be in flight although fewer batches would take all records.
const MIN_SLOTS: usize = 4;

/// A request that takes longer is slow: four times what a batch should take. A plug-in may take minutes.
const SLOW: Duration = Duration::from_secs(2);

/// A service that takes no batches is asked again after this time.
const OFF_FOR: Duration = Duration::from_hours(1);

/// Admission, as far as requests are concerned.
#[async_trait]
pub trait Gate: fmt::Debug + Send + Sync {
    /// How many requests may be in flight; `None` if every admitted record is sent at once.
    fn request_limit(&self) -> Option<usize>;

    /// How many records are admitted: at their lock, waiting for a request, or in one.
    fn admitted(&self) -> usize;

    /// Whether nothing may be sent.
    fn is_paused(&self) -> bool;

    /// How often sending has stopped so far, for a pause or an outage.
    fn stops(&self) -> u64;

    /// Completes once sending has stopped more often than that.
    async fn stopped(&self, stops: u64);

    /// A request takes so many records.
    fn set_batch_size(&self, parts: usize);
}

/// The requests that wait, and how many are in flight.
#[derive(Debug)]
pub(super) struct Batches {
    service: Arc<dyn Exchange>,
    gate: Arc<dyn Gate>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    line: Line,
    /// Requests in flight.
    requests: usize,
    /// Their parts.
    parts: usize,
    /// Those that are slow.
    slow: usize,
    isolation: Isolation,
    size: BatchSize,
    /// The service takes no batches, as far as known.
    off_until: Option<Instant>,
}

#[derive(Debug)]
enum Turn {
    /// The caller sends the request itself.
    Alone(Slot, Request),
    /// It was sent as a part of the batch with this id, or not at all.
    Answered(Option<Uuid>, Result<Answer, Error>),
}

/// A request in flight, until it is dropped.
#[derive(Debug)]
struct Slot {
    batches: Arc<Batches>,
    rows: Vec<String>,
    is_slow: bool,
}

enum Next {
    Alone(Box<Waiting>, Slot),
    Together(Vec<Waiting>, Slot),
    Withheld(Vec<Waiting>),
}

impl Batches {
    pub(super) fn new(service: Arc<dyn Exchange>, gate: Arc<dyn Gate>) -> Self {
        let inner = Inner {
            line: Line::default(),
            requests: 0,
            parts: 0,
            slow: 0,
            isolation: Isolation::default(),
            size: BatchSize::new(),
            off_until: None,
        };
        Self { service, gate, inner: Mutex::new(inner) }
    }

    /// Sends a request, alone or as a part, and gives its success.
    ///
    /// # Errors
    /// As for a request of its own; [`Error::Withheld`] if sending stopped before its turn.
    pub(super) async fn send(self: &Arc<Self>, request: Request, row: String) -> Result<Answer, Error> {
        let stops = self.gate.stops();
        if self.gate.is_paused() {
            return Err(Error::Withheld);
        }
        let (id, turn) = self.inner().join(request, row, stops);
        self.dispatch();
        let named = |span: &Span, turn: &Turn| match turn {
            Turn::Answered(Some(batch), _) => trace::batched(span, *batch),
            Turn::Answered(None, _) | Turn::Alone(..) => {}
        };
        match trace::span_if_pending(self.turn(id, turn, stops), || trace::child("in_line"), named).await {
            Turn::Answered(_, answer) => answer,
            Turn::Alone(mut slot, request) => {
                let (since, is_read) = (Instant::now(), request.method() == Method::GET);
                let answer = slot.wait_for(self.service.alone(&request)).await;
                if answer.as_ref().err().is_none_or(is_executed) {
                    self.learn(|size| size.answered(1, since.elapsed()));
                }
                let fault = match &answer {
                    // A gateway's page.
                    Ok(answer) if !is_read && !answer.is_of_dataverse() => Some(&UNANSWERED),
                    other => other.as_ref().err(),
                };
                if self.inner().isolation.single_ended(&slot.rows, is_read || slot.is_slow, fault) {
                    self.switch_off(&BROKEN);
                }
                self.react_to(answer.as_ref().err(), 1);
                drop(slot);
                answer
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a request, or until sending stops.
    async fn turn(&self, id: u64, mut turn: oneshot::Receiver<Turn>, stops: u64) -> Turn {
        let mut stopped = pin!(self.gate.stopped(stops));
        let taken = tokio::select! {
            biased;
            taken = &mut turn => taken,
            () = &mut stopped => {
                if self.inner().line.leave(id) {
                    return Turn::Answered(None, Err(Error::Withheld));
                }
                turn.await
            }
        };
        // The task that sent the batch has panicked.
        taken.unwrap_or(Turn::Answered(None, Err(UNANSWERED)))
    }

    /// Lets all go whose turn it is.
    fn dispatch(self: &Arc<Self>) {
        // Not `while let`: that would hold the mutex, which a slot takes when it is dropped.
        loop {
            let Some(next) = self.next() else { return };
            match next {
                // If the caller has left, the slot is free again.
                Next::Alone(waiting, slot) => {
                    let Waiting { turn, request, .. } = *waiting;
                    drop(turn.send(Turn::Alone(slot, request)));
                }
                Next::Together(parts, slot) => {
                    let batches = self.clone();
                    tokio::spawn(async move { batches.send_together(parts, slot).await }.in_current_span());
                }
                Next::Withheld(all) => withhold(all),
            }
        }
    }

    fn next(self: &Arc<Self>) -> Option<Next> {
        let (limit, admitted) = (self.gate.request_limit(), self.gate.admitted());
        let stops = if self.gate.is_paused() { None } else { Some(self.gate.stops()) };
        let mut inner = self.inner();
        let stale = inner.line.take_stale(stops);
        if !stale.is_empty() {
            return Some(Next::Withheld(stale));
        }
        let (waiting, size) = (inner.line.len(), inner.size());
        if waiting == 0 || limit.is_some_and(|limit| inner.is_taken(limit, admitted)) {
            return None;
        }
        let parts = inner.line.take(size, MAX_BYTES);
        inner.requests += 1;
        inner.parts += parts.len();
        let rows = parts.iter().map(|part| part.row.clone()).collect();
        let slot = Slot { batches: self.clone(), rows, is_slow: false };
        Some(match <[Waiting; 1]>::try_from(parts) {
            Ok([alone]) => Next::Alone(Box::new(alone), slot),
            Err(parts) => Next::Together(parts, slot),
        })
    }

    fn learn(&self, from: impl FnOnce(&mut BatchSize)) {
        let mut inner = self.inner();
        from(&mut inner.size);
        let size = inner.size();
        drop(inner);
        self.gate.set_batch_size(size);
    }

    /// Sends these as one request, in the order of their rows.
    async fn send_together(self: Arc<Self>, mut parts: Vec<Waiting>, mut slot: Slot) {
        parts.sort_by(|one, other| one.row.cmp(&other.row));
        let ready = self.service.ready().await;
        // Those whose lease was lost meanwhile have left.
        parts.retain(|part| !part.turn.is_closed());
        if parts.is_empty() {
            return;
        }
        let (id, since) = (Uuid::new_v4(), Instant::now());
        let requests: Vec<_> = parts.iter().map(|part| &part.request).collect();
        let sent = match ready {
            Ok(()) => slot.wait_for(self.service.together(&requests).instrument(trace::batch(id, parts.len()))).await,
            Err(fault) => Err(fault),
        };
        metrics::batched(since, parts.len());
        if sent.is_ok() || slot.is_slow {
            self.learn(|size| size.answered(parts.len(), since.elapsed()));
        }
        match sent {
            Ok(answers) => self.answer_all(id, parts, answers),
            Err(fault) => self.refused(id, parts, &fault),
        }
        drop(slot);
    }

    fn answer_all(&self, id: Uuid, parts: Vec<Waiting>, answers: Vec<Result<Answer, Error>>) {
        self.react_to(answers.iter().filter_map(|answer| answer.as_ref().err()), parts.len());
        let faults = answers.iter().map(|answer| answer.as_ref().err());
        let ended: Vec<_> = parts.iter().map(|part| part.row.as_str()).zip(faults).collect();
        self.inner().isolation.batch_ended(&ended);
        for (part, answer) in parts.into_iter().zip(answers) {
            part.answer(Some(id), answer);
        }
    }

    /// What the faults of a request mean for those that wait.
    fn react_to<'a>(&self, faults: impl IntoIterator<Item = &'a Error>, parts: usize) {
        let (mut throttled, mut strained) = (false, false);
        for fault in faults {
            throttled |= is_throttled(fault);
            strained |= is_strained(fault);
        }
        if throttled {
            // Until the callers have reported it, admission does not know.
            withhold(self.inner().line.take_stale(None));
        }
        if strained {
            self.learn(|size| size.halve(parts));
        }
    }

    /// The batch as a whole was refused, or there was no answer.
    fn refused(&self, id: Uuid, parts: Vec<Waiting>, fault: &Error) {
        match after_refusal(fault) {
            AfterRefusal::Smaller => {
                self.learn(|size| size.halve(parts.len()));
                self.inner().line.put_back(parts, false);
            }
            AfterRefusal::Alone => self.inner().line.put_back(parts, true),
            AfterRefusal::WithoutBatches => {
                self.switch_off(fault);
                self.inner().line.put_back(parts, true);
            }
            AfterRefusal::Same(error) => {
                let answers = parts.iter().map(|_| Err(error.clone())).collect();
                self.answer_all(id, parts, answers);
            }
        }
    }

    /// With one warning, although several batches may be in flight.
    fn switch_off(&self, fault: &Error) {
        let mut inner = self.inner();
        let was_off = inner.is_off();
        inner.off_until = Some(Instant::now() + OFF_FOR);
        inner.isolation.forget_failures();
        drop(inner);
        self.learn(|_| {});
        if !was_off {
            warn!(%fault, "Dataverse takes no batches; for an hour every record is a request of its own");
        }
    }
}

impl Inner {
    fn join(&mut self, request: Request, row: String, stops: u64) -> (u64, oneshot::Receiver<Turn>) {
        let alone = self.isolation.contains(&row);
        self.line.join(request, row, stops, alone)
    }

    /// How many parts the next request has at most.
    fn size(&self) -> usize {
        if self.is_off() { 1 } else { self.size.parts() }
    }

    /// Whether those that wait go later: all slots are taken, or the last one waits for those that are on their way to it.
    fn is_taken(&self, limit: usize, admitted: usize) -> bool {
        let (waiting, size) = (self.line.len(), self.size());
        let limit = limit.min(admitted.div_ceil(size).max(MIN_SLOTS) + self.slow);
        let is_last_slot = self.requests > self.slow && self.requests + 1 == limit;
        let on_the_way = admitted.saturating_sub(self.parts + waiting);
        self.requests >= limit || (is_last_slot && on_the_way > 0 && waiting < size)
    }

    fn is_off(&self) -> bool {
        self.off_until.is_some_and(|until| until > Instant::now())
    }
}

impl Slot {
    /// Waits for the answer to its request.
    async fn wait_for<T>(&mut self, request: impl Future<Output = T>) -> T {
        let mut request = pin!(request);
        if let Ok(answer) = timeout(SLOW, &mut request).await {
            return answer;
        }
        self.is_slow = true;
        {
            let mut inner = self.batches.inner();
            inner.slow += 1;
            inner.isolation.slow(&self.rows);
        }
        self.batches.dispatch();
        request.await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut inner = self.batches.inner();
            inner.requests -= 1;
            inner.parts -= self.rows.len();
            inner.slow -= usize::from(self.is_slow);
        }
        self.batches.dispatch();
    }
}

fn withhold(all: Vec<Waiting>) {
    for waiting in all {
        waiting.answer(None, Err(Error::Withheld));
    }
}

#[cfg(test)]
mod tests;
