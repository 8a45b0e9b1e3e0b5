//! Settings of a Managed bucket.
//!
//! The operator gives a bucket its labels, key and access settings when it creates it, and does not change them later: the
//! platform's credentials have no right to update buckets. Tags are bound after the creation.

use super::binding::Bindings;
use super::bucket::Metadata;
use super::labels;
use super::step::Store;
use super::tags;
use crate::config::event_request::EventRequest;
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

fn declined(reason: &str, message: String) -> SettingError {
    SettingError::Declined {
        reason: reason.to_owned(),
        message,
        is_final: true,
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
        let mut ended = match setting.condition {
            TAGGED => self.tag().await,
            other => {
                let metadata = self.described().await?;
                match other {
                    LABELED => self.labeled(&metadata, scope.ours),
                    PRIVATE => self.private(&metadata),
                    _ => self.encrypted(&metadata, scope.ours),
                }
            }
        };
        if let (Ok(applied), LABELED) = (&mut ended, setting.condition) {
            applied.events.extend(self.universes_differ());
        }
        ended
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
        Err(declined("LabelsDiffer", message))
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
        Err(declined("NotEnforced", message))
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
                Err(declined("KMSKeyMismatch", message))
            }
            Some(_) if !ours => Err(self.not_created("encryption")),
            Some(key) => Ok(applied(with(key))),
            None if !found.is_empty() => Ok(applied(with(found))),
            None => Err(declined(
                "NoKey",
                "spec.storage.gcs.keyID names no key, and Google's keys encrypt the objects".to_owned(),
            )),
        }
    }

    fn not_created(&self, what: &str) -> SettingError {
        let message = format!(
            "the operator did not create bucket {} and leaves its {what} as they are",
            self.container.name
        );
        declined(NOT_CREATED, message)
    }

    /// Binds the tags of the platform that the bucket lacks.
    async fn tag(&self) -> Result<Applied, SettingError> {
        let wanted = tags::of_platform(self.request.snapshot);
        if wanted.is_empty() {
            return Err(declined(TAGS_DONE, "user defined no tags".to_owned()));
        }
        let metadata = self.described().await?;
        if metadata.location.is_empty() {
            return Err(SettingError::Declined {
                reason: TAGS_FAILED.to_owned(),
                message: "the location of the bucket is not known, and tags are bound at it".to_owned(),
                is_final: false,
            });
        }
        let endpoints = &self.backend.clients.endpoints;
        let bindings = Bindings {
            bucket: &self.bucket,
            url: endpoints.resource_manager(&metadata.location, &self.effective.universe),
        };
        let missing = tags::missing(&wanted, &bindings.existing().await);
        if !missing.is_empty() {
            self.confirm().await?;
        }
        let failed = bindings.bind(&missing).await?;
        if failed.is_empty() {
            return Ok(Applied {
                changed: !missing.is_empty(),
                ..applied(format!("Bucket {} has the tags of the cluster", self.container.name))
            });
        }
        let causes: Vec<_> = failed.iter().map(|(name, cause)| format!("{name} ({cause})")).collect();
        Err(SettingError::Declined {
            reason: TAGS_FAILED.to_owned(),
            message: format!(
                "failed to add {} of {} tag(s) to {}: {}",
                failed.len(),
                wanted.len(),
                tags::parent(&self.container.name),
                causes.join(", ")
            ),
            is_final: false,
        })
    }

    /// Checks leadership and the version of the Config before a change.
    async fn confirm(&self) -> Result<(), StorageError> {
        self.backend.cluster.confirm().await
    }

    fn universes_differ(&self) -> Option<EventRequest> {
        let other = self.effective.other_universe.as_ref()?;
        Some(EventRequest {
            warning: true,
            reason: "UniverseDomainDiffers",
            message: format!(
                "the credentials of the storage name universe domain {}, which is used, and infrastructures/cluster names \
                 {other}",
                self.effective.universe
            ),
        })
    }
}
