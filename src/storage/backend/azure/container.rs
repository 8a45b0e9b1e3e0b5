//! Calls about one container and its blobs. Each method is one call including its retries, and returns plain data.

use std::collections::BTreeMap;

use http::Method;

use super::blobs::{BlobService, Call};
use super::error::{Failure, garbled};
use super::xml;
use crate::storage::model::call::{CallError, Called};
use crate::storage::net::percent::encoded;
use crate::storage::net::transport::Response;

/// Permission to read a container.
pub const READ: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/read";
/// Permission to create or change a container.
pub const WRITE: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/write";
/// Permission to delete a container.
pub const DELETE: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/delete";
/// Permission to read and list blobs.
pub const READ_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";
/// Permission to write blobs.
pub const WRITE_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write";
/// Permission to delete blobs.
pub const DELETE_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete";
/// Prefix of the headers with metadata.
const METADATA: &str = "x-ms-meta-";

/// Name of the blob in which the registry keeps a key: its names begin with a slash.
pub fn blob_name(key: &str) -> String {
    format!("/{key}")
}

/// Metadata: names in lower case, and values.
pub type Metadata = BTreeMap<String, String>;

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of blobs.
    pub names: Vec<String>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A container, with its connection.
pub struct BlobContainer {
    /// The blob service.
    pub service: BlobService,
    /// Name.
    pub name: String,
}

impl BlobContainer {
    /// Path of the container.
    pub fn path(&self) -> String {
        encoded(&self.name)
    }

    /// Path of a blob: its name is one segment, as the registry's library sends it.
    pub fn blob_path(&self, blob: &str) -> String {
        format!("{}/{}", self.path(), encoded(blob))
    }

    /// Name of a blob in messages.
    pub fn resource(&self, blob: &str) -> String {
        format!("{}/{}", self.name, blob.trim_start_matches('/'))
    }

    fn call(&self, action: &'static str, changes: bool) -> Call<'_> {
        Call {
            action,
            resource: &self.name,
            changes,
        }
    }

    /// Metadata of the container.
    pub async fn metadata(&self) -> Result<Metadata, Failure> {
        let request = self
            .service
            .request(Method::GET, &format!("{}?restype=container", self.path()));
        let response = self.service.send(self.call(READ, false), &request).await?;
        Ok(metadata_of(&response))
    }

    /// Creates the container, private and with this metadata.
    pub async fn create(&self, metadata: &Metadata) -> Result<(), Failure> {
        let mut request = self
            .service
            .request(Method::PUT, &format!("{}?restype=container", self.path()));
        for (name, value) in metadata {
            request = request.header(format!("{METADATA}{name}"), value.as_str());
        }
        self.service.send(self.call(WRITE, true), &request).await?;
        Ok(())
    }

    /// Replaces the metadata of the container.
    pub async fn set_metadata(&self, metadata: &Metadata) -> Result<(), Failure> {
        let path = format!("{}?restype=container&comp=metadata", self.path());
        let mut request = self.service.request(Method::PUT, &path);
        for (name, value) in metadata {
            request = request.header(format!("{METADATA}{name}"), value.as_str());
        }
        self.service.send(self.call(WRITE, true), &request).await?;
        Ok(())
    }

    /// Deletes the container with everything in it.
    pub async fn delete(&self) -> Result<(), Failure> {
        let path = format!("{}?restype=container", self.path());
        let request = self.service.request(Method::DELETE, &path);
        self.service.send(self.call(DELETE, true), &request).await?;
        Ok(())
    }

    /// The first blobs whose names begin with the prefix, or the page that begins at the marker.
    pub async fn list(&self, prefix: &str, at_most: u16, marker: Option<&str>) -> Result<Listing, Failure> {
        let mut path = format!("{}?restype=container&comp=list&maxresults={at_most}", self.path());
        if !prefix.is_empty() {
            path = format!("{path}&prefix={}", encoded(prefix));
        }
        if let Some(marker) = marker {
            path = format!("{path}&marker={}", encoded(marker));
        }
        let request = self.service.request(Method::GET, &path);
        let call = self.call(READ_BLOBS, false);
        let response = self.service.send(call, &request).await?;
        Ok(self.listing(&response)?)
    }

    fn listing(&self, response: &Response) -> Called<Listing> {
        let text = String::from_utf8_lossy(&response.body);
        if !text.contains("<EnumerationResults") {
            return Err(self.garbled(READ_BLOBS, &self.name, "no EnumerationResults"));
        }
        let names = xml::parts(&text, "Blob")
            .into_iter()
            .filter_map(|blob| xml::text(blob, "Name"));
        Ok(Listing {
            names: names.collect(),
            next: xml::text(&text, "NextMarker").filter(|marker| !marker.is_empty()),
        })
    }

    /// Names of all containers of the account.
    pub async fn neighbours(&self) -> Called<Vec<String>> {
        let mut names = Vec::new();
        let mut marker = String::new();
        loop {
            let mut path = "?comp=list".to_owned();
            if !marker.is_empty() {
                path = format!("{path}&marker={}", encoded(&marker));
            }
            let request = self.service.request(Method::GET, &path);
            let response = self.service.send(self.call(READ, false), &request).await?;
            let text = String::from_utf8_lossy(&response.body);
            let found = xml::parts(&text, "Container");
            names.extend(found.into_iter().filter_map(|container| xml::text(container, "Name")));
            match xml::text(&text, "NextMarker").filter(|next| !next.is_empty() && *next != marker) {
                Some(next) => marker = next,
                None => return Ok(names),
            }
        }
    }

    /// Deletes a blob and its snapshots.
    pub async fn delete_blob(&self, blob: &str) -> Result<(), Failure> {
        let resource = self.resource(blob);
        let call = Call {
            action: DELETE_BLOBS,
            resource: &resource,
            changes: true,
        };
        let request = self.service.request(Method::DELETE, &self.blob_path(blob));
        let request = request.header("x-ms-delete-snapshots", "include");
        self.service.send(call, &request).await?;
        Ok(())
    }

    /// Error for a response that is not what the API documents.
    pub fn garbled(&self, action: &'static str, resource: &str, why: &str) -> CallError {
        garbled(self.service.service, action, resource, why)
    }
}

fn metadata_of(response: &Response) -> Metadata {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let name = name.as_str().strip_prefix(METADATA)?;
        Some((name.to_ascii_lowercase(), value.to_str().ok()?.to_owned()))
    };
    response.headers.iter().filter_map(text).collect()
}

/// The same for a blob that does not exist any more.
pub fn unless_missing(deleted: Result<(), Failure>) -> Result<(), Failure> {
    deleted.or_else(|failure| {
        if failure.error.is_missing() && !failure.error.is_container_gone() {
            Ok(())
        } else {
            Err(failure)
        }
    })
}
