//! A value with a bound as a bar: its length is the value, a line marks the bound, and a whisker the range of the runs.
//!
//! It contains no text, so it can be stretched to any width.

use crate::bench::{Bound, Measurement};

/// Space to the right of the longest bar.
const AIR: f64 = 1.12;

/// The bar of a measurement; empty without a number.
pub(super) fn bar(measurement: &Measurement) -> String {
    let Measurement { value, bound, held, runs, .. } = measurement;
    let Some(bound) = bound.filter(|_| value.is_finite()) else { return String::new() };
    let bounds = limits(bound);
    let most = runs.map_or(*value, |runs| runs.most);
    let end = bounds.iter().copied().chain([*value, most]).fold(0.0, f64::max) * AIR;
    if end <= 0.0 {
        return String::new();
    }
    let at = |value: f64| 100.0 * (value / end).clamp(0.0, 1.0);
    let colour = if *held { "--good" } else { "--bad" };
    let mut parts = vec![format!(
        r#"<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true"><rect y="3" height="6" width="100" fill="var(--line)" opacity=".5"/><rect y="3" height="6" width="{:.2}" fill="var({colour})" opacity=".75"/>"#,
        at(*value)
    )];
    if let Some(runs) = runs {
        let (least, most) = (at(runs.least), at(runs.most));
        parts.push(format!(
            r#"<path d="M{least:.2} 6H{most:.2}M{least:.2} 4V8M{most:.2} 4V8" stroke="var(--ink)" stroke-width="1.5" fill="none" vector-effect="non-scaling-stroke"/>"#
        ));
    }
    for bound in bounds {
        parts.push(format!(
            r#"<path d="M{0:.2} 0V12" stroke="var(--bound)" stroke-width="2.5" vector-effect="non-scaling-stroke"/>"#,
            at(bound)
        ));
    }
    parts.push("</svg>".to_owned());
    parts.concat()
}

fn limits(bound: Bound) -> Vec<f64> {
    match bound {
        Bound::Exactly(value) | Bound::AtMost(value) | Bound::AtLeast(value) => vec![value],
        Bound::Between(least, most) => vec![least, most],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Spread;

    #[test]
    fn the_bar_ends_where_the_value_is_and_the_line_stands_at_the_bound() {
        let drawn = bar(&Measurement::bounded("CPU", 50.0, "µs", Bound::AtMost(100.0)));
        assert!(drawn.contains(r#"width="44.64""#) && drawn.contains("M89.29 0V12"), "{drawn}");
        assert!(drawn.contains("--good") && !drawn.contains("M0.00 6H"), "{drawn}");
    }

    #[test]
    fn a_broken_bound_is_drawn_in_its_colour_and_runs_have_a_whisker() {
        let runs = Some(Spread { count: 3, least: 100.0, most: 200.0 });
        let drawn = bar(&Measurement { runs, ..Measurement::bounded("CPU", 150.0, "µs", Bound::AtMost(100.0)) });
        assert!(drawn.contains("--bad") && drawn.contains("M44.64 6H89.29"), "{drawn}");
    }

    #[test]
    fn what_is_no_number_or_nothing_at_all_has_no_bar() {
        assert_eq!(bar(&Measurement::bounded("CPU", f64::NAN, "µs", Bound::AtMost(100.0))), "");
        assert_eq!(bar(&Measurement::bounded("lost", 0.0, "", Bound::Exactly(0.0))), "");
        assert_eq!(bar(&Measurement::unbounded("CPU", 1.0, "µs")), "");
    }
}
