//! One step's view of one bucket: what is known of it before anything is sent, and how findings become conditions.

use super::client::Bucket;
use super::effective::Effective;
use super::error::{CallError, Cause};
use super::own::{Claim, Noted};
use crate::api::Storage;
use crate::api::registry_storage::S3Storage;
use crate::status::conditions::{Status, Verdict};
use crate::storage::cloud::Cloud;
use crate::storage::driver::{Failure, State, Step};
use crate::storage::fault::Fault;
use crate::storage::{Cluster, STORAGE_EXISTS, state};

/// Reason of conditions where the store gave no code.
pub(super) const UNKNOWN: &str = "Unknown Error Occurred";

/// What a step knows of the bucket that its block means.
pub(super) struct Site {
    /// The block, completed, with the bucket's name in it.
    pub effective: Effective,
    /// Name of the bucket.
    pub name: String,
    /// Location ID.
    pub location: String,
    /// The name that the operator gives in this region.
    pub deterministic: String,
    /// Name of the cluster, as in the mark.
    pub infrastructure: String,
    /// Key of probe objects.
    pub probe_key: String,
    /// The registry was told of this bucket already: the status names it.
    pub in_use: bool,
}

/// A bucket, in one step.
pub(super) struct Visit<'a, C> {
    pub step: &'a Step<'a>,
    pub cloud: &'a Cloud,
    pub cluster: &'a C,
    pub site: Site,
    pub bucket: Bucket,
}

impl<C: Cluster> Visit<'_, C> {
    /// Makes sure, before the first call that changes something, that this process leads and the Config is the newest.
    pub async fn confirm(&self) -> Result<(), Failure> {
        Ok(self.cluster.confirm().await?)
    }

    /// What the Config says of the bucket.
    pub fn claim(&self) -> Claim {
        Claim {
            state: self.state(),
            noted: match self.step.intent {
                None => Noted::Not,
                Some(_) if self.step.target.named && state::asked(self.step.config) == Some(State::Managed) => {
                    Noted::Recorded
                }
                Some(_) => Noted::Intended,
            },
            deterministic: self.site.name == self.site.deterministic,
            consent: self.step.consent,
        }
    }

    /// managementState; where it is blank on storage that is applied, it is what an earlier pass stored.
    pub fn state(&self) -> Option<State> {
        let applied = || self.step.applied.then(|| state::mirrored(self.step.config));
        self.step.state.or_else(applied)
    }

    /// The storage with this block, as it should stand in the spec.
    pub fn with(&self, block: S3Storage) -> Storage {
        Storage {
            s3: Some(block),
            ..self.step.storage.clone()
        }
    }

    /// A call failed: what that says of `StorageExists`, and whether it is worth trying again soon.
    ///
    /// What the store decided is `False` with its code; all else, also what STS decided, is `Unknown`.
    pub fn failure(&self, error: &CallError, remedy: &str) -> Failure {
        let decided = !error.is_undecided() && !error.of_identity() && (error.is_missing() || error.is_denied());
        let message = format!("{}{}", self.explain(error), if decided { remedy } else { "" });
        let (status, reason) = if decided {
            (Status::False, error.code.clone())
        } else {
            (Status::Unknown, UNKNOWN.to_owned())
        };
        let fault = Fault {
            message: message.clone(),
            ..error.fault()
        };
        Failure {
            fault,
            verdicts: vec![exists(status, reason, message)],
        }
    }

    /// The error for people; it names where the bucket is, if the store told.
    pub fn explain(&self, error: &CallError) -> String {
        let told = error
            .region
            .as_deref()
            .filter(|region| *region != self.site.effective.region);
        let region = told.map(|region| {
            format!(
                "; the bucket is in region {region}, spec.storage.s3.region means {}",
                self.site.effective.region
            )
        });
        format!("bucket {}: {error}{}", self.site.name, region.unwrap_or_default())
    }
}

/// `StorageExists`.
pub(super) fn exists(status: Status, reason: impl Into<String>, message: impl Into<String>) -> Verdict {
    Verdict::new(STORAGE_EXISTS, status, reason, message)
}

/// Whether nothing was sent because this process does not lead any more.
pub(super) fn is_stop(error: &CallError) -> bool {
    error.cause == Cause::NotLeading
}

/// Whether the store says that there is no such bucket.
pub(super) fn is_gone(error: &CallError) -> bool {
    error.code == "NoSuchBucket"
}

/// Code of an error for the reason of a condition.
pub(super) fn code(error: &CallError) -> String {
    match error.cause {
        Cause::Answer(_) if !error.code.is_empty() => error.code.clone(),
        Cause::Answer(405) => "MethodNotAllowed".to_owned(),
        Cause::Answer(501) => "NotImplemented".to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}
