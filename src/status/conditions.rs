//! Conditions: what a pass found, and how it is merged into what is stored.

use std::time::Duration;

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
        Self {
            type_,
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// Merges verdicts into stored conditions: a type that is stored is replaced in place, a new one appended, all others
/// (also those of other writers) stay; `lastTransitionTime` moves only when `status` changes, or where what is stored is
/// no time. Of several verdicts on one type the last counts, as one change.
pub fn merge(stored: &[Condition], verdicts: &[Verdict], now: Timestamp) -> Vec<Condition> {
    let mut merged = stored.to_vec();
    for verdict in verdicts {
        let before = stored
            .iter()
            .find(|c| c.type_ == verdict.type_ && c.status == verdict.status.text());
        let since = before.and_then(|c| c.last_transition_time.clone());
        let since = since.filter(|time| time.parse::<Timestamp>().is_ok());
        let condition = Condition {
            type_: verdict.type_.to_owned(),
            status: verdict.status.text().to_owned(),
            last_transition_time: Some(since.unwrap_or_else(|| to_seconds(now))),
            reason: Some(verdict.reason.clone()),
            message: Some(verdict.message.clone()),
        };
        match merged.iter_mut().find(|c| c.type_ == verdict.type_) {
            Some(place) => *place = condition,
            None => merged.push(condition),
        }
    }
    merged
}

/// Conditions of the legacy job that moved blobs on Azure; nobody writes them any more.
pub const AZURE_PATH_FIX: &[&str] = &["AzurePathFixProgressing", "AzurePathFixControllerDegraded"];

/// Every condition that some storage backend writes.
const STORAGE: &[&str] = &[
    "StorageExists",
    "StorageTagged",
    "StorageLabeled",
    "StorageEncrypted",
    "StoragePublicAccessBlocked",
    "StorageIncompleteUploadCleanupEnabled",
];

/// Storage conditions that `backend` (named as in the API's documentation: `S3`, `GCS`...) does not own: left over from
/// another backend. None while no backend is in use: what the last one told stays.
pub fn stale_storage(backend: Option<&str>) -> Vec<&'static str> {
    let owned: &[&str] = match backend {
        None => STORAGE,
        Some("S3") => &[
            "StorageExists",
            "StorageTagged",
            "StorageEncrypted",
            "StoragePublicAccessBlocked",
            "StorageIncompleteUploadCleanupEnabled",
        ],
        Some("GCS") => &["StorageExists", "StorageTagged", "StorageLabeled", "StorageEncrypted"],
        Some(_) => &["StorageExists"],
    };
    STORAGE.iter().copied().filter(|type_| !owned.contains(type_)).collect()
}

/// The stored conditions less those of the given types; order is kept.
pub fn without(stored: &[Condition], types: &[&str]) -> Vec<Condition> {
    stored
        .iter()
        .filter(|c| !types.contains(&c.type_.as_str()))
        .cloned()
        .collect()
}

/// A failure that is told only once it has lasted: a single one may be a conflict, or a server that restarts.
///
/// Kept in memory by the loop; a restart begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    since: Option<Timestamp>,
}

/// How long a secondary loop may fail before it says so.
pub const STREAK: Duration = Duration::from_mins(2);

impl Streak {
    /// Notes the outcome of a pass and says what becomes of the condition `type_`: `AsExpected`, `Error`, or (`None`) left
    /// as it is, together with the time after which that can change by itself.
    pub fn note(
        &mut self,
        type_: &'static str,
        outcome: Result<(), &str>,
        now: Timestamp,
    ) -> (Option<Verdict>, Option<Duration>) {
        let Err(cause) = outcome else {
            self.since = None;
            return (Some(Verdict::new(type_, Status::False, "AsExpected", "")), None);
        };
        let since = *self.since.get_or_insert(now);
        let lasted = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        match STREAK.checked_sub(lasted).filter(|rest| !rest.is_zero()) {
            Some(rest) => (None, Some(rest)),
            None => (Some(Verdict::new(type_, Status::True, "Error", cause)), None),
        }
    }
}

/// RFC 3339 without a fraction, as the API server stores condition times.
pub fn to_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
