//! Calls to one bucket, through the official SDK over our own HTTP client.
//!
//! Each method is one call (with the SDK's retries); what it answers is plain data. Calls that change something ask first
//! whether this process still leads, and carry `x-amz-expected-bucket-owner` on public AWS endpoints where the account is
//! known.

use super::credentials::Credentials;
use super::effective::Effective;
use super::error::CallError;
use super::identity::Token;
use super::tags::Tag;
use crate::storage::cloud::Cloud;
use crate::storage::fault::Fault;
use crate::storage::http::{Trust, Via};

/// How a bucket is reached.
#[derive(Clone, Debug)]
pub struct Connection<'a> {
    /// Region, endpoint, style.
    pub effective: &'a Effective,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// Where web identity tokens come from.
    pub token: Token,
    /// Roots for S3.
    pub trust: Trust,
    /// Roots for STS.
    pub sts_trust: Trust,
    /// Way out.
    pub via: Via,
    /// The settings are those of Managed storage: changing calls carry the account, where it is known.
    pub pin_owner: bool,
}

/// The bucket of a connection.
pub struct Bucket {
    pub(super) name: String,
}

/// Default encryption of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub algorithm: String,
    /// KMS key.
    pub key: Option<String>,
    /// S3 Bucket Keys.
    pub bucket_key: bool,
}

/// A rule of a bucket's lifecycle, as the store gave it; foreign rules are written back as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule(pub aws_sdk_s3::types::LifecycleRule);

/// One version of an object, or one delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Key.
    pub key: String,
    /// Version; `null` where the bucket never had versions, `None` in a plain listing.
    pub version: Option<String>,
    /// Whether it is the newest of its key.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub marker: bool,
}

/// A page of a listing, from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is there, at most as many as were asked for.
    pub entries: Vec<Entry>,
    /// Whether there is more.
    pub more: bool,
}

/// A key that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// Key.
    pub key: String,
    /// Version.
    pub version: Option<String>,
    /// The store's code.
    pub code: String,
    /// The store's text.
    pub message: String,
}

/// An upload that was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Key.
    pub key: String,
    /// Id.
    pub id: String,
}

/// Server-side encryption that a PUT asks for, as the registry does with `encrypt` and `keyID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectEncryption {
    /// None is asked for.
    Default,
    /// `AES256`.
    Aes256,
    /// `aws:kms`, with a key.
    Kms(String),
}

impl Cloud {
    /// A connection to the bucket `name`. Nothing is sent yet.
    pub fn s3(&self, connection: &Connection<'_>, name: &str) -> Result<Bucket, Fault> {
        let _ = (connection, &self.http, &self.settings);
        Ok(Bucket { name: name.to_owned() })
    }
}

type Called<T> = Result<T, CallError>;

#[allow(clippy::unused_async)]
impl Bucket {
    /// HeadBucket. On 400 and 403 the code of a `GET ?location` is in the error, where that tells more.
    pub async fn head(&self) -> Called<()> {
        Err(not_built())
    }
    /// Account of the credentials (STS GetCallerIdentity, kept); `None` where it cannot be known.
    pub async fn account(&self) -> Option<String> {
        None
    }
    /// CreateBucket, with LocationConstraint where the region is not `us-east-1`.
    pub async fn create(&self) -> Called<()> {
        Err(not_built())
    }
    /// DeleteBucket.
    pub async fn delete_bucket(&self) -> Called<()> {
        Err(not_built())
    }
    /// GetBucketTagging; `NoSuchTagSet` is an empty set.
    pub async fn tags(&self) -> Called<Vec<Tag>> {
        Err(not_built())
    }
    /// PutBucketTagging: the whole set.
    pub async fn put_tags(&self, _tags: &[Tag]) -> Called<()> {
        Err(not_built())
    }
    /// GetPublicAccessBlock: whether all four are on; none is `false`.
    pub async fn is_private(&self) -> Called<bool> {
        Err(not_built())
    }
    /// PutPublicAccessBlock, all four.
    pub async fn make_private(&self) -> Called<()> {
        Err(not_built())
    }
    /// GetBucketEncryption; `ServerSideEncryptionConfigurationNotFoundError` is `None`.
    pub async fn encryption(&self) -> Called<Option<Encryption>> {
        Err(not_built())
    }
    /// PutBucketEncryption.
    pub async fn put_encryption(&self, _encryption: &Encryption) -> Called<()> {
        Err(not_built())
    }
    /// DeleteBucketEncryption.
    pub async fn delete_encryption(&self) -> Called<()> {
        Err(not_built())
    }
    /// GetBucketLifecycleConfiguration; `NoSuchLifecycleConfiguration` is empty.
    pub async fn lifecycle(&self) -> Called<Vec<Rule>> {
        Err(not_built())
    }
    /// PutBucketLifecycleConfiguration: all rules.
    pub async fn put_lifecycle(&self, _rules: &[Rule]) -> Called<()> {
        Err(not_built())
    }
    /// ListObjectVersions, one page from the start.
    pub async fn versions(&self, _at_most: u16) -> Called<Listing> {
        Err(not_built())
    }
    /// ListObjectsV2 (V1 where the store does not know it), one page from the start.
    pub async fn objects(&self, _prefix: &str, _at_most: u16) -> Called<Listing> {
        Err(not_built())
    }
    /// DeleteObjects, quiet, at most 1000; what is not deleted comes back.
    pub async fn delete(&self, _entries: &[Entry]) -> Called<Vec<KeyError>> {
        Err(not_built())
    }
    /// ListMultipartUploads under a prefix, one page from the start, and whether there is more.
    pub async fn uploads(&self, _prefix: &str) -> Called<(Vec<Upload>, bool)> {
        Err(not_built())
    }
    /// AbortMultipartUpload.
    pub async fn abort(&self, _upload: &Upload) -> Called<()> {
        Err(not_built())
    }
    /// PutObject; the VersionId of what was written.
    pub async fn put(&self, _key: &str, _body: Vec<u8>, _encryption: &ObjectEncryption) -> Called<Option<String>> {
        Err(not_built())
    }
    /// GetObject, all of it.
    pub async fn get(&self, _key: &str) -> Called<Vec<u8>> {
        Err(not_built())
    }
    /// DeleteObject, of one version where given.
    pub async fn delete_object(&self, _key: &str, _version: Option<&str>) -> Called<()> {
        Err(not_built())
    }
    /// CreateMultipartUpload.
    pub async fn begin_upload(&self, _key: &str, _encryption: &ObjectEncryption) -> Called<Upload> {
        Err(not_built())
    }
    /// UploadPart.
    pub async fn upload_part(&self, _upload: &Upload, _number: i32, _body: Vec<u8>) -> Called<()> {
        Err(not_built())
    }
    /// ListParts: how many.
    pub async fn parts(&self, _upload: &Upload) -> Called<usize> {
        Err(not_built())
    }
}

fn not_built() -> CallError {
    CallError {
        action: "s3",
        resource: String::new(),
        cause: super::error::Cause::NotLeading,
        code: String::new(),
        message: String::new(),
        region: None,
    }
}
