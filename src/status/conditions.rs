//! Conditions that a pass reports, and how they are merged into the stored conditions.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::Condition;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// The operator could not determine the status.
    Unknown,
}

impl Status {
    /// `status` as stored: `True`, `False` or `Unknown`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition that a pass reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionUpdate {
    /// `type` of the condition.
    pub type_: &'static str,
    /// `status` of the condition.
    pub status: Status,
    /// `reason` of the condition, in CamelCase; may be empty.
    pub reason: String,
    /// `message` of the condition: names the object, the cause and what the user can do. A message that changed in every pass
    /// would cause a write in every pass, so it contains no generated names and no counters.
    pub message: String,
}

impl ConditionUpdate {
    /// Creates a condition update.
    pub fn new(type_: &'static str, status: Status, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            type_,
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// Merges condition updates into stored conditions.
///
/// An update replaces the stored condition of its type in place; an update of a new type is appended. Other conditions stay,
/// including those of other writers. `lastTransitionTime` changes only if `status` changes or the stored time is invalid. If
/// several updates have the same type, the last update counts.
pub fn merge(stored: &[Condition], condition_updates: &[ConditionUpdate], now: Timestamp) -> Vec<Condition> {
    let mut merged = stored.to_vec();
    for condition_update in condition_updates {
        let before = stored
            .iter()
            .find(|c| c.type_ == condition_update.type_ && c.status == condition_update.status.text());
        let since = before.and_then(|c| c.last_transition_time.clone());
        let since = since.filter(|time| time.parse::<Timestamp>().is_ok());
        let condition = Condition {
            type_: condition_update.type_.to_owned(),
            status: condition_update.status.text().to_owned(),
            last_transition_time: Some(since.unwrap_or_else(|| to_seconds(now))),
            reason: Some(condition_update.reason.clone()),
            message: Some(condition_update.message.clone()),
        };
        match merged.iter_mut().find(|c| c.type_ == condition_update.type_) {
            Some(present) => *present = condition,
            None => merged.push(condition),
        }
    }
    merged
}

/// Conditions of a Job that releases up to 4.16 ran on Azure to move blobs. The operator removes them.
pub const AZURE_PATH_FIX: &[&str] = &["AzurePathFixProgressing", "AzurePathFixControllerDegraded"];

/// The stored conditions without the given types, in the same order.
pub fn without(stored: &[Condition], types: &[&str]) -> Vec<Condition> {
    stored
        .iter()
        .filter(|c| !types.contains(&c.type_.as_str()))
        .cloned()
        .collect()
}

/// Reports failed passes of a controller only after [`REPORT_AFTER`]: a single failure may be a conflict or a restart of the
/// API server.
///
/// The controller keeps it in memory; a restart of the operator resets it. Time counts on a clock that nobody sets: a wall clock that is
/// set forward would report a failure that has just begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastingFailure {
    since: Option<Duration>,
}

/// How long passes must fail before the failure is reported.
pub const REPORT_AFTER: Duration = Duration::from_mins(2);

impl LastingFailure {
    /// Judges the faults of a pass at this time since the start of the process. Returns the verdict, and the time that is left until
    /// faults that are retried count.
    pub fn judge(&mut self, faults: &Faults, uptime: Duration) -> (Verdict, Option<Duration>) {
        let report = |messages: Vec<&str>| (!messages.is_empty()).then(|| Verdict::Report(messages.join("; ")));
        let edit = faults.edit.iter().map(String::as_str);
        if faults.retry.is_empty() {
            self.since = None;
            return (report(edit.collect()).unwrap_or(Verdict::Fine), None);
        }
        let since = *self.since.get_or_insert(uptime);
        let rest = REPORT_AFTER.checked_sub(uptime.saturating_sub(since));
        let rest = rest.filter(|rest| !rest.is_zero());
        let retry = faults.retry.iter().map(String::as_str).filter(|_| rest.is_none());
        (report(edit.chain(retry).collect()).unwrap_or(Verdict::Stays), rest)
    }

    /// Records the outcome of a pass at this time since the start of the process. Returns the update of the condition `type_`
    /// (`AsExpected` or `Error`), or `None` if the condition must stay as it is, together with the time that is left until the failure
    /// is reported.
    pub fn record(
        &mut self,
        type_: &'static str,
        outcome: Result<(), &str>,
        uptime: Duration,
    ) -> (Option<ConditionUpdate>, Option<Duration>) {
        let faults = Faults {
            retry: outcome.err().map(str::to_owned).into_iter().collect(),
            ..Faults::default()
        };
        let (verdict, recheck) = self.judge(&faults, uptime);
        (verdict.condition(type_, ""), recheck)
    }
}

/// What failed in a pass of a controller, by what helps against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Faults that wait for an edit, such as a missing ConfigMap or content that the API server refuses. They count at once.
    pub edit: Vec<String>,
    /// Faults that may pass by themselves, such as an API server that does not answer. They count after [`REPORT_AFTER`].
    pub retry: Vec<String>,
}

impl Faults {
    /// Whether nothing failed.
    pub fn is_empty(&self) -> bool {
        self.edit.is_empty() && self.retry.is_empty()
    }

    /// All faults as one message.
    pub fn message(&self) -> String {
        let all: Vec<&str> = self.edit.iter().chain(&self.retry).map(String::as_str).collect();
        all.join("; ")
    }
}

/// What the faults of a pass mean for a `...Degraded` condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing failed: the condition is False.
    #[default]
    Fine,
    /// Something fails, but not long enough: the condition stays as it is.
    Stays,
    /// The condition is True, with this message.
    Report(String),
}

impl Verdict {
    /// The update of the condition `type_`: `Error`, or `AsExpected` with the message `fine`. `None` if it stays as it is.
    pub fn condition(self, type_: &'static str, fine: &str) -> Option<ConditionUpdate> {
        match self {
            Self::Fine => Some(ConditionUpdate::new(type_, Status::False, "AsExpected", fine)),
            Self::Stays => None,
            Self::Report(cause) => Some(ConditionUpdate::new(type_, Status::True, "Error", cause)),
        }
    }
}

/// Formats a time as RFC 3339 without fractional seconds, as `metav1.Time`.
pub fn to_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
