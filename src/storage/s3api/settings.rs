//! Calls for the bucket itself and its settings.

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketLocationConstraint, CreateBucketConfiguration, LifecycleRule,
    LifecycleRuleFilter, PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag as SdkTag, Tagging,
};
use std::sync::PoisonError;

use super::client::{Bucket, Call, Encryption, Rule, Tag, send};
use super::codes::classify;
use super::transport::Unknown;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};

/// The region in which buckets are created without a LocationConstraint.
const WITHOUT_CONSTRAINT: &str = "us-east-1";

/// Converts the error `code`, which means that the setting does not exist, to `None`.
pub(super) fn unless<T>(code: &str, answer: Called<T>) -> Called<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_missing() && error.code == code => Ok(None),
        Err(error) => Err(error),
    }
}

/// Elements of a lifecycle configuration that the SDK knows (Amazon S3 API Reference, GetBucketLifecycleConfiguration).
const LIFECYCLE: &[&str] = &[
    "LifecycleConfiguration",
    "Rule",
    "ID",
    "Prefix",
    "Filter",
    "And",
    "Tag",
    "Key",
    "Value",
    "ObjectSizeGreaterThan",
    "ObjectSizeLessThan",
    "Status",
    "Transition",
    "Date",
    "Days",
    "StorageClass",
    "NoncurrentVersionTransition",
    "NoncurrentDays",
    "NewerNoncurrentVersions",
    "Expiration",
    "ExpiredObjectDeleteMarker",
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
    "DaysAfterInitiation",
];

/// The rule with its prefix in a filter, which means the same. Amazon S3 refuses a configuration in which one rule has a
/// `Prefix` of its own (version 1 of the API) and another one a `Filter` (version 2).
#[expect(deprecated, reason = "rules of version 1 exist in buckets")]
fn with_filter(mut rule: LifecycleRule) -> LifecycleRule {
    if rule.filter.is_none() {
        let prefix = rule.prefix.take();
        rule.filter = prefix.map(|prefix| LifecycleRuleFilter::builder().prefix(prefix).build());
    }
    rule
}

impl Bucket {
    /// HeadBucket. A response to HEAD has no error code, so on 400 and 403 the error carries the code of
    /// GetBucketLocation, if that call was refused as well. If GetBucketLocation reports that the bucket does not exist,
    /// the two responses contradict each other: the error is that of the HEAD, and nothing may be created.
    pub async fn head(&self) -> Called<()> {
        let dropped = self.identity.renewals();
        let Err(head) = self.head_once().await else {
            return Ok(());
        };
        if head.of_identity || !matches!(head.cause, Cause::Answer(400 | 403)) {
            return Err(head);
        }
        match self.location().await {
            // GetBucketLocation renewed stale credentials. A HEAD response cannot report those.
            Ok(()) if self.identity.renewals() != dropped => self.head_once().await,
            Err(location) if location.is_missing() => Err(CallError {
                class: if head.is_denied() {
                    CallClass::Denied
                } else {
                    head.class
                },
                message: format!("{}, but s3:GetBucketLocation answers {}", head.message, location.code),
                ..head
            }),
            Err(location) if matches!(location.cause, Cause::Answer(_)) && !location.is_undecided() => Err(CallError {
                class: classify(head.cause, &location.code, false),
                code: location.code,
                message: location.message,
                region: head.region.or(location.region),
                ..head
            }),
            Err(location) if location.cause == Cause::Identity => Err(location),
            Ok(()) | Err(_) => Err(head),
        }
    }

    async fn head_once(&self) -> Called<()> {
        send!(
            self,
            &Call::read("s3:ListBucket"),
            self.s3.head_bucket().bucket(&self.name)
        )
        .map(drop)
    }

    async fn location(&self) -> Called<()> {
        send!(
            self,
            &Call::read("s3:GetBucketLocation"),
            self.s3.get_bucket_location().bucket(&self.name)
        )
        .map(drop)
    }

    /// CreateBucket, with a LocationConstraint unless the region is `us-east-1` or empty.
    pub async fn create(&self) -> Called<()> {
        let call = Call::change("s3:CreateBucket");
        match self.create_as(&call).await {
            // The API reference does not list x-amz-expected-bucket-owner for this call.
            Err(error) if error.is_unsupported() && self.pin_owner => self.create_as(&call.without_owner()).await,
            answer => answer,
        }
    }

    async fn create_as(&self, call: &Call) -> Called<()> {
        let place = (!self.region.is_empty() && self.region != WITHOUT_CONSTRAINT).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region.as_str()))
                .build()
        });
        send!(
            self,
            call,
            self.s3
                .create_bucket()
                .bucket(&self.name)
                .set_create_bucket_configuration(place.clone())
        )
        .map(drop)
    }

    /// DeleteBucket.
    pub async fn delete_bucket(&self) -> Called<()> {
        send!(
            self,
            &Call::change("s3:DeleteBucket"),
            self.s3.delete_bucket().bucket(&self.name)
        )
        .map(drop)
    }

    /// GetBucketTagging; an empty list for `NoSuchTagSet`.
    pub async fn tags(&self) -> Called<Vec<Tag>> {
        let answer = send!(
            self,
            &Call::read("s3:GetBucketTagging"),
            self.s3.get_bucket_tagging().bucket(&self.name)
        );
        let tags = unless("NoSuchTagSet", answer)?
            .map(|answer| answer.tag_set)
            .unwrap_or_default();
        Ok(tags
            .into_iter()
            .map(|SdkTag { key, value, .. }| Tag { key, value })
            .collect())
    }

    /// PutBucketTagging: replaces all tags.
    pub async fn put_tags(&self, tags: &[Tag]) -> Called<()> {
        let call = Call::checked("s3:PutBucketTagging");
        let set: Result<Vec<_>, _> = tags
            .iter()
            .map(|tag| SdkTag::builder().key(&tag.key).value(&tag.value).build())
            .collect();
        let tagging = set.and_then(|set| Tagging::builder().set_tag_set(Some(set)).build());
        let tagging = tagging.map_err(|error| self.unsendable(&call, &error))?;
        send!(
            self,
            &call,
            self.s3.put_bucket_tagging().bucket(&self.name).tagging(tagging.clone())
        )
        .map(drop)
    }

    /// GetPublicAccessBlock: whether all four settings are on; `false` without a configuration.
    pub async fn is_private(&self) -> Called<bool> {
        let answer = send!(
            self,
            &Call::read("s3:GetBucketPublicAccessBlock"),
            self.s3.get_public_access_block().bucket(&self.name)
        );
        let answer = unless("NoSuchPublicAccessBlockConfiguration", answer)?;
        let block = answer.and_then(|answer| answer.public_access_block_configuration);
        Ok(block.is_some_and(|block| {
            let all = [
                block.block_public_acls,
                block.block_public_policy,
                block.ignore_public_acls,
                block.restrict_public_buckets,
            ];
            all.iter().all(|on| *on == Some(true))
        }))
    }

    /// PutPublicAccessBlock: turns all four settings on.
    pub async fn make_private(&self) -> Called<()> {
        let all = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .block_public_policy(true)
            .ignore_public_acls(true)
            .restrict_public_buckets(true)
            .build();
        send!(
            self,
            &Call::checked("s3:PutBucketPublicAccessBlock"),
            self.s3
                .put_public_access_block()
                .bucket(&self.name)
                .public_access_block_configuration(all.clone())
        )
        .map(drop)
    }

    /// GetBucketEncryption; `None` for `ServerSideEncryptionConfigurationNotFoundError`.
    pub async fn encryption(&self) -> Called<Option<Encryption>> {
        let answer = send!(
            self,
            &Call::read("s3:GetEncryptionConfiguration"),
            self.s3.get_bucket_encryption().bucket(&self.name)
        );
        let answer = unless("ServerSideEncryptionConfigurationNotFoundError", answer)?;
        let rules = answer
            .and_then(|answer| answer.server_side_encryption_configuration)
            .map(|configuration| configuration.rules)
            .unwrap_or_default();
        let mut blocked = self.blocked_encryption.lock().unwrap_or_else(PoisonError::into_inner);
        *blocked = rules.iter().find_map(|rule| rule.blocked_encryption_types.clone());
        Ok(rules.into_iter().find_map(|rule| {
            let default = rule.apply_server_side_encryption_by_default?;
            Some(Encryption {
                algorithm: default.sse_algorithm.as_str().to_owned(),
                key: default.kms_master_key_id,
                bucket_key: rule.bucket_key_enabled.unwrap_or_default(),
            })
        }))
    }

    /// PutBucketEncryption. Types of encryption that the bucket refuses stay as last read.
    pub async fn put_encryption(&self, encryption: &Encryption) -> Called<()> {
        let call = Call::checked("s3:PutEncryptionConfiguration");
        let blocked = self
            .blocked_encryption
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let configuration = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::from(encryption.algorithm.as_str()))
            .set_kms_master_key_id(encryption.key.clone())
            .build()
            .and_then(|default| {
                let rule = ServerSideEncryptionRule::builder()
                    .apply_server_side_encryption_by_default(default)
                    .bucket_key_enabled(encryption.bucket_key)
                    .set_blocked_encryption_types(blocked)
                    .build();
                ServerSideEncryptionConfiguration::builder().rules(rule).build()
            })
            .map_err(|error| self.unsendable(&call, &error))?;
        send!(
            self,
            &call,
            self.s3
                .put_bucket_encryption()
                .bucket(&self.name)
                .server_side_encryption_configuration(configuration.clone())
        )
        .map(drop)
    }

    /// DeleteBucketEncryption.
    pub async fn delete_encryption(&self) -> Called<()> {
        send!(
            self,
            &Call::change("s3:PutEncryptionConfiguration"),
            self.s3.delete_bucket_encryption().bucket(&self.name)
        )
        .map(drop)
    }

    /// Elements of the lifecycle configuration, as last read, that a write would drop: extensions of the service.
    pub fn unknown_lifecycle(&self) -> Vec<String> {
        let found = self.unknown_lifecycle.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().cloned().collect()
    }

    /// GetBucketLifecycleConfiguration; an empty list for `NoSuchLifecycleConfiguration`.
    pub async fn lifecycle(&self) -> Called<Vec<Rule>> {
        let answer = send!(
            self,
            &Call::read("s3:GetLifecycleConfiguration").collecting(Unknown {
                known: LIFECYCLE,
                found: self.unknown_lifecycle.clone(),
            }),
            self.s3.get_bucket_lifecycle_configuration().bucket(&self.name)
        );
        let answer = unless("NoSuchLifecycleConfiguration", answer)?;
        let mut size = self.transition_size.lock().unwrap_or_else(PoisonError::into_inner);
        *size = answer
            .as_ref()
            .and_then(|answer| answer.transition_default_minimum_object_size.clone());
        let rules = answer.and_then(|answer| answer.rules).unwrap_or_default();
        Ok(rules.into_iter().map(Rule).collect())
    }

    /// PutBucketLifecycleConfiguration: replaces all rules. Each rule is written in version 2 of the API, with a filter.
    pub async fn put_lifecycle(&self, rules: &[Rule]) -> Called<()> {
        let call = Call::checked("s3:PutLifecycleConfiguration");
        let rules: Vec<LifecycleRule> = rules.iter().map(|rule| with_filter(rule.0.clone())).collect();
        let configuration = BucketLifecycleConfiguration::builder()
            .set_rules(Some(rules))
            .build()
            .map_err(|error| self.unsendable(&call, &error))?;
        let size = self
            .transition_size
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        send!(
            self,
            &call,
            self.s3
                .put_bucket_lifecycle_configuration()
                .bucket(&self.name)
                .set_transition_default_minimum_object_size(size.clone())
                .lifecycle_configuration(configuration.clone())
        )
        .map(drop)
    }
}
