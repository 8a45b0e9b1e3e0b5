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
/// The controller keeps it in memory; a restart of the operator resets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastingFailure {
    since: Option<Timestamp>,
}

/// How long passes must fail before the failure is reported.
pub const REPORT_AFTER: Duration = Duration::from_mins(2);

impl LastingFailure {
    /// Records the outcome of a pass. Returns the update of the condition `type_` (`AsExpected` or `Error`), or `None` if the
    /// condition must stay as it is, together with the time that is left until the failure is reported.
    pub fn record(
        &mut self,
        type_: &'static str,
        outcome: Result<(), &str>,
        now: Timestamp,
    ) -> (Option<ConditionUpdate>, Option<Duration>) {
        let Err(cause) = outcome else {
            self.since = None;
            return (Some(ConditionUpdate::new(type_, Status::False, "AsExpected", "")), None);
        };
        let since = *self.since.get_or_insert(now);
        let lasted = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        match REPORT_AFTER.checked_sub(lasted).filter(|rest| !rest.is_zero()) {
            Some(rest) => (None, Some(rest)),
            None => (Some(ConditionUpdate::new(type_, Status::True, "Error", cause)), None),
        }
    }
}

/// Formats a time as RFC 3339 without fractional seconds, as `metav1.Time`.
pub fn to_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
