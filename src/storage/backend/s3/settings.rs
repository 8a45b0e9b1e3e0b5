//! Settings of Managed buckets: public access, tags, encryption, clean-up of unfinished uploads.

use aws_sdk_s3::types::{AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleRule, LifecycleRuleFilter};

use super::bucket::Store;
use super::tags;
use crate::config::event_request::EventRequest;
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::UNKNOWN_ERROR;
use crate::storage::model::setting::{Applied, Followed, Setting, SettingError, SettingEvents, SettingScope};
use crate::storage::model::target::Request;
use crate::storage::s3api::client::Rule;
use crate::storage::traits::Cluster;

pub(super) const PRIVATE: &str = "StoragePublicAccessBlocked";
pub(super) const TAGGED: &str = "StorageTagged";
pub(super) const ENCRYPTED: &str = "StorageEncrypted";
pub(super) const CLEANED: &str = "StorageIncompleteUploadCleanupEnabled";

/// ID of the operator's lifecycle rule, the same as the Go operator's.
const RULE: &str = "cleanup-incomplete-multipart-registry-uploads";

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

/// All settings, in the order in which they are applied.
pub(super) fn all(request: &Request<'_>) -> Vec<Setting> {
    let requested = tags::of_platform(request.snapshot);
    let location = request.target.location.as_deref().unwrap_or_default();
    vec![
        setting(
            PRIVATE,
            "Public Access Block Successful",
            "Public access was not blocked",
        ),
        Setting {
            follows: Some(Followed {
                fingerprint: Fingerprint::of([location].into_iter().chain(tags::texts(&requested))),
                empty: requested.is_empty(),
            }),
            marks: true,
            events: Some(SettingEvents {
                reason: "UpdateAWSTags", // As in the Go operator.
                changed: "got the tags that the cluster's Infrastructure names",
                failed: "did not get the tags that the cluster's Infrastructure names",
            }),
            ..setting(TAGGED, "Tagging Successful", "Tags were not applied")
        },
        Setting {
            probes: true,
            ..setting(ENCRYPTED, "Encryption Successful", "Default encryption was not set")
        },
        setting(
            CLEANED,
            "Enable Cleanup Successful",
            "Clean-up of unfinished uploads was not enabled",
        ),
    ]
}

impl<C: Cluster> Store<'_, C> {
    pub(super) async fn apply_setting(&self, setting: &Setting, scope: SettingScope) -> Result<Applied, SettingError> {
        match setting.condition {
            PRIVATE => self.make_private().await,
            TAGGED => self.tag(scope.ours).await,
            ENCRYPTED => self.encrypt(scope).await,
            _ => self.clean_up().await,
        }
    }

    /// Checks leadership and the version of the Config before a change.
    pub(super) async fn confirm(&self) -> Result<(), StorageError> {
        self.backend.cluster.confirm().await
    }

    async fn make_private(&self) -> Result<Applied, SettingError> {
        let private = self.bucket.is_private().await?;
        if !private {
            self.confirm().await?;
            self.bucket.make_private().await?;
        }
        Ok(Applied {
            message: format!("All public access to bucket {} is blocked", self.container.name),
            changed: !private,
            ..Applied::default()
        })
    }

    /// Adds the tags of operator and platform, and keeps existing tags. If the operator does not own the bucket, it
    /// does not write the ownership mark.
    async fn tag(&self, ours: bool) -> Result<Applied, SettingError> {
        let Some(existing) = self.read_tags().await? else {
            return Err(SettingError::Declined {
                reason: "NotImplemented".to_owned(),
                message: "the service does not support tags of buckets".to_owned(),
                is_final: true,
            });
        };
        let (mut wanted, skipped) = self.wanted_tags();
        if !ours {
            wanted = tags::without_mark(&wanted);
            let key = format!("kubernetes.io/cluster/{}", self.infrastructure);
            if existing.iter().any(|tag| tag.key == key) {
                wanted.retain(|tag| tag.key != "Name");
            }
        }
        let merged = tags::merge(&existing, &wanted);
        if let Some(merged) = &merged {
            self.confirm().await?;
            self.bucket.put_tags(merged).await?;
        }
        let no_room = tags::left_out(&existing, &wanted);
        let no_room = no_room
            .iter()
            .map(|key| format!("tag {key:?}: the bucket has no room for more tags"));
        let skipped = skipped.into_iter().chain(no_room).map(|message| EventRequest {
            warning: true,
            reason: "TagSkipped",
            message,
        });
        let what = if ours {
            "the cluster tags"
        } else {
            "the name and the platform's tags"
        };
        Ok(Applied {
            message: format!("Bucket {} carries {what}", self.container.name),
            changed: merged.is_some(),
            events: skipped.collect(),
            ..Applied::default()
        })
    }

    async fn clean_up(&self) -> Result<Applied, SettingError> {
        let existing = self.bucket.lifecycle().await?;
        let enabled = existing.iter().any(is_clean_up);
        let unknown = self.bucket.unknown_lifecycle();
        if !enabled && !unknown.is_empty() {
            // A rule without its filter would apply to every object.
            return Err(SettingError::Declined {
                reason: UNKNOWN_ERROR.to_owned(),
                message: format!(
                    "the bucket has lifecycle rules with extensions of its service ({}), which a write would drop: add a \
                     rule that aborts unfinished uploads after 1 day by hand, with ID {RULE}",
                    unknown.join(", ")
                ),
                is_final: false,
            });
        }
        if !enabled {
            let mut rules: Vec<_> = existing.into_iter().filter(|rule| rule.0.id() != Some(RULE)).collect();
            rules.push(clean_up_rule()?);
            self.confirm().await?;
            self.bucket.put_lifecycle(&rules).await?;
        }
        Ok(Applied {
            message: format!(
                "Unfinished uploads are aborted after 1 day in bucket {}",
                self.container.name
            ),
            changed: !enabled,
            ..Applied::default()
        })
    }
}

/// Whether the rule is the operator's and has the desired content.
#[expect(
    deprecated,
    reason = "a rule of version 1 of the API has its prefix outside of the filter"
)]
fn is_clean_up(Rule(rule): &Rule) -> bool {
    let unprefixed = rule.prefix().is_none_or(str::is_empty);
    let everywhere = rule.filter().is_none_or(|filter| {
        let empty = LifecycleRuleFilter::builder().build();
        let prefixed = LifecycleRuleFilter::builder().prefix("").build();
        *filter == empty || *filter == prefixed
    });
    let days = rule
        .abort_incomplete_multipart_upload()
        .and_then(AbortIncompleteMultipartUpload::days_after_initiation);
    let applies = *rule.status() == ExpirationStatus::Enabled && unprefixed && everywhere;
    rule.id() == Some(RULE) && applies && days == Some(1)
}

fn clean_up_rule() -> Result<Rule, SettingError> {
    let abort = AbortIncompleteMultipartUpload::builder()
        .days_after_initiation(1)
        .build();
    LifecycleRule::builder()
        .id(RULE)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(abort)
        .build()
        .map(Rule)
        .map_err(|error| StorageError::transient(format!("lifecycle rule: {error}")).into())
}
