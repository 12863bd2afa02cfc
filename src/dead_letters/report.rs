//! The result of a command: sentences for people, one JSON object for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::entry::WITHOUT_BASE64;
use super::summary::Summary;
use crate::terminal;

/// What follows a table that has such messages.
const ABOUT_WITHOUT_BASE64: &str = "\
without_base64: host.json says messageEncoding base64, and these messages were sent
as plain text, so the host moved them unread. Replay puts them back in base64. To
take both, set messageEncoding to none; else change the sender.";

/// Filled while the command runs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) queue: String,
    /// About how many messages the service counted at the beginning, hidden ones included.
    pub(super) counted: usize,
    pub(super) seen: usize,
    pub(super) matching: usize,
    /// Whether every available message was read.
    pub(super) complete: bool,
    /// Whether a signal ended the command.
    pub(super) interrupted: bool,
    /// Messages that could not be given back.
    pub(super) still_hidden: usize,
    /// Whether the reader of the output ended the command.
    #[serde(skip)]
    pub(super) is_closed: bool,
    /// The error that ended the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// How long a message stays hidden from the moment it was received.
    #[serde(skip)]
    pub(super) hidden: Duration,
    /// What was listed; the others are `None`.
    #[serde(flatten)]
    pub(super) summary: Option<Summary>,
    #[serde(flatten)]
    pub(super) replayed: Option<Replayed>,
    #[serde(flatten)]
    pub(super) dropped: Option<Dropped>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Replayed {
    /// The queue that messages were returned to.
    pub(super) to: String,
    #[serde(rename = "replayed")]
    pub(super) returned: usize,
    /// Messages that may be on the queue twice, now or after the next replay.
    pub(super) maybe_twice: usize,
    /// Messages that are still in the poison queue because of an error.
    pub(super) failed: usize,
    /// Messages that arrived after the start and were left.
    pub(super) newer: usize,
    /// The first error of a message.
    #[serde(skip)]
    pub(super) problem: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dropped {
    pub(super) dropped: usize,
    /// Messages that another reader received or deleted, or that expired.
    pub(super) not_ours: usize,
}

impl Report {
    /// Whether the command succeeded.
    pub(super) fn is_good(&self) -> bool {
        let is_done = self.replayed.as_ref().is_none_or(|replayed| replayed.failed == 0)
            && self.dropped.as_ref().is_none_or(|dropped| dropped.not_ours == 0);
        is_done && self.problem.is_none() && !self.is_closed && !self.interrupted && self.still_hidden == 0
    }
}

impl fmt::Display for Report {
    /// Sentences, one a line, each line ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, counted, seen, matching, still_hidden, .. } = self;
        if let Some(summary) = &self.summary {
            write!(f, "{}{}", summary.table(terminal::width()), if *matching > 0 { "\n" } else { "" })?;
            if summary.has(WITHOUT_BASE64) {
                writeln!(f, "{ABOUT_WITHOUT_BASE64}\n")?;
            }
        }
        writeln!(f, "{queue}: {matching} of {seen} messages match; the service counts about {counted}.")?;
        if self.complete && counted > seen {
            writeln!(f, "The others are hidden by another reader, or arrived or left meanwhile.")?;
        }
        if self.interrupted {
            writeln!(f, "Interrupted: messages not yet processed are unchanged.")?;
        }
        if *still_hidden > 0 {
            let minutes = self.hidden.as_secs().div_ceil(60);
            writeln!(f, "{still_hidden} messages could not be given back; they reappear within {minutes} minutes.")?;
        }
        if let Some(time) = self.summary.as_ref().and_then(Summary::next_to_expire) {
            writeln!(f, "The queue deletes the first of them at {time}.")?;
        }
        if let Some(Replayed { to, returned, maybe_twice, failed, newer, .. }) = &self.replayed {
            writeln!(f, "{returned} messages returned to {to}; {maybe_twice} may be there twice.")?;
            line_if(f, *failed, "messages are still here because of an error.")?;
            line_if(f, *newer, "messages arrived after the start and were left.")?;
        }
        if let Some(Dropped { dropped, not_ours }) = &self.dropped {
            writeln!(f, "{dropped} messages dropped.")?;
            line_if(f, *not_ours, "were received or deleted by another reader meanwhile, or expired.")?;
        }
        Ok(())
    }
}

fn line_if(f: &mut fmt::Formatter<'_>, count: usize, text: &str) -> fmt::Result {
    if count > 0 { writeln!(f, "{count} {text}") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            queue: "poison".to_owned(),
            counted: 12,
            seen: 10,
            matching: 4,
            hidden: Duration::from_secs(301),
            ..Report::default()
        }
    }

    #[test]
    fn missing_messages_are_explained_only_when_the_whole_queue_was_read() {
        let all = Report { complete: true, ..report() };
        let text = all.to_string();
        assert!(text.starts_with("poison: 4 of 10 messages match; the service counts about 12.\n"), "{text}");
        assert!(text.contains("hidden by another reader") && all.is_good());
        let limited = report();
        assert!(!limited.to_string().contains("another reader") && limited.is_good());
    }

    #[test]
    fn an_interruption_an_error_and_messages_that_stay_hidden_are_failures() {
        let stopped = Report { interrupted: true, ..report() };
        assert!(stopped.to_string().contains("Interrupted") && !stopped.is_good());
        let failed = Report { problem: Some("there is no such queue".to_owned()), ..report() };
        assert!(!failed.is_good());
        let hidden = Report { still_hidden: 3, ..report() };
        assert!(hidden.to_string().contains("3 messages") && hidden.to_string().contains("within 6 minutes"));
        assert!(!hidden.is_good());
    }

    #[test]
    fn a_replay_reports_possible_duplicates() {
        let replayed = Replayed { to: "sync-records".to_owned(), returned: 3, maybe_twice: 1, ..Replayed::default() };
        let report = Report { interrupted: true, replayed: Some(replayed), ..report() };
        let text = report.to_string();
        assert!(text.contains("3 messages returned to sync-records; 1 may be there twice.\n"), "{text}");
        let json = serde_json::to_value(&report).expect("plain data");
        assert_eq!(
            (&json["replayed"], &json["maybeTwice"], &json["interrupted"]),
            (&3.into(), &1.into(), &true.into())
        );
        assert_eq!((&json["seen"], &json["to"]), (&10.into(), &"sync-records".into()));
        let nothing = serde_json::to_value(super::Report { replayed: None, ..report }).expect("plain data");
        assert!(nothing.get("to").is_none());
    }
}
