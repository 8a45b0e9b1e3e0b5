//! Settings of Managed buckets: public access, tags, encryption, clean-up of unfinished uploads.
//!
//! Each is read before it is written, and not written where it is as it should be; what others set is kept. Each stands
//! alone: one that fails says so in its condition and stops nothing. What fails is tried again at a resync; what the store
//! does not know, only when the storage's configuration changes.

use super::client::Rule;
use super::error::CallError;
use super::tags::{self, Tag};
use super::visit::{Visit, code, is_stop};
use crate::api::openshift::KeyValue;
use crate::api::{Condition, Config};
use crate::config::notice::Notice;
use crate::status::conditions::{Status, Verdict};
use crate::storage::Cluster;
use crate::storage::answers::Fingerprint;
use crate::storage::driver::{Failure, Step};
use crate::storage::fault::Fault;
use aws_sdk_s3::types::{AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleRule, LifecycleRuleFilter};

pub(super) const PRIVATE: &str = "StoragePublicAccessBlocked";
pub(super) const TAGGED: &str = "StorageTagged";
pub(super) const ENCRYPTED: &str = "StorageEncrypted";
pub(super) const CLEANED: &str = "StorageIncompleteUploadCleanupEnabled";

/// The conditions of the settings, in the order in which they are applied.
const SETTINGS: [&str; 4] = [PRIVATE, TAGGED, ENCRYPTED, CLEANED];

/// In the message of a condition: the setting is not tried again. It is read back from there, so that it holds for every
/// process.
const FINAL: &str = "It is not tried again until spec.storage changes.";

/// In the message of the tags' condition: the mark is among them.
const OURS: &str = "the cluster tags";

/// ID of the lifecycle rule that is ours; the Go operator's.
const RULE: &str = "cleanup-incomplete-multipart-registry-uploads";

/// Reason of events about tags; the Go operator's.
const TAGS_UPDATED: &str = "UpdateAWSTags";

/// How tagging ended.
struct Tagging {
    /// Whether there was something to write.
    wrote: bool,
    message: String,
}

/// Which tags the platform asks for, of which storage.
pub(super) fn wish(step: &Step<'_>, asked: &[KeyValue]) -> Fingerprint {
    let location = step.target.location.as_deref().unwrap_or_default();
    Fingerprint::of([location].into_iter().chain(tags::texts(asked)))
}

/// What became of the settings.
pub(super) struct Hardened {
    /// One for each setting that was looked at.
    pub verdicts: Vec<Verdict>,
    /// The bucket has the default encryption that we want: the registry may ask for it as well.
    pub encrypted: bool,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// An object that was written to try encryption out may still be there.
    pub probe_left: bool,
}

/// Why a setting could not be applied.
pub(super) enum Snag {
    /// A call failed: the condition says so.
    Call(CallError),
    /// It was decided not to: reason, message, and whether that is the last word.
    Not(String, String, bool),
    /// The whole step ends.
    Stop(Failure),
}

impl From<CallError> for Snag {
    fn from(error: CallError) -> Self {
        if is_stop(&error) {
            Self::Stop(error.fault().into())
        } else {
            Self::Call(error)
        }
    }
}

impl From<Failure> for Snag {
    fn from(failure: Failure) -> Self {
        Self::Stop(failure)
    }
}

fn stored<'a>(config: &'a Config, type_: &str) -> Option<&'a Condition> {
    let conditions = config.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether a setting of applied storage is still to be applied.
fn is_open(config: &Config, type_: &str) -> bool {
    stored(config, type_).is_none_or(|c| c.status != Status::True.text() && !is_last_word(c))
}

fn is_last_word(condition: &Condition) -> bool {
    condition.message.as_deref().unwrap_or_default().contains(FINAL)
}

/// Whether the store does not know tags, as far as the conditions say: the platform's cannot be wished for then.
pub(super) fn are_tags_unknown(config: &Config) -> bool {
    stored(config, TAGGED).is_some_and(is_last_word)
}

/// Whether any setting of applied storage is still to be applied.
pub(super) fn is_unfinished(config: &Config) -> bool {
    SETTINGS.iter().any(|type_| is_open(config, type_))
}

/// Whether the conditions say that the bucket carries the mark.
pub(super) fn is_said_to_be_ours(config: &Config) -> bool {
    let tagged = stored(config, TAGGED).and_then(|c| c.message.as_deref());
    tagged.is_some_and(|message| message.contains(OURS))
}

/// Verdicts of settings that were left alone, because the bucket's tags cannot be read: it may be another cluster's.
pub(super) fn untouched(bucket: &str, error: &CallError) -> Vec<Verdict> {
    let message = format!(
        "Nothing was changed on bucket {bucket}, because whether it is another cluster's cannot be read: {error}"
    );
    let verdict = |type_| Verdict::new(type_, Status::False, code(error), message.clone());
    SETTINGS.into_iter().map(verdict).collect()
}

impl<C: Cluster> Visit<'_, C> {
    /// Applies what is to be applied. `tags` are those that the bucket carries; `None` where the store knows none.
    pub async fn harden(&self, tags: Option<&[Tag]>, ours: bool) -> Result<Hardened, Failure> {
        let mut hardened = Hardened {
            verdicts: Vec::new(),
            encrypted: false,
            notices: Vec::new(),
            probe_left: false,
        };
        let settled = self.is_settled();
        let newly_ours = ours && !is_said_to_be_ours(self.step.config);
        let wish = wish(self.step, &tags::of_platform(self.step.snapshot));
        let tags_are_due =
            (newly_ours || self.cloud.tags.differs(&wish).unwrap_or(true)) && !are_tags_unknown(self.step.config);
        for type_ in SETTINGS {
            if settled && !is_open(self.step.config, type_) && !(tags_are_due && type_ == TAGGED) {
                continue;
            }
            let ended = match type_ {
                PRIVATE => self.make_private().await,
                TAGGED => {
                    let tagged = self.tag(tags, ours, &mut hardened.notices).await;
                    self.tell_of_tags(&tagged, settled, wish.clone(), &mut hardened.notices);
                    tagged.map(|Tagging { message, .. }| ("Tagging Successful", message))
                }
                ENCRYPTED => self.encrypt(&mut hardened).await,
                _ => self.clean_up().await,
            };
            hardened.verdicts.push(match ended {
                Ok((reason, message)) => Verdict::new(type_, Status::True, reason, message),
                Err(Snag::Stop(failure)) => return Err(failure),
                Err(Snag::Not(reason, message, last)) => self.not_applied(type_, reason, &message, last),
                Err(Snag::Call(error)) => {
                    let message = error.to_string();
                    self.not_applied(type_, code(&error), &message, error.is_unsupported())
                }
            });
        }
        Ok(hardened)
    }

    /// Whether only what the conditions tell of as missing is to be applied.
    fn is_settled(&self) -> bool {
        self.step.applied && !self.turned() && !self.said_to_be_missing()
    }

    /// Whether encryption is to be applied.
    pub fn is_encryption_due(&self) -> bool {
        !self.is_settled() || is_open(self.step.config, ENCRYPTED)
    }

    fn not_applied(&self, type_: &'static str, reason: String, message: &str, last: bool) -> Verdict {
        let what = match type_ {
            PRIVATE => "Public access was not blocked",
            TAGGED => "Tags were not applied",
            ENCRYPTED => "Default encryption was not set",
            _ => "Clean-up of unfinished uploads was not enabled",
        };
        let mut text = format!("{what} on bucket {}: {message}.", self.site.name);
        if last {
            text = format!("{text} {FINAL}");
        }
        Verdict::new(type_, Status::False, reason, text)
    }

    async fn make_private(&self) -> Result<(&'static str, String), Snag> {
        if !self.bucket.is_private().await? {
            self.confirm().await?;
            self.bucket.make_private().await?;
        }
        let message = format!("All public access to bucket {} is blocked", self.site.name);
        Ok(("Public Access Block Successful", message))
    }

    /// Tags: ours, the platform's, and whatever was there. The mark itself is never completed on a bucket that is not ours.
    async fn tag(&self, existing: Option<&[Tag]>, ours: bool, notices: &mut Vec<Notice>) -> Result<Tagging, Snag> {
        let Some(existing) = existing else {
            let message = "the store knows no tags of buckets".to_owned();
            return Err(Snag::Not("NotImplemented".to_owned(), message, true));
        };
        let (mut wanted, skipped) = self.wanted_tags();
        if !ours {
            wanted = tags::without_mark(&wanted);
            let key = format!("kubernetes.io/cluster/{}", self.site.infrastructure);
            if existing.iter().any(|tag| tag.key == key) {
                wanted.retain(|tag| tag.key != "Name");
            }
        }
        let merged = tags::merge(existing, &wanted);
        if let Some(merged) = &merged {
            self.confirm().await?;
            self.bucket.put_tags(merged).await?;
        }
        let no_room = tags::left_out(existing, &wanted);
        let no_room = no_room
            .iter()
            .map(|key| format!("tag {key:?}: the bucket has no room for more tags"));
        notices.extend(skipped.into_iter().chain(no_room).map(|note| Notice {
            warning: true,
            reason: "TagSkipped",
            note,
        }));
        let what = if ours { OURS } else { "the name and the platform's tags" };
        Ok(Tagging {
            wrote: merged.is_some(),
            message: format!("Bucket {} carries {what}", self.site.name),
        })
    }

    /// Tells of tags of storage that was in use already: the administrator changed those of the cluster.
    fn tell_of_tags(&self, tagged: &Result<Tagging, Snag>, in_use: bool, wish: Fingerprint, told: &mut Vec<Notice>) {
        let bucket = &self.site.name;
        let mut tell = |warning, note| {
            if in_use {
                told.push(Notice {
                    warning,
                    reason: TAGS_UPDATED,
                    note,
                });
            }
        };
        match tagged {
            Ok(Tagging { wrote: true, .. }) => tell(
                false,
                format!("bucket {bucket} got the tags that the cluster's Infrastructure names"),
            ),
            // Of what is final the condition tells.
            Ok(Tagging { wrote: false, .. }) | Err(Snag::Not(_, _, true)) => {}
            Err(Snag::Call(error)) if error.is_unsupported() => {}
            Err(Snag::Call(error)) => {
                tell(
                    true,
                    format!("bucket {bucket} did not get the tags that the cluster's Infrastructure names: {error}"),
                );
                return; // looked at again
            }
            Err(_) => return,
        }
        self.cloud.tags.note(wish);
    }

    async fn clean_up(&self) -> Result<(&'static str, String), Snag> {
        let existing = self.bucket.lifecycle().await?;
        if !existing.iter().any(is_clean_up) {
            let mut rules: Vec<_> = existing.into_iter().filter(|rule| rule.0.id() != Some(RULE)).collect();
            rules.push(clean_up_rule()?);
            self.confirm().await?;
            self.bucket.put_lifecycle(&rules).await?;
        }
        let message = format!(
            "Unfinished uploads are aborted after 1 day in bucket {}",
            self.site.name
        );
        Ok(("Enable Cleanup Successful", message))
    }
}

/// Whether the rule is ours, and as we want it.
fn is_clean_up(Rule(rule): &Rule) -> bool {
    let everywhere = rule.filter().is_none_or(|filter| {
        let empty = LifecycleRuleFilter::builder().build();
        let prefixed = LifecycleRuleFilter::builder().prefix("").build();
        *filter == empty || *filter == prefixed
    });
    let days = rule
        .abort_incomplete_multipart_upload()
        .and_then(AbortIncompleteMultipartUpload::days_after_initiation);
    rule.id() == Some(RULE) && *rule.status() == ExpirationStatus::Enabled && everywhere && days == Some(1)
}

fn clean_up_rule() -> Result<Rule, Snag> {
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
        .map_err(|error| Snag::Stop(Fault::transient(format!("lifecycle rule: {error}")).into()))
}
