//! The data of a plot: series of medians with the range of their runs, at labelled x positions, and bounds as lines.
//!
//! `page/plot.rs` draws it. The JSON results contain it as well.

use serde::Serialize;

use super::{median, quantile};

/// A plot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// The title.
    pub title: String,
    /// The label of the x axis.
    pub across: &'static str,
    /// The unit of the values.
    pub unit: &'static str,
    /// Whether the y axis is logarithmic (base 2).
    pub doubling: bool,
    /// The labels of the x positions, in order.
    pub places: Vec<String>,
    /// One line each.
    pub series: Vec<Series>,
    /// Bounds.
    pub lines: Vec<Line>,
}

/// A series: one value for each x position.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// The name.
    pub name: String,
    /// In the order of `places`; null in JSON for a missing value.
    pub points: Vec<Point>,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The median.
    pub value: f64,
    /// The smallest run.
    pub least: f64,
    /// The largest run.
    pub most: f64,
}

/// A horizontal reference line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
}

impl Point {
    /// The median and range of several runs.
    pub(super) fn of(runs: &[f64]) -> Self {
        Self { value: median(runs), least: quantile(runs, 0.0), most: quantile(runs, 1.0) }
    }
}

impl Line {
    /// A line of this name.
    pub(super) fn at(value: f64, name: impl Into<String>) -> Self {
        Self { name: name.into(), value }
    }
}
