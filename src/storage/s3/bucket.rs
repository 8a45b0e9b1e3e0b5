//! The bucket itself: whether it is there, its creation, and how it becomes the operator's.
//!
//! Order: the intent is recorded, the bucket is created, the mark is written, name and state are recorded, and only then
//! come the other settings. Each step can be taken again; what died in between is found by the intent.

use std::time::Duration;

use super::error::{CallError, Cause};
use super::harden;
use super::own::{self, Claim, Contents, Decision, Marked, Noted};
use super::tags::{self, Owner, Tag};
use super::visit::{Visit, code, exists, is_gone};
use crate::config::notice::Notice;
use crate::status::conditions::{Status, Verdict};
use crate::storage::driver::{Ensured, Existence, Failure, Next, Record, State, Wait};
use crate::storage::fault::Fault;
use crate::storage::look::said_to_be_gone;
use crate::storage::{Cluster, STORAGE_EXISTS, block, state};

/// Reason of `StorageExists=True`.
pub(super) const EXISTS: &str = "S3 Bucket Exists";
/// Reason of `StorageExists=True` for a bucket that the operator created.
const CREATED: &str = "Creation Successful";
/// Reasons of `StorageExists=False` for a bucket that is not there; the last one: it was created and is not shown yet.
pub(super) const GONE: &[&str] = &["NotFound", "NoSuchBucket", "ResourceNotReady"];
/// A bucket that was just created may take a while to be seen.
const VISIBLE: Duration = Duration::from_secs(5);
/// Entries that a look into the bucket asks for: it may hold several versions of our probe.
const A_FEW: u16 = 100;

/// How HeadBucket ended.
enum Head {
    There,
    /// The store says that there is none.
    Missing(CallError),
    /// Refused.
    Closed(CallError),
}

/// What the bucket says of itself.
struct Found {
    marked: Marked,
    /// Its tags; `None` where the store knows none.
    tags: Option<Vec<Tag>>,
    contents: Contents,
}

impl<C: Cluster> Visit<'_, C> {
    async fn head(&self) -> Result<Head, Failure> {
        match self.bucket.head().await {
            Ok(()) => Ok(Head::There),
            Err(error) if error.is_undecided() || error.of_identity() => Err(self.failure(&error, "")),
            Err(error) if error.is_missing() => Ok(Head::Missing(error)),
            Err(error) if error.is_denied() => Ok(Head::Closed(error)),
            Err(error) => Err(self.failure(&error, "")),
        }
    }

    /// Whether the bucket is there. Access denied is no "not there": nothing is concluded from it.
    pub async fn existence(&self) -> Result<Existence, Failure> {
        Ok(match self.head().await? {
            Head::There => Existence::Present(vec![self.seen()], Vec::new()),
            Head::Missing(error) => Existence::Absent {
                reason: missing_reason(&error),
                message: self.missing_message(),
            },
            Head::Closed(error) => return Err(self.closed(&error)),
        })
    }

    /// `StorageExists=True`; a bucket that was created keeps being called so.
    fn seen(&self) -> Verdict {
        let stored = self.step.config.status.as_ref().and_then(|s| s.conditions.as_deref());
        let created = stored.unwrap_or_default().iter().any(|c| {
            c.type_ == STORAGE_EXISTS && c.status == Status::True.text() && c.reason.as_deref() == Some(CREATED)
        });
        if self.step.applied && created {
            self.created()
        } else {
            let (name, region) = (&self.site.name, &self.site.effective.region);
            let message = format!("Bucket {name} in {region} exists and is reachable.");
            exists(Status::True, EXISTS, message)
        }
    }

    fn created(&self) -> Verdict {
        let message = format!(
            "Bucket {} was created in {}.",
            self.site.name, self.site.effective.region
        );
        exists(Status::True, CREATED, message)
    }

    fn missing_message(&self) -> String {
        format!(
            "Bucket {} does not exist in {}.",
            self.site.name, self.site.effective.region
        )
    }

    fn closed(&self, error: &CallError) -> Failure {
        self.failure(
            error,
            ": check the credentials, grant s3:ListBucket and s3:GetBucketLocation on the bucket, or name another bucket \
             in spec.storage.s3.bucket",
        )
    }

    /// One step towards a bucket that is there and as the Config says.
    pub async fn ensure(&self) -> Result<Next<Ensured>, Failure> {
        match self.head().await? {
            Head::There => self.take(false).await,
            Head::Missing(error) => self.missing(&error).await,
            Head::Closed(error) if self.may_be_ours_to_create(&error) => self.missing(&error).await,
            Head::Closed(error) => Err(self.closed(&error)),
        }
    }

    /// Whether creation may be tried though the store refuses to say whether the bucket exists: only under the name that
    /// the operator gives, and never where it is in use already.
    fn may_be_ours_to_create(&self, error: &CallError) -> bool {
        let plain = matches!(error.code.as_str(), "Forbidden" | "AccessDenied");
        plain && self.claim().deterministic && !self.site.in_use
    }

    async fn missing(&self, error: &CallError) -> Result<Next<Ensured>, Failure> {
        let verdict = exists(Status::False, missing_reason(error), self.missing_message());
        if self.step.applied && !self.said_to_be_missing() {
            // Stored first, so that what dies between creation and hardening is not taken for what was there before.
            return Ok(Next::Wait(Wait {
                after: Duration::ZERO,
                message: self.missing_message(),
                verdicts: vec![verdict],
            }));
        }
        if self.step.intent.is_none() {
            return Ok(Next::Record(Box::new(Record {
                intent: Some(self.site.location.clone()),
                message: format!("bucket {} is about to be created", self.site.name),
                verdicts: vec![verdict],
                ..Record::default()
            })));
        }
        self.confirm().await?;
        match self.bucket.create().await {
            Ok(()) => self.take(true).await,
            Err(error) if error.code == "BucketAlreadyOwnedByYou" => self.take(true).await,
            Err(error) => Err(self.not_created(&error)),
        }
    }

    /// Whether the status says that there is no such bucket.
    pub fn said_to_be_missing(&self) -> bool {
        said_to_be_gone(self.step.config, GONE)
    }

    fn not_created(&self, error: &CallError) -> Failure {
        if error.is_undecided() {
            return self.failure(error, "");
        }
        let name = &self.site.name;
        let (reason, message) = if error.code == "BucketAlreadyExists" {
            let message = format!(
                "Bucket name {name} is taken by another account ({error}): name another bucket in spec.storage.s3.bucket."
            );
            ("Unable to Access Bucket".to_owned(), message)
        } else {
            // That a bucket in use is gone was told, and has to be remembered.
            let told = self.site.in_use && self.said_to_be_missing();
            let reason = if told { "NotFound".to_owned() } else { code(error) };
            let message = format!("Bucket {name} could not be created: {}", self.explain(error));
            (reason, message)
        };
        Failure {
            fault: Fault {
                message: message.clone(),
                ..error.fault()
            },
            verdicts: vec![exists(Status::False, reason, message)],
        }
    }

    /// Goes on with a bucket that exists.
    async fn take(&self, created: bool) -> Result<Next<Ensured>, Failure> {
        let mut claim = self.claim();
        if created && claim.noted == Noted::Recorded {
            claim.noted = Noted::Intended; // what a create call has just found is not what was recorded
        }
        let asks =
            claim.state == Some(State::Managed) || (claim.state.is_none() && (claim.is_noted() || claim.deterministic));
        if !asks {
            return Ok(self.use_it(None));
        }
        let found = match self.look_inside(claim).await {
            Ok(found) => found,
            Err(error) if created && is_gone(&error) => return Ok(self.not_visible_yet()),
            // Without the mark a creation is not finished; of other storage nothing is changed, and it is used.
            Err(error)
                if claim.state == Some(State::Managed)
                    && (self.site.in_use || !claim.is_noted())
                    && error.is_denied() =>
            {
                return Ok(self.harden_unread(&error));
            }
            Err(error) => return Err(self.unread(&error)),
        };
        match own::decide(claim, &found.marked, &found.contents) {
            Decision::Use(why) => Ok(self.use_it(why)),
            Decision::Refuse(cluster) => Err(self.refused(&cluster)),
            Decision::Note => Ok(Next::Record(Box::new(Record {
                intent: Some(self.site.location.clone()),
                message: format!("bucket {} exists, is empty, and is about to be owned", self.site.name),
                ..Record::default()
            }))),
            Decision::Own => self.own(found.tags, Vec::new()).await,
            Decision::Mark { consented } => self.mark(found.tags, consented).await,
            Decision::Settings => self.settle(found.tags, false, Vec::new()).await,
        }
    }

    /// Reads the mark, and what the bucket holds where that counts. An error is of one of these reads.
    async fn look_inside(&self, claim: Claim) -> Result<Found, CallError> {
        let (marked, tags) = match self.bucket.tags().await {
            Ok(tags) => (Marked::By(Owner::of(&tags, &self.site.infrastructure)), Some(tags)),
            Err(error) if error.is_unsupported() => (Marked::Nowhere, None),
            Err(error) => return Err(error),
        };
        let contents = if own::needs_contents(claim, &marked) {
            self.contents().await?
        } else {
            Contents::Something
        };
        Ok(Found { marked, tags, contents })
    }

    async fn contents(&self) -> Result<Contents, CallError> {
        let listing = match self.bucket.versions(A_FEW).await {
            Ok(listing) => listing,
            // A store without versions shows everything in a plain listing. Where the right to list versions is missing,
            // a plain one will do only for a bucket that was not there when the intent was noted.
            Err(error) if error.is_unsupported() => self.bucket.objects("", A_FEW).await?,
            Err(error) if error.code == "AccessDenied" && self.step.intent.is_some() => {
                self.bucket.objects("", A_FEW).await?
            }
            Err(error) if error.code == "AccessDenied" => return Ok(Contents::Hidden(error.to_string())),
            Err(error) => return Err(error),
        };
        let only_probes = listing.entries.iter().all(|entry| entry.key == self.site.probe_key);
        Ok(if only_probes && !listing.more {
            Contents::Nothing
        } else {
            Contents::Something
        })
    }

    fn not_visible_yet(&self) -> Next<Ensured> {
        let message = format!(
            "bucket {} was created, waiting until the store shows it",
            self.site.name
        );
        Next::Wait(Wait {
            after: VISIBLE,
            verdicts: vec![exists(Status::False, "ResourceNotReady", message.clone())],
            message,
        })
    }

    /// The bucket is used as it is, and never deleted.
    fn use_it(&self, why: Option<String>) -> Next<Ensured> {
        let mut verdict = self.seen();
        let mut notices = Vec::new();
        if let Some(why) = why {
            let note = format!(
                "bucket {} is used and not owned, so that it is never deleted: {why}",
                self.site.name
            );
            verdict.message = format!("{} It is Unmanaged and will not be deleted: {why}.", verdict.message);
            notices.push(Notice {
                warning: true,
                reason: "StorageNotOwned",
                note,
            });
        }
        // The spec stays as the user wrote it; a name that the operator gave has to be written down.
        let mut block = self.step.storage.s3.clone().unwrap_or_default();
        block.bucket = Some(self.site.name.clone());
        Next::Done(Ensured {
            storage: self.with(block),
            applied: Some(self.with(self.site.effective.block.clone())),
            blank_state: State::Unmanaged,
            verdicts: vec![verdict],
            notices,
            probe_left: false,
        })
    }

    fn refused(&self, cluster: &str) -> Failure {
        let message = format!(
            "bucket {} carries the mark of cluster {cluster} (tag kubernetes.io/cluster/{cluster}) and is left alone: name \
             another bucket in spec.storage.s3.bucket, or set spec.storage.managementState to Unmanaged",
            self.site.name
        );
        Failure {
            verdicts: vec![exists(Status::True, EXISTS, message.clone())],
            fault: Fault::config(message),
        }
    }

    /// Tags or contents cannot be read, so that nothing may be changed. The bucket counts as not finished.
    fn unread(&self, error: &CallError) -> Failure {
        self.not_owned_yet(error, "exists, and whether it may be owned cannot be read")
    }

    /// Managed storage that the operator did not create, of which cannot be read whether it is another cluster's: it is
    /// used, and no setting is touched.
    fn harden_unread(&self, error: &CallError) -> Next<Ensured> {
        let mut verdicts = vec![self.seen()];
        verdicts.extend(harden::untouched(&self.site.name, error));
        let block = self.site.effective.block.clone();
        self.ensured(State::Unmanaged, block, verdicts, Vec::new(), false)
    }

    /// Writes the mark: with it the bucket is the operator's, and a removal deletes it.
    async fn mark(&self, tags: Option<Vec<Tag>>, consented: bool) -> Result<Next<Ensured>, Failure> {
        let mut notices = Vec::new();
        if consented {
            notices.push(Notice {
                warning: true,
                reason: "StorageAdopted",
                note: format!(
                    "bucket {} is owned by the operator now, as the annotation {} asks: a removal deletes it with all \
                     images",
                    self.site.name,
                    crate::names::ADOPT_STORAGE_ANNOTATION
                ),
            });
        }
        let Some(existing) = tags else {
            return self.own(None, notices).await; // no tags here: the record on the Config has to do
        };
        let (wanted, _) = self.wanted_tags();
        let Some(merged) = tags::merge(&existing, &wanted) else {
            return self.own(Some(existing), notices).await;
        };
        self.confirm().await?;
        let (tags, written) = match self.bucket.put_tags(&merged).await {
            Err(error) if error.cause == Cause::Answer(400) && !error.is_undecided() => {
                // Perhaps a tag of the platform is not to the store's liking: the mark does not depend on it.
                let alone = tags::mark(&existing, &self.site.infrastructure).unwrap_or(existing);
                let written = self.bucket.put_tags(&alone).await;
                (alone, written)
            }
            written => (merged, written),
        };
        match written {
            Ok(()) => self.own(Some(tags), notices).await,
            Err(error) if error.is_unsupported() => self.own(None, notices).await,
            Err(error) => Err(self.not_marked(&error)),
        }
    }

    fn not_marked(&self, error: &CallError) -> Failure {
        self.not_owned_yet(
            error,
            "could not be marked as owned by this cluster, it is not used before",
        )
    }

    /// A call failed without which the bucket does not become the operator's: what that means for people.
    fn not_owned_yet(&self, error: &CallError, what: &str) -> Failure {
        let message = format!("bucket {} {what}: {}", self.site.name, self.explain(error));
        let reason = code(error);
        let tagged = Verdict::new(harden::TAGGED, Status::False, reason.clone(), message.clone());
        let exists = exists(Status::Unknown, reason, message.clone());
        Failure {
            fault: Fault {
                message,
                ..error.fault()
            },
            verdicts: vec![exists, tagged],
        }
    }

    /// The bucket is ours. That is recorded before anything else is done to it.
    async fn own(&self, tags: Option<Vec<Tag>>, notices: Vec<Notice>) -> Result<Next<Ensured>, Failure> {
        let mut storage = self.with(self.site.effective.block.clone());
        storage.management_state = Some(State::Managed.text().to_owned());
        let said = self.step.state == Some(State::Managed) && self.step.target.named;
        let recorded = said || block::patch(self.step.config.spec.storage.as_ref(), &storage, &[]).is_none();
        // What a blank state means on storage in use was decided long ago, and is recorded when this step is done.
        if recorded || self.step.applied {
            return self.settle(tags, true, notices).await;
        }
        Ok(Next::Record(Box::new(Record {
            storage: Some(storage),
            intent: None,
            probe: self.is_encryption_due(),
            message: format!("bucket {} is owned, its settings are applied next", self.site.name),
            verdicts: Vec::new(),
            notices,
        })))
    }

    /// Applies the settings.
    async fn settle(
        &self,
        tags: Option<Vec<Tag>>,
        ours: bool,
        mut notices: Vec<Notice>,
    ) -> Result<Next<Ensured>, Failure> {
        if self.is_about_to_probe().await {
            return Ok(Next::Record(Box::new(Record {
                probe: true,
                message: format!(
                    "default encryption of bucket {} is about to be tried out",
                    self.site.name
                ),
                ..Record::default()
            })));
        }
        let hardened = self.harden(tags.as_deref(), ours).await?;
        notices.extend(hardened.notices);
        let fresh = self.step.intent.is_some() && ours && !self.step.applied;
        let mut verdicts = vec![if fresh { self.created() } else { self.seen() }];
        verdicts.extend(hardened.verdicts);
        let mut block = self.site.effective.block.clone();
        if hardened.encrypted {
            block.encrypt = Some(true);
        }
        let whose = if ours { State::Managed } else { State::Unmanaged };
        Ok(self.ensured(whose, block, verdicts, notices, hardened.probe_left))
    }

    fn ensured(
        &self,
        blank_state: State,
        block: crate::api::registry_storage::S3Storage,
        verdicts: Vec<Verdict>,
        notices: Vec<Notice>,
        probe_left: bool,
    ) -> Next<Ensured> {
        Next::Done(Ensured {
            storage: self.with(block),
            applied: None,
            blank_state,
            verdicts,
            notices,
            probe_left,
        })
    }

    /// Tags that the bucket should carry, and what is left out of the platform's.
    pub fn wanted_tags(&self) -> (Vec<Tag>, Vec<String>) {
        tags::wanted(&self.site.infrastructure, &tags::of_platform(self.step.snapshot))
    }

    /// Whether the user turned managementState over since the last pass.
    pub fn turned(&self) -> bool {
        let stored = state::stored(self.step.config);
        self.step.state.is_some() && stored.is_some() && stored != self.step.state
    }
}

fn missing_reason(error: &CallError) -> &'static str {
    match error.code.as_str() {
        "NoSuchBucket" => "NoSuchBucket",
        "Forbidden" | "AccessDenied" => "Forbidden",
        _ => "NotFound",
    }
}
