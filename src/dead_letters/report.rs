//! What a command says at its end: to people, and as one JSON object to programs. Pure.

use std::time::Duration;

use serde::Serialize;

use super::queue_scan::Deleted;
use super::replay::Replayed;
use super::scan::End;
use super::summary::{GroupLine, Tally};

/// What every command says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The queue that was read.
    pub queue: String,
    /// What the service counted at the beginning, about; hidden letters are among them.
    pub counted: u64,
    /// Letters that came.
    pub seen: u64,
    /// Letters that were meant.
    pub matching: u64,
    /// Whether every letter that could be had was read.
    pub complete: bool,
    /// Whether a signal ended it.
    pub interrupted: bool,
    /// Letters that could not be given back.
    pub still_hidden: u64,
    /// What ended it, where that is a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// For how long the letters were hidden.
    #[serde(skip)]
    pub hidden: Duration,
}

impl Report {
    /// Notes how it ended.
    pub fn ended(&mut self, end: &End) {
        self.complete = matches!(end, End::All);
        self.interrupted = matches!(end, End::Stopped);
        self.problem = match end {
            End::All | End::Enough | End::Stopped => None,
            End::Queue(error) => Some(error.to_string()),
            End::Output(error) => Some(format!("the output cannot be written: {error}")),
        };
    }

    /// Whether all went well.
    pub fn is_good(&self) -> bool {
        self.problem.is_none() && !self.interrupted && self.still_hidden == 0
    }

    /// Sentences for people, one a line, each line ended.
    pub fn in_words(&self) -> String {
        lines(&self.sentences())
    }

    fn sentences(&self) -> Vec<String> {
        let Self { queue, counted, seen, matching, .. } = self;
        let mut sentences = vec![format!(
            "{queue}: {seen} letters seen, {matching} of them meant; the service counts about {counted}."
        )];
        if self.complete && counted > seen {
            sentences.push("The others are hidden by another reader, or came or went meanwhile.".to_owned());
        }
        if self.interrupted {
            sentences.push("Interrupted: what was not reached is as it was.".to_owned());
        }
        if self.still_hidden > 0 {
            let (hidden, minutes) = (self.still_hidden, self.hidden.as_secs().div_ceil(60));
            sentences.push(format!(
                "{hidden} letters could not be given back; within {minutes} minutes they show themselves again."
            ));
        }
        sentences
    }
}

fn lines(sentences: &[String]) -> String {
    sentences.join("\n") + "\n"
}

/// What `list`, and a replay or drop that was not carried out, say in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    groups: Vec<GroupLine<'a>>,
    next_to_expire: Option<String>,
}

impl<'a> Listed<'a> {
    /// The report and its groups.
    pub fn new(report: &'a Report, tally: &'a Tally) -> Self {
        let next_to_expire = tally.next_to_expire().map(super::entry::moment);
        Self { report, groups: tally.groups(), next_to_expire }
    }
}

/// What `replay` says in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayLine<'a> {
    /// As every command says it.
    #[serde(flatten)]
    pub report: &'a Report,
    /// The queue that letters were put back on.
    pub to: &'a str,
    /// Messages that are there again.
    pub replayed: u64,
    /// Messages that may be there twice, now or after the next replay.
    pub maybe_twice: u64,
    /// Letters that are still there because something went wrong.
    pub failed: u64,
    /// Letters that came after the start and were left.
    pub newer: u64,
}

impl<'a> ReplayLine<'a> {
    /// The report and what was replayed.
    pub fn new(report: &'a Report, to: &'a str, result: &Replayed) -> Self {
        let Replayed { replayed, maybe_twice, failed, newer, .. } = *result;
        Self { report, to, replayed, maybe_twice, failed, newer }
    }

    /// Sentences for people, one a line, each line ended.
    pub fn in_words(&self) -> String {
        let Self { to, replayed, maybe_twice, failed, newer, .. } = self;
        let mut sentences = self.report.sentences();
        sentences.push(format!("{replayed} messages are back on {to}; {maybe_twice} of all may be there twice."));
        if *failed > 0 {
            sentences.push(format!("{failed} letters are still there, because something went wrong."));
        }
        if *newer > 0 {
            sentences.push(format!("{newer} letters came after the start and were left."));
        }
        lines(&sentences)
    }
}

/// What `drop` says in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DropLine<'a> {
    /// As every command says it.
    #[serde(flatten)]
    pub report: &'a Report,
    /// Letters that are gone.
    pub dropped: u64,
    /// Letters that somebody else took meanwhile.
    pub not_ours: u64,
}

impl<'a> DropLine<'a> {
    /// The report and what was deleted.
    pub fn new(report: &'a Report, deleted: Deleted) -> Self {
        Self { report, dropped: deleted.deleted, not_ours: deleted.not_ours }
    }

    /// Sentences for people, one a line, each line ended.
    pub fn in_words(&self) -> String {
        let mut sentences = self.report.sentences();
        sentences.push(format!("{} letters dropped.", self.dropped));
        if self.not_ours > 0 {
            sentences.push(format!("{} were taken by somebody else meanwhile, or expired.", self.not_ours));
        }
        lines(&sentences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::queue::Error;

    fn report(end: &End) -> Report {
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
        };
        report.ended(end);
        report
    }

    #[test]
    fn what_was_not_seen_is_explained_only_when_all_was_read() {
        let all = report(&End::All);
        assert!(all.in_words().starts_with("poison: 10 letters seen, 4 of them meant; the service counts about 12.\n"));
        assert!(all.in_words().contains("hidden by another reader") && all.is_good());
        let enough = report(&End::Enough);
        assert!(!enough.in_words().contains("another reader") && enough.is_good() && !enough.complete);
    }

    #[test]
    fn an_interruption_a_fault_and_what_stays_hidden_are_no_good_ends() {
        let stopped = report(&End::Stopped);
        assert!(stopped.in_words().contains("Interrupted") && !stopped.is_good());
        let failed = report(&End::Queue(Error::NoQueue));
        assert!(failed.problem.as_deref().is_some_and(|text| text.contains("no such queue")) && !failed.is_good());
        let hidden = Report { still_hidden: 3, ..report(&End::All) };
        assert!(hidden.in_words().contains("3 letters") && hidden.in_words().contains("within 6 minutes"));
        assert!(!hidden.is_good());
    }

    #[test]
    fn a_replay_tells_what_may_be_there_twice() {
        let (report, end) = (report(&End::Stopped), Replayed { replayed: 3, maybe_twice: 1, ..Replayed::default() });
        let line = ReplayLine::new(&report, "sync-records", &end);
        assert!(line.in_words().contains("3 messages are back on sync-records; 1 of all may be there twice.\n"));
        let json = serde_json::to_value(&line).expect("plain data");
        assert_eq!(
            (&json["replayed"], &json["maybeTwice"], &json["interrupted"]),
            (&3.into(), &1.into(), &true.into())
        );
        assert_eq!((&json["seen"], &json["to"]), (&10.into(), &"sync-records".into()));
    }
}
