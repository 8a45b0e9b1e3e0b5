//! The content of a bucket: whether it is empty, and the deletion of its objects, versions, uploads and probe objects. For
//! every backend that speaks S3.

use super::client::{Bucket, Entry, KeyError, Listing};
use super::codes;
use super::plane::NULL;
use crate::storage::model::call::Called;
use crate::storage::model::container::{Contents, Page, PageDeletion, Refusal, RefusalCause};
use crate::storage::model::preflight::ProbeKeys;

/// Number of entries to list in order to decide whether a bucket is empty. An empty bucket may hold several versions of
/// the probe object.
const A_FEW: u16 = 100;
/// Largest number of unfinished uploads that one step aborts, with one call each.
const UPLOADS: usize = 100;

impl Bucket {
    /// Whether the bucket holds objects other than the probe object. `plain`: if versions cannot be listed, a listing without
    /// versions is enough.
    pub async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents> {
        let listing = match self.versions(A_FEW).await {
            Ok(listing) => listing,
            // Without versioning, a listing of objects is complete.
            Err(error) if error.is_unsupported() || (error.is_forbidden() && plain) => self.objects("", A_FEW).await?,
            Err(error) if error.is_forbidden() => return Ok(Contents::Hidden(error.to_string())),
            Err(error) => return Err(error),
        };
        let empty = |listing: &Listing| !listing.more && listing.entries.iter().all(|entry| probe.contains(&entry.key));
        // Some services list no versions of a bucket without versioning.
        Ok(if empty(&listing) && empty(&self.objects("", A_FEW).await?) {
            Contents::Nothing
        } else {
            Contents::Something
        })
    }

    /// The first entries, versions included where the service lists them.
    pub async fn list_page(&self, at_most: u16) -> Called<Page<Entry>> {
        match self.versions(at_most).await {
            // Some services list no versions of a bucket without versioning.
            Ok(listing) if listing.entries.is_empty() => Ok(Page {
                entries: self.objects("", at_most).await?.entries,
                versions_hidden: false,
            }),
            Ok(listing) => Ok(Page {
                entries: listing.entries,
                versions_hidden: false,
            }),
            // List the objects without versions: the service has no versions, or the operator may not list them.
            Err(error) if error.is_unsupported() || error.is_forbidden() => Ok(Page {
                entries: self.objects("", at_most).await?.entries,
                versions_hidden: true,
            }),
            Err(error) => Err(error),
        }
    }

    /// Deletes the entries of a page.
    pub async fn delete_page(&self, mut entries: Vec<Entry>) -> Called<PageDeletion> {
        let plain = |entry: &Entry| entry.latest && !entry.marker && entry.version.as_deref() == Some(NULL);
        if entries.iter().all(plain) {
            // The page shows no versions, so delete without the permission to delete versions.
            for entry in &mut entries {
                entry.version = None;
            }
        }
        let deletion = self.delete(&entries).await?;
        let (refused, vanished): (Vec<_>, Vec<_>) =
            deletion.refused.into_iter().map(refusal).partition(Option::is_some);
        Ok(PageDeletion {
            deleted: deletion.deleted.saturating_add(vanished.len()) as u64,
            refused: refused.into_iter().flatten().collect(),
        })
    }

    /// Aborts unfinished uploads. Returns whether more remain. With most services a bucket with unfinished uploads can be
    /// deleted, so errors are ignored.
    pub async fn abort_uploads(&self) -> bool {
        let Ok((uploads, more)) = self.uploads("").await else {
            return false;
        };
        let mut aborted = 0;
        for upload in uploads.iter().take(UPLOADS) {
            match self.abort(upload).await {
                Ok(()) => aborted += 1,
                Err(error) if error.is_undecided() => break,
                Err(_) => {}
            }
        }
        aborted > 0 && (more || uploads.len() > UPLOADS)
    }

    /// Deletes every version of the probe objects, and their unfinished uploads.
    pub async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        let prefix = &probe.object;
        let listed = match self.versions_under(prefix, A_FEW).await {
            Ok(listed) => listed,
            Err(error) if error.is_unsupported() || error.is_forbidden() => self.objects(prefix, A_FEW).await?,
            Err(error) => return Err(error),
        };
        let found = of_probe(listed, probe);
        self.delete_found(&found, false).await?;
        if found
            .iter()
            .any(|entry| !entry.marker && entry.version.as_deref() == Some(NULL))
        {
            // Without versioning this listing is empty. In other buckets, also with suspended versioning, the deletion without
            // a version left a delete marker.
            let listed = self.versions_under(prefix, A_FEW).await?;
            self.delete_found(&of_probe(listed, probe), true).await?;
        }
        let Ok((uploads, _)) = self.uploads(prefix).await else {
            return Ok(()); // The lifecycle rule of the bucket aborts the uploads.
        };
        for upload in uploads.iter().filter(|upload| probe.contains(&upload.key)) {
            self.abort(upload).await?;
        }
        Ok(())
    }

    /// Deletes probe objects, and then their delete markers. Without `null_by_version`, the version `null` is deleted by its key
    /// alone, which does not need the permission to delete versions.
    async fn delete_found(&self, entries: &[Entry], null_by_version: bool) -> Called<()> {
        let (markers, versions): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.marker);
        let mut kept = false;
        for entry in versions {
            let version = entry.version.as_deref();
            let version = version.filter(|version| null_by_version || *version != NULL);
            match self.delete_object(&entry.key, version).await {
                Err(error) if error.is_forbidden() && version.is_some() => {
                    kept = true;
                    if entry.latest {
                        self.delete_object(&entry.key, None).await?; // A delete marker hides the version.
                    }
                }
                Err(error) if error.is_missing() => {}
                ended => ended?,
            }
        }
        // A delete marker stays as long as it hides a version.
        for entry in markers.into_iter().filter(|_| !kept) {
            match self.delete_object(&entry.key, entry.version.as_deref()).await {
                Err(error) if error.is_forbidden() || error.is_missing() => {}
                ended => ended?,
            }
        }
        Ok(())
    }
}

/// The entries that a preflight wrote.
fn of_probe(listing: Listing, probe: &ProbeKeys) -> Vec<Entry> {
    let mut entries = listing.entries;
    entries.retain(|entry| probe.contains(&entry.key));
    entries
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
