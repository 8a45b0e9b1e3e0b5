//! Default encryption of a Managed bucket.
//!
//! Read first: a default of the user's with a KMS key is kept. Stores without a default may accept a rule and then refuse
//! every object (seen with one that has no key to encrypt with), therefore the effect of the first rule is looked at, and
//! the rule is taken back where objects cannot be written any more. `spec.storage.s3.encrypt` is set only after that: a
//! process that dies in between leaves a rule that the next one looks at.

use super::client::{Encryption, ObjectEncryption};
use super::error::{CallError, Cause};
use super::harden::{Hardened, Snag};
use super::visit::{UNKNOWN, Visit, code};
use crate::storage::driver::Intent;
use crate::storage::{Cluster, probes};

const REASON: &str = "Encryption Successful";

impl<C: Cluster> Visit<'_, C> {
    /// Sets the default; tells in `hardened` whether the bucket has the one that we want, and what was left of the objects
    /// that tried it out.
    pub async fn encrypt(&self, hardened: &mut Hardened) -> Result<(&'static str, String), Snag> {
        let left = &mut hardened.probe_left;
        let wanted = self.wanted_encryption();
        let keyless = wanted.key.is_none();
        match self.bucket.encryption().await? {
            Some(found) if keyless && found.algorithm.starts_with("aws:kms") => {
                let key = found.key.map(|key| format!(" with key {key}")).unwrap_or_default();
                let message = format!(
                    "Bucket {} has {} as default encryption{key}, which is kept",
                    self.site.name, found.algorithm
                );
                return Ok((REASON, message));
            }
            Some(found) if found == wanted && self.is_verified() => {}
            Some(found) if found == wanted => self.look_at_effect(&found, left).await?,
            Some(_) => {
                self.confirm().await?;
                self.bucket.put_encryption(&wanted).await?;
            }
            None => self.encrypt_first(&wanted, left).await?,
        }
        hardened.encrypted = true;
        let message = format!(
            "Default {} encryption is on for bucket {}",
            wanted.algorithm, self.site.name
        );
        Ok((REASON, message))
    }

    fn wanted_encryption(&self) -> Encryption {
        let key = self.site.effective.block.key_id.clone().filter(|key| !key.is_empty());
        Encryption {
            algorithm: if key.is_some() { "aws:kms" } else { "AES256" }.to_owned(),
            key,
            bucket_key: true,
        }
    }

    /// What the registry's requests say of encryption: they name the key also where `encrypt` is off.
    pub fn registry_encryption(&self) -> ObjectEncryption {
        let block = &self.site.effective.block;
        let encrypt = block.encrypt == Some(true);
        match block.key_id.clone().filter(|key| !key.is_empty()) {
            Some(key) if !encrypt => ObjectEncryption::KeyOnly(key),
            _ => self.object_encryption(encrypt),
        }
    }

    /// How an object is encrypted on request, with `encrypt` on or off.
    fn object_encryption(&self, encrypt: bool) -> ObjectEncryption {
        let key = self.site.effective.block.key_id.clone().filter(|key| !key.is_empty());
        match key {
            _ if !encrypt => ObjectEncryption::Default,
            Some(key) => ObjectEncryption::Kms(key),
            None => ObjectEncryption::Aes256,
        }
    }

    /// The bucket had no default: the rule stays only where objects can still be written.
    async fn encrypt_first(&self, wanted: &Encryption, left: &mut bool) -> Result<(), Snag> {
        let before = self.object_encryption(self.is_verified());
        self.begin().await?;
        if let Err(error) = self.write_probe(&before, left).await {
            let message = format!("objects cannot be written, so that its effect could not be seen: {error}");
            return Err(Snag::Not(code(&error), message, false));
        }
        self.bucket.put_encryption(wanted).await?;
        match self.write_probe(&self.object_encryption(true), left).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.take_back(&error).await),
        }
    }

    /// Whether the Config says that the operator created the bucket: then its first rule is the operator's.
    fn is_created_here(&self) -> bool {
        Intent::stored(self.step.config, Some(&self.site.location)).is_some()
    }

    async fn take_back(&self, error: &CallError) -> Snag {
        if let Err(still) = self.bucket.delete_encryption().await {
            let message = format!(
                "no object can be written with it ({error}), and it could not be taken back ({still}): delete the default \
                 encryption of the bucket"
            );
            return Snag::Not(code(error), message, false);
        }
        let message = format!("no object could be written with it, so that it was taken back: {error}");
        Snag::Not(code(error), message, is_verdict(error))
    }

    /// The rule is the one that we want, and nobody noted that it works: perhaps a process died before it looked.
    async fn look_at_effect(&self, rule: &Encryption, left: &mut bool) -> Result<(), Snag> {
        self.begin().await?;
        let Err(error) = self.write_probe(&self.object_encryption(true), left).await else {
            return Ok(());
        };
        // A rule that may be a user's is not touched: there may be no time to put it back.
        if !is_verdict(&error) || !self.is_created_here() {
            let message = format!("whether objects can be written with it could not be seen: {error}");
            return Err(Snag::Not(code(&error), message, false));
        }
        let taken = self.take_back(&error).await;
        // The rule is to blame only if objects can be written without it.
        if self.write_probe(&self.object_encryption(false), left).await.is_err() {
            self.bucket.put_encryption(rule).await?;
            let message = format!("objects cannot be written, with it or without: {error}");
            return Err(Snag::Not(code(&error), message, false));
        }
        Err(taken)
    }

    /// Whether applying the setting would write an object that no record tells of.
    pub async fn is_about_to_probe(&self) -> bool {
        if !self.is_encryption_due() || self.is_probe_recorded() {
            return false;
        }
        match self.bucket.encryption().await {
            Ok(found) => found.is_none_or(|found| found == self.wanted_encryption() && !self.is_verified()),
            Err(_) => false, // said when the setting is applied
        }
    }

    fn is_probe_recorded(&self) -> bool {
        probes::is_recorded(self.step.config, &self.site.location, &self.site.probe_key)
    }

    /// Whether it was seen that objects can be written with the rule.
    fn is_verified(&self) -> bool {
        self.site.effective.block.encrypt == Some(true)
    }

    /// Before the first object is written.
    async fn begin(&self) -> Result<(), Snag> {
        if !self.is_probe_recorded() {
            let message = "its effect is to be tried out, and the object for that is not recorded yet".to_owned();
            return Err(Snag::Not(UNKNOWN.to_owned(), message, false));
        }
        Ok(self.confirm().await?)
    }

    /// Writes a probe object, and takes it away again. `left`: it may still be there.
    async fn write_probe(&self, encryption: &ObjectEncryption, left: &mut bool) -> Result<(), CallError> {
        let key = &self.site.probe_key;
        let written = self.bucket.put(key, b"probe".to_vec(), encryption).await;
        if let Ok(version) = &written {
            *left |= !self.take_probe_away(version.as_deref()).await;
        }
        *left |= self.bucket.is_unsure();
        written.map(drop)
    }
}

/// Whether the error says something of the rule; a store that is busy or not reached says nothing.
fn is_verdict(error: &CallError) -> bool {
    match error.cause {
        Cause::Unreachable | Cause::NotLeading | Cause::Identity | Cause::Answer(429 | 503) => false,
        // A failure of the store itself is what a rule without a key to it looks like.
        Cause::Answer(500..) => true,
        Cause::Answer(_) | Cause::Unsendable => !error.is_undecided(),
    }
}
