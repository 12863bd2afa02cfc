//! The number of requests of each kind that reached the storage, whatever their outcome.
//!
//! Counters are never reset: take [`Counts`] before and after, and compare them with [`Counts::since`].

use std::ops::Sub;

use super::fault::Op;

/// Requests by kind since the store was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lease acquires.
    pub acquire: u64,
    /// Lease acquires that got 409; also counted in `acquire`.
    pub acquire_conflict: u64,
    /// Lease renewals.
    pub renew: u64,
    /// Lease releases.
    pub release: u64,
    /// Lease breaks.
    pub break_lease: u64,
    /// Lease id changes.
    pub change: u64,
    /// Container creations.
    pub create_container: u64,
    /// Blob writes.
    pub put_blob: u64,
    /// Other blob requests.
    pub other_blob: u64,
    /// Messages put.
    pub put_message: u64,
    /// Requests for messages, whether or not any were returned.
    pub get_messages: u64,
    /// Message updates.
    pub update_message: u64,
    /// Message deletions.
    pub delete_message: u64,
    /// Other queue requests.
    pub other_queue: u64,
}

impl Counts {
    /// The requests since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        *self - *earlier
    }

    /// All lease requests.
    pub const fn leases(&self) -> u64 {
        self.acquire + self.renew + self.release + self.break_lease + self.change
    }

    /// All blob requests, lease requests included.
    pub const fn blob(&self) -> u64 {
        self.leases() + self.create_container + self.put_blob + self.other_blob
    }

    /// All queue requests.
    pub const fn queue(&self) -> u64 {
        self.put_message + self.get_messages + self.update_message + self.delete_message + self.other_queue
    }

    /// Counts one request.
    pub(super) fn add(&mut self, op: Op) {
        let counter = match op {
            Op::Acquire => &mut self.acquire,
            Op::Renew => &mut self.renew,
            Op::Release => &mut self.release,
            Op::Break => &mut self.break_lease,
            Op::Change => &mut self.change,
            Op::CreateContainer => &mut self.create_container,
            Op::PutBlob => &mut self.put_blob,
            Op::OtherBlob | Op::AnyLease | Op::AnyBlob => &mut self.other_blob,
            Op::PutMessage => &mut self.put_message,
            Op::GetMessages => &mut self.get_messages,
            Op::UpdateMessage => &mut self.update_message,
            Op::DeleteMessage => &mut self.delete_message,
            Op::OtherQueue | Op::AnyQueue => &mut self.other_queue,
        };
        *counter += 1;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            acquire: self.acquire - earlier.acquire,
            acquire_conflict: self.acquire_conflict - earlier.acquire_conflict,
            renew: self.renew - earlier.renew,
            release: self.release - earlier.release,
            break_lease: self.break_lease - earlier.break_lease,
            change: self.change - earlier.change,
            create_container: self.create_container - earlier.create_container,
            put_blob: self.put_blob - earlier.put_blob,
            other_blob: self.other_blob - earlier.other_blob,
            put_message: self.put_message - earlier.put_message,
            get_messages: self.get_messages - earlier.get_messages,
            update_message: self.update_message - earlier.update_message,
            delete_message: self.delete_message - earlier.delete_message,
            other_queue: self.other_queue - earlier.other_queue,
        }
    }
}
