//! The requests that wait for their turn, in order of arrival.
//!
//! Pure, no clock.

use std::collections::{HashSet, VecDeque};

use reqwest::{Body, Method, Request};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Turn;
use crate::dataverse::Error;
use crate::dataverse::client::exchange::Answer;

#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Waiting>,
    last_id: u64,
}

/// A request that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u64,
    pub(super) request: Request,
    /// Identifies the row.
    pub(super) row: String,
    /// How often sending had stopped before.
    stops: u64,
    /// It is not sent with others.
    alone: bool,
    pub(super) turn: oneshot::Sender<Turn>,
}

impl Line {
    /// Joins at the end; returns what identifies the place, and where the turn arrives.
    pub(super) fn join(
        &mut self,
        request: Request,
        row: String,
        stops: u64,
        alone: bool,
    ) -> (u64, oneshot::Receiver<Turn>) {
        let (sender, turn) = oneshot::channel();
        self.last_id += 1;
        self.waiting.push_back(Waiting { id: self.last_id, request, row, stops, alone, turn: sender });
        (self.last_id, turn)
    }

    /// Leaves; `false` when its turn has come.
    pub(super) fn leave(&mut self, id: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.id != id);
        self.waiting.len() < before
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes out those that joined before sending stopped for the last time; all of them while it is stopped (`None`). Forgets those whose
    /// callers have left.
    pub(super) fn take_stale(&mut self, stops: Option<u64>) -> Vec<Waiting> {
        self.waiting.retain(|waiting| !waiting.turn.is_closed());
        let is_stale = |waiting: &Waiting| stops != Some(waiting.stops);
        if !self.waiting.iter().any(is_stale) {
            return Vec::new();
        }
        let (stale, fresh) = self.waiting.drain(..).partition(is_stale);
        self.waiting = fresh;
        stale.into()
    }

    /// Takes the next request: at most so many parts of different rows, with at most so many bytes together if there are several. They
    /// are all reads or all writes: a read without an answer is given up earlier, and takes no write with it.
    pub(super) fn take(&mut self, parts: usize, bytes: usize) -> Vec<Waiting> {
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        let (mut rows, mut bytes_left) = (HashSet::new(), bytes);
        let reads = self.waiting.front().is_some_and(Waiting::is_read);
        while let Some(waiting) = self.waiting.pop_front() {
            let (is_first, size) = (taken.is_empty(), waiting.size());
            let fits = taken.len() < parts
                && size <= bytes_left
                && waiting.is_read() == reads
                && !waiting.alone
                && !rows.contains(&waiting.row);
            if !is_first && !fits {
                left.push_back(waiting);
                continue;
            }
            bytes_left = bytes_left.saturating_sub(size);
            if waiting.alone {
                taken.push(waiting);
                break;
            }
            rows.insert(waiting.row.clone());
            taken.push(waiting);
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        taken
    }

    /// Puts those that were taken back to the front.
    pub(super) fn put_back(&mut self, taken: Vec<Waiting>, alone: bool) {
        for mut waiting in taken.into_iter().rev() {
            waiting.alone |= alone;
            self.waiting.push_front(waiting);
        }
    }
}

impl Waiting {
    /// Bytes of the body.
    fn size(&self) -> usize {
        self.request.body().and_then(Body::as_bytes).map_or(0, <[u8]>::len)
    }

    fn is_read(&self) -> bool {
        self.request.method() == Method::GET
    }

    /// Hands the answer to the caller, if it still waits.
    pub(super) fn answer(self, batch: Option<Uuid>, answer: Result<Answer, Error>) {
        drop(self.turn.send(Turn::Answered(batch, answer)));
    }
}
