//! Access to the container as the registry has it. Its driver writes manifests as block blobs and layers as append blobs, moves
//! blobs by a copy from a signed URL and a deletion, and deletes blobs one by one.

use std::time::Duration;

use http::Method;

use super::blobs::{Access, Call, KeySource};
use super::connect::{self, Route};
use super::container::{BlobContainer, DELETE_BLOBS, READ_BLOBS, WRITE_BLOBS, blob_name, unless_missing};
use super::credentials;
use super::error::{Failure, Service, is_locked, rejected};
use super::sas::{DelegationKey, Subject, key_info};
use super::step::Store;
use crate::program::{AzureLogin, RegistryStorage};
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::Probe;
use crate::storage::net::http::{Egress, Trust};
use crate::storage::net::transport::Response;
use crate::storage::preflight;
use crate::storage::traits::{Check, Cluster, DataPlane};

const ADD_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action";
const DELEGATE: &str = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action";
const BYTES: &str = "application/octet-stream";
/// Number of looks at a copy that is not complete.
const LOOKS: u32 = 20;
/// Wait before the next look.
const LOOK: Duration = Duration::from_millis(500);

/// The container with the registry's identity.
pub struct RegistryContainer {
    container: BlobContainer,
}

impl<C: Cluster> Store<'_, C> {
    /// The container with the registry's identity, proxy and CA.
    pub(super) async fn as_registry(&self, probe: &Probe<'_>) -> Result<RegistryContainer, StorageError> {
        let route = Route {
            trust: Trust::with_system(probe.roots),
            egress: Egress::Fixed(probe.proxies.clone()),
        };
        let (network, clients) = (self.backend.network, self.backend.clients);
        let access = match probe.access {
            RegistryStorage::Azure(azure) => match &azure.login {
                AzureLogin::Key(key) => Access::Key(KeySource::Given(key.clone())),
                AzureLogin::WorkloadIdentity { .. } => {
                    let token = self.backend.cluster.registry_token(preflight::AUDIENCE).await?;
                    let identity = connect::registry_identity(network, clients, &self.session, &route, token)?;
                    Access::Token(identity)
                }
            },
            _ => return Err(StorageError::transient("the storage of the registry is not Azure")),
        };
        let service = Service::RegistryBlobs;
        let container = connect::container(network, &self.session, &self.effective, &route, access, service)?;
        Ok(RegistryContainer { container })
    }
}

/// An upload: an append blob.
pub struct RegistryUpload {
    blob: String,
    /// Version of the blob, if the account keeps versions. Blocks that are appended make no further version.
    version: Option<String>,
}

/// Version that a write created, if the account keeps versions.
fn version_of(response: &Response) -> Option<String> {
    response.header("x-ms-version-id").map(ToOwned::to_owned)
}

impl RegistryContainer {
    fn time(&self) -> std::time::SystemTime {
        (self.container.service.clock.now)()
    }

    /// The query with which a copy may read a blob.
    async fn signed(&self, blob: &str) -> Called<String> {
        let service = &self.container.service;
        let subject = Subject {
            account: &service.account,
            container: &self.container.name,
            blob,
            version: service.version(),
            now: self.time(),
        };
        let unusable = |why: String| CallError {
            cause: Cause::Unsendable,
            class: CallClass::Denied,
            ..rejected(
                READ_BLOBS,
                &self.container.name,
                format!("the key of the storage account {why}"),
            )
        };
        match &service.access {
            Access::Key(source) => {
                let key = service.key(source).await?;
                Ok(subject.with_key(&credentials::decoded(&key).map_err(unusable)?))
            }
            Access::Token(_) => {
                let key = self.delegation_key().await?;
                let bytes = credentials::decoded(&key.value).map_err(unusable)?;
                Ok(subject.with_delegation(&key, &bytes))
            }
        }
    }

    async fn delegation_key(&self) -> Called<DelegationKey> {
        let service = &self.container.service;
        let call = Call {
            action: DELEGATE,
            resource: &service.account,
            changes: false,
        };
        let request = service.request(Method::POST, "?restype=service&comp=userdelegationkey");
        let request = request.content("application/xml", key_info(self.time()));
        let response = service.send(call, &request).await?;
        let key = DelegationKey::parse(&String::from_utf8_lossy(&response.body));
        key.ok_or_else(|| {
            self.container
                .garbled(DELEGATE, &service.account, "no UserDelegationKey")
        })
    }

    /// Creates an empty append blob.
    async fn create_append_blob(&self, blob: &str) -> Called<Option<String>> {
        let resource = self.container.resource(blob);
        let call = Call {
            action: WRITE_BLOBS,
            resource: &resource,
            changes: true,
        };
        let service = &self.container.service;
        let request = service.request(Method::PUT, &self.container.blob_path(blob));
        let created = service
            .send(call, &request.header("x-ms-blob-type", "AppendBlob"))
            .await?;
        Ok(version_of(&created))
    }

    /// Waits until a copy is complete.
    async fn copied(&self, blob: &str, status: Option<&str>) -> Called<()> {
        let service = &self.container.service;
        let resource = self.container.resource(blob);
        let mut status = status.unwrap_or_default().to_owned();
        for _ in 0..LOOKS {
            match status.as_str() {
                "success" => return Ok(()),
                "pending" => {}
                _ => break,
            }
            (service.clock.sleep)(LOOK).await;
            let call = Call {
                action: READ_BLOBS,
                resource: &resource,
                changes: false,
            };
            let request = service.request(Method::HEAD, &self.container.blob_path(blob));
            let response = service.send(call, &request).await?;
            response
                .header("x-ms-copy-status")
                .unwrap_or_default()
                .clone_into(&mut status);
        }
        Err(rejected(
            WRITE_BLOBS,
            &resource,
            format!("the copy of the probe object ended as {status:?}"),
        ))
    }

    async fn delete_blob(&self, key: &str) -> Called<()> {
        let blob = blob_name(key);
        let resource = self.container.resource(&blob);
        let call = Call {
            action: DELETE_BLOBS,
            resource: &resource,
            changes: true,
        };
        let service = &self.container.service;
        let request = service.request(Method::DELETE, &self.container.blob_path(&blob));
        let deleted: Result<(), Failure> = service.send(call, &request).await.map(drop);
        Ok(unless_missing(deleted)?)
    }
}

impl DataPlane for RegistryContainer {
    type Upload = RegistryUpload;

    async fn put(&self, key: &str, body: &[u8]) -> Called<Option<String>> {
        let blob = blob_name(key);
        let resource = self.container.resource(&blob);
        let call = Call {
            action: WRITE_BLOBS,
            resource: &resource,
            changes: true,
        };
        let service = &self.container.service;
        let request = service.request(Method::PUT, &self.container.blob_path(&blob));
        let request = request.header("x-ms-blob-type", "BlockBlob").content(BYTES, body);
        Ok(version_of(&service.send(call, &request).await?))
    }

    async fn get(&self, key: &str) -> Called<Vec<u8>> {
        let blob = blob_name(key);
        let resource = self.container.resource(&blob);
        let call = Call {
            action: READ_BLOBS,
            resource: &resource,
            changes: false,
        };
        let service = &self.container.service;
        let request = service.request(Method::GET, &self.container.blob_path(&blob));
        Ok(service.send(call, &request).await?.body)
    }

    async fn lists_object(&self, key: &str) -> Called<bool> {
        let blob = blob_name(key);
        let listing = self.container.list(&blob, 10, None).await?;
        Ok(listing.names.contains(&blob))
    }

    async fn begin_upload(&self, key: &str) -> Called<RegistryUpload> {
        let blob = blob_name(key);
        let version = self.create_append_blob(&blob).await?;
        Ok(RegistryUpload { blob, version })
    }

    async fn upload_part(&self, upload: &mut RegistryUpload, body: &[u8]) -> Called<()> {
        let resource = self.container.resource(&upload.blob);
        let call = Call {
            action: ADD_BLOBS,
            resource: &resource,
            changes: true,
        };
        let service = &self.container.service;
        let path = format!("{}?comp=appendblock", self.container.blob_path(&upload.blob));
        // A second attempt after a lost response must not append again.
        let request = service
            .request(Method::PUT, &path)
            .header("x-ms-blob-condition-appendpos", "0");
        match service.send(call, &request.content(BYTES, body)).await {
            Err(failure) if failure.code == "AppendPositionConditionNotMet" && self.is_unsure() => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    async fn complete_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        let resource = self.container.resource(&upload.blob);
        let call = Call {
            action: READ_BLOBS,
            resource: &resource,
            changes: false,
        };
        let service = &self.container.service;
        let request = service.request(Method::HEAD, &self.container.blob_path(&upload.blob));
        service.send(call, &request).await?;
        Ok(upload.version.clone())
    }

    async fn copy(&self, from: &str, to: &str) -> Called<Option<String>> {
        let (from, to) = (blob_name(from), blob_name(to));
        let signature = self.signed(&from).await?;
        let resource = self.container.resource(&to);
        let call = Call {
            action: WRITE_BLOBS,
            resource: &resource,
            changes: true,
        };
        let service = &self.container.service;
        let source = format!("{}/{}?{signature}", service.origin, self.container.blob_path(&from));
        let request = service.request(Method::PUT, &self.container.blob_path(&to));
        let response = service.send(call, &request.header("x-ms-copy-source", source)).await?;
        self.copied(&to, response.header("x-ms-copy-status")).await?;
        Ok(version_of(&response))
    }

    async fn abort_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        self.delete_blob(upload.blob.trim_start_matches('/')).await?;
        Ok(upload.version.clone())
    }

    async fn delete_together(&self, keys: &[&str]) -> Called<Vec<(String, String)>> {
        for key in keys {
            self.delete_blob(key).await?;
        }
        Ok(Vec::new())
    }

    async fn delete(&self, key: &str, version: Option<&str>) -> Called<()> {
        match version {
            Some(version) => {
                let deleted = self.container.delete_version(&blob_name(key), version).await;
                unless_missing(deleted).map_err(|failure| {
                    let locked = is_locked(&failure.code);
                    let error = CallError::from(failure);
                    // A policy or a legal hold keeps the version: nothing is wrong with the storage.
                    CallError {
                        class: if locked { CallClass::Forbidden } else { error.class },
                        ..error
                    }
                })
            }
            None => self.delete_blob(key).await,
        }
    }

    /// A removal deletes the container as a whole.
    fn must_delete_versions(&self) -> bool {
        false
    }

    fn permission(&self, check: Check) -> &'static str {
        match check {
            Check::Content | Check::Objects => READ_BLOBS,
            Check::Deletion => DELETE_BLOBS,
            Check::Uploads | Check::Parts => ADD_BLOBS,
        }
    }

    fn is_unsure(&self) -> bool {
        self.container.service.unsure.load(std::sync::atomic::Ordering::Relaxed)
    }
}
