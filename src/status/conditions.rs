//! Conditions: what a pass found, and how it is merged into what is stored.

use jiff::Timestamp;

use crate::api::Condition;

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Holds.
    True,
    /// Does not hold.
    False,
    /// Could not be found out.
    Unknown,
}

impl Status {
    /// As stored.
    pub const fn text(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition as a pass found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which aspect.
    pub type_: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// Why, for programs; may be empty.
    pub reason: String,
    /// Why, for people: names the object, the cause and what to do. No generated names, no counters that flap.
    pub message: String,
}

impl Verdict {
    /// A verdict.
    pub fn new(type_: &'static str, status: Status, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { type_, status, reason: reason.into(), message: message.into() }
    }
}

/// Merges verdicts into stored conditions: a type that is stored is replaced in place, a new one appended, all others
/// (also those of other writers) stay; `lastTransitionTime` moves only when `status` changes.
pub fn merge(stored: &[Condition], verdicts: &[Verdict], now: Timestamp) -> Vec<Condition> {
    let mut merged = stored.to_vec();
    for verdict in verdicts {
        let known = merged.iter_mut().find(|c| c.type_ == verdict.type_);
        let stayed = known.as_ref().filter(|c| c.status == verdict.status.text());
        let since = stayed.and_then(|c| c.last_transition_time.clone());
        let condition = Condition {
            type_: verdict.type_.to_owned(),
            status: verdict.status.text().to_owned(),
            last_transition_time: Some(since.unwrap_or_else(|| to_seconds(now))),
            reason: Some(verdict.reason.clone()),
            message: Some(verdict.message.clone()),
        };
        match known {
            Some(place) => *place = condition,
            None => merged.push(condition),
        }
    }
    merged
}

/// RFC 3339 without a fraction, as the API server stores condition times.
pub fn to_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
