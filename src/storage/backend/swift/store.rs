//! The container of one request, and its operations for the engine.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use http::{HeaderMap, Method};

use super::access;
use super::bulk;
use super::catalog::{self, Selection};
use super::client::{Call, Client};
use super::container::{CLUSTER_HEADER, Listed, NAME_HEADER, metadata};
use super::context::Swift;
use super::effective::Effective;
use super::keystone::Login;
use super::layout;
use super::reasons;
use super::registry::RegistryContainer;
use super::trust;
use super::wire::Wire;
use crate::program::RegistryStorage;
use crate::storage::inputs::name;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion, Refusal, RefusalCause};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::model::proof::{CreationPermit, OwnershipProof};
use crate::storage::model::target::Request;
use crate::storage::net::http::Egress;
use crate::storage::traits::{Cluster, ObjectStore};

/// Number of objects to list in order to decide whether a container is empty.
const A_FEW: usize = 100;
/// Longest time for the answer of another region: the engine waits 20 s for all of them.
const ELSEWHERE: Duration = Duration::from_secs(5);
/// Requests at the same time, where each deletes one object.
const AT_ONCE: usize = 8;

/// Objects of one bulk deletion: Swift deletes two at a time, and an answer has to come within the limit of a request.
const AT_ONCE_IN_BULK: usize = 200;

/// The container of a request.
pub struct Store<'a, C> {
    pub(super) backend: &'a Swift<'a, C>,
    pub(super) container: ContainerName,
    pub(super) effective: Effective,
    /// Name of the cluster in the ownership mark.
    infrastructure: String,
    client: Client,
    /// The status names this container.
    in_use: bool,
    /// The registry sends clients to URLs of Swift for layers.
    redirects: bool,
}

/// An object of a page.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its container: the registry's, or the second one with segments.
    container: String,
    object: Listed,
}

impl<'a, C> Store<'a, C> {
    /// Opens the container, without a call.
    pub(super) fn open(
        backend: &'a Swift<'a, C>,
        request: &Request<'_>,
        effective: Effective,
    ) -> Result<Self, StorageError> {
        let credentials = effective.credentials.clone()?;
        let spec = request.storage.swift.clone().unwrap_or_default();
        let container = effective.container(&spec, request.snapshot)?;
        let trust = trust::trust(effective.verify, request.snapshot)?;
        let wire = Wire::new(backend.network, trust, Egress::Process)?;
        let login = Login::of(&effective, &credentials);
        let session = backend.sessions.of(login, &wire);
        let selection = Selection {
            region: effective.region.clone(),
            interface: effective.interface,
            as_registry: false,
        };
        let leading = backend.network.settings.leading.clone();
        Ok(Self {
            backend,
            container,
            infrastructure: name::infrastructure_name(request.snapshot)?,
            client: Client::new(wire, session, selection, leading),
            effective,
            in_use: request.in_use,
            redirects: !request.config.spec.disable_redirect.unwrap_or(false),
        })
    }

    fn name(&self) -> &str {
        &self.container.name
    }

    /// Name of the container into which other tools put segments. The registry does not use it.
    fn segments_name(&self) -> String {
        format!("{}_segments", self.name())
    }

    /// Metadata of a container, by a request whose response to a missing container is Swift's own.
    async fn marks_of(&self, container: &str) -> Called<HeaderMap> {
        Ok(self.client.list(container, "", 1, false).await?.headers)
    }

    /// Whether the container does not exist in a region, where it was not found. While the servers of the account are down, Swift finds
    /// no container of the account, and says so as if each of them were deleted: its account tells the two cases apart.
    async fn confirm_missing(&self, client: &Client) -> Called<()> {
        match client
            .call(&Call::of_account("HEAD account", Method::HEAD).once())
            .await
        {
            Err(error) if error.is_undecided() || error.of_identity => Err(error),
            // Also a refusal: some services answer nobody about the account.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The result of a call about the registry's container. It counts as missing only while the account answers. A container in use
    /// counts only if no region has it, where nobody names the region.
    async fn of_region<T>(&self, found: Called<T>) -> Called<T> {
        let Err(error) = found else { return found };
        if !error.is_missing() {
            return Err(error);
        }
        if let Err(account) = self.confirm_missing(&self.client).await {
            return Err(CallError {
                class: CallClass::Undecided,
                message: format!(
                    "{}; that proves nothing, because the account does not answer ({account})",
                    error.message
                ),
                ..error
            });
        }
        if !self.in_use {
            return Err(error);
        }
        let token = self.client.session.token(&self.client.wire).await?;
        for region in catalog::other_regions(&token.body.endpoints, &self.client.selection) {
            let client = self.client.in_region(&region);
            let no_answer = |_| Err(CallError::no_answer("HEAD container", self.name(), ELSEWHERE));
            let look = async {
                match client.head(self.name()).await {
                    Err(missing) if missing.is_missing() => self.confirm_missing(&client).await.map(|()| false),
                    found => found.map(|_| true),
                }
            };
            let why = match tokio::time::timeout(ELSEWHERE, look).await.unwrap_or_else(no_answer) {
                Ok(true) => "has a container of this name".to_owned(),
                Ok(false) => continue,
                Err(there) => format!("may have it ({there})"),
            };
            return Err(CallError {
                class: CallClass::Undecided,
                message: format!(
                    "{}; region {region} {why}, and nothing names the region: {}",
                    error.message,
                    self.naming_a_region()
                ),
                ..error
            });
        }
        Err(error)
    }

    /// How to name the region. An administrator's Secret names none, and another region in the spec is another location.
    fn naming_a_region(&self) -> String {
        if self.effective.is_users {
            "set spec.storage.swift.regionName, which makes a container that exists there Unmanaged; to end a removal, set \
             spec.storage.managementState to Unmanaged"
                .to_owned()
        } else {
            format!("set region_name in clouds.yaml of {}", self.effective.source)
        }
    }

    fn owner(&self, marks: &HeaderMap) -> Owner {
        match metadata(marks, CLUSTER_HEADER) {
            Some(cluster) if cluster == self.infrastructure => Owner::Ours,
            Some(cluster) => Owner::Other(cluster),
            None => Owner::Nobody(format!(
                "it carries no mark of ownership (metadata Openshiftclusterid={})",
                self.infrastructure
            )),
        }
    }

    /// The second container with segments, if it exists and carries the mark of this cluster. A container that also carries
    /// its own name is a container that the operator marked for the registry, such as one of an earlier spec: it stays.
    async fn owned_segments(&self) -> Called<Option<String>> {
        let segments = self.segments_name();
        match self.marks_of(&segments).await {
            Ok(marks) => {
                let of_registry = metadata(&marks, NAME_HEADER).is_some_and(|name| name == segments);
                Ok((self.owner(&marks) == Owner::Ours && !of_registry).then_some(segments))
            }
            Err(error) if error.is_missing() => self.confirm_missing(&self.client).await.map(|()| None),
            Err(error) if error.is_forbidden() => Ok(None),
            // The service permits no such name, for example because it is too long.
            Err(error) if matches!(error.cause, Cause::Answer(400 | 412)) && !error.of_identity => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first objects of a container, versions included where it may have some.
    async fn first_of(&self, container: &str, at_most: usize) -> Called<Vec<Entry>> {
        let mut listing = self.client.list(container, "", at_most, false).await?;
        if listing.objects.is_empty() && listing.may_have_versions() {
            listing = self.client.list(container, "", at_most, true).await?;
        }
        let entry = |object| Entry {
            container: container.to_owned(),
            object,
        };
        Ok(listing.objects.into_iter().map(entry).collect())
    }

    /// Deletes objects with one request each.
    async fn delete_singly(&self, entries: Vec<Entry>) -> Called<PageDeletion> {
        let deletions = entries.into_iter().map(|entry| async move {
            let version = entry.object.version_id.as_deref();
            let deleted = self
                .client
                .delete_object(&entry.container, &entry.object.name, version)
                .await;
            (entry, deleted)
        });
        let mut ended = futures::stream::iter(deletions).buffer_unordered(AT_ONCE);
        let mut page = PageDeletion::default();
        while let Some((entry, deleted)) = ended.next().await {
            match deleted {
                // An object that was gone before does not count: listings lag behind, and a removal without progress pauses.
                Ok(existed) => page.deleted += u64::from(existed),
                Err(error) if error.of_identity || error.is_not_leading() => return Err(error),
                Err(error) => page.refused.push(refusal(entry, &error)),
            }
        }
        Ok(page)
    }

    /// Deletes objects together, as many with one request as the service permits. `None`: it has no such request.
    async fn delete_together(&self, entries: &[Entry], at_once: usize) -> Called<Option<PageDeletion>> {
        let mut page = PageDeletion::default();
        for part in entries.chunks(at_once.max(1)) {
            let objects: Vec<_> = part
                .iter()
                .map(|entry| (entry.container.as_str(), entry.object.name.as_str()))
                .collect();
            let Some(deleted) = self.client.delete_together(Method::POST, &objects).await? else {
                return Ok(None);
            };
            page.deleted += deleted.deleted;
            page.refused.extend(deleted.refused);
        }
        Ok(Some(page))
    }
}

fn refusal(entry: Entry, error: &CallError) -> Refusal {
    let cause = if error.is_denied() {
        RefusalCause::Forbidden("DELETE object")
    } else if error.is_undecided() {
        RefusalCause::Busy
    } else {
        RefusalCause::Other
    };
    Refusal {
        key: entry.object.name,
        cause,
        code: reasons::UNKNOWN.to_owned(),
        message: error.message.clone(),
    }
}

impl<C: Cluster> ObjectStore for Store<'_, C> {
    type Entry = Entry;
    type Plane = RegistryContainer;

    fn container(&self) -> &ContainerName {
        &self.container
    }

    fn object_name(&self, key: &str) -> String {
        layout::file(key)
    }

    async fn head(&self) -> Called<()> {
        let found = self.client.head(self.name()).await;
        self.of_region(found.map(drop)).await
    }

    async fn create(&self, _permit: &CreationPermit) -> Called<()> {
        self.client.create(self.name()).await
    }

    async fn read_ownership(&self) -> Called<Owner> {
        let marks = self.marks_of(self.name()).await;
        Ok(self.owner(&self.of_region(marks).await?))
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        let mark = [
            (CLUSTER_HEADER, self.infrastructure.as_str()),
            (NAME_HEADER, self.name()),
        ];
        match self.client.update(self.name(), &mark).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn contents(&self, probe: &ProbeKeys, _plain: bool) -> Called<Contents> {
        let entries = self.first_of(self.name(), A_FEW).await?;
        let only_probes = entries
            .iter()
            .all(|entry| layout::is_of_probe(probe, &entry.object.name));
        Ok(if only_probes && entries.len() < A_FEW {
            Contents::Nothing
        } else {
            Contents::Something
        })
    }

    async fn list_page(&self, at_most: u16) -> Called<Page<Entry>> {
        let info = self.client.info().await?;
        let at_once = info.bulk.map_or(usize::MAX, |most| most.min(AT_ONCE_IN_BULK));
        let at_most = at_once.min(usize::from(at_most));
        let mut entries = self.first_of(self.name(), at_most).await?;
        if entries.is_empty()
            && let Some(segments) = self.owned_segments().await?
        {
            entries = self.first_of(&segments, at_most).await?;
        }
        Ok(Page {
            entries,
            versions_hidden: false,
        })
    }

    async fn delete_page(&self, entries: Vec<Entry>) -> Called<PageDeletion> {
        let most = self.client.info().await?.bulk;
        let together = entries
            .iter()
            .all(|entry| entry.object.version_id.is_none() && bulk::is_line(&entry.container, &entry.object.name));
        if let Some(at_once) = most.filter(|_| together)
            && let Some(page) = self.delete_together(&entries, at_once).await?
        {
            return Ok(page);
        }
        self.delete_singly(entries).await
    }

    async fn delete_container(&self, _proof: &OwnershipProof) -> Called<()> {
        if let Some(segments) = self.owned_segments().await? {
            match self.client.delete_container(&segments).await {
                Err(error) if error.is_missing() => {}
                ended => ended?,
            }
        }
        self.client.delete_container(self.name()).await
    }

    async fn runtime_access(&self, known: RegistryStorage) -> Called<(RegistryStorage, Option<std::time::Duration>)> {
        let needed = self.effective.credentials.as_ref().is_ok_and(access::needs_login);
        if !needed {
            return Ok((known, None));
        }
        let token = self.client.session.token(&self.client.wire).await?;
        Ok((access::completed(known, &token), None))
    }

    async fn data_plane(&self, probe: &Probe<'_>) -> Result<RegistryContainer, StorageError> {
        RegistryContainer::open(self.backend, &self.container.name, probe, self.redirects)
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        let mut names: BTreeSet<String> = probe.all().into_iter().map(layout::file).collect();
        let segments = layout::segments(&probe.upload);
        let listed = self.client.list(self.name(), &segments, A_FEW, false).await;
        let listed = self.of_region(listed).await?;
        names.extend(listed.objects.into_iter().map(|object| object.name));
        // A listing may lag behind.
        names.insert(layout::segment(&probe.upload));
        for name in names {
            self.client.delete_object(self.name(), &name, None).await?;
        }
        Ok(())
    }
}
