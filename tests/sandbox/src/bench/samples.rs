//! The values of a case's runs by name, and their bounds.
//!
//! Medians are taken at the end: [`compared`] makes one measurement of a name's values, and with a baseline two more.

use super::median;
use super::results::{Bound, Measurement};

/// The check of a value. A time depends on the machine, so its bound is a ratio to a value of the same run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The handler's value, always.
    Always(Bound),
    /// The handler's value, at most this many times the baseline's; without a baseline it is printed.
    TimesBaseline(f64),
}

/// The values of one target, in the order in which their names were first added.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub(super) Vec<Row>);

/// Values that are drawn together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// What its axis across counts.
    pub(super) across: &'static str,
}

/// The values of one name.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: &'static str,
    limit: Option<Limit>,
    /// Where it stands in a plot: the line's name, and the position across.
    pub(super) place: Option<(Plot, &'static str, u64)>,
    pub(super) values: Vec<f64>,
}

impl Samples {
    /// Adds the value of one run; returns its row, whose limit may then be set.
    pub(super) fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) -> &mut Row {
        let name = name.into();
        let at = self.0.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.0.push(Row { name, unit, limit: None, place: None, values: Vec::new() });
            self.0.len() - 1
        });
        self.0[at].values.push(value);
        &mut self.0[at]
    }

    /// Adds a value that must keep this bound.
    pub(super) fn bounded(&mut self, name: impl Into<String>, unit: &'static str, value: f64, bound: Bound) {
        self.add(name, unit, value).limit(Limit::Always(bound));
    }
}

impl Row {
    /// Sets the limit.
    pub(super) fn limit(&mut self, limit: impl Into<Option<Limit>>) -> &mut Self {
        self.limit = limit.into();
        self
    }

    /// Sets where it stands in a plot.
    pub(super) fn plotted(&mut self, plot: Plot, line: &'static str, at: u64) -> &mut Self {
        self.place = Some((plot, line, at));
        self
    }
}

impl Plot {
    /// A plot by messages in flight.
    pub(super) const fn by_load(title: &'static str) -> Self {
        Self { title, across: "messages in flight" }
    }
}

/// The measurements of all names: the handler's, then the baseline's and the ratio of the two.
pub(super) fn compared(by_target: &[(&'static str, Samples)]) -> Vec<Measurement> {
    let [(_, handler), others @ ..] = by_target else { return Vec::new() };
    let mut measurements = Vec::new();
    for Row { name, unit, limit, values, .. } in &handler.0 {
        let bound = if let Some(Limit::Always(bound)) = limit { Some(*bound) } else { None };
        measurements.push(Measurement::new(name.clone(), values, unit, bound));
        for (target, samples) in others {
            let theirs = samples.0.iter().find(|row| row.name == *name).map_or(&[][..], |row| &row.values);
            measurements.push(Measurement::new(format!("{target}: {name}"), theirs, unit, None));
            let ratio = [median(values) / median(theirs)];
            let bound = if let Some(Limit::TimesBaseline(most)) = limit { Some(Bound::AtMost(*most)) } else { None };
            measurements.push(Measurement::new(format!("handler ÷ {target}: {name}"), &ratio, "×", bound));
        }
    }
    measurements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64], limit: Limit) -> Samples {
        let mut samples = Samples::default();
        for value in values {
            samples.add("CPU", "µs", *value).limit(limit);
        }
        samples
    }

    fn both(handler: &[f64], baseline: &[f64], limit: Limit) -> Vec<Measurement> {
        compared(&[("handler", samples(handler, limit)), ("baseline", samples(baseline, limit))])
    }

    #[test]
    fn an_absolute_bound_applies_to_the_handlers_median_and_not_to_the_baseline() {
        let measurements = both(&[100.0, 170.0, 90.0], &[400.0, 300.0], Limit::Always(Bound::AtMost(150.0)));
        let names: Vec<_> = measurements.iter().map(|measurement| measurement.name.as_str()).collect();
        assert_eq!(names, ["CPU", "baseline: CPU", "handler ÷ baseline: CPU"]);
        assert!(measurements[0].held && measurements[0].bound.is_some());
        assert!(measurements[1].bound.is_none() && measurements[2].bound.is_none());
        assert_eq!(measurements[0].runs, [100.0, 170.0, 90.0]);
    }

    #[test]
    fn a_relative_bound_is_checked_only_against_a_baseline() {
        let limit = Limit::TimesBaseline(2.5);
        let alone = compared(&[("handler", samples(&[100.0], limit))]);
        assert!(alone.len() == 1 && alone[0].bound.is_none());
        for (handler, held) in [(250.0, true), (251.0, false)] {
            let measurements = both(&[handler], &[100.0], limit);
            assert!(measurements[0].bound.is_none() && measurements[2].bound.is_some());
            assert_eq!(measurements[2].held, held, "{handler}");
        }
        assert!(!both(&[1.0], &[], limit)[2].held, "no value of the baseline is a broken bound");
    }
}
