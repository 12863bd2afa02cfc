//! All findings: for people, a line or two each, and for programs, one JSON object. Pure.
//!
//! What others said is in there, so nothing that a terminal could obey is printed.

use serde::Serialize;

use super::finding::{Finding, Verdict};
use crate::sanitize::sanitize;

/// Where what was found begins: behind the mark and the longest name.
const INDENT: usize = 19;

/// What the doctor says.
#[derive(Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
}

/// The same as a JSON object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    good: usize,
    wrong: usize,
    not_tried: usize,
    findings: &'a [Finding],
}

impl Report {
    /// One more.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Whether there is nothing to mend.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(Finding::is_good)
    }

    /// A finding for people: one line, and another one where there is a remedy.
    pub fn line(finding: &Finding) -> String {
        let (mark, name, found) = (finding.verdict.mark(), finding.check.code(), sanitize(&finding.found));
        let remedy = finding.remedy.as_deref().map(sanitize);
        let remedy = remedy.map(|remedy| format!("{:INDENT$}→ {remedy}\n", "")).unwrap_or_default();
        format!("{mark} {name:<width$}{found}\n{remedy}", width = INDENT - 2)
    }

    /// How many of each there are, for people.
    pub fn last_line(&self) -> String {
        let Told { good, wrong, not_tried, .. } = self.told();
        format!("\n{good} good, {wrong} wrong, {not_tried} not tried\n")
    }

    /// One JSON object on one line.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string(&self.told()).expect("a report is plain data");
        sanitize(&json).into_owned() + "\n"
    }

    fn told(&self) -> Told<'_> {
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let (good, wrong, not_tried) = (count(Verdict::Good), count(Verdict::Wrong), count(Verdict::NotTried));
        Told { good, wrong, not_tried, findings: &self.findings }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::finding::Check;

    fn report() -> Report {
        let findings = vec![
            Finding::good(Check::HostJson, "as it should be"),
            Finding::wrong(Check::Token, "Entra ID said \u{1b}[2J no", "ask again"),
            Finding::not_tried(Check::WhoAmI, Check::Token),
        ];
        Report { findings }
    }

    #[test]
    fn every_finding_has_its_mark_and_what_is_wrong_its_remedy_and_no_terminal_obeys_it() {
        let expected = "✓ host_json        as it should be\n\
                        ✗ token            Entra ID said \\u001b[2J no\n                   → ask again\n\
                        – who_am_i         not tried, because of token\n\n1 good, 1 wrong, 1 not tried\n";
        let report = report();
        let words: String = report.findings.iter().map(Report::line).chain([report.last_line()]).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn what_was_not_tried_is_not_well() {
        let one = |finding| Report { findings: vec![finding] };
        assert!(one(Finding::good(Check::Glibc, "")).is_good());
        assert!(!one(Finding::not_tried(Check::Glibc, Check::Executable)).is_good() && !report().is_good());
    }

    #[test]
    fn the_json_holds_the_same() {
        let json = report().to_json();
        assert_eq!(json.lines().count(), 1, "{json}");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let expected = json!({
            "good": 1, "wrong": 1, "notTried": 1,
            "findings": [
                { "check": "host_json", "verdict": "good", "found": "as it should be" },
                { "check": "token", "verdict": "wrong", "found": "Entra ID said \u{1b}[2J no", "remedy": "ask again" },
                { "check": "who_am_i", "verdict": "not_tried", "found": "not tried, because of token" },
            ],
        });
        assert_eq!(json, expected);
    }
}
