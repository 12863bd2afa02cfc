//! The world around the handler when Azure is not there.

pub mod drop;
pub mod net;
pub mod storage;
