//! Classes of errors, from the failed call to the condition. PURE.
//!
//! | class | example | next attempt | conditions |
//! |---|---|---|---|
//! | [`ErrorClass::Invalid`] | two backends, an endpoint that is no URL | after an edit of the Config | `Degraded` at once |
//! | [`ErrorClass::ActionRequired`] | a missing ConfigMap, another cluster's bucket | 1 s, doubled up to 5 min; at once when a watched input changes | `Progressing`/`Error`; `Degraded` after 5 min |
//! | [`ErrorClass::NoAccess`] | missing credentials, a key or right that the cloud refuses | like `ActionRequired` | like `ActionRequired`; with `Removed`, the removal in the cluster counts as complete, and `Degraded` follows after 2 min |
//! | [`ErrorClass::Transient`] | a timeout, a 5xx, throttling, a conflict | 1 s, doubled up to 5 min | `Progressing`/`Error`; `Degraded` after 5 min |
//!
//! An operation that is under way is no error: it has its own deadline, and is `Progressing` until then.

use std::time::Duration;

use super::rejection::Reason;

/// Who can resolve an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The Config is wrong: only an edit helps. The reason goes into the conditions.
    Invalid(Reason),
    /// An administrator has to act elsewhere: a claim, a ConfigMap, another owner's bucket.
    ActionRequired,
    /// The credentials of the storage are missing, or the cloud refuses them or lacks a right for them.
    NoAccess,
    /// The cluster or the cloud gave no answer, or not now.
    Transient,
}

/// When a failed step is attempted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first wait; each further wait is twice as long.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl ErrorClass {
    /// The waits between attempts; `None` where only an edit of the Config helps.
    pub const fn retry(self) -> Option<Retry> {
        match self {
            Self::Invalid(_) => None,
            Self::ActionRequired | Self::NoAccess | Self::Transient => Some(Retry {
                first: Duration::from_secs(1),
                longest: Duration::from_mins(5),
            }),
        }
    }
}
