//! The data of a plot: series of medians with the range of their runs, at marked places, and bounds as lines.
//!
//! `page/plot.rs` draws it. The JSON results contain it as well.

use serde::Serialize;

use super::{median, quantile};

/// A plot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// What is to be seen.
    pub title: String,
    /// What the places are.
    pub across: &'static str,
    /// Of what the values are.
    pub unit: &'static str,
    /// Whether each step up is a doubling, or several.
    pub doubling: bool,
    /// The places, in order.
    pub places: Vec<String>,
    /// One line each.
    pub series: Vec<Series>,
    /// Bounds.
    pub lines: Vec<Line>,
}

/// Values that belong together, one for each place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Whose they are.
    pub name: String,
    /// In the order of the places; JSON has null where there is none.
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

/// A value that is held against the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What it stands for.
    pub name: String,
    /// Its value.
    pub value: f64,
}

impl Point {
    /// Of several runs.
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
