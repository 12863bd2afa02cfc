//! Injected faults: which requests fail, how often, and how.
//!
//! Deterministic: a fault applies to the requests that it names, in order of arrival. Several faults may be set; the
//! first match applies. The kinds are the documented ones:
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors>.
//!
//! A fault applies to a batch as a whole if it could apply to `POST $batch` (it names `$batch` or no set, and no key or other
//! method) and its effect is one on a request rather than on a row. All others apply to the parts.

mod refusal;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::batch::RESOURCE as BATCH;
use super::errors::BodyForm;

/// One fault. As JSON: `{"method":"PATCH","set":"contacts","key":"E1","skip":0,"times":1,"effect":"hang"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Applies to this HTTP method only.
    #[serde(default)]
    pub method: Option<String>,
    /// Applies to this entity set only; `$batch`: to batches as a whole.
    #[serde(default)]
    pub set: Option<String>,
    /// Applies only to requests whose key, as addressed, contains this text.
    #[serde(default)]
    pub key: Option<String>,
    /// How many matching requests are let through first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it applies to; `None` (JSON null): all until cleared.
    #[serde(default = "once")]
    pub times: Option<u32>,
    /// Its effect.
    pub effect: Effect,
}

/// The effect of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// The request is not executed and gets this response.
    Status(Status),
    /// SQL Server chose this request as the deadlock victim: 500, 0x80044150, "Sql Number: 1205".
    Deadlock,
    /// The same inside a plug-in, which reports it as its own refusal: 400, 0x80040265.
    WrappedDeadlock,
    /// No process of the plug-in sandbox is available: 500, 0x8004418d, with annotations.
    Sandbox,
    /// A plug-in or a virtual table's provider refuses with a status of its choice: the code is that status' code of the
    /// `IsvAborted` family, 0x80048d02 to 0x80048d11.
    PluginStatus(u16),
    /// The request is not executed and gets no response.
    Hang,
    /// The request is executed after a pause; in JSON in milliseconds.
    Slow(#[serde(serialize_with = "to_milliseconds", deserialize_with = "from_milliseconds")] Duration),
    /// The request is not executed, and the connection is dropped.
    DropBefore,
    /// The request is executed, and then the connection is dropped.
    DropAfterCommit,
    /// Another client deletes the row between this request's lookup and its write.
    DeletedMeanwhile,
    /// The request is executed, and gets no response.
    HangAfterCommit,
    /// The request is executed, and the connection breaks in the middle of its answer, after those of the parts before it;
    /// the batch goes on. Alone: like [`Effect::DropAfterCommit`].
    CutMidway,
    /// The request is executed, and its place in the batch's answer is empty. Alone: like [`Effect::DropAfterCommit`].
    NoStatus,
    /// The batch is executed, and its answers come in reverse order.
    WrongOrder,
    /// The batch ends at its first error, as without `odata.continue-on-error`, and has that error's status.
    /// <https://github.com/MicrosoftDocs/powerapps-docs/issues/2735>
    StopAtError,
}

/// A response sent instead of executing the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Status {
    /// The HTTP status.
    pub status: u16,
    /// The service code.
    #[serde(default)]
    pub code: String,
    /// The error message.
    #[serde(default)]
    pub message: String,
    /// `Retry-After`, in seconds.
    #[serde(default)]
    pub retry_after: Option<u32>,
    /// The format of the body.
    #[serde(default)]
    pub form: BodyForm,
    /// Further members of `error`, such as `@Microsoft.PowerApps.CDS.…`.
    #[serde(default)]
    pub members: Map<String, Value>,
}

impl Status {
    /// This status in the standard format, without `Retry-After`.
    pub fn new(status: u16, code: &str, message: &str) -> Self {
        let (code, message) = (code.to_owned(), message.to_owned());
        Self { status, code, message, retry_after: None, form: BodyForm::Standard, members: Map::new() }
    }
}

impl Fault {
    /// A fault that applies to the next request of any kind.
    pub fn new(effect: Effect) -> Self {
        Self { method: None, set: None, key: None, skip: 0, times: Some(1), effect }
    }

    /// Applies to this HTTP method only.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..self }
    }

    /// Applies to this entity set only.
    #[must_use]
    pub fn set(self, set: &str) -> Self {
        Self { set: Some(set.to_owned()), ..self }
    }

    /// Applies only to requests whose key, as addressed, contains `text`.
    #[must_use]
    pub fn key(self, text: &str) -> Self {
        Self { key: Some(text.to_owned()), ..self }
    }

    /// Applies from the `nth` matching request on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { skip: nth.saturating_sub(1), ..self }
    }

    /// Applies to this many requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Applies to every matching request until the faults are cleared.
    #[must_use]
    pub fn until_cleared(self) -> Self {
        Self { times: None, ..self }
    }

    fn matches(&self, method: &str, set: &str, key: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.set.as_ref().is_none_or(|wanted| wanted == set)
            && self.key.as_ref().is_none_or(|wanted| key.contains(wanted))
    }

    /// Whether it applies to batches as a whole, and therefore not to their parts.
    fn is_of_batches(&self) -> bool {
        self.matches("POST", BATCH, "") && !self.effect.is_of_row()
    }

    /// Counts a matching request; returns whether the fault applies to it.
    fn apply(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

impl Effect {
    /// Whether it concerns a row, so that it never applies to a batch as a whole.
    fn is_of_row(&self) -> bool {
        match self {
            Self::Deadlock
            | Self::WrappedDeadlock
            | Self::Sandbox
            | Self::PluginStatus(_)
            | Self::DeletedMeanwhile
            | Self::CutMidway
            | Self::NoStatus => true,
            Self::Status(_)
            | Self::Hang
            | Self::Slow(_)
            | Self::DropBefore
            | Self::DropAfterCommit
            | Self::HangAfterCommit
            | Self::WrongOrder
            | Self::StopAtError => false,
        }
    }
}

/// The active faults.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Removes this fault, however often it has applied.
    pub(super) fn end(&mut self, fault: &Fault) {
        self.0.retain(|set| Fault { skip: fault.skip, times: fault.times, ..set.clone() } != *fault);
    }

    /// The effect of the first matching fault on this request; counts the fault down.
    pub(super) fn take(&mut self, method: &str, set: &str, key: &str, is_part: bool) -> Option<Effect> {
        let applies = |fault: &&mut Fault| match (is_part, set) {
            (true, _) => fault.matches(method, set, key) && !fault.is_of_batches(),
            (false, BATCH) => fault.is_of_batches(),
            (false, _) => fault.matches(method, set, key),
        };
        let applies = self.0.iter_mut().filter(applies).find_map(|fault| {
            let applies = fault.apply();
            applies.then(|| fault.effect.clone())
        });
        self.0.retain(|fault| fault.times != Some(0));
        applies
    }
}

#[expect(clippy::unnecessary_wraps, reason = "serde needs the field's own type")]
fn once() -> Option<u32> {
    Some(1)
}

fn to_milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
}

fn from_milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(fault: Fault) -> Faults {
        Faults(vec![fault])
    }

    #[test]
    fn a_fault_applies_once_by_default() {
        let mut once = faults(Fault::new(Effect::Hang));
        assert_eq!(once.take("PATCH", "contacts", "", false), Some(Effect::Hang));
        assert_eq!(once.take("PATCH", "contacts", "", false), None);
        let mut always = faults(Fault::new(Effect::Hang).until_cleared());
        assert!((0..9).all(|_| always.take("PATCH", "contacts", "", false).is_some()));
    }

    #[test]
    fn a_fault_applies_to_what_it_names_from_the_nth_on() {
        let mut second = faults(Fault::new(Effect::Deadlock).method("PATCH").set("contacts").key("E1").nth(2).times(2));
        assert_eq!(second.take("GET", "contacts", "employeeid='E1'", false), None);
        assert_eq!(second.take("PATCH", "accounts", "employeeid='E1'", false), None);
        assert_eq!(second.take("PATCH", "contacts", "employeeid='E2'", false), None);
        let applies: Vec<bool> =
            (0..4).map(|_| second.take("PATCH", "contacts", "employeeid='E1'", false).is_some()).collect();
        assert_eq!(applies, [false, true, true, false]);
    }

    #[test]
    fn a_fault_that_ends_leaves_the_others() {
        let (hangs, breaks) =
            (Fault::new(Effect::Hang).until_cleared(), Fault::new(Effect::DropBefore).until_cleared());
        let mut both = Faults(vec![hangs.clone(), breaks]);
        both.end(&hangs);
        assert_eq!(both.take("PATCH", "contacts", "", false), Some(Effect::DropBefore));
        let three = Fault::new(Effect::Deadlock).times(3);
        let mut three_times = faults(three.clone());
        assert_eq!(three_times.take("PATCH", "contacts", "", false), Some(Effect::Deadlock));
        three_times.end(&three);
        assert_eq!(three_times.take("PATCH", "contacts", "", false), None);
    }

    #[test]
    fn a_fault_can_be_set_as_json() {
        let text = r#"{"set":"contacts","times":null,"effect":{"status":{"status":429,"retryAfter":3,"form":"html"}}}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        let mut status = Status::new(429, "", "");
        (status.retry_after, status.form) = (Some(3), BodyForm::Html);
        assert_eq!(fault, Fault::new(Effect::Status(status)).set("contacts").until_cleared());
        let slow: Fault = serde_json::from_str(r#"{"effect":{"slow":250}}"#).expect("a fault");
        assert_eq!(slow, Fault::new(Effect::Slow(Duration::from_millis(250))));
        assert!(serde_json::from_str::<Fault>(r#"{"efect":"hang"}"#).is_err());
    }
}
