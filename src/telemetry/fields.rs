//! The fields of events and spans.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::Value;
use tracing::field::{Field, Visit};

/// The fields of an event or a span in the order of their declaration; recording one again replaces it.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<usize, (&'static str, Value)>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.index(), (field.name(), value.into()));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(&'static str, Value)> {
        self.0.values()
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        self.set(field, if value.is_finite() { Value::from(value) } else { value.to_string().into() });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }
}
