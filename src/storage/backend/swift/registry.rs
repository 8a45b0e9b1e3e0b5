//! Access to the container as the registry has it: login, endpoint, proxy, CA and requests of its Swift driver.

use std::time::Duration;

use http::{HeaderMap, Method};

use super::catalog::{self, Selection};
use super::client::{Call, Client, segment};
use super::container::metadata;
use super::context::Swift;
use super::credentials::Credentials;
use super::effective::{Interface, Named};
use super::error;
use super::keystone::{Login, Precedence};
use super::layout;
use super::wire::{Answer, Wire};
use crate::config::event_request::EventRequest;
use crate::program::{NameAndId, RegistryStorage, SwiftStorage};
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::net::http::{Egress, Trust};
use crate::storage::net::percent::encoded;
use crate::storage::traits::{Check, DataPlane};

/// Type of everything that the registry writes.
const KIND: &str = "application/octet-stream";
/// How often a large object is read until its segments show. Listings lag behind.
const LOOKS: u32 = 7;
/// Wait before the second look; each further wait is twice as long. All together are the 15 seconds of the registry.
const LAG: Duration = Duration::from_millis(200);
/// Header of a large object: where its segments are.
const MANIFEST_HEADER: &str = "x-object-manifest";
/// Key with which pulls are signed.
const SIGNING_KEY_HEADER: &str = "x-container-meta-temp-url-key";

/// The container with the registry's login.
pub struct RegistryContainer {
    client: Client,
    name: String,
    /// The registry sends clients to URLs of Swift for layers.
    redirects: bool,
}

/// A large object that is being written.
pub struct RegistryUpload {
    key: String,
    size: usize,
}

impl RegistryContainer {
    /// Opens the container, without a call.
    pub(super) fn open<C>(
        backend: &Swift<'_, C>,
        name: &str,
        probe: &Probe<'_>,
        redirects: bool,
    ) -> Result<Self, StorageError> {
        let trust = Trust::with_system(probe.roots);
        let wire = Wire::new(backend.network, trust, Egress::Fixed(probe.proxies.clone()))?;
        let RegistryStorage::Swift(swift) = probe.access else {
            return Err(StorageError::transient("the registry is rendered for other storage"));
        };
        let selection = Selection {
            region: swift.region.clone(),
            interface: Interface::Public,
            as_registry: true,
        };
        Ok(Self {
            client: Client::new(
                wire.clone(),
                backend.sessions.of(login(swift), &wire),
                selection,
                backend.network.settings.leading.clone(),
            ),
            name: name.to_owned(),
            redirects,
        })
    }

    /// A request about an object, with the path as the registry writes it.
    fn object(&self, action: &'static str, method: Method, object: &str) -> Called<Call> {
        let path = object.split('/').map(encoded).collect::<Vec<_>>().join("/");
        Ok(Call {
            path: format!("{}/{path}", segment(&self.name)?),
            expected: &[200, 201, 202, 204],
            ..Call::of_object(action, method, &self.name, object)?
        })
    }

    async fn write(&self, object: &str, body: &[u8]) -> Called<()> {
        let call = self.object("PUT object", Method::PUT, object)?.body(KIND, body);
        self.client.call(&call).await.map(drop)
    }

    async fn write_manifest(&self, key: &str, manifest: &str) -> Called<()> {
        let call = self.object("PUT object", Method::PUT, &layout::file(key))?;
        let call = call.header(MANIFEST_HEADER, manifest).body(KIND, Vec::new());
        self.client.call(&call).await.map(drop)
    }

    async fn read(&self, key: &str) -> Called<Answer> {
        let call = self.object("GET object", Method::GET, &layout::file(key))?;
        self.client.call(&call).await
    }

    async fn head_object(&self, key: &str) -> Called<HeaderMap> {
        let call = self.object("HEAD object", Method::HEAD, &layout::file(key))?;
        Ok(self.client.call(&call).await?.headers)
    }

    /// What the registry does when it starts: it reads the container, and writes a key into its metadata with which it signs the
    /// URLs of pulls, unless there is one. A request without metadata needs the same right and changes nothing. With some versions of
    /// Swift, the key is that of the account.
    async fn start(&self) -> Called<()> {
        let head = Call::of_container("HEAD container", Method::HEAD, &self.name)?;
        let headers = self.client.call(&head).await?.headers;
        let call = match self.client.info().await?.signed_urls {
            // Without this answer it ends; without the right to write the key there, it only signs nothing.
            Some(urls) if urls.account_key => Call::of_account("HEAD account", Method::HEAD),
            Some(_) if metadata(&headers, SIGNING_KEY_HEADER).is_none() => {
                Call::of_container("POST container", Method::POST, &self.name)?
            }
            Some(_) | None => return Ok(()),
        };
        self.client.call(&call).await.map(drop)
    }

    async fn delete_singly(&self, objects: &[String]) -> Called<()> {
        for object in objects {
            let call = self.object("DELETE object", Method::DELETE, object)?;
            match self.client.call(&call).await {
                Err(error) if error.is_missing() => {}
                ended => ended.map(drop)?,
            }
        }
        Ok(())
    }
}

/// The login of the registry, with what it gets.
fn login(swift: &SwiftStorage) -> Login {
    let named = |NameAndId { name, id }: &NameAndId| Named {
        name: name.clone(),
        id: id.clone(),
    };
    let (domain, project_domain) = (named(&swift.domain), named(&swift.tenant_domain));
    Login {
        url: swift.auth_url.trim_end_matches('/').to_owned(),
        credentials: Credentials {
            username: swift.username.clone(),
            password: swift.password.clone(),
            token: swift.token.clone(),
            application_id: swift.application_credential_id.clone(),
            application_name: swift.application_credential_name.clone(),
            application_secret: swift.application_credential_secret.clone(),
            ..Credentials::default()
        }
        .received(),
        project: named(&swift.tenant),
        project_domain: if project_domain.is_unknown() {
            domain.clone()
        } else {
            project_domain
        },
        domain,
        precedence: Precedence::Registry,
    }
}

/// Looks until `look` finds something, as long as the registry does.
async fn wait_for<T>(client: &Client, look: impl AsyncFn() -> Called<Option<T>>) -> Called<Option<T>> {
    let mut lag = LAG;
    for _ in 1..LOOKS {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        (client.wire.clock.sleep)(lag).await;
        lag *= 2;
    }
    look().await
}

impl DataPlane for RegistryContainer {
    type Upload = RegistryUpload;

    async fn put(&self, key: &str, body: &[u8]) -> Called<Option<String>> {
        self.start().await?;
        self.write(&layout::file(key), body).await?;
        Ok(None)
    }

    async fn get(&self, key: &str) -> Called<Vec<u8>> {
        let look = async || {
            let answer = self.read(key).await?;
            let incomplete = answer.headers.contains_key(MANIFEST_HEADER) && answer.body.is_empty();
            Ok((!incomplete).then_some(answer.body))
        };
        Ok(wait_for(&self.client, look).await?.unwrap_or_default())
    }

    /// The registry does not rely on what a listing shows, because listings lag behind: it asks for the object itself.
    async fn lists_object(&self, key: &str) -> Called<bool> {
        self.client.list(&self.name, &layout::file(key), 1, false).await?;
        Ok(true)
    }

    async fn begin_upload(&self, key: &str) -> Called<RegistryUpload> {
        Ok(RegistryUpload {
            key: key.to_owned(),
            size: 0,
        })
    }

    async fn upload_part(&self, upload: &mut RegistryUpload, body: &[u8]) -> Called<()> {
        upload.size = body.len();
        self.write(&layout::segment(&upload.key), body).await
    }

    async fn complete_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        let manifest = layout::manifest(&self.name, &upload.key);
        self.write_manifest(&upload.key, &manifest).await?;
        let look = async || {
            let headers = self.head_object(&upload.key).await?;
            let size = headers
                .get(http::header::CONTENT_LENGTH)
                .and_then(|size| size.to_str().ok());
            Ok((size.and_then(|size| size.parse().ok()) == Some(upload.size)).then_some(()))
        };
        match wait_for(&self.client, look).await? {
            Some(()) => Ok(None),
            None => Err(error::unanswered(
                "HEAD object",
                &format!("{}/{}", self.name, layout::file(&upload.key)),
                error::Of::Object,
                "the segments of a large object do not show up: its listing lags behind".to_owned(),
            )),
        }
    }

    /// As the registry moves a file: another manifest for the same segments.
    async fn copy(&self, from: &str, to: &str) -> Called<Option<String>> {
        let headers = self.head_object(from).await?;
        if let Some(manifest) = metadata(&headers, MANIFEST_HEADER) {
            self.write_manifest(to, &manifest).await?;
        } else {
            let call = self.object("COPY object", copy_method(), &layout::file(from))?;
            let call = call.header("destination", &format!("{}/{}", encoded(&self.name), layout::file(to)));
            self.client.call(&call).await?;
        }
        Ok(None)
    }

    /// The manifest, too: it was written if only the look at the complete object failed.
    async fn abort_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        let written = [layout::segment(&upload.key), layout::file(&upload.key)];
        self.delete_singly(&written).await?;
        Ok(None)
    }

    async fn delete_together(&self, keys: &[&str]) -> Called<Vec<(String, String)>> {
        let mut objects: Vec<String> = keys.iter().map(|key| layout::file(key)).collect();
        let uploads = keys.iter().filter(|key| ProbeKeys::is_upload(key));
        objects.extend(uploads.map(|key| layout::segment(key)));
        // `DELETE` of the account: a service without bulk deletion may take the request as it stands.
        let info = self.client.info().await?;
        if info.told && info.bulk.is_some() {
            let together: Vec<_> = objects
                .iter()
                .map(|object| (self.name.as_str(), object.as_str()))
                .collect();
            if let Some(deleted) = self.client.delete_together(Method::DELETE, &together).await? {
                let Some(refused) = deleted.refused.into_iter().next() else {
                    return Ok(Vec::new());
                };
                let call = self.object("DELETE object", Method::DELETE, &refused.key)?;
                let status = refused.message.split_whitespace().next().and_then(|n| n.parse().ok());
                return Err(call.failed(status.unwrap_or(500), true, refused.message.as_bytes()));
            }
        }
        self.delete_singly(&objects).await?;
        Ok(Vec::new())
    }

    async fn delete(&self, key: &str, _version: Option<&str>) -> Called<()> {
        self.delete_singly(&[layout::file(key)]).await
    }

    fn permission(&self, check: Check) -> &'static str {
        match check {
            Check::Content => "GET object",
            Check::Deletion => "DELETE object",
            Check::Objects | Check::Uploads | Check::Parts => "GET container",
        }
    }

    fn is_unsure(&self) -> bool {
        self.client.is_unsure()
    }

    async fn warnings(&self) -> Called<Vec<EventRequest>> {
        let mut warnings = Vec::new();
        let info = self.client.info().await?;
        if self.redirects && info.signed_urls.is_some_and(|urls| !urls.sha1) {
            let message = "Swift refuses the URLs to which the registry sends clients, because they are signed with SHA-1 (tempurl, \
                           allowed_digests), so each pull fails: set spec.disableRedirect to true";
            warnings.push(EventRequest::warning("RedirectsRefused", message.to_owned()));
        }
        let token = self.client.session.token(&self.client.wire).await?;
        let others = catalog::other_regions(&token.body.endpoints, &self.client.selection);
        if !others.is_empty() {
            let message = format!(
                "the cloud has Swift in several regions, and nothing names one: the registry uses the first of the catalogue, whose order \
                 can change, and creates an empty container if that region has none (others: {}). Set region_name in clouds.yaml, or \
                 for a container that the operator did not create spec.storage.swift.regionName",
                others.join(", ")
            );
            warnings.push(EventRequest::warning("RegionNotNamed", message));
        }
        Ok(warnings)
    }

    fn remedy(&self, error: &CallError) -> String {
        if error.of_identity {
            let what = "the registry logs in with an application credential before a password before a token";
            return format!(" ({what}, at the public endpoint of type object-store)");
        }
        if error.is_denied() {
            return " (give the user a role of Swift's operator_roles in the project, usually member or swiftoperator)"
                .to_owned();
        }
        String::new()
    }
}

/// `COPY`, a method of Swift alone.
fn copy_method() -> Method {
    Method::from_bytes(b"COPY").unwrap_or(Method::PUT)
}
