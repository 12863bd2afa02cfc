//! The result of a command: sentences for people, one JSON object for programs. Pure.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::queue_scan::Deleted;
use super::replay::Replayed;
use super::scan::StopReason;
use super::summary::Summary;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The queue that was read.
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
    /// The error that ended the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// How long messages stay hidden.
    #[serde(skip)]
    pub(super) hidden: Duration,
    #[serde(flatten)]
    pub(super) details: Option<Details>,
}

/// The results of one command.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Details {
    Listed(Summary),
    Replayed(Replayed),
    Dropped(Deleted),
}

impl Report {
    /// Sets why the command ended.
    pub(super) fn end(&mut self, reason: &StopReason) {
        self.complete = matches!(reason, StopReason::EndOfQueue);
        self.interrupted = matches!(reason, StopReason::Interrupted);
        self.problem = match reason {
            StopReason::EndOfQueue | StopReason::LimitReached | StopReason::Interrupted => None,
            StopReason::Queue(error) => Some(error.to_string()),
            StopReason::Output(error) => Some(format!("the output cannot be written: {error}")),
        };
    }

    /// Whether the command succeeded.
    pub(super) fn is_good(&self) -> bool {
        let details = match &self.details {
            None | Some(Details::Listed(_)) => true,
            Some(Details::Replayed(replayed)) => replayed.failed == 0,
            Some(Details::Dropped(deleted)) => deleted.not_ours == 0,
        };
        details && self.problem.is_none() && !self.interrupted && self.still_hidden == 0
    }
}

impl fmt::Display for Report {
    /// Sentences, one a line, each line ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queue, counted, seen, matching, still_hidden, .. } = self;
        if let Some(Details::Listed(summary)) = &self.details {
            write!(f, "{summary}{}", if *matching > 0 { "\n" } else { "" })?;
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
        match &self.details {
            None => Ok(()),
            Some(Details::Listed(summary)) => match summary.next_to_expire() {
                Some(time) => writeln!(f, "The queue deletes the first of them at {time}."),
                None => Ok(()),
            },
            Some(Details::Replayed(replayed)) => write!(f, "{replayed}"),
            Some(Details::Dropped(deleted)) => {
                writeln!(f, "{} messages dropped.", deleted.deleted)?;
                match deleted.not_ours {
                    0 => Ok(()),
                    count => writeln!(f, "{count} were received or deleted by another reader meanwhile, or expired."),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::queue::Error;

    fn report(reason: &StopReason) -> Report {
        let mut report = Report {
            queue: "poison".to_owned(),
            counted: 12,
            seen: 10,
            matching: 4,
            complete: false,
            interrupted: false,
            still_hidden: 0,
            problem: None,
            hidden: Duration::from_secs(301),
            details: None,
        };
        report.end(reason);
        report
    }

    #[test]
    fn missing_messages_are_explained_only_when_the_whole_queue_was_read() {
        let all = report(&StopReason::EndOfQueue);
        let text = all.to_string();
        assert!(text.starts_with("poison: 4 of 10 messages match; the service counts about 12.\n"), "{text}");
        assert!(text.contains("hidden by another reader") && all.is_good());
        let limited = report(&StopReason::LimitReached);
        assert!(!limited.to_string().contains("another reader") && limited.is_good() && !limited.complete);
    }

    #[test]
    fn an_interruption_an_error_and_messages_that_stay_hidden_are_failures() {
        let stopped = report(&StopReason::Interrupted);
        assert!(stopped.to_string().contains("Interrupted") && !stopped.is_good());
        let failed = report(&StopReason::Queue(Error::NoQueue));
        assert!(failed.problem.as_deref().is_some_and(|text| text.contains("no such queue")) && !failed.is_good());
        let hidden = Report { still_hidden: 3, ..report(&StopReason::EndOfQueue) };
        assert!(hidden.to_string().contains("3 messages") && hidden.to_string().contains("within 6 minutes"));
        assert!(!hidden.is_good());
    }

    #[test]
    fn a_replay_reports_possible_duplicates() {
        let replayed = Replayed { to: "sync-records".to_owned(), replayed: 3, maybe_twice: 1, ..Replayed::default() };
        let report = Report { details: Some(Details::Replayed(replayed)), ..report(&StopReason::Interrupted) };
        let text = report.to_string();
        assert!(text.contains("3 messages returned to sync-records; 1 may be there twice.\n"), "{text}");
        let json = serde_json::to_value(&report).expect("plain data");
        assert_eq!(
            (&json["replayed"], &json["maybeTwice"], &json["interrupted"]),
            (&3.into(), &1.into(), &true.into())
        );
        assert_eq!((&json["seen"], &json["to"]), (&10.into(), &"sync-records".into()));
        let nothing = serde_json::to_value(super::Report { details: None, ..report }).expect("plain data");
        assert!(nothing.get("to").is_none());
    }
}
