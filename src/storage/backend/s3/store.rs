//! Operations of one bucket for the engine.

use std::sync::atomic::Ordering;

use super::bucket::{A_FEW, NULL, Store};
use super::registry::RegistryBucket;
use super::tags;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion, Refusal, RefusalCause};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::model::proof::{CreationPermit, OwnershipProof};
use crate::storage::model::setting::{Applied, Setting, SettingError, SettingScope};
use crate::storage::s3api::client::{Entry, KeyError, Listing};
use crate::storage::s3api::codes;
use crate::storage::traits::{Cluster, ObjectStore};

/// Largest number of unfinished uploads that one step aborts, with one call each.
const UPLOADS: usize = 100;

impl<C: Cluster> ObjectStore for Store<'_, C> {
    type Entry = Entry;
    type Plane = RegistryBucket;

    fn container(&self) -> &ContainerName {
        &self.container
    }

    fn explain(&self, error: &CallError) -> String {
        let configured = &self.effective.region;
        let other = error.region.as_deref().filter(|region| *region != configured.as_str());
        let hint = other
            .map(|region| format!("; the bucket is in region {region}, spec.storage.s3.region means {configured}"));
        format!("{error}{}", hint.unwrap_or_default())
    }

    async fn head(&self) -> Called<()> {
        self.bucket.head().await
    }

    async fn create(&self, _permit: &CreationPermit) -> Called<()> {
        match self.bucket.create().await {
            Err(error) if error.code == "BucketAlreadyOwnedByYou" => Ok(()),
            ended => ended,
        }
    }

    async fn read_ownership(&self) -> Called<Owner> {
        let tags = self.read_tags().await?;
        Ok(tags.map_or(Owner::Unmarkable, |tags| tags::owner(&tags, &self.infrastructure)))
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        let Some(existing) = self.read_tags().await? else {
            return Ok(false);
        };
        let (wanted, _) = self.wanted_tags();
        let Some(merged) = tags::merge(&existing, &wanted) else {
            return Ok(true);
        };
        let (tags, written) = match self.bucket.put_tags(&merged).await {
            Err(error) if error.cause == Cause::Answer(400) && !error.is_undecided() => {
                // The service may reject a tag of the platform. Write the mark without the platform's tags.
                let alone = tags::mark(&existing, &self.infrastructure).unwrap_or(existing);
                let written = self.bucket.put_tags(&alone).await;
                (alone, written)
            }
            written => (merged, written),
        };
        match written {
            Ok(()) => {
                self.set_tags(Some(tags));
                Ok(true)
            }
            Err(error) if error.is_unsupported() => {
                self.set_tags(None);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents> {
        let listing = match self.bucket.versions(A_FEW).await {
            Ok(listing) => listing,
            // Without versioning, a listing of objects is complete.
            Err(error) if error.is_unsupported() || (error.is_forbidden() && plain) => {
                self.bucket.objects("", A_FEW).await?
            }
            Err(error) if error.is_forbidden() => return Ok(Contents::Hidden(error.to_string())),
            Err(error) => return Err(error),
        };
        let empty = |listing: &Listing| !listing.more && listing.entries.iter().all(|entry| probe.contains(&entry.key));
        // Some services list no versions of a bucket without versioning.
        Ok(if empty(&listing) && empty(&self.bucket.objects("", A_FEW).await?) {
            Contents::Nothing
        } else {
            Contents::Something
        })
    }

    async fn would_probe(&self, _setting: &Setting) -> bool {
        self.would_verify_encryption().await
    }

    async fn apply(&self, setting: &Setting, scope: SettingScope) -> Result<Applied, SettingError> {
        self.apply_setting(setting, scope).await
    }

    fn probe_left(&self) -> bool {
        self.probe_left.load(Ordering::Relaxed)
    }

    async fn list_page(&self, at_most: u16) -> Called<Page<Entry>> {
        match self.bucket.versions(at_most).await {
            Ok(listing) => Ok(Page {
                entries: listing.entries,
                versions_hidden: false,
            }),
            // List the objects without versions: the service has no versions, or the operator may not list them.
            Err(error) if error.is_unsupported() || error.is_forbidden() => Ok(Page {
                entries: self.bucket.objects("", at_most).await?.entries,
                versions_hidden: true,
            }),
            Err(error) => Err(error),
        }
    }

    async fn delete_page(&self, mut entries: Vec<Entry>) -> Called<PageDeletion> {
        let plain = |entry: &Entry| entry.latest && !entry.marker && entry.version.as_deref() == Some(NULL);
        if entries.iter().all(plain) {
            // The page shows no versions, so delete without the permission to delete versions.
            for entry in &mut entries {
                entry.version = None;
            }
        }
        let deletion = self.bucket.delete(&entries).await?;
        let (refused, vanished): (Vec<_>, Vec<_>) =
            deletion.refused.into_iter().map(refusal).partition(Option::is_some);
        Ok(PageDeletion {
            deleted: deletion.deleted.saturating_add(vanished.len()) as u64,
            refused: refused.into_iter().flatten().collect(),
        })
    }

    /// With most services a bucket with unfinished uploads can be deleted, so errors are ignored.
    async fn abort_uploads(&self) -> bool {
        let Ok((uploads, more)) = self.bucket.uploads("").await else {
            return false;
        };
        let mut aborted = 0;
        for upload in uploads.iter().take(UPLOADS) {
            match self.bucket.abort(upload).await {
                Ok(()) => aborted += 1,
                Err(error) if error.is_undecided() => break,
                Err(_) => {}
            }
        }
        aborted > 0 && (more || uploads.len() > UPLOADS)
    }

    async fn delete_container(&self, _proof: &OwnershipProof) -> Called<()> {
        self.bucket.delete_bucket().await
    }

    async fn data_plane(&self, probe: &Probe<'_>) -> Result<RegistryBucket, StorageError> {
        self.as_registry(probe).await
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        self.clear_all(probe).await
    }
}

/// Why a key was not deleted; `None` if it does not exist any more.
fn refusal(error: KeyError) -> Option<Refusal> {
    let text = error.message.to_ascii_lowercase();
    let cause = match error.code.as_str() {
        "NoSuchKey" | "NoSuchVersion" => return None,
        code if codes::is_locked(code) => RefusalCause::Locked,
        // Amazon S3 and SeaweedFS have no code of their own for this.
        _ if text.contains("object lock") || text.contains("wormprotected") || text.contains("worm protected") => {
            RefusalCause::Locked
        }
        "AccessDenied" if error.version.is_some() => RefusalCause::Forbidden("s3:DeleteObjectVersion"),
        "AccessDenied" => RefusalCause::Forbidden("s3:DeleteObject"),
        code if codes::is_passing(code) => RefusalCause::Busy,
        _ => RefusalCause::Other,
    };
    Some(Refusal {
        key: error.key,
        cause,
        code: error.code,
        message: error.message,
    })
}
