//! Access to the bucket as the registry has it: identity, proxy, CA, endpoint and headers.

use super::bucket::{NULL, Store};
use super::connect::{Connection, connect};
use super::credentials::Credentials;
use super::effective::Effective;
use super::remedy;
use super::session::Token;
use crate::program::S3Wire;
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::Probe;
use crate::storage::model::state::State;
use crate::storage::net::http::{Egress, Trust};
use crate::storage::preflight::{self, exercise};
use crate::storage::s3api::client::{Bucket, Deletion, Entry, ObjectEncryption, Upload};
use crate::storage::traits::{Check, Cluster, DataPlane};

/// The bucket with the registry's identity.
pub struct RegistryBucket {
    bucket: Bucket,
    encryption: ObjectEncryption,
    managed: bool,
    /// Address at which the registry calls STS, if the operator uses another one.
    sts: Option<String>,
}

/// The configuration as the registry program uses it, and the address at which it calls STS, if the operator uses
/// another one. A program without a setting for STS calls STS at the storage endpoint, or at the public address.
fn as_program(mut effective: Effective, wire: S3Wire) -> (Effective, Option<String>) {
    if effective.rendered_endpoint.is_none() {
        effective.endpoint = None;
    }
    if wire.has_sts_endpoint {
        return (effective, None);
    }
    let registry_sts = effective.endpoint.clone();
    let operator_sts = std::mem::replace(&mut effective.sts_endpoint, registry_sts);
    let other_sts = (effective.sts_endpoint != operator_sts).then(|| match &effective.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => "the public address".to_owned(),
    });
    (effective, other_sts)
}

impl<C: Cluster> Store<'_, C> {
    /// The bucket with the registry's identity, proxy and CA.
    pub(super) async fn as_registry(&self, probe: &Probe<'_>) -> Result<RegistryBucket, StorageError> {
        let credentials = Credentials::of(self.request.snapshot)?;
        let (effective, sts) = as_program(self.effective.clone(), probe.s3);
        let trust = Trust {
            bundle: probe.roots.to_owned(),
            system: true,
            unverified: false,
        };
        let token = if Token::is_needed(&credentials.profile) {
            Token::Given(self.backend.cluster.registry_token(preflight::AUDIENCE).await?)
        } else {
            Token::of_operator(&credentials.profile)
        };
        let connection = Connection {
            effective: &effective,
            credentials: &credentials,
            token,
            trust: trust.clone(),
            sts_trust: trust,
            egress: Egress::Fixed(probe.proxies.clone()),
            pin_owner: false,
        };
        let name = &self.container.name;
        Ok(RegistryBucket {
            bucket: connect(self.backend.network, self.backend.identities, connection, name)?,
            encryption: self.registry_encryption(),
            managed: self.request.effective_state() == Some(State::Managed),
            sts,
        })
    }

    /// Encryption headers of the registry's uploads. The registry sends the key even if `encrypt` is off.
    fn registry_encryption(&self) -> ObjectEncryption {
        let encrypt = self.effective.spec.encrypt == Some(true);
        match self.key_id() {
            Some(key) if !encrypt => ObjectEncryption::KeyOnly(key),
            _ => self.object_encryption(encrypt),
        }
    }
}

/// A multipart upload with one part.
pub struct RegistryUpload {
    upload: Upload,
    /// ETag of the part.
    etag: String,
}

/// Number of the part.
const PART: i32 = 1;

impl DataPlane for RegistryBucket {
    type Upload = RegistryUpload;

    async fn put(&self, key: &str, body: &[u8]) -> Called<Option<String>> {
        self.bucket.put(key, body.to_vec(), &self.encryption).await
    }

    async fn get(&self, key: &str) -> Called<Vec<u8>> {
        self.bucket.get(key).await
    }

    async fn lists_object(&self, key: &str) -> Called<bool> {
        let listing = self.bucket.objects(key, 1).await?;
        Ok(listing.entries.iter().any(|entry| entry.key == key))
    }

    async fn begin_upload(&self, key: &str) -> Called<RegistryUpload> {
        let upload = self.bucket.begin_upload(key, &self.encryption).await?;
        Ok(RegistryUpload {
            upload,
            etag: String::new(),
        })
    }

    async fn lists_upload(&self, upload: &RegistryUpload) -> Called<bool> {
        let (uploads, _) = self.bucket.uploads(&upload.upload.key).await?;
        Ok(uploads.contains(&upload.upload))
    }

    async fn upload_part(&self, upload: &mut RegistryUpload, body: &[u8]) -> Called<()> {
        upload.etag = self.bucket.upload_part(&upload.upload, PART, body.to_vec()).await?;
        Ok(())
    }

    async fn lists_part(&self, upload: &RegistryUpload, size: usize) -> Called<bool> {
        let parts = self.bucket.parts(&upload.upload).await?;
        Ok(parts.iter().any(|part| usize::try_from(*part) == Ok(size)))
    }

    async fn complete_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        let version = self.bucket.complete(&upload.upload, PART, &upload.etag).await?;
        // Some services send the version of a bucket without versions as a text.
        Ok(version.filter(|version| version != NULL))
    }

    async fn copy(&self, from: &str, to: &str) -> Called<Option<String>> {
        self.bucket.copy(from, to, &self.encryption).await
    }

    async fn copy_part(&self, from: &str, upload: &RegistryUpload) -> Called<()> {
        let size = exercise::UPLOADED.len();
        self.bucket.copy_part(from, &upload.upload, PART, size).await
    }

    async fn abort_upload(&self, upload: &RegistryUpload) -> Called<()> {
        self.bucket.abort(&upload.upload).await
    }

    async fn delete_together(&self, keys: &[&str]) -> Called<Vec<(String, String)>> {
        let entries: Vec<Entry> = keys.iter().map(|key| Entry::object(key)).collect();
        let entries: Vec<&Entry> = entries.iter().collect();
        let Deletion { refused, markers, .. } = self.bucket.delete_together(&entries).await?;
        match refused.into_iter().find_map(|error| self.bucket.of_key(error)) {
            Some(error) => Err(error),
            None => Ok(markers),
        }
    }

    async fn delete(&self, key: &str, version: Option<&str>) -> Called<()> {
        self.bucket.delete_object(key, version).await
    }

    async fn retains_versions(&self) -> bool {
        // Without the permission to read the retention, it may be the cause.
        self.bucket.retains_versions().await.unwrap_or(true)
    }

    fn permission(&self, check: Check) -> &'static str {
        match check {
            Check::Content => "s3:GetObject",
            Check::Deletion => "s3:DeleteObject",
            Check::Objects => "s3:ListBucket",
            Check::Uploads => "s3:ListBucketMultipartUploads",
            Check::Parts => "s3:ListMultipartUploadParts",
        }
    }

    fn is_unsure(&self) -> bool {
        self.bucket.is_unsure()
    }

    fn must_delete_versions(&self) -> bool {
        self.managed
    }

    /// With a customer-managed key, the missing permission may be one of KMS.
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

    fn remedy(&self, error: &CallError) -> String {
        if let Some(remedy) = remedy::of_encryption(&self.encryption, error) {
            return remedy;
        }
        match &self.sts {
            Some(address) if error.of_identity => format!(
                " (the registry has no setting for STS, and calls it at {address}: use an access key instead of a role, \
                 or storage whose STS has that address)"
            ),
            _ => String::new(),
        }
    }
}
