//! Calls about one container and its blobs. Each method is one call including its retries, and returns plain data.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::blobs::{BlobService, Call};
use super::error::{Failure, garbled};
use super::xml;
use crate::storage::model::call::{CallError, Called, Cause};
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
/// Permission to delete versions of blobs.
const DELETE_VERSIONS: &str =
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/deleteBlobVersion/action";
/// Largest number of pages of a list.
const PAGES: usize = 100;
/// Entries of a page of versions.
const PAGE: u16 = 1000;
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
    /// Names and versions of blobs, if the request asked for versions.
    pub versions: Vec<(String, String)>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Markers of a listing so far. One that comes twice would make the listing endless.
#[derive(Debug, Default)]
pub struct Markers {
    seen: BTreeSet<String>,
    last: Option<String>,
}

impl Markers {
    /// The marker of the next page; `None`: the first page.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Takes the marker of the next page. Returns `false` for one that came before.
    pub fn add(&mut self, marker: &str) -> bool {
        self.last = Some(marker.to_owned());
        self.seen.insert(marker.to_owned())
    }
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

    /// Metadata of the container. `patient`: a service that cannot be reached is asked again.
    pub async fn metadata(&self, patient: bool) -> Result<Metadata, Failure> {
        let request = self
            .service
            .request(Method::GET, &format!("{}?restype=container", self.path()));
        let call = self.call(READ, false);
        let response = self.service.send_while(call, &request, patient).await?;
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
        self.list_with("", prefix, at_most, marker).await
    }

    /// The first blobs, with previous versions and soft-deleted blobs where the account keeps such.
    pub async fn list_all(&self, at_most: u16) -> Result<Listing, Failure> {
        match self.list_with("&include=deleted,versions", "", at_most, None).await {
            Err(failure) if has_no_versions(&failure) => self.list_with("", "", at_most, None).await,
            listed => listed,
        }
    }

    async fn list_with(
        &self,
        include: &str,
        prefix: &str,
        at_most: u16,
        marker: Option<&str>,
    ) -> Result<Listing, Failure> {
        let mut path = format!(
            "{}?restype=container&comp=list&maxresults={at_most}{include}",
            self.path()
        );
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
        names_in(&text, "Blob").map_err(|why| self.garbled(READ_BLOBS, &self.name, why))
    }

    /// Names of all containers of the account.
    pub async fn neighbours(&self) -> Called<Vec<String>> {
        let garbled = |why| self.garbled(READ, &self.service.account, why);
        let mut names = Vec::new();
        let mut markers = Markers::default();
        for _ in 0..PAGES {
            let mut path = "?comp=list".to_owned();
            if let Some(marker) = markers.last() {
                path = format!("{path}&marker={}", encoded(marker));
            }
            let request = self.service.request(Method::GET, &path);
            let response = self.service.send(self.call(READ, false), &request).await?;
            let page = names_in(&String::from_utf8_lossy(&response.body), "Container").map_err(garbled)?;
            names.extend(page.names);
            match page.next {
                Some(next) if !markers.add(&next) => return Err(garbled("a marker that came before")),
                Some(_) => {}
                None => return Ok(names),
            }
        }
        Err(garbled("a listing without an end"))
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

    /// Deletes a version of a blob that was deleted or overwritten. The current version cannot be deleted by this call.
    pub async fn delete_version(&self, blob: &str, version: &str) -> Result<(), Failure> {
        let resource = self.resource(blob);
        let call = Call {
            action: DELETE_VERSIONS,
            resource: &resource,
            changes: true,
        };
        let path = format!("{}?versionid={}", self.blob_path(blob), encoded(version));
        self.service
            .send(call, &self.service.request(Method::DELETE, &path))
            .await?;
        Ok(())
    }

    /// Names and versions of the blobs whose names begin with the prefix; empty where the service keeps no versions.
    pub async fn versions(&self, prefix: &str) -> Result<Vec<(String, String)>, Failure> {
        let mut versions = Vec::new();
        let mut markers = Markers::default();
        for _ in 0..PAGES {
            let page = match self.list_with("&include=versions", prefix, PAGE, markers.last()).await {
                Err(failure) if has_no_versions(&failure) => break,
                page => page?,
            };
            versions.extend(page.versions);
            match page.next {
                Some(next) if markers.add(&next) => {}
                _ => break,
            }
        }
        Ok(versions)
    }

    /// Error for a response that is not what the API documents.
    pub fn garbled(&self, action: &'static str, resource: &str, why: &str) -> CallError {
        garbled(self.service.service, action, resource, why)
    }
}

/// Whether the service refused a list with versions: accounts with a hierarchical namespace and Azure Stack Hub have none.
fn has_no_versions(failure: &Failure) -> bool {
    matches!(failure.error.cause, Cause::Answer(400)) && !failure.error.of_identity
}

/// The names in a page of a list of blobs or containers. A page that is not complete would make a container empty, or an account
/// one without containers of others.
fn names_in(document: &str, element: &str) -> Result<Listing, &'static str> {
    let document = document.trim_end();
    let has = |name: &str| document.contains(&format!("<{name}>")) || document.contains(&format!("<{name} "));
    let list = format!("{element}s");
    let is_whole = has("EnumerationResults") && document.ends_with("</EnumerationResults>");
    if !is_whole || !(has(&list) || document.contains(&format!("<{list}/>"))) {
        return Err("no complete EnumerationResults");
    }
    let entries = xml::parts(document, element);
    let names: Vec<String> = entries
        .iter()
        .filter_map(|entry| xml::text(entry, "Name").filter(|name| !name.is_empty()))
        .collect();
    if names.len() != document.matches(&format!("<{element}>")).count() {
        return Err("an entry without a name");
    }
    let version = |entry: &&str| Some((xml::text(entry, "Name")?, xml::text(entry, "VersionId")?));
    Ok(Listing {
        versions: entries.iter().filter_map(version).collect(),
        names,
        next: xml::text(document, "NextMarker").filter(|marker| !marker.is_empty()),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    // storage-decisions T2, T6: what is cut or no list at all says nothing
    #[test]
    fn a_page_counts_only_if_it_is_complete() {
        let page = "\u{feff}<?xml version=\"1.0\"?><EnumerationResults ServiceEndpoint=\"x\"><Containers><Container><Name>a</Name>\
                    </Container><Container><Name>$web</Name></Container></Containers><NextMarker>m</NextMarker></EnumerationResults>\n";
        let whole = names_in(page, "Container").unwrap();
        assert_eq!((whole.names.len(), whole.next.as_deref()), (2, Some("m")));
        for empty in [
            "<EnumerationResults ContainerName=\"c\"><Blobs /><NextMarker /></EnumerationResults>",
            "<EnumerationResults><Blobs></Blobs><NextMarker/></EnumerationResults>",
            "<EnumerationResults><Blobs/></EnumerationResults>",
        ] {
            assert_eq!(names_in(empty, "Blob"), Ok(Listing::default()), "{empty}");
        }
        for (end, _) in page.trim_end().char_indices() {
            assert!(names_in(&page[..end], "Container").is_err(), "{end}");
        }
        for wrong in [
            "<html>log in</html>".to_owned(),
            "<EnumerationResults></EnumerationResults>".to_owned(),
            page.replace("<Name>a</Name>", ""),
            page.replace("<Name>a</Name>", "<Name></Name>"),
            page.replace("</Container><Container>", "<Container>"),
        ] {
            assert!(names_in(&wrong, "Container").is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_marker_may_come_once() {
        let mut markers = Markers::default();
        assert_eq!(markers.last(), None);
        assert!(markers.add("a") && markers.add("b"));
        assert_eq!(markers.last(), Some("b"));
        assert!(!markers.add("a"));
    }
}
