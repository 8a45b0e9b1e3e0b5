//! PURE: the effective configuration of `spec.storage.s3`, with settings of the cluster filled in.

use super::cloud_front;
use super::endpoint::{self, Partition};
use crate::api::Storage;
use crate::api::openshift::AwsPlatform;
use crate::api::registry_storage::S3Storage;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::config::{defaults, host};
use crate::storage::inputs::{live, name, url};
use crate::storage::model::error::StorageError;
use crate::storage::model::spec;
use crate::storage::s3api::address::bucket_url;

/// Region for services without regions. S3 clients require one.
const NO_REGION: &str = "us-east-1";

/// The effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The completed spec, for `spec.storage` after the creation and for `status.storage`.
    pub spec: S3Storage,
    /// Region, never empty.
    pub region: String,
    /// Custom endpoint that the operator uses (scheme, host, port, optional path; no trailing slash); `None`: the
    /// public endpoint.
    pub endpoint: Option<String>,
    /// Endpoint for the registry, as the administrator wrote it. It is the same endpoint, except after the take-over of
    /// a Deployment without an endpoint.
    pub rendered_endpoint: Option<String>,
    /// Virtual-hosted style at a custom endpoint: the bucket is part of the host name.
    pub virtual_hosted: bool,
    /// Partition of the region.
    pub partition: &'static Partition,
    /// URL of STS from the Infrastructure's service endpoints.
    pub sts_endpoint: Option<String>,
}

impl Effective {
    /// The effective configuration of a spec in this cluster. `credentials_region`: region in the credentials' text; it
    /// applies if neither the spec nor the cluster has a region.
    ///
    /// Endpoint of operator and registry: that of the spec; otherwise the cluster's service endpoint if the region is
    /// that of the cluster; otherwise the public one.
    ///
    /// # Errors
    /// A value is invalid, or no region is known. The message names field, value and remedy.
    pub fn of(spec: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> Result<Self, Rejection> {
        check_bucket(spec)?;
        cloud_front::check(spec)?;
        let cluster = Cluster::of(snapshot);
        let sts_endpoint = cluster.sts.map(|url| service_url("sts", &url)).transpose()?;
        let full = Full::of(spec, snapshot, credentials_region)?;
        check_style(&full)?;
        let rendered = match full.endpoint {
            Some(_) if full.from_cluster && Self::is_taken_over(spec, snapshot, credentials_region) => None,
            Some(_) => full.spec.region_endpoint.clone(),
            None => None,
        };
        let spec = if full.from_cluster && rendered.is_none() {
            // The status shows the configuration of the running registry.
            S3Storage {
                region_endpoint: spec.region_endpoint.clone(),
                virtual_hosted_style: spec.virtual_hosted_style,
                ..full.spec
            }
        } else {
            full.spec
        };
        Ok(Self {
            partition: endpoint::partition(&full.region),
            virtual_hosted: full.endpoint.is_some() && full.virtual_hosted,
            spec,
            region: full.region,
            endpoint: full.endpoint,
            rendered_endpoint: rendered,
            sts_endpoint,
        })
    }

    /// Whether the registry runs with this bucket and without an endpoint (as the Go operator rendered it), and the
    /// spec was not edited since.
    fn is_taken_over(spec: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> bool {
        let bucket = text(spec.bucket.as_ref());
        let runs = bucket.is_some_and(|bucket| live::s3_endpoint(snapshot, bucket) == Some(""));
        let applied = snapshot
            .config()
            .ok()
            .flatten()
            .and_then(|config| config.status?.storage.s3);
        runs && applied.is_none_or(|applied| Self::same(spec, &applied, snapshot, credentials_region))
    }

    /// Whether `spec.storage.s3` and `status.storage.s3` mean the same in this cluster. Both are completed first, so
    /// that members which the cluster fills in count as present.
    pub fn same(a: &S3Storage, b: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> bool {
        let storage = |spec: &S3Storage| {
            let full = Full::of(spec, snapshot, credentials_region).map(|full| full.spec);
            Storage {
                s3: Some(full.unwrap_or_else(|_| spec.clone())),
                ..Storage::default()
            }
        };
        spec::same(&storage(a), &storage(b))
    }

    /// Location ID: `<endpoint>/<bucket>`, or `<partition>/<bucket>` at the public endpoint; `None` without a bucket.
    pub fn location(&self) -> Option<String> {
        let bucket = text(self.spec.bucket.as_ref())?;
        let place = self.endpoint.as_deref().unwrap_or(self.partition.name);
        Some(format!("{place}/{bucket}"))
    }

    /// The deterministic name of the operator's bucket in this region.
    ///
    /// # Errors
    /// The name of the cluster is not known.
    pub fn deterministic_bucket(&self, snapshot: &Snapshot) -> Result<String, StorageError> {
        let infrastructure_name = name::infrastructure_name(snapshot)?;
        Ok(name::deterministic(&infrastructure_name, &[&self.region]))
    }

    /// Whether to render the registry's setting for dual-stack endpoints. The setting has no effect at a custom
    /// endpoint.
    pub fn dual_stack(&self) -> bool {
        self.rendered_endpoint.is_some() || self.partition.dual_stack
    }
}

/// Settings of AWS in the Infrastructure; empty on other platforms.
struct Cluster {
    region: Option<String>,
    s3: Option<String>,
    sts: Option<String>,
}

impl Cluster {
    fn of(snapshot: &Snapshot) -> Self {
        let infrastructure = snapshot.infrastructure().unwrap_or_default();
        let is_aws = defaults::platform(&infrastructure).as_deref() == Some("AWS");
        let aws = infrastructure.platform_status.and_then(|platform| platform.aws);
        let aws: AwsPlatform = aws.filter(|_| is_aws).unwrap_or_default();
        let endpoints = aws.service_endpoints.unwrap_or_default();
        let url_of = |service: &str| {
            let mut named = endpoints.iter().filter(|e| e.name.as_deref() == Some(service));
            named.find_map(|e| text(e.url.as_ref())).map(str::to_owned)
        };
        Self {
            s3: url_of("s3"),
            sts: url_of("sts"),
            region: aws.region.filter(|region| !region.is_empty()),
        }
    }
}

/// URL of STS in the Infrastructure's service endpoints, as it is written there.
pub fn sts_endpoint(snapshot: &Snapshot) -> Option<String> {
    Cluster::of(snapshot).sts
}

/// The completed spec, without regard to the running registry.
struct Full {
    spec: S3Storage,
    region: String,
    endpoint: Option<String>,
    /// The endpoint comes from the cluster, not from the spec.
    from_cluster: bool,
    virtual_hosted: bool,
}

impl Full {
    fn of(spec: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> Result<Self, Rejection> {
        let cluster = Cluster::of(snapshot);
        let own_region = text(spec.region.as_ref());
        let own_endpoint = text(spec.region_endpoint.as_ref());
        let in_cluster = own_region.is_none() || own_region == cluster.region.as_deref();
        let cluster_endpoint = cluster.s3.as_deref().filter(|_| own_endpoint.is_none() && in_cluster);
        let endpoint = match (own_endpoint, cluster_endpoint) {
            (Some(url), _) => Some(own_url(url)?),
            (None, Some(url)) => Some(service_url("s3", url)?),
            (None, None) => None,
        };
        let credentials_region = credentials_region.filter(|region| !region.is_empty());
        let region = own_region
            .or(cluster.region.as_deref())
            .or(credentials_region)
            .or(endpoint.is_some().then_some(NO_REGION))
            .ok_or_else(no_region)?;
        check_region(region, endpoint.is_some())?;
        let from_cluster = cluster_endpoint.is_some();
        let virtual_hosted = from_cluster || spec.virtual_hosted_style == Some(true);
        Ok(Self {
            spec: S3Storage {
                region: Some(region.to_owned()),
                region_endpoint: own_endpoint.or(cluster_endpoint).map(str::to_owned),
                virtual_hosted_style: if from_cluster {
                    Some(true)
                } else {
                    spec.virtual_hosted_style
                },
                ..spec.clone()
            },
            region: region.to_owned(),
            endpoint,
            from_cluster,
            virtual_hosted,
        })
    }
}

fn text(member: Option<&String>) -> Option<&str> {
    member.map(String::as_str).filter(|text| !text.is_empty())
}

fn invalid(message: String) -> Rejection {
    Rejection::new(Reason::InvalidConfig, message)
}

fn no_region() -> Rejection {
    invalid(
        "no region for S3: spec.storage.s3.region and regionEndpoint are empty, and the cluster has no AWS region: set \
         spec.storage.s3.region, and regionEndpoint if the service is not Amazon S3"
            .to_owned(),
    )
}

/// The region is part of the public endpoint's host name. At another endpoint it is a text in the signature, which is an
/// HTTP header.
fn check_region(region: &str, has_endpoint: bool) -> Result<(), Rejection> {
    if host::is_label(region) {
        return Ok(());
    }
    let printable = |c: char| c.is_ascii_graphic() || c == ' ';
    let cause = match has_endpoint {
        true if region.chars().all(printable) => return Ok(()),
        true => "it is part of each request's signature, where only printable ASCII characters are allowed",
        false => {
            "use letters, digits and dashes, such as eu-west-1, or set regionEndpoint if the service is not Amazon S3"
        }
    };
    Err(invalid(format!("the region of spec.storage.s3 is {region:?}: {cause}")))
}

/// With virtual-hosted style the registry puts the bucket in front of the endpoint's host, even if that is an IP address.
fn check_style(full: &Full) -> Result<(), Rejection> {
    // Names that the operator chooses can be part of a host name.
    let bucket = text(full.spec.bucket.as_ref()).unwrap_or("image-registry");
    match &full.endpoint {
        Some(url) if full.virtual_hosted && !full.from_cluster => {
            bucket_url(url, false, bucket).map(drop).map_err(|error| {
                invalid(format!(
                    "spec.storage.s3.virtualHostedStyle is true, so that the registry sends its requests to {}, but \
                     {error}: set virtualHostedStyle to false, or regionEndpoint to a host name",
                    error.0
                ))
            })
        }
        _ => Ok(()),
    }
}

/// Rejects names that would change the path or host of a URL. All other rules are left to the service.
fn check_bucket(spec: &S3Storage) -> Result<(), Rejection> {
    let Some(bucket) = text(spec.bucket.as_ref()) else {
        return Ok(());
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if bucket.len() <= 255 && bucket.chars().all(legal) && bucket.contains(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(invalid(format!(
        "spec.storage.s3.bucket is {bucket:?}, which cannot be the name of a bucket: use lower-case letters, digits, - and ."
    )))
}

fn own_url(text: &str) -> Result<String, Rejection> {
    url::endpoint(text).map_err(|cause| {
        invalid(format!(
            "spec.storage.s3.regionEndpoint {cause}: write the service's address as https://HOST[:PORT][/PATH]"
        ))
    })
}

fn service_url(service: &str, text: &str) -> Result<String, Rejection> {
    url::endpoint(text).map_err(|cause| {
        invalid(format!(
            "the serviceEndpoint {service} of infrastructures/cluster {cause}: it must be https://HOST[:PORT]"
        ))
    })
}

#[cfg(test)]
mod tests;
