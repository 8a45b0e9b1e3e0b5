//! Settings of a Managed bucket.
//!
//! The operator gives a bucket its labels, key and access settings when it creates it, and does not change them later: the
//! platform's credentials have no right to update buckets. Tags are bound after the creation.

use std::time::Duration;

use jiff::Timestamp;

use super::binding::{Bindings, Unbound};
use super::bucket::Metadata;
use super::labels;
use super::step::Store;
use super::tags;
use crate::config::elapsed::elapsed;
use crate::status::conditions::Status;
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::setting::{Applied, Followed, Setting, SettingError, SettingScope};
use crate::storage::model::target::Request;
use crate::storage::traits::Cluster;

pub(super) const LABELED: &str = "StorageLabeled";
pub(super) const ENCRYPTED: &str = "StorageEncrypted";
pub(super) const PRIVATE: &str = "StoragePublicAccessBlocked";
pub(super) const TAGGED: &str = "StorageTagged";

/// Reason of `StorageTagged`, also if there is nothing to bind, as in the Go operator.
const TAGS_DONE: &str = "SuccessTaggingBucket";
/// Reason of `StorageTagged` if a tag could not be bound.
const TAGS_FAILED: &str = "ErrorTaggingBucket";
/// Reason of `StorageTagged` while Resource Manager works on a binding.
const TAGS_PENDING: &str = "TaggingBucket";
/// How long Resource Manager has for a binding before the operator looks again.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Reason for settings of a bucket that somebody else created.
const NOT_CREATED: &str = "BucketNotCreatedByOperator";

fn setting(condition: &'static str, reason: &'static str, failure: &'static str) -> Setting {
    Setting {
        condition,
        reason,
        failure,
        follows: None,
        probes: false,
        marks: false,
        events: None,
    }
}

/// The settings of this bucket, in the order in which they are applied.
pub(super) fn all(request: &Request<'_>) -> Vec<Setting> {
    let mut all = Vec::new();
    if request.record.exists() {
        all.push(setting(LABELED, "Bucket Labeled Successfully", "Labels are missing"));
        all.push(setting(
            PRIVATE,
            "Public Access Block Successful",
            "Public access prevention is not enforced",
        ));
    }
    let key = request.storage.gcs.as_ref().and_then(|spec| spec.key_id.as_deref());
    if key.is_some_and(|key| !key.is_empty()) || is_said_to_be_encrypted(request) {
        all.push(setting(
            ENCRYPTED,
            "Encryption Successful",
            "The key of spec.storage.gcs.keyID is not that of new objects",
        ));
    }
    let wanted = tags::of_platform(request.snapshot);
    let location = request.target.location.as_deref().unwrap_or_default();
    all.push(Setting {
        follows: Some(Followed {
            fingerprint: Fingerprint::of([location].into_iter().chain(wanted.iter().map(String::as_str))),
            empty: wanted.is_empty(),
        }),
        ..setting(TAGGED, TAGS_DONE, "Tags were not bound")
    });
    all
}

/// Whether the stored conditions say that the bucket has a key, although the spec names none any more.
fn is_said_to_be_encrypted(request: &Request<'_>) -> bool {
    let status = request.config.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let mut encrypted = conditions.iter().filter(|condition| condition.type_ == ENCRYPTED);
    encrypted.any(|condition| condition.status == Status::True.text())
}

/// `is_final`: nothing but an edit of the spec can change the result.
fn declined(reason: &str, message: String, is_final: bool) -> SettingError {
    SettingError::Declined {
        reason: reason.to_owned(),
        message,
        is_final,
    }
}

fn applied(message: String) -> Applied {
    Applied {
        message,
        ..Applied::default()
    }
}

impl<C: Cluster> Store<'_, C> {
    pub(super) async fn apply_setting(&self, setting: &Setting, scope: SettingScope) -> Result<Applied, SettingError> {
        if setting.condition == TAGGED {
            return self.tag().await;
        }
        let metadata = self.described().await?;
        match setting.condition {
            LABELED => self.labeled(&metadata, scope.ours),
            PRIVATE => self.private(&metadata),
            _ => self.encrypted(&metadata, scope.ours),
        }
    }

    fn labeled(&self, metadata: &Metadata, ours: bool) -> Result<Applied, SettingError> {
        if !ours {
            return Err(self.not_created("labels"));
        }
        let missing = labels::missing(&metadata.labels, &self.wanted_labels());
        if missing.is_empty() {
            let message = format!("Bucket {} carries the labels of the cluster", self.container.name);
            return Ok(applied(message));
        }
        let missing: Vec<_> = missing.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let message = format!(
            "labels are set when a bucket is created and not changed later: add {} yourself",
            missing.join(", ")
        );
        Err(declined("LabelsDiffer", message, false))
    }

    fn private(&self, metadata: &Metadata) -> Result<Applied, SettingError> {
        let name = &self.container.name;
        if metadata.iam_configuration.public_access_prevention == "enforced" {
            return Ok(applied(format!("All public access to bucket {name} is prevented")));
        }
        let message = format!(
            "it is set when a bucket is created and not changed later: enforce it yourself with gcloud storage buckets update \
             gs://{name} --public-access-prevention"
        );
        Err(declined("NotEnforced", message, false))
    }

    /// Compares the key of the bucket with the one of the spec.
    fn encrypted(&self, metadata: &Metadata, ours: bool) -> Result<Applied, SettingError> {
        let name = &self.container.name;
        let found = metadata.encryption.default_kms_key_name.as_str();
        let with = |key: &str| format!("Objects in bucket {name} are encrypted with key {key}");
        match self.effective.key_id() {
            Some(key) if key != found => {
                let has = if found.is_empty() { "no key" } else { found };
                let message = format!(
                    "the bucket has {has}, and the spec names {key}: a key is set when a bucket is created, and not changed \
                     later. Set it yourself with gcloud storage buckets update gs://{name} --default-encryption-key"
                );
                Err(declined("KMSKeyMismatch", message, false))
            }
            Some(_) if !ours => Err(self.not_created("encryption")),
            Some(key) => Ok(applied(with(key))),
            None if !found.is_empty() => Ok(applied(with(found))),
            None => Err(declined(
                "NoKey",
                "spec.storage.gcs.keyID names no key, and Google's keys encrypt the objects".to_owned(),
                true,
            )),
        }
    }

    fn not_created(&self, what: &str) -> SettingError {
        let message = format!(
            "the operator did not create bucket {} and leaves its {what} as they are",
            self.container.name
        );
        declined(NOT_CREATED, message, true)
    }

    /// Binds the tags of the platform that the bucket lacks.
    async fn tag(&self) -> Result<Applied, SettingError> {
        let wanted = tags::of_platform(self.request.snapshot);
        let endpoints = &self.backend.clients.endpoints;
        if wanted.is_empty() {
            return Err(SettingError::NotNeeded {
                reason: TAGS_DONE.to_owned(),
                message: "user defined no tags".to_owned(),
            });
        }
        if endpoints.emulator && endpoints.resource_manager.is_none() {
            let message = "the storage is an emulator (STORAGE_EMULATOR_HOST), and its buckets have no tags".to_owned();
            return Err(declined(TAGS_FAILED, message, true));
        }
        let metadata = self.described().await?;
        if metadata.location.is_empty() {
            let message = "the location of the bucket is not known, and tags are bound at it".to_owned();
            return Err(declined(TAGS_FAILED, message, false));
        }
        let bindings = Bindings {
            bucket: &self.bucket,
            url: endpoints.resource_manager(&metadata.location, &self.effective.universe),
        };
        let missing = tags::missing(&wanted, &bindings.existing().await);
        if !missing.is_empty() {
            self.confirm().await?;
        }
        let unbound = bindings.bind(&missing).await?;
        if !unbound.is_empty() {
            return Err(self.not_bound(unbound, wanted.len()));
        }
        Ok(Applied {
            changed: !missing.is_empty(),
            ..applied(format!("Bucket {} has the tags of the cluster", self.container.name))
        })
    }

    /// Result for tags that are not bound, of so many.
    fn not_bound(&self, Unbound { mut failed, pending }: Unbound, wanted: usize) -> SettingError {
        if failed.is_empty() && !self.took_too_long(wanted) {
            return SettingError::Pending {
                reason: TAGS_PENDING,
                message: format!(
                    "Resource Manager is still binding {} to bucket {}, one after another; the operator looks again in a minute",
                    pending.join(", "),
                    self.container.name
                ),
                after: LOOK_AGAIN,
            };
        }
        let cause = |name| {
            (
                name,
                "an operation on tags of the bucket is still in progress, its result is read later".to_owned(),
            )
        };
        failed.extend(pending.into_iter().map(cause));
        let causes: Vec<_> = failed.iter().map(|(name, cause)| format!("{name} ({cause})")).collect();
        let message = format!(
            "failed to add {} of {wanted} tag(s) to {}: {}",
            failed.len(),
            tags::parent(&self.container.name),
            causes.join(", ")
        );
        declined(TAGS_FAILED, message, false)
    }

    /// Whether operations that go on count as failed: the stored condition says for a minute for each of so many tags that they
    /// are being bound, or that a tag failed.
    fn took_too_long(&self, wanted: usize) -> bool {
        let status = self.request.config.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref());
        let mut tagged = conditions.unwrap_or_default().iter().filter(|c| c.type_ == TAGGED);
        let limit = LOOK_AGAIN.saturating_mul(u32::try_from(wanted).unwrap_or(u32::MAX));
        tagged.any(|condition| match condition.reason.as_deref() {
            Some(TAGS_FAILED) => true,
            Some(TAGS_PENDING) => {
                let since = condition.last_transition_time.as_deref();
                let since = since.and_then(|since| since.parse::<Timestamp>().ok());
                since.is_none_or(|since| elapsed(since, self.request.snapshot.now, limit) >= limit)
            }
            _ => false,
        })
    }

    /// Checks leadership and the version of the Config before a change.
    async fn confirm(&self) -> Result<(), StorageError> {
        self.backend.cluster.confirm().await
    }
}
