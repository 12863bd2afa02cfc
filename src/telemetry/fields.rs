//! What an event or a span says, on its way into a [`Line`].

use std::fmt::{Debug, Write as _};
use std::ops::Range;

use tracing::field::{Field, Visit};

use super::line::{Kind, Line};

/// The field that is no field: what an event says in words.
const MESSAGE: &str = "message";

/// Takes the message of an event and nothing else.
pub(super) struct Message<'a>(pub(super) &'a mut String);

impl Visit for Message<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.0.push_str(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == MESSAGE {
            write!(self.0, "{value:?}").expect("writing to a string cannot fail");
        }
    }
}

/// Who is given the fields, one after the other, each as text.
pub(super) trait Fields {
    fn field(&mut self, field: &Field, value: &str, kind: Kind);
}

/// Takes the fields of an event or of a span, its message aside; the text is room for a value.
pub(super) struct Rest<'a, F>(pub(super) &'a mut F, pub(super) &'a mut String);

impl<F: Fields> Rest<'_, F> {
    fn add(&mut self, field: &Field, value: std::fmt::Arguments<'_>, kind: Kind) {
        if field.name() != MESSAGE {
            self.1.clear();
            self.1.write_fmt(value).expect("writing to a string cannot fail");
            self.0.field(field, self.1, kind);
        }
    }
}

impl<F: Fields> Visit for Rest<'_, F> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity.
        let kind = if value.is_finite() { Kind::Bare } else { Kind::Text };
        self.add(field, format_args!("{value}"), kind);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, format_args!("{value}"), Kind::Bare);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, format_args!("{value}"), Kind::Bare);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, format_args!("{value}"), Kind::Bare);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != MESSAGE {
            self.0.field(field, value, Kind::Text);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format_args!("{value:?}"), Kind::Text);
    }
}

impl Fields for Line {
    fn field(&mut self, field: &Field, value: &str, kind: Kind) {
        Self::field(self, field.name(), value, kind);
    }
}

/// The fields of a span, in the order in which it declares them; one that is told again replaces what was there.
#[derive(Debug, Default)]
pub(super) struct OfSpan {
    fields: Vec<Told>,
    /// The values, one after the other as they were told.
    values: String,
}

#[derive(Debug)]
struct Told {
    index: usize,
    name: &'static str,
    value: Range<usize>,
    kind: Kind,
}

impl Fields for OfSpan {
    fn field(&mut self, field: &Field, value: &str, kind: Kind) {
        let from = self.values.len();
        self.values.push_str(value);
        let told = Told { index: field.index(), name: field.name(), value: from..self.values.len(), kind };
        match self.fields.binary_search_by_key(&told.index, |told| told.index) {
            Ok(at) => self.fields[at] = told,
            Err(at) => self.fields.insert(at, told),
        }
    }
}

impl OfSpan {
    /// Adds those that the line does not have yet.
    pub(super) fn add_to(&self, line: &mut Line) {
        for told in &self.fields {
            line.field(told.name, &self.values[told.value.clone()], told.kind);
        }
    }
}
