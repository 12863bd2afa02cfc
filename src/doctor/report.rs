//! All findings: for people a line or two each, printed at once; for programs one JSON object at the end.
//!
//! Findings quote other services, so control characters are escaped.

use std::io;

use serde::Serialize;
use serde_json::json;

pub(super) use super::elf::{CheckResult, wrong};
use crate::sanitize::sanitize;
use crate::terminal::{self, print};

/// The width of the longest name of a check.
const NAME_WIDTH: usize = 16;

/// The name of a check that failed: those that depend on it are not tried.
pub(crate) type Failed = &'static str;

/// Makes a check with the result of another one.
pub(super) async fn after<N, T>(needed: Result<N, Failed>, check: impl AsyncFnOnce(N) -> T) -> Result<T, Failed> {
    Ok(check(needed?).await)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Good,
    Wrong,
    /// It works, and may do what was not intended.
    Warning,
    /// The check was not made, because an earlier one failed.
    NotTried,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// The stable code of the check.
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    /// What was found, as one clause.
    pub(crate) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

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

    /// Adds what `check` found, or that it was not tried.
    pub(crate) fn add(&mut self, check: &'static str, result: Result<CheckResult, Failed>) {
        let _ = self.keep(check, result, String::clone);
    }

    /// The same for a check with a result that others depend on; `found` shows it.
    pub(crate) fn keep<T>(
        &mut self,
        check: &'static str,
        result: Result<Result<T, (String, String)>, Failed>,
        found: impl FnOnce(&T) -> String,
    ) -> Result<T, Failed> {
        let (verdict, found, remedy, kept) = match result {
            Ok(Ok(value)) => (Verdict::Good, found(&value), None, Ok(value)),
            Ok(Err((found, remedy))) => (Verdict::Wrong, found, Some(remedy), Err(check)),
            Err(failed) => (Verdict::NotTried, format!("not tried, because of {failed}"), None, Err(failed)),
        };
        self.push(Finding { check, verdict, found, remedy });
        kept
    }

    /// Adds a warning, which leaves the exit code as it is.
    pub(crate) fn warn(&mut self, check: &'static str, found: String, remedy: &str) {
        self.push(Finding { check, verdict: Verdict::Warning, found, remedy: Some(remedy.to_owned()) });
    }

    fn push(&mut self, finding: Finding) {
        if !self.json && self.output.is_ok() {
            self.output = print(&lines(&finding, terminal::width()));
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
        let is_good = self.is_good();
        let end = if self.json { self.to_json() } else { self.last_line() };
        self.output.and_then(|()| print(&end))?;
        Ok(is_good)
    }

    fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.verdict, Verdict::Good | Verdict::Warning))
    }

    fn last_line(&self) -> String {
        let [good, wrong, not_tried, warnings] = self.totals();
        let warnings = if warnings == 0 { String::new() } else { format!(", {warnings} with a warning") };
        format!("\n{good} good, {wrong} wrong, {not_tried} not tried{warnings}\n")
    }

    fn to_json(&self) -> String {
        let [good, wrong, not_tried, warnings] = self.totals();
        let json = json!({
            "good": good, "wrong": wrong, "notTried": not_tried, "warnings": warnings, "findings": self.findings,
        });
        sanitize(&json.to_string()).into_owned() + "\n"
    }

    fn totals(&self) -> [usize; 4] {
        [Verdict::Good, Verdict::Wrong, Verdict::NotTried, Verdict::Warning]
            .map(|verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count())
    }
}

fn lines(finding: &Finding, width: Option<u16>) -> String {
    let mark = match finding.verdict {
        Verdict::Good => '✓',
        Verdict::Wrong => '✗',
        Verdict::Warning => '!',
        Verdict::NotTried => '–',
    };
    let found = [format!("{mark} {:<NAME_WIDTH$}", finding.check), sanitize(&finding.found).into_owned()];
    let remedy = finding.remedy.iter().map(|remedy| [String::new(), format!("→ {}", sanitize(remedy))]);
    terminal::table(std::iter::once(found).chain(remedy), width).trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn report() -> Report {
        let mut report = Report::new(true);
        report.add("host_json", Ok(Ok("as it should be".to_owned())));
        let token = report.keep("token", Ok(wrong("Entra ID said \u{1b}[2J no", "ask again")), String::clone);
        report.add("who_am_i", token.map(Ok));
        report
    }

    #[test]
    fn every_finding_has_its_mark_and_a_wrong_one_its_remedy_without_control_characters() {
        let expected = "✓ host_json         as it should be\n\
                        ✗ token             Entra ID said \\u001b[2J no\n                    → ask again\n\
                        – who_am_i          not tried, because of token\n\n1 good, 1 wrong, 1 not tried\n";
        let report = report();
        let words: String =
            report.findings.iter().map(|finding| lines(finding, None)).chain([report.last_line()]).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn a_check_that_was_not_tried_is_not_good() {
        let mut report = Report::new(true);
        report.add("glibc", Ok(Ok(String::new())));
        assert!(report.is_good());
        report.add("glibc", Err("executable"));
        assert!(!report.is_good());
    }

    #[test]
    fn a_warning_is_shown_and_counted_and_leaves_the_exit_code_as_it_is() {
        let mut report = Report::new(true);
        report.add("table", Ok(Ok("it is there".to_owned())));
        report.warn("table", "it is elastic".to_owned(), "take care");
        assert!(report.is_good());
        assert_eq!(
            lines(&report.findings[1], None),
            "! table             it is elastic\n                    → take care\n"
        );
        assert_eq!(report.last_line(), "\n1 good, 0 wrong, 0 not tried, 1 with a warning\n");
        assert!(report.to_json().contains(r#""verdict":"warning""#));
    }

    #[test]
    fn the_json_holds_the_same() {
        let json = report().to_json();
        assert_eq!(json.lines().count(), 1, "{json}");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let expected = json!({
            "good": 1, "wrong": 1, "notTried": 1, "warnings": 0,
            "findings": [
                { "check": "host_json", "verdict": "good", "found": "as it should be" },
                { "check": "token", "verdict": "wrong", "found": "Entra ID said \u{1b}[2J no", "remedy": "ask again" },
                { "check": "who_am_i", "verdict": "not_tried", "found": "not tried, because of token" },
            ],
        });
        assert_eq!(json, expected);
    }
}
