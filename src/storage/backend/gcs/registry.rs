//! Access to the bucket as the registry has it. Its driver for Cloud Storage reads and writes objects with Google's library,
//! starts resumable uploads itself at a fixed host, and moves objects by a rewrite and a deletion.

use http::Method;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::bucket::{Bucket, DELETE_OBJECT, LIST_OBJECTS};
use super::client::Call;
use super::connect::{Connection, connect};
use super::credentials::{Credentials, Grant};
use super::effective::PUBLIC_UNIVERSE;
use super::error::{About, garbled};
use super::identity::{REGISTRY_SCOPE, Subject};
use super::step::Store;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::Probe;
use crate::storage::net::http::{Egress, Trust};
use crate::storage::net::percent::{encoded, form};
use crate::storage::net::transport::Request;
use crate::storage::preflight;
use crate::storage::traits::{Check, Cluster, DataPlane};

const CREATE_OBJECT: &str = "storage.objects.create";
const GET_OBJECT: &str = "storage.objects.get";
const BYTES: &str = "application/octet-stream";
/// Boundary of the two parts of a small upload.
const BOUNDARY: &str = "image-registry-operator-part";
/// Status of a response to the deletion of an upload session.
const CANCELLED: u16 = 499;

/// The bucket with the registry's identity.
pub struct RegistryBucket {
    bucket: Bucket,
    /// Where the registry starts its uploads.
    uploads: String,
    universe: String,
    /// KMS key of the bucket, for messages.
    key: Option<String>,
}

impl<C: Cluster> Store<'_, C> {
    /// The bucket with the registry's identity, proxy and CA.
    pub(super) async fn as_registry(&self, probe: &Probe<'_>) -> Result<RegistryBucket, StorageError> {
        let credentials = Credentials::of(self.request.snapshot)?;
        let subject = match &credentials.grant {
            Grant::ServiceAccount(_) => Subject::File(std::path::PathBuf::new()),
            Grant::External(_) => Subject::Given(self.backend.cluster.registry_token(preflight::AUDIENCE).await?),
        };
        let universe = &self.effective.universe;
        let connection = Connection {
            credentials: &credentials,
            universe,
            scope: REGISTRY_SCOPE,
            subject,
            trust: Trust::with_system(probe.roots),
            egress: Egress::Fixed(probe.proxies.clone()),
        };
        let clients = self.backend.clients;
        Ok(RegistryBucket {
            bucket: connect(self.backend.network, clients, connection, &self.container.name)?,
            uploads: clients.endpoints.registry_uploads(),
            universe: universe.clone(),
            key: self.effective.key_id().map(str::to_owned),
        })
    }
}

/// An object as the service describes it.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    generation: Option<String>,
}

/// A resumable upload.
pub struct RegistryUpload {
    object: String,
    /// URL of the session.
    session: String,
    /// Content that the registry still has in its buffer: it sends multiples of 256 KiB, and the rest at the end.
    buffered: Vec<u8>,
}

impl RegistryBucket {
    /// The generation that a write created. A generation of a bucket without versions is gone when its object is deleted.
    async fn written(&self, call: Call<'_>, request: &Request) -> Called<Option<String>> {
        let object: Object = self.bucket.client.json(call, request).await?;
        Ok(object.generation)
    }

    /// Whether this URL leads to the service: to an address to which requests go anyway, or by HTTPS to a host of the universe.
    fn is_of_google(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else {
            return false;
        };
        let is_same = |known: &str| Url::parse(known).is_ok_and(|known| known.origin() == url.origin());
        let host = url.host_str().unwrap_or_default();
        let is_below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        let of_universe = is_below(PUBLIC_UNIVERSE) || is_below(&self.universe);
        is_same(&self.uploads)
            || is_same(&self.bucket.storage)
            || (url.scheme() == "https" && url.port().is_none() && of_universe)
    }

    fn media_url(&self, query: &[(&str, &str)]) -> String {
        let name = encoded(&self.bucket.name);
        format!("{}/upload/storage/v1/b/{name}/o?{}", self.bucket.storage, form(query))
    }
}

impl DataPlane for RegistryBucket {
    type Upload = RegistryUpload;

    async fn put(&self, key: &str, body: &[u8]) -> Called<Option<String>> {
        let resource = self.bucket.resource(key);
        let description = json!({"bucket": self.bucket.name, "name": key, "contentType": BYTES});
        let mut content = format!(
            "--{BOUNDARY}\r\ncontent-type: application/json\r\n\r\n{description}\r\n--{BOUNDARY}\r\ncontent-type: \
             {BYTES}\r\n\r\n"
        )
        .into_bytes();
        content.extend_from_slice(body);
        content.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let url = self.media_url(&[("name", key), ("projection", "full"), ("uploadType", "multipart")]);
        let request = Request::new(Method::POST, url)
            .content("multipart/related; boundary=image-registry-operator-part", content);
        self.written(Call::change(CREATE_OBJECT, &resource, About::Other), &request)
            .await
    }

    async fn get(&self, key: &str) -> Called<Vec<u8>> {
        let resource = self.bucket.resource(key);
        let path: Vec<_> = key.split('/').map(encoded).collect();
        let url = format!(
            "{}/{}/{}",
            self.bucket.storage,
            encoded(&self.bucket.name),
            path.join("/")
        );
        let call = Call::read(GET_OBJECT, &resource, About::Other);
        let response = self.bucket.client.send(call, &Request::new(Method::GET, url)).await?;
        Ok(response.body)
    }

    async fn lists_object(&self, key: &str) -> Called<bool> {
        let listing = self.bucket.list(key, 10, false).await?;
        Ok(listing.items.iter().any(|entry| entry.name == key))
    }

    async fn begin_upload(&self, key: &str) -> Called<RegistryUpload> {
        let resource = self.bucket.resource(key);
        let query = form(&[("uploadType", "resumable"), ("name", key)]);
        let url = format!(
            "{}/upload/storage/v1/b/{}/o?{query}",
            self.uploads,
            encoded(&self.bucket.name)
        );
        let request = Request::new(Method::POST, url).header("x-upload-content-type", BYTES);
        let call = Call::change(CREATE_OBJECT, &resource, About::Other);
        let response = self.bucket.client.send(call, &request).await?;
        // The token goes there, too.
        let session = response
            .header("location")
            .filter(|location| self.is_of_google(location));
        let session = session.ok_or_else(|| {
            let why = "an upload without a header Location that names a host of the service";
            garbled(CREATE_OBJECT, &resource, About::Other, why)
        })?;
        Ok(RegistryUpload {
            object: key.to_owned(),
            session: session.to_owned(),
            buffered: Vec::new(),
        })
    }

    async fn upload_part(&self, upload: &mut RegistryUpload, body: &[u8]) -> Called<()> {
        upload.buffered = body.to_vec();
        Ok(())
    }

    async fn complete_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        let resource = self.bucket.resource(&upload.object);
        let size = upload.buffered.len();
        let request = Request::new(Method::PUT, upload.session.clone())
            .header("content-range", format!("bytes 0-{}/{size}", size.saturating_sub(1)))
            .content(BYTES, upload.buffered.clone());
        self.written(Call::change(CREATE_OBJECT, &resource, About::Other), &request)
            .await
    }

    async fn copy(&self, from: &str, to: &str) -> Called<Option<String>> {
        #[derive(Deserialize)]
        struct Rewrite {
            done: bool,
            resource: Option<Object>,
        }
        let resource = self.bucket.resource(to);
        let call = Call::change(CREATE_OBJECT, &resource, About::Other);
        let target = format!("rewriteTo/b/{}/o/{}", encoded(&self.bucket.name), encoded(to));
        let url = format!("{}/{target}?projection=full", self.bucket.object_url(from));
        let request = Request::new(Method::POST, url).content("application/json", "{}");
        let rewrite: Rewrite = self.bucket.client.json(call, &request).await?;
        if !rewrite.done {
            // A few bytes are copied in one call.
            return Err(garbled(
                CREATE_OBJECT,
                &resource,
                About::Other,
                "the copy of the probe object is not complete",
            ));
        }
        Ok(rewrite.resource.and_then(|object| object.generation))
    }

    /// The service forgets a session after a week, and no listing shows it. Only an error that a retry may resolve counts.
    async fn abort_upload(&self, upload: &RegistryUpload) -> Called<Option<String>> {
        let resource = self.bucket.resource(&upload.object);
        let call = Call {
            accepts: Some(CANCELLED),
            ..Call::change(CREATE_OBJECT, &resource, About::Other)
        };
        let request = Request::new(Method::DELETE, upload.session.clone());
        match self.bucket.client.send(call, &request).await {
            Err(failure) if failure.error.is_undecided() => Err(failure.into()),
            _ => Ok(None),
        }
    }

    async fn delete_together(&self, keys: &[&str]) -> Called<Vec<(String, String)>> {
        for key in keys {
            self.bucket.delete_object(key, None).await?;
        }
        Ok(Vec::new())
    }

    async fn delete(&self, key: &str, version: Option<&str>) -> Called<()> {
        self.bucket.delete_object(key, version).await?;
        Ok(())
    }

    fn permission(&self, check: Check) -> &'static str {
        match check {
            Check::Content => GET_OBJECT,
            Check::Deletion => DELETE_OBJECT,
            Check::Objects => LIST_OBJECTS,
            Check::Uploads | Check::Parts => CREATE_OBJECT,
        }
    }

    fn is_unsure(&self) -> bool {
        self.bucket.client.is_unsure()
    }

    fn remedy(&self, error: &CallError) -> String {
        let refused = error.cause == Cause::Answer(403) || error.cause == Cause::Answer(400);
        match &self.key {
            _ if self.universe != PUBLIC_UNIVERSE && error.action == CREATE_OBJECT => format!(
                " (the registry starts its uploads at {}, in whatever universe the bucket is: it must reach a service there)",
                self.uploads
            ),
            Some(key) if refused && error.action == CREATE_OBJECT => format!(
                " (new objects are encrypted with key {key}: it must be enabled, and the Cloud Storage service agent of the \
                 project needs roles/cloudkms.cryptoKeyEncrypterDecrypter on it)"
            ),
            _ => String::new(),
        }
    }
}
