//! The documents for users, beside the code that they describe; [`readme`] leads to all of them.
//!
//! Links between them are by name. Each document defines its names as paths, for readers of the files. `links.txt` comes first and
//! therefore wins for rustdoc; it defines the same names as modules. A test compares the two.

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/commands.md")]
pub mod commands {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("../tests/README.md")]
pub mod contributing {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("../functions/README.md")]
pub mod guide {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/limits.md")]
pub mod limits {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/local.md")]
pub mod local {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/logs.md")]
pub mod logs {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/message.md")]
pub mod message {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/outages.md")]
pub mod outages {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/outcomes.md")]
pub mod outcomes {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("../README.md")]
pub mod readme {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/sending.md")]
pub mod sending {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/settings.md")]
pub mod settings {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/telemetry.md")]
pub mod telemetry {}

#[doc = include_str!("docs/links.txt")]
#[doc = include_str!("docs/troubleshooting.md")]
pub mod troubleshooting {}
