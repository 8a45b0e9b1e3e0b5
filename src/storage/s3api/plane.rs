//! A bucket as the registry uses it: each call as the registry's S3 driver sends it. For every backend whose registry has
//! the S3 driver.

use super::client::{Bucket, Deletion, Entry, ObjectEncryption, Upload};
use crate::storage::model::call::{CallError, Called};
use crate::storage::traits::{Check, DataPlane};

/// Version ID of an object that was written without versioning.
pub const NULL: &str = "null";

/// The bucket with the registry's identity.
pub struct RegistryBucket {
    /// The bucket, connected as the registry would be.
    pub bucket: Bucket,
    /// Encryption headers of the registry's uploads.
    pub encryption: ObjectEncryption,
    /// See [`DataPlane::must_delete_versions`].
    pub must_delete_versions: bool,
    /// Size in bytes of the object of which the preflight copies a part.
    pub copied: usize,
    /// See [`DataPlane::remedy`].
    pub remedy: Box<dyn Fn(&CallError) -> String>,
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
        self.bucket.copy_part(from, &upload.upload, PART, self.copied).await
    }

    async fn abort_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        self.bucket.abort(&upload.upload).await?;
        Ok(None)
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
        self.must_delete_versions
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
        (self.remedy)(error)
    }
}
