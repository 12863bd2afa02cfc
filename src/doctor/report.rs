//! All findings: for people a line or two each, printed at once; for programs one JSON object at the end.
//!
//! Findings quote other services, so control characters are escaped.

use std::io::{self, Write as _, stdout};

use serde_json::json;

use super::finding::{Check, CheckResult, Finding, Verdict};
use crate::sanitize::sanitize;

/// The column at which the finding's text begins, behind the mark and the longest name.
const INDENT: usize = 19;

/// The findings so far.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    findings: Vec<Finding>,
    output: io::Result<()>,
}

impl Report {
    /// With `json` nothing is printed before the end.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, findings: Vec::new(), output: Ok(()) }
    }

    /// Adds what `check` found; returns whether it is good.
    pub(crate) fn add(&mut self, check: Check, result: CheckResult) -> bool {
        let is_good = result.is_ok();
        self.push(Finding::new(check, result));
        is_good
    }

    /// Adds `checks` as not tried, because the check `failed` did.
    pub(crate) fn not_tried(&mut self, checks: &[Check], failed: Check) {
        for check in checks {
            self.push(Finding::not_tried(*check, failed));
        }
    }

    fn push(&mut self, finding: Finding) {
        if !self.json && self.output.is_ok() {
            self.output = print(&line(&finding));
        }
        self.findings.push(finding);
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Prints the totals, or everything as JSON; returns whether all findings are good.
    ///
    /// # Errors
    /// When stdout could not be written, now or before.
    pub(crate) fn finish(self) -> io::Result<bool> {
        let is_good = self.findings.iter().all(Finding::is_good);
        let end = if self.json { self.to_json() } else { self.last_line() };
        self.output.and_then(|()| print(&end))?;
        Ok(is_good)
    }

    fn last_line(&self) -> String {
        let [good, wrong, not_tried] = self.totals();
        format!("\n{good} good, {wrong} wrong, {not_tried} not tried\n")
    }

    fn to_json(&self) -> String {
        let [good, wrong, not_tried] = self.totals();
        let json = json!({ "good": good, "wrong": wrong, "notTried": not_tried, "findings": self.findings });
        sanitize(&json.to_string()).into_owned() + "\n"
    }

    fn totals(&self) -> [usize; 3] {
        [Verdict::Good, Verdict::Wrong, Verdict::NotTried]
            .map(|verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count())
    }
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Good => '✓',
        Verdict::Wrong => '✗',
        Verdict::NotTried => '–',
    };
    let (name, found) = (finding.check.0, sanitize(&finding.found));
    let remedy = finding.remedy.as_deref().map(sanitize);
    let remedy = remedy.map(|remedy| format!("{:INDENT$}→ {remedy}\n", "")).unwrap_or_default();
    format!("{mark} {name:<width$}{found}\n{remedy}", width = INDENT - 2)
}

fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::doctor::finding::wrong;

    fn report() -> Report {
        let mut report = Report::new(true);
        assert!(report.add(Check::HOST_JSON, Ok("as it should be".to_owned())));
        assert!(!report.add(Check::TOKEN, wrong("Entra ID said \u{1b}[2J no", "ask again")));
        report.not_tried(&[Check::WHO_AM_I], Check::TOKEN);
        report
    }

    #[test]
    fn every_finding_has_its_mark_and_a_wrong_one_its_remedy_without_control_characters() {
        let expected = "✓ host_json        as it should be\n\
                        ✗ token            Entra ID said \\u001b[2J no\n                   → ask again\n\
                        – who_am_i         not tried, because of token\n\n1 good, 1 wrong, 1 not tried\n";
        let report = report();
        let words: String = report.findings.iter().map(line).chain([report.last_line()]).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn a_check_that_was_not_tried_is_not_good() {
        let mut report = Report::new(true);
        report.add(Check::GLIBC, Ok(String::new()));
        assert!(report.findings().iter().all(Finding::is_good));
        report.not_tried(&[Check::GLIBC], Check::EXECUTABLE);
        assert!(!report.findings().iter().all(Finding::is_good));
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
