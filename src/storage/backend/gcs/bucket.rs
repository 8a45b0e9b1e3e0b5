//! Calls about one bucket and its objects. Source: Cloud Storage JSON API v1 (discovery document `storage:v1`).
//!
//! Each method is one call including its retries, and returns plain data.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Call, Client, decoded};
use super::error::{About, Failure, garbled};
use super::labels::Labels;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::net::percent::{encoded, form};
use crate::storage::net::transport::{Request, Response};

/// Permission to read a bucket.
pub const GET: &str = "storage.buckets.get";
/// Permission to create a bucket.
pub const CREATE: &str = "storage.buckets.create";
/// Permission to change a bucket.
pub const UPDATE: &str = "storage.buckets.update";
/// Permission to delete an object.
pub const DELETE_OBJECT: &str = "storage.objects.delete";
/// Permission to list the buckets of a project.
pub const LIST: &str = "storage.buckets.list";
/// Permission to list objects.
pub const LIST_OBJECTS: &str = "storage.objects.list";

const JSON: &str = "application/json";
/// Largest number of pages of a listing that are read for one entry. Pages may be empty although more follow.
pub(super) const PAGES: usize = 100;
/// Retries of the deletion of an object: the page is repeated anyway.
const DELETE_RETRIES: u32 = 1;

/// A bucket, with its connection.
pub struct Bucket {
    /// Client with the identity.
    pub client: Client,
    /// Name.
    pub name: String,
    /// Address of Cloud Storage, without a trailing slash.
    pub storage: String,
}

/// A bucket as the service describes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Version of this description.
    pub metageneration: String,
    /// Labels.
    pub labels: Labels,
    /// Location: a region, dual-region or multi-region.
    pub location: String,
    /// Encryption of new objects.
    pub encryption: Encryption,
    /// Access settings.
    pub iam_configuration: IamConfiguration,
}

/// Encryption of a bucket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Encryption {
    /// Cloud KMS key; empty: Google's keys.
    pub default_kms_key_name: String,
}

/// Access settings of a bucket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IamConfiguration {
    /// `enforced` or `inherited`.
    pub public_access_prevention: String,
}

/// One generation of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Generation.
    #[serde(default)]
    pub generation: String,
}

/// The first page of a listing that has entries, or the last one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listing {
    /// `storage#objects`.
    pub kind: String,
    /// Entries, at most as many as requested.
    pub items: Vec<Entry>,
    /// Present if there are more.
    pub next_page_token: Option<String>,
}

/// What a new bucket is like.
pub struct NewBucket<'a> {
    /// Project.
    pub project: &'a str,
    /// Location.
    pub location: &'a str,
    /// Labels.
    pub labels: &'a Labels,
    /// Cloud KMS key.
    pub key: Option<&'a str>,
}

impl Bucket {
    /// URL of the bucket.
    fn url(&self) -> String {
        format!("{}/storage/v1/b/{}", self.storage, encoded(&self.name))
    }

    /// URL of an object.
    pub fn object_url(&self, object: &str) -> String {
        format!("{}/o/{}", self.url(), encoded(object))
    }

    /// Name of an object in messages.
    pub fn resource(&self, object: &str) -> String {
        format!("{}/{object}", self.name)
    }

    /// Describes the bucket.
    pub async fn metadata(&self) -> Called<Metadata> {
        let call = Call::read(GET, &self.name, About::Bucket);
        let request = Request::new(Method::GET, format!("{}?projection=noAcl", self.url()));
        let metadata: Metadata = self.client.json(call, &request).await?;
        if metadata.name != self.name || metadata.metageneration.is_empty() {
            return Err(garbled(GET, &self.name, About::Bucket, "no description of this bucket"));
        }
        Ok(metadata)
    }

    /// Whether the bucket is one of this project.
    pub async fn is_in(&self, project: &str) -> Called<bool> {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Buckets {
            kind: String,
            items: Vec<Entry>,
            next_page_token: String,
        }
        let call = Call::read(LIST, &self.name, About::Other);
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("project", project), ("prefix", self.name.as_str())];
            query.extend([("projection", "noAcl"), ("fields", "kind,items(name),nextPageToken")]);
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            let request = Request::new(Method::GET, format!("{}/storage/v1/b?{}", self.storage, form(&query)));
            let buckets: Buckets = self.client.json(call, &request).await?;
            if buckets.kind != "storage#buckets" {
                return Err(garbled(LIST, &self.name, About::Other, "no list of buckets"));
            }
            if buckets.items.iter().any(|bucket| bucket.name == self.name) {
                return Ok(true);
            }
            if buckets.next_page_token.is_empty() {
                return Ok(false);
            }
            token = buckets.next_page_token;
        }
        Err(garbled(
            LIST,
            &self.name,
            About::Other,
            "a list of buckets without an end",
        ))
    }

    /// Creates the bucket, private and with uniform access, in one call: there is no time without key or labels.
    pub async fn create(&self, new: &NewBucket<'_>) -> Called<()> {
        let call = Call::change(CREATE, &self.name, About::Creation);
        let url = format!("{}/storage/v1/b?{}", self.storage, form(&[("project", new.project)]));
        let request = Request::new(Method::POST, url).content(JSON, self.description(new).to_string());
        let response = self.client.send(call, &request).await?;
        let created: Value = decoded(call, &response)?;
        match created.get("name").and_then(Value::as_str) {
            Some(name) if name == self.name => Ok(()),
            _ => Err(garbled(CREATE, &self.name, About::Creation, "no bucket of this name")),
        }
    }

    fn description(&self, new: &NewBucket<'_>) -> Value {
        let mut bucket = json!({
            "name": self.name,
            "location": new.location,
            "labels": new.labels,
            "iamConfiguration": {
                // The registry uses no access control lists of objects, and some organisations forbid them.
                "uniformBucketLevelAccess": {"enabled": true},
                "publicAccessPrevention": "enforced",
            },
        });
        if let Some(key) = new.key {
            bucket["encryption"] = json!({"defaultKmsKeyName": key});
        }
        bucket
    }

    /// Adds labels, if the bucket is still as it was described.
    pub async fn add_labels(&self, labels: &Labels, described: &Metadata) -> Called<()> {
        let call = Call::change(UPDATE, &self.name, About::Other);
        let condition = [
            ("projection", "noAcl"),
            ("ifMetagenerationMatch", described.metageneration.as_str()),
        ];
        let url = format!("{}?{}", self.url(), form(&condition));
        let request = Request::new(Method::PATCH, url).content(JSON, json!({"labels": labels}).to_string());
        self.client.send(call, &request).await?;
        Ok(())
    }

    /// Deletes the empty bucket, if its description still has this version.
    pub async fn delete(&self, metageneration: &str) -> Called<()> {
        let call = Call::change("storage.buckets.delete", &self.name, About::Deletion);
        let condition = form(&[("ifMetagenerationMatch", metageneration)]);
        let request = Request::new(Method::DELETE, format!("{}?{condition}", self.url()));
        let response = self.client.send(call, &request).await?;
        without_content(call, &response)
    }

    /// The first entries whose names begin with the prefix: every generation, or only the live ones. An empty page with
    /// more behind it is not the end.
    pub async fn list(&self, prefix: &str, at_most: u16, generations: bool) -> Called<Listing> {
        let call = Call::read(LIST_OBJECTS, &self.name, About::Bucket);
        let count = at_most.to_string();
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("maxResults", count.as_str()), ("projection", "noAcl")];
            query.push(("versions", if generations { "true" } else { "false" }));
            query.push(("fields", "kind,items(name,generation),nextPageToken"));
            if !prefix.is_empty() {
                query.push(("prefix", prefix));
            }
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            let request = Request::new(Method::GET, format!("{}/o?{}", self.url(), form(&query)));
            let listing: Listing = self.client.json(call, &request).await?;
            if listing.kind != "storage#objects" {
                return Err(garbled(LIST_OBJECTS, &self.name, About::Bucket, "no list of objects"));
            }
            match &listing.next_page_token {
                Some(next) if listing.items.is_empty() && !next.is_empty() => token.clone_from(next),
                _ => return Ok(listing),
            }
        }
        let why = "a list of objects without an end and without objects";
        Err(garbled(LIST_OBJECTS, &self.name, About::Bucket, why))
    }

    /// Deletes an object, or one generation of it. `false`: Cloud Storage itself says that there is none; the 404 of a proxy is
    /// an error.
    pub async fn delete_object(&self, object: &str, generation: Option<&str>) -> Result<bool, Failure> {
        let resource = self.resource(object);
        let call = Call {
            retries: DELETE_RETRIES,
            ..Call::change(DELETE_OBJECT, &resource, About::Other)
        };
        let mut url = self.object_url(object);
        if let Some(generation) = generation.filter(|generation| !generation.is_empty()) {
            url = format!("{url}?{}", form(&[("generation", generation)]));
        }
        match self.client.send(call, &Request::new(Method::DELETE, url)).await {
            Ok(response) => {
                without_content(call, &response)?;
                Ok(true)
            }
            Err(failure) if failure.error.is_missing() && failure.reason == "notFound" => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

/// A deletion is answered without content. A page of a proxy is none.
fn without_content(call: Call<'_>, response: &Response) -> Called<()> {
    if response.body.is_empty() {
        return Ok(());
    }
    let why = format!("status {} with content for a deletion", response.status);
    Err(garbled(call.action, call.resource, call.about, &why))
}

/// Whether the bucket changed since it was described.
pub fn has_changed(error: &CallError) -> bool {
    error.cause == Cause::Answer(412)
}
