//! The lines that cannot be sent: the first of each kind, and how many there are.

use std::collections::BTreeMap;
use std::fmt;

use super::message::Problem;
use super::source::WrongLine;

/// The most kinds that are counted separately; a text may contain a name from the file, so each line may be a kind.
const MAX_KINDS: usize = 50;

/// The lines with problems.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// By kind: the first line, and how many lines.
    kinds: BTreeMap<Problem, (u64, u64)>,
    /// Lines of further kinds.
    others: u64,
    pub(super) lines: u64,
}

impl Problems {
    pub(super) fn add(&mut self, WrongLine { line, problem }: WrongLine) {
        self.lines += 1;
        if let Some((_, count)) = self.kinds.get_mut(&problem) {
            *count += 1;
        } else if self.kinds.len() < MAX_KINDS {
            self.kinds.insert(problem, (line, 1));
        } else {
            self.others += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }
}

impl fmt::Display for Problems {
    /// One line a kind, in the order of the file, each line ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, (line, _))| *line);
        for (problem, (line, count)) in kinds {
            let more = match count - 1 {
                0 => String::new(),
                1 => " (and 1 more line)".to_owned(),
                more => format!(" (and {more} more lines)"),
            };
            writeln!(f, "line {line}: {problem}{more}")?;
        }
        if self.others > 0 { writeln!(f, "and {} lines with problems of other kinds", self.others) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(lines: impl IntoIterator<Item = (u64, Problem)>) -> Problems {
        let mut problems = Problems::default();
        lines.into_iter().for_each(|(line, problem)| problems.add(WrongLine { line, problem }));
        problems
    }

    #[test]
    fn the_first_line_of_each_kind_is_shown_with_the_number_of_the_others() {
        let date = Problem::of("z", "is not a date");
        let problems = problems([
            (2, date.clone()),
            (3, Problem::of("a", "is not a date")),
            (4, date.clone()),
            (5, Problem::of_line("the field `table` is missing")),
            (6, Problem::of("a", "is not a date")),
            (9, date),
        ]);
        let text = "line 2: column z is not a date (and 2 more lines)\nline 3: column a is not a date (and 1 more line)\n\
                    line 5: the field `table` is missing\n";
        assert_eq!((problems.to_string().as_str(), problems.lines), (text, 6));
    }

    #[test]
    fn kinds_are_bounded() {
        let kinds = (0..1_000).map(|line| (line, Problem::of(&line.to_string(), "is unknown")));
        let text = problems(kinds).to_string();
        assert_eq!(text.lines().count(), MAX_KINDS + 1);
        assert!(text.ends_with("and 950 lines with problems of other kinds\n"), "{text}");
    }
}
