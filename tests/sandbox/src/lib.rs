//! The world around the handler when Azure is not there.

pub mod net;
