//! Default encryption of a Managed bucket.
//!
//! A default encryption of the user with a KMS key is kept, if the spec names no key; with a key of the spec it is replaced only
//! after a probe object was written with that key. A service without a default may accept a rule and then
//! refuse every object (seen with a service that has no encryption key). Therefore the operator verifies its first rule with a
//! probe object, and removes the rule if objects cannot be written any more. It sets `spec.storage.s3.encrypt` only
//! after that, so that after a crash the next process verifies the rule.

use std::sync::atomic::Ordering;

use super::bucket::Store;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::outcome::UNKNOWN_ERROR;
use crate::storage::model::preflight::ProbeKeys;
use crate::storage::model::setting::{Applied, SettingError, SettingScope};
use crate::storage::s3api::client::{Encryption, ObjectEncryption};
use crate::storage::traits::Cluster;

fn declined(error: &CallError, message: String, is_final: bool) -> SettingError {
    SettingError::Declined {
        reason: error.reason(UNKNOWN_ERROR),
        message,
        is_final,
    }
}

impl<C: Cluster> Store<'_, C> {
    /// Sets the default encryption.
    pub(super) async fn encrypt(&self, scope: SettingScope) -> Result<Applied, SettingError> {
        let wanted = self.wanted_encryption();
        let keyless = wanted.key.is_none();
        let found = self.bucket.encryption().await?;
        let changed = found.as_ref() != Some(&wanted);
        match found {
            Some(found) if keyless && found.algorithm.starts_with("aws:kms") => {
                let key = found.key.map(|key| format!(" with key {key}")).unwrap_or_default();
                let message = format!(
                    "Bucket {} has {} as default encryption{key}, which is kept",
                    self.container.name, found.algorithm
                );
                return Ok(Applied {
                    message,
                    ..Applied::default()
                });
            }
            Some(found) if found == wanted && self.is_verified() => {}
            Some(found) if found == wanted => self.verify(&found, scope).await?,
            Some(_) => {
                self.verify_key(scope).await?;
                self.confirm().await?;
                self.bucket.put_encryption(&wanted).await?;
            }
            None => self.encrypt_first(&wanted, scope).await?,
        }
        Ok(Applied {
            message: format!(
                "Default {} encryption is on for bucket {}",
                wanted.algorithm, self.container.name
            ),
            changed,
            completes: Some(|storage| {
                if let Some(spec) = &mut storage.s3 {
                    spec.encrypt = Some(true);
                }
            }),
            ..Applied::default()
        })
    }

    fn wanted_encryption(&self) -> Encryption {
        let key = self.key_id();
        Encryption {
            algorithm: if key.is_some() { "aws:kms" } else { "AES256" }.to_owned(),
            key,
            bucket_key: true,
        }
    }

    /// Whether the spec records that objects can be written with the rule.
    fn is_verified(&self) -> bool {
        self.effective.spec.encrypt == Some(true)
    }

    /// Whether an application of the setting would write a probe object.
    pub(super) async fn would_verify_encryption(&self) -> bool {
        match self.bucket.encryption().await {
            Ok(Some(found)) if found == self.wanted_encryption() => !self.is_verified(),
            Ok(Some(_)) => self.key_id().is_some(),
            Ok(None) => true,
            Err(_) => false, // The application of the setting reports the error.
        }
    }

    /// Sets the rule of a bucket without a default encryption, and keeps it only if objects can still be written.
    async fn encrypt_first(&self, wanted: &Encryption, scope: SettingScope) -> Result<(), SettingError> {
        let before = self.object_encryption(self.is_verified());
        self.begin(scope).await?;
        if let Err(error) = self.write_probe(&before).await {
            let message = format!("objects cannot be written, so that its effect could not be verified: {error}");
            return Err(declined(&error, message, false));
        }
        self.bucket.put_encryption(wanted).await?;
        match self.write_probe(&self.object_encryption(true)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.remove_rule(&error).await),
        }
    }

    /// Removes the rule with which a write failed (`error`).
    async fn remove_rule(&self, error: &CallError) -> SettingError {
        if let Err(failure) = self.bucket.delete_encryption().await {
            let message = format!(
                "no object can be written with it ({error}), and it could not be taken back ({failure}): delete the \
                 default encryption of the bucket"
            );
            return declined(error, message, false);
        }
        let message = format!("no object could be written with it, so that it was taken back: {error}");
        declined(error, message, blames_rule(error))
    }

    /// Verifies the wanted rule, because no record says that an earlier process did.
    async fn verify(&self, rule: &Encryption, scope: SettingScope) -> Result<(), SettingError> {
        self.begin(scope).await?;
        let Err(error) = self.write_probe(&self.object_encryption(true)).await else {
            return Ok(());
        };
        // Keep a rule that may be the user's: after a crash the operator could not restore it.
        if !blames_rule(&error) || !scope.recorded {
            let message = format!("whether objects can be written with it could not be verified: {error}");
            return Err(declined(&error, message, false));
        }
        let removed = self.remove_rule(&error).await;
        // If objects cannot be written without the rule either, restore it.
        if self.write_probe(&self.object_encryption(false)).await.is_err() {
            self.bucket.put_encryption(rule).await?;
            let message = format!("objects cannot be written, with it or without: {error}");
            return Err(declined(&error, message, false));
        }
        Err(removed)
    }

    /// Verifies that objects can be encrypted with the key of the spec, before a rule with it replaces another one.
    async fn verify_key(&self, scope: SettingScope) -> Result<(), SettingError> {
        let Some(key) = self.key_id() else {
            return Ok(());
        };
        self.begin(scope).await?;
        let written = self.write_probe(&ObjectEncryption::Kms(key.clone())).await;
        written.map_err(|error| {
            let message = format!(
                "no object could be written with KMS key {key}, so that the default encryption stays as it was: {error}"
            );
            declined(&error, message, false)
        })
    }

    /// Checks before the first object is written.
    async fn begin(&self, scope: SettingScope) -> Result<(), SettingError> {
        if !scope.probe_recorded {
            return Err(SettingError::Declined {
                reason: UNKNOWN_ERROR.to_owned(),
                message: "its effect must be verified, and the probe object for that is not recorded yet".to_owned(),
                is_final: false,
            });
        }
        Ok(self.confirm().await?)
    }

    /// Writes a probe object, and deletes it. Until it is known to be deleted it counts as left: a time limit may end the call.
    async fn write_probe(&self, encryption: &ObjectEncryption) -> Called<()> {
        let key = &self.probe_key;
        let left_before = self.probe_left.swap(true, Ordering::Relaxed);
        let written = self.bucket.put(key, b"probe".to_vec(), encryption).await;
        let mut left = self.bucket.is_unsure();
        if let Ok(version) = &written {
            left |= !self.delete_probe(version.as_deref()).await;
        }
        left |= self.bucket.is_unsure();
        self.probe_left.store(left_before || left, Ordering::Relaxed);
        written.map(drop)
    }

    /// Deletes the probe object as far as the service permits; in a versioned bucket, all versions. Returns whether
    /// nothing remains.
    async fn delete_probe(&self, version: Option<&str>) -> bool {
        let key = &self.probe_key;
        let deleted = self.bucket.delete_object(key, version).await.is_ok();
        if version.is_none() || deleted && self.bucket.clear_probe(&ProbeKeys::of(key)).await.is_ok() {
            return deleted;
        }
        // Without a version, a delete marker hides the object.
        let _ = self.bucket.delete_object(key, None).await;
        false
    }
}

/// Whether the rule may be the cause of the error. Throttling and connection errors have other causes.
fn blames_rule(error: &CallError) -> bool {
    match error.cause {
        Cause::Unreachable | Cause::NotLeading | Cause::Identity | Cause::Answer(429 | 503) => false,
        // A service without an encryption key responds like this.
        Cause::Answer(500..) => true,
        Cause::Answer(_) | Cause::Unsendable => !error.is_undecided(),
    }
}
