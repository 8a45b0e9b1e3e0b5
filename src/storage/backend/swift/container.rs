//! One container: its requests, each with its retries.

use http::{HeaderMap, Method};
use serde::Deserialize;

use super::client::{Call, Client};
use super::reasons;
use crate::storage::model::call::Called;
use crate::storage::net::percent::encoded;

/// Header with the ownership mark: the name of the cluster. The platform's installer finds the containers of a cluster by it.
pub const CLUSTER_HEADER: &str = "x-container-meta-openshiftclusterid";
/// Header with the container's own name, as the Go operator writes it beside the mark.
pub const NAME_HEADER: &str = "x-container-meta-name";
/// Whether the container keeps versions. Also there, with another value, after versioning was switched off.
const VERSIONS_HEADER: &str = "x-versions-enabled";

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// Name.
    pub name: String,
    /// Version, in a listing of versions.
    #[serde(default)]
    pub version_id: Option<String>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The objects.
    pub objects: Vec<Listed>,
    /// Metadata of the container.
    pub headers: HeaderMap,
}

impl Listing {
    /// Whether the container may have versions.
    pub fn may_have_versions(&self) -> bool {
        self.headers.contains_key(VERSIONS_HEADER)
    }
}

/// The value of a header of metadata; `None` if it is missing or empty.
pub fn metadata(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
    (!value.is_empty()).then_some(value)
}

impl Client {
    /// Whether the container exists, and its metadata.
    pub async fn head(&self, container: &str) -> Called<HeaderMap> {
        let call = Call::of_container("HEAD container", Method::HEAD, container)?.code(reasons::UNCHECKED);
        Ok(self.call(&call).await?.headers)
    }

    /// Creates the container, without metadata: the request also succeeds if the container exists, and would replace the
    /// mark of another owner.
    pub async fn create(&self, container: &str) -> Called<()> {
        let call = Call::of_container("PUT container", Method::PUT, container)?.code(reasons::NOT_CREATED);
        self.call(&call).await.map(drop)
    }

    /// Sets metadata of the container and keeps the rest.
    pub async fn update(&self, container: &str, metadata: &[(&'static str, &str)]) -> Called<()> {
        let call = Call::of_container("POST container", Method::POST, container)?.code(reasons::UNKNOWN);
        let call = metadata
            .iter()
            .fold(call, |call, (name, value)| call.header(name, value));
        self.call(&call).await.map(drop)
    }

    /// Lists at most so many objects, from the first on.
    pub async fn list(&self, container: &str, prefix: &str, at_most: usize, versions: bool) -> Called<Listing> {
        let mut query = format!("format=json&limit={at_most}");
        if !prefix.is_empty() {
            query = format!("{query}&prefix={}", encoded(prefix));
        }
        if versions {
            query.push_str("&versions=true");
        }
        let call = Call {
            expected: &[200, 204, 300],
            ..Call::of_container("GET container", Method::GET, container)?
        };
        let call = call
            .query(query)
            .header("accept", "application/json")
            .code(reasons::UNKNOWN);
        let answer = self.call(&call).await?;
        // An empty body of anything else would make a full container look empty.
        let nothing = answer.status == 204 && super::error::is_of_swift(&answer.headers);
        let objects = if nothing {
            Vec::new()
        } else {
            serde_json::from_slice(&answer.body).map_err(|_| {
                let message =
                    "the listing is not one of Swift: check whether a proxy answers in place of Swift".to_owned();
                super::error::unanswered(call.action, container, call.of, message)
            })?
        };
        Ok(Listing {
            objects,
            headers: answer.headers,
        })
    }

    /// Deletes an object, or one version of it. `false`: it does not exist.
    pub async fn delete_object(&self, container: &str, object: &str, version: Option<&str>) -> Called<bool> {
        let mut call = Call::of_object("DELETE object", Method::DELETE, container, object)?;
        if let Some(version) = version {
            call.query = format!("version-id={}", encoded(version));
        }
        match self.call(&call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the empty container.
    pub async fn delete_container(&self, container: &str) -> Called<()> {
        let call = Call::of_container("DELETE container", Method::DELETE, container)?.code(reasons::UNKNOWN);
        self.call(&call).await.map(drop)
    }
}
