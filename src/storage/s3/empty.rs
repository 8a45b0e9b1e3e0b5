//! Removal: a bucket is emptied in bounded steps, then deleted.
//!
//! One step deletes at most 1000 entries; core has read the mark right before it. Listings always begin anew: what is
//! deleted is not listed again, and no position has to be remembered.

use std::time::Duration;

use super::client::{Entry, KeyError, Listing};
use super::error::CallError;
use super::own::Marked;
use super::tags::Owner;
use super::visit::{UNKNOWN, Visit, code, exists, is_gone};
use crate::status::conditions::Status;
use crate::storage::Cluster;
use crate::storage::driver::{Deleted, Failure, Mark, Wait};
use crate::storage::fault::{Class, Fault};

/// Entries of one step: as many as one DeleteObjects takes.
const PAGE: u16 = 1000;
/// Unfinished uploads that are aborted in one step, one call each.
const UPLOADS: usize = 100;
/// A deleted bucket may take a while to go.
const GOING: Duration = Duration::from_secs(1);
/// Version of an object that was written while the bucket kept no versions.
const NULL: &str = "null";
const RELEASE: &str = "or set spec.storage.managementState to Unmanaged to keep the data and finish the removal";

/// What there is to delete.
enum Left {
    /// Everything, versions and delete markers too.
    All(Listing),
    /// Only what is seen without the right to list versions, or in a store that has none.
    Visible(Listing),
}

impl<C: Cluster> Visit<'_, C> {
    /// Whether the bucket may be deleted from: reads the mark.
    pub async fn prove(&self) -> Result<Mark, Failure> {
        match self.bucket.head().await {
            Ok(()) => {}
            Err(error) if !error.is_undecided() && error.is_missing() => return self.gone().await,
            Err(error) => return Err(self.kept(&error, "the bucket cannot be looked at")),
        }
        let marked = match self.bucket.tags().await {
            Ok(tags) => Marked::By(Owner::of(&tags, &self.site.infrastructure)),
            Err(error) if error.is_unsupported() => Marked::Nowhere,
            Err(error) if is_gone(&error) => return Ok(Mark::Gone),
            Err(error) => return Err(self.kept(&error, "its mark of ownership cannot be read")),
        };
        let claim = self.claim();
        Ok(match marked {
            Marked::By(Owner::Ours) => Mark::Ours(String::new()),
            Marked::By(Owner::Other(cluster)) => Mark::NotOurs(format!("it carries the mark of cluster {cluster}")),
            Marked::By(Owner::Nobody(why)) => Mark::Missing(why),
            Marked::Nowhere if claim.is_noted() && claim.deterministic => Mark::Ours(String::new()),
            Marked::Nowhere => Mark::NotOurs(
                "its store knows no tags that could say whose it is, and it was not created by this operator under the name \
                 that it gives"
                    .to_owned(),
            ),
        })
    }

    /// HeadBucket said 404, which has no body and may be anybody's in between. What is gone is forgotten, so that the store
    /// is asked once more, for an answer that tells who gives it: for the tags, or, where these are not to be had, for a
    /// listing.
    async fn gone(&self) -> Result<Mark, Failure> {
        let asked = match self.bucket.tags().await {
            Err(error) if error.is_unsupported() || (error.code == "AccessDenied" && !error.of_identity()) => {
                self.bucket.objects("", 1).await.map(drop)
            }
            asked => asked.map(drop),
        };
        match asked {
            Ok(()) => Err(stuck(
                Fault::transient(format!(
                    "bucket {} is there and not there, it is looked at again",
                    self.site.name
                )),
                UNKNOWN.to_owned(),
            )),
            Err(error) if is_gone(&error) => Ok(Mark::Gone),
            Err(error) => Err(self.kept(&error, "whether it is gone cannot be told")),
        }
    }

    /// Deletes the next page of what is there, or the bucket where nothing is left.
    pub async fn empty(&self) -> Result<Deleted, Failure> {
        let left = match self.left().await {
            Ok(left) => left,
            Err(error) if is_gone(&error) => return Ok(self.going()),
            Err(error) => return Err(self.kept(&error, "its content cannot be listed")),
        };
        let complete = matches!(left, Left::All(_));
        let (Left::All(page) | Left::Visible(page)) = left;
        if page.entries.is_empty() {
            self.delete_bucket(complete).await
        } else {
            self.delete_page(page.entries).await
        }
    }

    async fn left(&self) -> Result<Left, CallError> {
        match self.bucket.versions(PAGE).await {
            Ok(listing) => Ok(Left::All(listing)),
            Err(error) if error.is_unsupported() || error.code == "AccessDenied" => {
                Ok(Left::Visible(self.bucket.objects("", PAGE).await?))
            }
            Err(error) => Err(error),
        }
    }

    async fn delete_page(&self, mut entries: Vec<Entry>) -> Result<Deleted, Failure> {
        let plain = |entry: &Entry| entry.latest && !entry.marker && entry.version.as_deref() == Some(NULL);
        if entries.iter().all(plain) {
            // Never versioned, as far as is seen: no right to delete versions is needed.
            for entry in &mut entries {
                entry.version = None;
            }
        }
        self.confirm().await?;
        let failed = match self.bucket.delete(&entries).await {
            Ok(failed) => failed,
            Err(error) if is_gone(&error) => return Ok(self.going()),
            Err(error) => return Err(self.kept(&error, "its content cannot be deleted")),
        };
        let failed: Vec<_> = failed.into_iter().filter(|e| !is_away(e)).collect();
        if failed.is_empty() {
            Ok(self.emptying(entries.len()))
        } else {
            Ok(Deleted {
                objects: entries.len().saturating_sub(failed.len()) as u64,
                next: Err(self.not_deleted(&failed)),
            })
        }
    }

    fn emptying(&self, objects: usize) -> Deleted {
        let wait = Wait {
            after: Duration::ZERO,
            message: format!("bucket {} is being emptied", self.site.name),
            verdicts: Vec::new(),
        };
        Deleted {
            objects: objects as u64,
            next: Ok(wait),
        }
    }

    fn going(&self) -> Deleted {
        let wait = Wait {
            after: GOING,
            message: format!("bucket {} was deleted, waiting until it is gone", self.site.name),
            verdicts: Vec::new(),
        };
        Deleted {
            objects: 0,
            next: Ok(wait),
        }
    }

    /// Some keys were not deleted. Nothing is claimed to be done; the next attempt begins anew.
    fn not_deleted(&self, failed: &[KeyError]) -> Failure {
        let name = &self.site.name;
        let locked = failed.iter().filter(|e| is_locked(e)).count();
        let denied = failed.iter().filter(|e| e.code == "AccessDenied").count();
        let first = failed.first();
        let text = |pick: fn(&KeyError) -> &str| first.map(pick).unwrap_or_default();
        let (key, code, why) = (text(|e| &e.key), text(|e| &e.code), text(|e| &e.message));
        let message = if locked > 0 {
            format!(
                "bucket {name} was not emptied: at least {locked} objects are under object lock: wait until their retention \
                 ends or remove the legal hold, {RELEASE}"
            )
        } else if denied > 0 {
            let of_versions = failed.iter().any(|e| e.code == "AccessDenied" && e.version.is_some());
            let action = if of_versions {
                "s3:DeleteObjectVersion"
            } else {
                "s3:DeleteObject"
            };
            format!(
                "bucket {name} was not emptied: {action} is denied on {denied} objects, {key} is one of them: grant it, \
                 {RELEASE}"
            )
        } else {
            let count = failed.len();
            format!(
                "bucket {name} was not emptied: {count} objects were not deleted, {key} is one of them: {code}: {why}"
            )
        };
        let class = if failed.iter().all(is_busy) {
            Class::Transient
        } else {
            Class::Config
        };
        stuck(Fault { class, message }, code.to_owned())
    }

    async fn delete_bucket(&self, complete: bool) -> Result<Deleted, Failure> {
        self.confirm().await?;
        if self.abort_uploads().await {
            return Ok(self.emptying(0));
        }
        match self.bucket.delete_bucket().await {
            Ok(()) => Ok(self.going()),
            Err(error) if is_gone(&error) => Ok(self.going()),
            Err(error) if error.code == "BucketNotEmpty" && !complete => {
                let message = format!(
                    "bucket {} was not deleted: bucket holds versions; grant s3:ListBucketVersions and \
                     s3:DeleteObjectVersion, {RELEASE}",
                    self.site.name
                );
                Err(stuck(Fault::config(message), code(&error)))
            }
            Err(error) if error.code == "BucketNotEmpty" => {
                let message = format!(
                    "bucket {} was not deleted: something was written to it meanwhile, it is emptied again: {error}",
                    self.site.name
                );
                Err(stuck(Fault::transient(message), code(&error)))
            }
            Err(error) => Err(self.kept(&error, "it cannot be deleted")),
        }
    }

    /// Aborts unfinished uploads, as far as the store lets us: they keep nobody from deleting the bucket on most stores.
    /// Whether there are more.
    async fn abort_uploads(&self) -> bool {
        let Ok((uploads, more)) = self.bucket.uploads("").await else {
            return false;
        };
        let mut aborted = 0;
        for upload in uploads.iter().take(UPLOADS) {
            if self.bucket.abort(upload).await.is_ok() {
                aborted += 1;
            }
        }
        aborted > 0 && (more || uploads.len() > UPLOADS)
    }

    /// The bucket stays, because a call failed.
    fn kept(&self, error: &CallError, why: &str) -> Failure {
        let remedy = if error.is_undecided() {
            String::new()
        } else if error.is_denied() {
            format!(": grant {} to the operator, {RELEASE}", error.action)
        } else {
            format!(": mend it, {RELEASE}")
        };
        let name = &self.site.name;
        let message = format!("bucket {name} was not deleted, {why}: {}{remedy}", self.explain(error));
        let fault = Fault {
            message,
            ..error.fault()
        };
        stuck(fault, code(error))
    }
}

fn stuck(fault: Fault, reason: String) -> Failure {
    let verdict = exists(Status::Unknown, reason, fault.message.clone());
    Failure {
        fault,
        verdicts: vec![verdict],
    }
}

/// The key is not there any more, which is what was wanted.
fn is_away(error: &KeyError) -> bool {
    matches!(error.code.as_str(), "NoSuchKey" | "NoSuchVersion")
}

fn is_locked(error: &KeyError) -> bool {
    let text = error.message.to_ascii_lowercase();
    text.contains("object lock") || text.contains("wormprotected") || error.code == "ObjectLocked"
}

fn is_busy(error: &KeyError) -> bool {
    matches!(
        error.code.as_str(),
        "InternalError" | "SlowDown" | "ServiceUnavailable" | "RequestTimeout"
    )
}
