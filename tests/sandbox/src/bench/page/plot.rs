//! A [`Chart`] as an inline SVG: lines with dots and whiskers, bounds as dashed lines with their names.
//!
//! Its base size is small, so that its text is readable on a phone, and it scales with the page.

use super::escaped;
use crate::bench::chart::{Chart, Point, Series};
use crate::bench::number;
use crate::bench::report::shown;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 40.0;

/// Maximum number of grid lines.
const RULES: usize = 6;

/// Series differ in colour and in dashes, for readers with impaired colour vision.
const STROKES: [(&str, &str); 4] = [("--one", ""), ("--two", "6 3"), ("--good", "2 3"), ("--soft", "8 3 2 3")];

/// The drawing area and its scale.
struct Frame {
    low: f64,
    high: f64,
    doubling: bool,
    places: usize,
}

/// The figure.
pub(super) fn plot(chart: &Chart) -> String {
    let Some(frame) = Frame::around(chart) else { return String::new() };
    let title = escaped(&chart.title);
    let mut parts = vec![format!(
        r#"<figure><figcaption>{title}</figcaption><svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><text class="soft" x="2" y="9">{}{}</text>"#,
        escaped(chart.unit),
        frame.what_a_rule_is()
    )];
    parts.push(frame.rules());
    for (at, place) in chart.places.iter().enumerate() {
        let (x, y) = (frame.x(at), HEIGHT - BOTTOM + 14.0);
        parts.push(format!(r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{}</text>"#, escaped(place)));
    }
    let (x, y) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 8.0);
    parts.push(format!(r#"<text class="soft" x="{x}" y="{y}" text-anchor="middle">{}</text>"#, escaped(chart.across)));
    for line in &chart.lines {
        let (y, end) = (frame.y(line.value), WIDTH - RIGHT);
        parts.push(format!(
            r#"<path d="M{LEFT} {y:.1}H{end}" stroke="var(--bound)" stroke-width="1.5" stroke-dasharray="4 3"/>"#
        ));
    }
    for (series, stroke) in chart.series.iter().zip(STROKES.iter().cycle()) {
        parts.push(frame.line(series, *stroke));
    }
    // Names are drawn last, on top of the lines.
    for line in &chart.lines {
        let (y, end, name) = (frame.y(line.value) - 3.0, WIDTH - RIGHT, escaped(&line.name));
        parts.push(format!(r#"<text class="bound" x="{end}" y="{y:.1}" text-anchor="end">{name}</text>"#));
    }
    parts.extend(["</svg>".to_owned(), legend(chart), "</figure>".to_owned()]);
    parts.concat()
}

fn legend(chart: &Chart) -> String {
    let names = chart.series.iter().zip(STROKES.iter().cycle()).map(|(series, (colour, dashes))| {
        let style = if dashes.is_empty() { "solid" } else { "dashed" };
        format!(r#"<span><i style="border-top-style:{style};color:var({colour})"></i>{}</span>"#, escaped(&series.name))
    });
    format!(r#"<div class="legend">{}</div>"#, names.collect::<String>())
}

impl Frame {
    /// A frame for all values and bounds; `None` if there are no values.
    fn around(chart: &Chart) -> Option<Self> {
        let points = chart.series.iter().flat_map(|series| &series.points);
        let values = points.flat_map(|point| [point.value, point.least, point.most]);
        let all: Vec<f64> = values.chain(chart.lines.iter().map(|line| line.value)).filter(|v| v.is_finite()).collect();
        let most = all.iter().copied().fold(f64::NAN, f64::max);
        if most.is_nan() || most <= 0.0 {
            return None;
        }
        let least = all.iter().copied().filter(|value| *value > 0.0).fold(most, f64::min);
        let places = chart.places.len();
        let (low, high) = if chart.doubling { (least.log2().floor(), most.log2().ceil()) } else { (0.0, most * 1.08) };
        let high = if high > low { high } else { low + 1.0 };
        Some(Self { low, high, doubling: chart.doubling, places })
    }

    fn x(&self, place: usize) -> f64 {
        let step = (WIDTH - LEFT - RIGHT) / number(self.places.max(1));
        LEFT + step * (number(place) + 0.5)
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.doubling { value.max(f64::MIN_POSITIVE).log2() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    /// Horizontal grid lines, each with its value.
    fn rules(&self) -> String {
        let rule = |value: f64| {
            let (y, x, end) = (self.y(value), LEFT - 5.0, WIDTH - RIGHT);
            format!(
                r#"<path d="M{LEFT} {y:.1}H{end}" stroke="var(--line)"/><text class="soft" x="{x}" y="{:.1}" text-anchor="end">{}</text>"#,
                y + 3.5,
                shown(value)
            )
        };
        self.marks().into_iter().map(rule).collect()
    }

    /// The distance between grid lines: a difference, or a number of doublings.
    fn step(&self) -> f64 {
        if self.doubling { ((self.high - self.low) / 6.0).ceil().max(1.0) } else { round_step(self.high / 5.0) }
    }

    /// Explains the grid lines of a logarithmic scale.
    fn what_a_rule_is(&self) -> String {
        if self.doubling { format!(", each line {} times the last", self.step().exp2()) } else { String::new() }
    }

    fn marks(&self) -> Vec<f64> {
        let step = self.step();
        let places = (0..=RULES).map(|at| self.low + step * number(at)).filter(|at| *at <= self.high + 1e-9);
        places.map(|at| if self.doubling { at.exp2() } else { at }).collect()
    }

    fn line(&self, series: &Series, (colour, dashes): (&str, &str)) -> String {
        let points: Vec<(f64, &Point)> =
            series.points.iter().enumerate().map(|(at, point)| (self.x(at), point)).collect();
        let there: Vec<_> = points.into_iter().filter(|(_, point)| point.value.is_finite()).collect();
        let path: Vec<String> = there.iter().map(|(x, point)| format!("{x:.1} {:.1}", self.y(point.value))).collect();
        let mut parts = vec![format!(
            r#"<path d="M{}" fill="none" stroke="var({colour})" stroke-width="2" stroke-dasharray="{dashes}"/>"#,
            path.join("L")
        )];
        for (x, point) in there {
            let (least, most) = (self.y(point.least), self.y(point.most));
            parts.push(format!(
                r#"<path d="M{x:.1} {least:.1}V{most:.1}M{:.1} {least:.1}h6M{:.1} {most:.1}h6" stroke="var({colour})" fill="none"/><circle cx="{x:.1}" cy="{:.1}" r="3" fill="var({colour})"><title>{}: {}</title></circle>"#,
                x - 3.0,
                x - 3.0,
                self.y(point.value),
                escaped(&series.name),
                shown(point.value)
            ));
        }
        parts.concat()
    }
}

/// The next of 1, 2 or 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough - 1e-12);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::chart::Line;

    fn chart(doubling: bool, values: &[f64]) -> Chart {
        let points = values.iter().map(|value| Point::of(&[value * 0.9, *value, value * 1.1])).collect();
        let series = vec![Series { name: "handler".to_owned(), points }];
        let places = (0..values.len()).map(|at| at.to_string()).collect();
        let lines = vec![Line::at(150.0, "≤ 150 µs")];
        Chart { title: "CPU".to_owned(), across: "in flight", unit: "µs", doubling, places, series, lines }
    }

    #[test]
    fn larger_values_stand_higher_and_the_bound_has_its_name() {
        for doubling in [false, true] {
            let chart = chart(doubling, &[50.0, 100.0, 200.0]);
            let frame = Frame::around(&chart).expect("there are values");
            assert!(frame.y(50.0) > frame.y(100.0) && frame.y(100.0) > frame.y(200.0));
            let drawn = plot(&chart);
            assert_eq!((drawn.matches("<circle").count(), drawn.matches("≤ 150 µs").count()), (3, 1), "{drawn}");
        }
    }

    #[test]
    fn doubling_is_one_step_each() {
        let chart = chart(true, &[64.0, 128.0, 256.0]);
        let frame = Frame::around(&chart).expect("there are values");
        let steps = [frame.y(64.0) - frame.y(128.0), frame.y(128.0) - frame.y(256.0)];
        assert!((steps[0] - steps[1]).abs() < 1e-9);
    }

    #[test]
    fn how_far_lines_across_are_apart_is_said_where_it_is_no_sum() {
        for (values, said) in [
            ([64.0, 128.0, 256.0], "µs, each line 2 times the last<"),
            ([1.0, 64.0, 4_000.0], "µs, each line 8 times the last<"),
        ] {
            let chart = chart(true, &values);
            assert!(plot(&chart).contains(said), "{said}");
            let marks = Frame::around(&chart).expect("there are values").marks();
            let apart = marks.windows(2).map(|pair| pair[1] / pair[0]);
            assert!(apart.into_iter().all(|times| said.contains(&format!(" {times} times"))), "{marks:?}");
        }
        assert!(plot(&chart(false, &[64.0, 128.0])).contains(">µs<"));
    }

    #[test]
    fn a_value_that_could_not_be_had_leaves_a_gap_and_none_at_all_no_plot() {
        let drawn = plot(&chart(false, &[50.0, f64::NAN, 200.0]));
        assert_eq!(drawn.matches("<circle").count(), 2);
        assert!(!drawn.contains("NaN"), "{drawn}");
        let mut empty = chart(false, &[f64::NAN]);
        empty.lines.clear();
        assert_eq!(plot(&empty), "");
    }

    #[test]
    fn rules_stand_at_round_values() {
        let steps: Vec<f64> = [0.7, 1.0, 3.0, 40.0, 260.0].into_iter().map(round_step).collect();
        assert!(
            steps.iter().zip([1.0, 1.0, 5.0, 50.0, 500.0]).all(|(step, wanted)| (step - wanted).abs() < 1e-9),
            "{steps:?}"
        );
    }
}
