//! Calls for objects, versions and multipart uploads. A listing is always the first page, because some services skip
//! entries when the key of a continuation marker was deleted meanwhile.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, ObjectCannedAcl, ObjectIdentifier, ServerSideEncryption,
    StorageClass,
};

use super::client::{Bucket, Call, Deletion, Entry, KeyError, Listing, ObjectEncryption, Upload, send};
use super::codes::GARBLED;
use super::error::{failed, garbled};
use super::settings::unless;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::net::error::shown;

/// Error code of an object whose deletion got no response.
const BUSY: &str = "ServiceUnavailable";
/// Content type of everything that the registry writes.
const CONTENT_TYPE: &str = "application/octet-stream";

impl ObjectEncryption {
    /// Values of the headers: algorithm and key.
    fn headers(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match self {
            Self::Default => (None, None),
            Self::Aes256 => (Some(ServerSideEncryption::Aes256), None),
            Self::Kms(key) => (Some(ServerSideEncryption::AwsKms), Some(key.clone())),
            Self::KeyOnly(key) => (None, Some(key.clone())),
        }
    }
}

impl Bucket {
    /// ListObjectVersions, the first page.
    pub async fn versions(&self, at_most: u16) -> Called<Listing> {
        self.versions_under("", at_most).await
    }

    /// ListObjectVersions of keys with this prefix, the first page.
    pub async fn versions_under(&self, prefix: &str, at_most: u16) -> Called<Listing> {
        let answer = send!(
            self,
            &Call::read("s3:ListBucketVersions"),
            self.s3
                .list_object_versions()
                .bucket(&self.name)
                .set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()))
                .max_keys(at_most.into())
        );
        let answer = answer.map_err(|error| self.of_versions(error))?;
        let versions = answer.versions.unwrap_or_default().into_iter().filter_map(|version| {
            Some(Entry {
                key: version.key?,
                version: version.version_id,
                latest: version.is_latest.unwrap_or_default(),
                marker: false,
            })
        });
        let markers = answer
            .delete_markers
            .unwrap_or_default()
            .into_iter()
            .filter_map(|marker| {
                Some(Entry {
                    key: marker.key?,
                    version: marker.version_id,
                    latest: marker.is_latest.unwrap_or_default(),
                    marker: true,
                })
            });
        Ok(Listing {
            entries: versions.chain(markers).collect(),
            more: answer.is_truncated.unwrap_or_default(),
        })
    }

    /// The error of a listing of versions. A service without that call may refuse the parameter of the query, or list objects.
    fn of_versions(&self, error: CallError) -> CallError {
        let refused = matches!(error.class, CallClass::Rejected | CallClass::NotFound) || error.code == GARBLED;
        if self.lists_versions || !refused {
            return error;
        }
        CallError {
            class: CallClass::Unsupported,
            ..error
        }
    }

    /// ListObjectsV2, or V1 if the service does not implement V2; the first page.
    pub async fn objects(&self, prefix: &str, at_most: u16) -> Called<Listing> {
        let answer = send!(
            self,
            &Call::read("s3:ListBucket"),
            self.s3
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(prefix)
                .max_keys(at_most.into())
        );
        match answer {
            Ok(answer) => Ok(listing(answer.contents, answer.is_truncated)),
            Err(error) if error.is_unsupported() => self.objects_v1(prefix, at_most).await,
            Err(error) => Err(error),
        }
    }

    async fn objects_v1(&self, prefix: &str, at_most: u16) -> Called<Listing> {
        let answer = send!(
            self,
            &Call::read("s3:ListBucket"),
            self.s3
                .list_objects()
                .bucket(&self.name)
                .prefix(prefix)
                .max_keys(at_most.into())
        )?;
        Ok(listing(answer.contents, answer.is_truncated))
    }

    /// Deletes at most 1000 entries. Returns the keys that were not deleted. Uses DeleteObjects, and one DeleteObject
    /// each for keys that XML cannot represent, or if the service does not implement DeleteObjects.
    pub async fn delete(&self, entries: &[Entry]) -> Called<Deletion> {
        let (together, mut alone): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.key.chars().all(is_xml));
        let mut deletion = match self.delete_together(&together).await {
            Ok(deletion) => deletion,
            Err(error) if error.is_unsupported() => {
                alone = entries.iter().collect();
                Deletion::default()
            }
            Err(error) => return Err(error),
        };
        for entry in alone {
            if is_relative(&entry.key) {
                deletion.refused.push(KeyError {
                    key: entry.key.clone(),
                    version: entry.version.clone(),
                    code: "RelativeKey".to_owned(),
                    message: "the key has a relative path in it, so that no URL names the object: delete it with the tools of the store"
                        .to_owned(),
                });
                continue;
            }
            match self.delete_object(&entry.key, entry.version.as_deref()).await {
                Ok(()) => deletion.deleted += 1,
                Err(error) if error.is_missing() => deletion.deleted += 1,
                Err(error) if error.is_undecided() && deletion.deleted == 0 => return Err(error),
                Err(error) => {
                    let ends = error.is_undecided();
                    deletion.refused.push(KeyError {
                        key: entry.key.clone(),
                        version: entry.version.clone(),
                        code: if ends { BUSY.to_owned() } else { error.code },
                        message: error.message,
                    });
                    if ends {
                        break; // What was deleted so far counts. The next attempt begins with a new listing.
                    }
                }
            }
        }
        Ok(deletion)
    }

    /// DeleteObjects, at most 1000. As the registry, not in quiet mode, which some services ignore.
    pub async fn delete_together(&self, entries: &[&Entry]) -> Called<Deletion> {
        if entries.is_empty() {
            return Ok(Deletion::default());
        }
        let call = Call::checked(if entries.iter().any(|entry| entry.version.is_some()) {
            "s3:DeleteObjectVersion"
        } else {
            "s3:DeleteObject"
        });
        let objects: Result<Vec<_>, _> = entries
            .iter()
            .map(|entry| {
                ObjectIdentifier::builder()
                    .key(&entry.key)
                    .set_version_id(entry.version.clone())
                    .build()
            })
            .collect();
        let delete = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(false).build());
        let delete = delete.map_err(|error| self.unsendable(&call, &error))?;
        let answer = send!(
            self,
            &call,
            self.s3.delete_objects().bucket(&self.name).delete(delete.clone())
        )?;
        let secrets = self.all_secrets();
        let named = answer.errors.as_ref().map_or(0, Vec::len);
        let refused = answer.errors.unwrap_or_default().into_iter().map(|error| KeyError {
            key: error.key.unwrap_or_default(),
            version: error.version_id,
            code: shown(&error.code.unwrap_or_default(), &secrets),
            message: shown(&error.message.unwrap_or_default(), &secrets),
        });
        let deleted = answer.deleted.unwrap_or_default();
        // Some services name only the objects that they did not delete.
        let count = match deleted.len() {
            0 if named > 0 => entries.len().saturating_sub(named),
            count => count,
        };
        let markers = deleted.into_iter().filter_map(|deleted| {
            let is_marker = deleted.delete_marker.unwrap_or_default();
            is_marker.then_some((deleted.key?, deleted.delete_marker_version_id?))
        });
        Ok(Deletion {
            deleted: count,
            refused: refused.collect(),
            markers: markers.collect(),
        })
    }

    /// The error of a key that DeleteObjects did not delete; `None` if the object does not exist.
    pub fn of_key(&self, refused: KeyError) -> Option<CallError> {
        let KeyError { key, code, message, .. } = refused;
        let resource = format!("{}/{key}", self.name);
        // The response has a status of its own only for the whole call.
        let error = failed("s3:DeleteObject", &resource, Cause::Answer(400), code, message);
        (error.code != "NoSuchKey").then_some(error)
    }

    /// ListMultipartUploads with this prefix: the first page, and whether it was truncated.
    pub async fn uploads(&self, prefix: &str) -> Called<(Vec<Upload>, bool)> {
        let answer = send!(
            self,
            &Call::read("s3:ListBucketMultipartUploads"),
            self.s3
                .list_multipart_uploads()
                .bucket(&self.name)
                .set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()))
        )?;
        let uploads = answer.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
            Some(Upload {
                key: upload.key?,
                id: upload.upload_id?,
            })
        });
        Ok((uploads.collect(), answer.is_truncated.unwrap_or_default()))
    }

    /// AbortMultipartUpload.
    pub async fn abort(&self, upload: &Upload) -> Called<()> {
        send!(
            self,
            &Call::change("s3:AbortMultipartUpload").of(&upload.key),
            self.s3
                .abort_multipart_upload()
                .bucket(&self.name)
                .key(&upload.key)
                .upload_id(&upload.id)
        )
        .map(drop)
    }

    /// PutObject with the headers of the registry's driver. Returns the version ID, if the bucket is versioned.
    pub async fn put(&self, key: &str, body: Vec<u8>, encryption: &ObjectEncryption) -> Called<Option<String>> {
        let (algorithm, kms) = encryption.headers();
        send!(
            self,
            &Call::checked("s3:PutObject").of(key),
            self.s3
                .put_object()
                .bucket(&self.name)
                .key(key)
                .acl(ObjectCannedAcl::Private)
                .content_type(CONTENT_TYPE)
                .storage_class(StorageClass::Standard)
                .set_server_side_encryption(algorithm.clone())
                .set_ssekms_key_id(kms.clone())
                .body(ByteStream::from(body.clone()))
        )
        .map(|answer| answer.version_id)
    }

    /// GetObject: the complete body.
    pub async fn get(&self, key: &str) -> Called<Vec<u8>> {
        let call = Call::read("s3:GetObject").of(key);
        let answer = send!(self, &call, self.s3.get_object().bucket(&self.name).key(key))?;
        let broken = |error| garbled(call.action, &self.resource(&call), format!("no body: {error}"));
        let body = answer.body.collect().await.map_err(broken)?;
        Ok(body.to_vec())
    }

    /// DeleteObject, or of one version if given.
    pub async fn delete_object(&self, key: &str, version: Option<&str>) -> Called<()> {
        let action = if version.is_some() {
            "s3:DeleteObjectVersion"
        } else {
            "s3:DeleteObject"
        };
        send!(
            self,
            &Call::change(action).of(key),
            self.s3
                .delete_object()
                .bucket(&self.name)
                .key(key)
                .set_version_id(version.map(str::to_owned))
        )
        .map(drop)
    }

    /// CreateMultipartUpload.
    pub async fn begin_upload(&self, key: &str, encryption: &ObjectEncryption) -> Called<Upload> {
        let call = Call::change("s3:PutObject").of(key);
        let (algorithm, kms) = encryption.headers();
        let answer = send!(
            self,
            &call,
            self.s3
                .create_multipart_upload()
                .bucket(&self.name)
                .key(key)
                .acl(ObjectCannedAcl::Private)
                .content_type(CONTENT_TYPE)
                .storage_class(StorageClass::Standard)
                .set_server_side_encryption(algorithm.clone())
                .set_ssekms_key_id(kms.clone())
        )?;
        let id = answer.upload_id.ok_or_else(|| {
            let message = "the response has no UploadId: is the endpoint one of S3?".to_owned();
            garbled(call.action, &self.resource(&call), message)
        })?;
        Ok(Upload {
            key: key.to_owned(),
            id,
        })
    }

    /// UploadPart. Returns the ETag.
    pub async fn upload_part(&self, upload: &Upload, number: i32, body: Vec<u8>) -> Called<String> {
        send!(
            self,
            &Call::checked("s3:PutObject").of(&upload.key),
            self.s3
                .upload_part()
                .bucket(&self.name)
                .key(&upload.key)
                .upload_id(&upload.id)
                .part_number(number)
                .body(ByteStream::from(body.clone()))
        )
        .map(|answer| answer.e_tag.unwrap_or_default())
    }

    /// CompleteMultipartUpload with one part. Returns the version ID, if the bucket is versioned.
    pub async fn complete(&self, upload: &Upload, number: i32, etag: &str) -> Called<Option<String>> {
        let part = CompletedPart::builder().part_number(number).e_tag(etag).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        send!(
            self,
            &Call::change("s3:PutObject (CompleteMultipartUpload)").of(&upload.key),
            self.s3
                .complete_multipart_upload()
                .bucket(&self.name)
                .key(&upload.key)
                .upload_id(&upload.id)
                .multipart_upload(parts.clone())
        )
        .map(|answer| answer.version_id)
    }

    /// CopyObject within the bucket. Returns the version ID of the copy, if the bucket is versioned.
    pub async fn copy(&self, from: &str, to: &str, encryption: &ObjectEncryption) -> Called<Option<String>> {
        let (algorithm, kms) = encryption.headers();
        send!(
            self,
            &Call::change("s3:PutObject (CopyObject)").of(to),
            self.s3
                .copy_object()
                .bucket(&self.name)
                .key(to)
                .copy_source(self.copy_source(from))
                .acl(ObjectCannedAcl::Private)
                .content_type(CONTENT_TYPE)
                .storage_class(StorageClass::Standard)
                .set_server_side_encryption(algorithm.clone())
                .set_ssekms_key_id(kms.clone())
        )
        .map(|answer| answer.version_id)
    }

    /// UploadPartCopy of a whole object within the bucket.
    pub async fn copy_part(&self, from: &str, upload: &Upload, number: i32, size: usize) -> Called<()> {
        send!(
            self,
            &Call::change("s3:PutObject (UploadPartCopy)").of(&upload.key),
            self.s3
                .upload_part_copy()
                .bucket(&self.name)
                .key(&upload.key)
                .upload_id(&upload.id)
                .part_number(number)
                .copy_source(self.copy_source(from))
                .copy_source_range(format!("bytes=0-{}", size.saturating_sub(1)))
        )
        .map(drop)
    }

    /// Value of `x-amz-copy-source`. The keys that the operator copies need no escapes.
    fn copy_source(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    /// Whether the bucket has a default retention (GetObjectLockConfiguration): nobody may delete a new version for a time.
    /// A bucket without Object Lock retains nothing, nor does a service that does not implement it.
    pub async fn retains_versions(&self) -> Called<bool> {
        let answer = send!(
            self,
            &Call::read("s3:GetBucketObjectLockConfiguration"),
            self.s3.get_object_lock_configuration().bucket(&self.name)
        );
        let answer = match unless("ObjectLockConfigurationNotFoundError", answer) {
            Err(error) if error.is_unsupported() || (error.is_missing() && !error.is_container_gone()) => None,
            answer => answer?,
        };
        let lock = answer.and_then(|answer| answer.object_lock_configuration);
        let rule = lock.and_then(|lock| lock.rule);
        Ok(rule.is_some_and(|rule| rule.default_retention.is_some()))
    }

    /// ListParts: the sizes of the parts, in bytes.
    pub async fn parts(&self, upload: &Upload) -> Called<Vec<i64>> {
        let call = Call::read("s3:ListMultipartUploadParts")
            .of(&upload.key)
            .answered_by("ListPartsResult");
        let answer = send!(
            self,
            &call,
            self.s3
                .list_parts()
                .bucket(&self.name)
                .key(&upload.key)
                .upload_id(&upload.id)
        )?;
        let parts = answer.parts.unwrap_or_default().into_iter();
        Ok(parts.map(|part| part.size.unwrap_or_default()).collect())
    }
}

/// Whether XML 1.0 can represent the character. S3 allows any character in keys.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn listing(contents: Option<Vec<aws_sdk_s3::types::Object>>, more: Option<bool>) -> Listing {
    let entries = contents
        .unwrap_or_default()
        .into_iter()
        .filter_map(|object| object.key.as_deref().map(Entry::object));
    Listing {
        entries: entries.collect(),
        more: more.unwrap_or_default(),
    }
}

/// Whether the key has a segment that a URL resolves, so that a request would reach another object, perhaps in another bucket.
fn is_relative(key: &str) -> bool {
    key.split('/').any(|segment| segment == "." || segment == "..")
}
