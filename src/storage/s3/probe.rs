//! Trying a bucket out as the registry would use it: its identity, its way out, its requests.
//!
//! Each request stands for a right. What the store refuses is named; a store that is busy or silent has refused nothing.

use super::client::{Bucket, ObjectEncryption, Upload};
use super::error::{CallError, Cause};
use super::visit::{Visit, is_gone};
use crate::config::notice::Notice;
use crate::storage::Cluster;
use crate::storage::driver::{Denial, Failure, Probed, State, Trial};
use crate::storage::fault::Fault;

/// What a probe object holds.
pub(super) const BODY: &[u8] = b"The image registry operator tries whether the registry can use this bucket.";
/// Versions of one probe object that are looked for.
const A_FEW: u16 = 100;

/// A trial of one bucket.
pub(super) struct Trying<'a> {
    pub bucket: &'a Bucket,
    pub key: &'a str,
    pub encryption: ObjectEncryption,
    /// Deletion of a version that is refused is a failure.
    pub managed: bool,
    /// Where the registry asks for STS, if that is not where the operator does.
    pub sts: Option<String>,
}

/// What has to be taken away again.
#[derive(Default)]
struct Litter {
    object: bool,
    version: Option<String>,
    upload: Option<Upload>,
}

impl Trying<'_> {
    /// Only list and read.
    pub async fn read(&self) -> Probed {
        if let Err(error) = self.bucket.objects(self.key, 1).await {
            return self.judge(&error).into();
        }
        match self.bucket.get(self.key).await {
            Ok(_) => Trial::Passed.into(),
            // Whoever may list and read is told that there is no such object.
            Err(error) if error.is_missing() && !is_gone(&error) => Trial::Passed.into(),
            Err(error) => self.judge(&error).into(),
        }
    }

    /// Everything that the registry does. What was written is deleted, whatever happened.
    pub async fn write(&self) -> Probed {
        let mut litter = Litter::default();
        let worked = self.use_it(&mut litter).await;
        let mut probed = Probed {
            trial: worked.map_or_else(|error| self.judge(&error), |()| Trial::Passed),
            left: false,
            notices: Vec::new(),
        };
        self.clean_up(litter, &mut probed).await;
        probed
    }

    async fn use_it(&self, litter: &mut Litter) -> Result<(), CallError> {
        litter.object = true; // also where the answer is lost
        match self.bucket.put(self.key, BODY.to_vec(), &self.encryption).await {
            Ok(version) => litter.version = version,
            Err(error) => {
                litter.object = !error.is_denied();
                return Err(error);
            }
        }
        self.bucket.get(self.key).await?;
        self.bucket.objects(self.key, 1).await?;
        let upload = self.bucket.begin_upload(self.key, &self.encryption).await?;
        let upload = litter.upload.insert(upload);
        self.bucket.upload_part(upload, 1, BODY.to_vec()).await?;
        self.bucket.uploads(self.key).await?;
        self.bucket.parts(upload).await?;
        Ok(())
    }

    /// Takes away what was written; that is part of what the registry has to be able to do.
    async fn clean_up(&self, litter: Litter, probed: &mut Probed) {
        let Litter {
            object,
            version,
            upload,
        } = litter;
        // A version or an upload of which nobody was told: looked for by the next clearing.
        probed.left |= self.bucket.is_unsure();
        if let Some(upload) = upload
            && let Err(error) = self.bucket.abort(&upload).await
        {
            self.not_cleaned(&error, probed);
        }
        if !object {
            return;
        }
        match self.bucket.delete_object(self.key, version.as_deref()).await {
            Ok(()) => {}
            Err(error) if error.is_missing() => {}
            Err(error) if version.is_some() && error.code == "AccessDenied" && !self.managed => {
                // Pushes and pulls need no right to delete versions. Without a version, a delete marker hides the object.
                let hidden = self.bucket.delete_object(self.key, None).await;
                let how = if hidden.is_ok() {
                    "is hidden by a delete marker"
                } else {
                    "stays"
                };
                probed.notices.push(Notice {
                    warning: false,
                    reason: "StorageProbeKept",
                    note: format!(
                        "the bucket keeps versions, and {} is denied: the version {} of {}, a few bytes, {how}",
                        error.action,
                        version.unwrap_or_default(),
                        self.key
                    ),
                });
                if let Err(error) = hidden {
                    self.not_cleaned(&error, probed);
                }
            }
            Err(error) => self.not_cleaned(&error, probed),
        }
    }

    fn not_cleaned(&self, error: &CallError, probed: &mut Probed) {
        probed.left = true;
        if probed.trial == Trial::Passed {
            probed.trial = self.judge(error);
        }
    }

    fn judge(&self, error: &CallError) -> Trial {
        let remedy = self.remedy(error);
        if error.is_undecided() || is_silent(error) {
            return Trial::Undecided(format!("{error}{remedy}"));
        }
        Trial::Denied(Denial {
            action: self.action(error),
            resource: error.resource.clone(),
            code: error.code.clone(),
            message: format!("{}{remedy}", error.message),
            auth: error.is_denied(),
        })
    }

    /// What to do about an STS that only the operator can be told of, and about a key that is named in vain.
    fn remedy(&self, error: &CallError) -> String {
        if let ObjectEncryption::KeyOnly(key) = &self.encryption
            && error.cause == Cause::Answer(400)
            && !error.is_undecided()
            && error.action == "s3:PutObject"
        {
            return format!(
                " (the registry names key {key} of spec.storage.s3.keyID and asks for no encryption: set \
                 spec.storage.s3.encrypt, or take keyID out)"
            );
        }
        match &self.sts {
            Some(place) if error.of_identity() => format!(
                " (the registry has no setting for STS, and asks {place}: use keys in place of a role, or storage for which \
                 that is the right one)"
            ),
            _ => String::new(),
        }
    }

    /// The right that was missing; with a key of the customer's it may be one of KMS.
    fn action(&self, error: &CallError) -> String {
        let key = match &self.encryption {
            ObjectEncryption::Kms(key) if error.is_denied() => key,
            _ => return error.action.to_owned(),
        };
        match error.action {
            "s3:PutObject" => format!("s3:PutObject, or kms:GenerateDataKey and kms:Decrypt with key {key},"),
            "s3:GetObject" => format!("s3:GetObject, or kms:Decrypt with key {key},"),
            other => other.to_owned(),
        }
    }
}

/// Whether the identity could not be had because nobody answered.
fn is_silent(error: &CallError) -> bool {
    error.cause == Cause::Identity && error.code == "RequestError"
}

impl<C: Cluster> Visit<'_, C> {
    /// Deletes what an earlier process may have left of a probe: every version of the object, and unfinished uploads of it.
    pub async fn clear(&self, key: &str) -> Result<(), Failure> {
        let cleared = self.clear_all(key).await;
        match cleared {
            Ok(()) => Ok(()),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => {
                let message = format!(
                    "a probe object may be left at {}/{key}, delete it: {}",
                    self.site.name,
                    self.explain(&error)
                );
                // Keys may be too fresh, or wrong for a while; core gives up in the end.
                let fault = if error.is_denied() {
                    Fault::transient(message)
                } else {
                    Fault {
                        message,
                        ..error.fault()
                    }
                };
                Err(fault.into())
            }
        }
    }

    async fn clear_all(&self, key: &str) -> Result<(), CallError> {
        let listed = match self.bucket.versions_under(key, A_FEW).await {
            Ok(listed) => listed,
            Err(error) if error.is_unsupported() || error.code == "AccessDenied" => {
                self.bucket.objects(key, A_FEW).await?
            }
            Err(error) => return Err(error),
        };
        for entry in listed.entries.iter().filter(|entry| entry.key == key) {
            let version = entry.version.as_deref().filter(|version| *version != "null");
            match self.bucket.delete_object(key, version).await {
                Err(error) if error.code == "AccessDenied" && version.is_some() && entry.latest && !entry.marker => {
                    self.bucket.delete_object(key, None).await?;
                }
                Err(error) if error.code == "AccessDenied" && (entry.marker || !entry.latest) => {}
                Err(error) if error.is_missing() => {}
                ended => ended?,
            }
        }
        let Ok((uploads, _)) = self.bucket.uploads(key).await else {
            return Ok(()); // they are aborted by the bucket's own rule
        };
        for upload in uploads.iter().filter(|upload| upload.key == key) {
            self.bucket.abort(upload).await?;
        }
        Ok(())
    }

    /// Takes away an object that [`Self::encrypt`] wrote, as far as the store lets us; in a bucket that keeps versions, all
    /// of them. Tells whether nothing is left.
    pub async fn take_probe_away(&self, version: Option<&str>) -> bool {
        let key = &self.site.probe_key;
        let deleted = self.bucket.delete_object(key, version).await.is_ok();
        if version.is_none() || deleted && self.clear_all(key).await.is_ok() {
            return deleted;
        }
        // Without a version, a delete marker hides the object.
        let _ = self.bucket.delete_object(key, None).await;
        false
    }

    /// Whether refusing to delete versions is a failure here.
    pub fn is_managed(&self) -> bool {
        self.state() == Some(State::Managed)
    }
}
