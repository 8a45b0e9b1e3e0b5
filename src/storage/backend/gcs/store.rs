//! Operations of one bucket for the engine.

use futures::StreamExt as _;

use super::bucket::{CREATE, DELETE_OBJECT, Entry, GET, LIST, UPDATE, has_changed};
use super::error::{Failure, is_locked};
use super::labels;
use super::registry::RegistryBucket;
use super::step::Store;
use crate::config::event_request::EventRequest;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion, Refusal, RefusalCause};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::model::proof::{CreationPermit, OwnershipProof};
use crate::storage::model::setting::{Applied, Setting, SettingError, SettingScope};
use crate::storage::traits::{Cluster, ObjectStore};

/// Largest number of objects that one step deletes, with one call each.
const PAGE: u16 = 250;
/// Number of deletions at the same time.
const AT_ONCE: usize = 16;
/// Number of entries to list in order to decide whether a bucket is empty. An empty bucket may hold several generations
/// of the probe object.
const A_FEW: u16 = 100;

impl<C: Cluster> Store<'_, C> {
    /// Result of the deletion of one object.
    async fn delete_one(&self, entry: &Entry) -> Result<bool, Failure> {
        self.bucket.delete_object(&entry.name, Some(&entry.generation)).await
    }

    /// Checks that a bucket which was found under a name that the operator chose is one of its project. Anybody may create a
    /// bucket with that name in another project, and let this cluster write to it.
    async fn check_project(&self) -> Called<()> {
        let project = self.effective.spec.project_id.as_deref();
        let project = project.ok_or_else(|| self.unknown("projectID", "a project"))?;
        if self.bucket.is_in(project).await? {
            return Ok(());
        }
        Err(CallError {
            action: LIST,
            class: CallClass::NameTaken,
            cause: Cause::Answer(409),
            code: "409".to_owned(),
            ..CallError::invalid(
                &self.container.name,
                &format!(
                    "project {project} has no such bucket, it belongs to somebody else: to use it nevertheless, name it in \
                     spec.storage.gcs.bucket"
                ),
            )
        })
    }

    /// What the user can do about an error, in addition to its text.
    fn hint(&self, error: &CallError) -> Option<String> {
        let Cause::Answer(status) = error.cause else {
            return None;
        };
        match (error.action, status) {
            (GET, 403) => Some(
                "; the bucket exists and these credentials may not see it, or the name belongs to another project".to_owned(),
            ),
            (LIST, 403) => Some(
                "; it tells whether the bucket of this name is one of the operator's project: grant it in the project, or name \
                 the bucket in spec.storage.gcs.bucket"
                    .to_owned(),
            ),
            (CREATE, 400 | 403 | 404) => self.effective.key_id().map(|key| {
                format!(
                    "; spec.storage.gcs.keyID is {key}: the key must be at the location of the bucket ({}) and enabled, and \
                     the Cloud Storage service agent of project {} needs roles/cloudkms.cryptoKeyEncrypterDecrypter on it",
                    self.effective.spec.region.as_deref().unwrap_or_default(),
                    self.effective.spec.project_id.as_deref().unwrap_or_default(),
                )
            }),
            (CREATE, 412) => Some("; a policy of the organisation forbids such a bucket".to_owned()),
            (UPDATE, 403) => Some(format!(
                "; the platform's credentials do not have this right: add label {}={} to the bucket yourself, or grant the \
                 right",
                labels::mark(&self.infrastructure).0,
                labels::mark(&self.infrastructure).1,
            )),
            _ => None,
        }
    }
}

/// Somebody changed the bucket since it was described: the next attempt reads it again.
fn read_again(error: CallError) -> CallError {
    if has_changed(&error) {
        CallError {
            class: CallClass::Undecided,
            ..error
        }
    } else {
        error
    }
}

fn refusal(entry: Entry, Failure { error, reason }: Failure) -> Refusal {
    let cause = match error.class {
        _ if is_locked(&reason) => RefusalCause::Locked,
        CallClass::Forbidden | CallClass::Denied => RefusalCause::Forbidden(DELETE_OBJECT),
        CallClass::Undecided => RefusalCause::Busy,
        _ => RefusalCause::Other,
    };
    Refusal {
        key: entry.name,
        cause,
        code: error.code,
        message: error.message,
    }
}

impl<C: Cluster> ObjectStore for Store<'_, C> {
    type Entry = Entry;
    type Plane = RegistryBucket;

    fn container(&self) -> &ContainerName {
        &self.container
    }

    fn explain(&self, error: &CallError) -> String {
        let universe = self.effective.other_universe.as_ref().map(|other| {
            format!(
                "; the credentials name universe domain {}, which is used, and infrastructures/cluster names {other}",
                self.effective.universe
            )
        });
        let hint = self.hint(error).unwrap_or_default();
        format!("{error}{hint}{}", universe.unwrap_or_default())
    }

    fn place(&self) -> String {
        let region = self.container.place.as_str();
        match self.known() {
            Some(metadata) if !metadata.location.eq_ignore_ascii_case(region) && !metadata.location.is_empty() => {
                metadata.location
            }
            _ => region.to_owned(),
        }
    }

    fn notices(&self) -> Vec<EventRequest> {
        // Once after an edit, and not whenever a setting is tried again.
        let differs = (!self.request.applied).then(|| self.location_differs());
        differs.flatten().into_iter().collect()
    }

    fn pin(&self) -> String {
        self.known().map(|metadata| metadata.metageneration).unwrap_or_default()
    }

    async fn head(&self) -> Called<()> {
        self.describe().await?;
        if self.request.target.named || self.request.in_use {
            return Ok(());
        }
        self.check_project().await
    }

    async fn create(&self, _permit: &CreationPermit) -> Called<()> {
        self.forget();
        let labels = self.wanted_labels();
        let new = self.new_bucket(&labels)?;
        let taken = match self.bucket.create(&new).await {
            Err(error) if error.class == CallClass::NameTaken => error,
            ended => return ended,
        };
        // The response of an earlier attempt may have got lost.
        match self.bucket.metadata().await {
            Ok(metadata) if labels::owner(&metadata.labels, &self.infrastructure) == Owner::Ours => {}
            Err(error) if error.is_undecided() => return Err(error),
            _ => return Err(taken),
        }
        self.check_project().await
    }

    async fn read_ownership(&self) -> Called<Owner> {
        let metadata = self.described().await?;
        Ok(labels::owner(&metadata.labels, &self.infrastructure))
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        let described = self.described().await?;
        if let Owner::Other(cluster) = labels::owner(&described.labels, &self.infrastructure) {
            let message = format!("the bucket carries the label of cluster {cluster}");
            return Err(CallError {
                action: UPDATE,
                ..CallError::invalid(&self.container.name, &message)
            });
        }
        let missing = labels::missing(&described.labels, &self.wanted_labels());
        self.forget();
        if missing.is_empty() {
            return Ok(true);
        }
        match self.bucket.add_labels(&missing, &described).await {
            Ok(()) => Ok(true),
            Err(error) => Err(read_again(error)),
        }
    }

    async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents> {
        let listing = match self.bucket.list("", A_FEW, true).await {
            Ok(listing) => listing,
            // The right to list a new bucket may take minutes to become valid: a later step lists it.
            Err(error) if error.is_forbidden() && !plain => return Ok(Contents::Hidden(error.to_string())),
            Err(error) => return Err(error),
        };
        let more = listing.next_page_token.is_some_and(|token| !token.is_empty());
        Ok(
            if !more && listing.items.iter().all(|entry| probe.contains(&entry.name)) {
                Contents::Nothing
            } else {
                Contents::Something
            },
        )
    }

    async fn apply(&self, setting: &Setting, scope: SettingScope) -> Result<Applied, SettingError> {
        self.apply_setting(setting, scope).await
    }

    async fn list_page(&self, at_most: u16) -> Called<Page<Entry>> {
        let listing = self.bucket.list("", at_most.min(PAGE), true).await?;
        Ok(Page {
            entries: listing.items,
            versions_hidden: false,
        })
    }

    async fn delete_page(&self, entries: Vec<Entry>) -> Called<PageDeletion> {
        let deletions = entries.into_iter().map(|entry| async {
            let ended = self.delete_one(&entry).await;
            (entry, ended)
        });
        let mut deletions = futures::stream::iter(deletions).buffer_unordered(AT_ONCE);
        let mut page = PageDeletion::default();
        while let Some((entry, ended)) = deletions.next().await {
            match ended {
                Ok(deleted) => page.deleted += u64::from(deleted),
                Err(failure) if failure.error.is_not_leading() || failure.error.of_identity => {
                    return Err(failure.into());
                }
                Err(failure) => {
                    let undecided = failure.error.is_undecided();
                    page.refused.push(refusal(entry, failure));
                    if undecided {
                        // Each of the others might take as long.
                        break;
                    }
                }
            }
        }
        Ok(page)
    }

    async fn delete_container(&self, proof: &OwnershipProof) -> Called<()> {
        self.bucket.delete(proof.pin()).await.map_err(read_again)
    }

    async fn data_plane(&self, probe: &Probe<'_>) -> Result<RegistryBucket, StorageError> {
        self.as_registry(probe).await
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        let listing = self.bucket.list(&probe.object, A_FEW, true).await?;
        for entry in listing.items.iter().filter(|entry| probe.contains(&entry.name)) {
            self.delete_one(entry).await?;
        }
        Ok(())
    }
}
