//! The samples of a case as plots: the medians of the runs, drawn by `plotters` as SVG.

use std::collections::BTreeMap;
use std::error::Error;

use plotters::prelude::*;

use crate::bench::report::shown;
use crate::bench::samples::{Plot, Samples};
use crate::bench::{median, number};

/// Its text stays readable on a phone.
const SIZE: (u32, u32) = (640, 360);

const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 95, 191), RGBColor(168, 88, 11), RGBColor(20, 117, 63), RGBColor(107, 79, 160)];

/// The points of each line, by the line's name.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// One SVG for each plot that the samples name.
pub(super) fn plots(case: &str, by_target: &[(&'static str, Samples)]) -> Vec<String> {
    let mut plots: BTreeMap<(String, &str), Lines> = BTreeMap::new();
    for (target, samples) in by_target {
        for row in &samples.0 {
            let value = median(&row.values);
            if let (Some((Plot { title, across }, line, at)), true) = (row.place, value.is_finite()) {
                let lines = plots.entry((format!("{case}: {title} ({})", row.unit), across)).or_default();
                lines.entry(format!("{target}, {line}")).or_default().push((number(at), value));
            }
        }
    }
    plots.into_iter().map(|((title, across), lines)| plot(&title, across, lines)).collect()
}

fn plot(title: &str, across: &str, lines: Lines) -> String {
    let points = || lines.values().flatten();
    let most = points().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let widest = points().map(|(at, _)| *at).fold(1.0, f64::max);
    let narrowest = points().map(|(at, _)| *at).fold(widest, f64::min).max(1.0);
    let mut svg = String::new();
    draw(&mut svg, [title, across], [narrowest, widest, most], lines).expect("drawing into a string cannot fail");
    svg
}

fn draw(
    svg: &mut String,
    [title, across]: [&str; 2],
    [narrowest, widest, most]: [f64; 3],
    lines: Lines,
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((narrowest * 0.9..widest * 1.1).log_scale().base(2.0), 0.0..most * 1.25)?;
    let text = |value: &f64| shown(*value);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(across).x_label_formatter(&text).y_label_formatter(&text);
    mesh.light_line_style(TRANSPARENT).draw()?;
    for ((name, points), colour) in lines.into_iter().zip(COLOURS.into_iter().cycle()) {
        let line = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
        let series = chart.draw_series(line)?;
        series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
