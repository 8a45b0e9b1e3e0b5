//! What a block of `s3` means once the cluster's own settings are filled in. PURE.

use reqwest::Url;
use serde_json::Value;

use super::endpoint::{self, Partition};
use super::{environment, name};
use crate::api::openshift::AwsPlatform;
use crate::api::registry_storage::S3Storage;
use crate::api::{Kind, Storage};
use crate::config::defaults;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::block;
use crate::storage::fault::Fault;

/// Region for stores that have none, as every S3 client takes it.
const NO_REGION: &str = "us-east-1";

/// The effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The block, completed: as it is persisted at creation, and stands in the status.
    pub block: S3Storage,
    /// Region, never empty.
    pub region: String,
    /// Custom endpoint (scheme, host, port, a path where there is one; no slash at the end) that the operator uses;
    /// `None`: the public one.
    pub endpoint: Option<String>,
    /// Endpoint that is rendered for the registry, as it was written: the same, but at take-over of a Deployment without
    /// one (T21).
    pub rendered_endpoint: Option<String>,
    /// Bucket in the host name, at a custom endpoint.
    pub virtual_hosted: bool,
    /// Partition of the region.
    pub partition: &'static Partition,
    /// The cluster's own address of STS.
    pub sts_endpoint: Option<String>,
}

impl Effective {
    /// What a block means in this cluster. `credentials_region` is the region that the credentials' text names; it counts
    /// where neither the block nor the cluster has one.
    ///
    /// One endpoint for operator and registry: the block's; else the cluster's own one, where the region is the cluster's;
    /// else the public one. A rejection names the field, the value and the remedy.
    pub fn of(block: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> Result<Self, Rejection> {
        check_bucket(block)?;
        environment::check(block)?;
        let cluster = Cluster::of(snapshot);
        let sts_endpoint = cluster.sts.map(|url| service_url("sts", &url)).transpose()?;
        let full = Full::of(block, snapshot, credentials_region)?;
        let rendered = match full.endpoint {
            Some(_) if full.from_cluster && Self::is_taken_over(block, snapshot, credentials_region) => None,
            Some(_) => full.block.region_endpoint.clone(),
            None => None,
        };
        let block = if full.from_cluster && rendered.is_none() {
            // What stands in the status is what the registry was told.
            S3Storage {
                region_endpoint: block.region_endpoint.clone(),
                virtual_hosted_style: block.virtual_hosted_style,
                ..full.block
            }
        } else {
            full.block
        };
        Ok(Self {
            partition: endpoint::partition(&full.region),
            virtual_hosted: full.endpoint.is_some() && full.virtual_hosted,
            block,
            region: full.region,
            endpoint: full.endpoint,
            rendered_endpoint: rendered,
            sts_endpoint,
        })
    }

    /// Whether the registry runs on this bucket without an endpoint, as the Go operator or an older state of the cluster
    /// left it, and nobody edited the block since.
    fn is_taken_over(block: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> bool {
        let bucket = text(block.bucket.as_ref());
        let runs = bucket.is_some_and(|bucket| runs_without_endpoint(snapshot, bucket));
        let applied = snapshot
            .config()
            .ok()
            .flatten()
            .and_then(|config| config.status?.storage.s3);
        runs && applied.is_none_or(|applied| Self::same(block, &applied, snapshot, credentials_region))
    }

    /// Whether two blocks (of spec and status) mean the same here: both are completed first, so that what the cluster fills
    /// in counts as written in either.
    pub fn same(a: &S3Storage, b: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> bool {
        let storage = |block: &S3Storage| {
            let full = Full::of(block, snapshot, credentials_region).map(|full| full.block);
            Storage {
                s3: Some(full.unwrap_or_else(|_| block.clone())),
                ..Storage::default()
            }
        };
        block::same(&storage(a), &storage(b))
    }

    /// Location ID: the endpoint, or the partition where that is the public one, and the bucket; `None` without a bucket.
    pub fn location(&self) -> Option<String> {
        let bucket = text(self.block.bucket.as_ref())?;
        let place = self.endpoint.as_deref().unwrap_or(self.partition.name);
        Some(format!("{place}/{bucket}"))
    }

    /// The name that the operator gives to its bucket in this region. A fault while the cluster's name is not known.
    pub fn deterministic_bucket(&self, snapshot: &Snapshot) -> Result<String, Fault> {
        let infrastructure_name = name::infrastructure_name(snapshot)?;
        Ok(name::deterministic(&infrastructure_name, &[&self.region]))
    }

    /// Region that requests are signed for.
    pub fn signing_region(&self) -> &str {
        endpoint::signing_region(&self.region)
    }

    /// Where requests go, without a slash at the end. A fault where FIPS is asked for and the region has no such endpoint.
    pub fn s3_url(&self, fips: bool) -> Result<String, Fault> {
        match &self.endpoint {
            Some(url) => Ok(url.clone()),
            None => endpoint::s3_url(&self.region, fips),
        }
    }

    /// Where STS is, without a slash at the end. A fault where FIPS is asked for and the region has no such endpoint.
    pub fn sts_url(&self, fips: bool) -> Result<String, Fault> {
        endpoint::sts_url(&self.region, self.sts_endpoint.as_deref(), fips)
    }

    /// Whether the bucket goes into the path, and not into the host name.
    pub fn path_style(&self, bucket: &str) -> bool {
        match self.endpoint {
            Some(_) => !self.virtual_hosted,
            // A certificate for `*.s3...` covers no further dot.
            None => !is_label(bucket) || bucket.len() < 3 || bucket.chars().any(|c| c.is_ascii_uppercase()),
        }
    }

    /// Whether the registry is told to use dual-stack: it has no effect at a custom endpoint.
    pub fn dual_stack(&self) -> bool {
        self.rendered_endpoint.is_some() || self.partition.dual_stack
    }
}

/// What the cluster says about AWS; nothing on other platforms.
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

/// A block with everything filled in, whatever the registry runs with.
struct Full {
    block: S3Storage,
    region: String,
    endpoint: Option<String>,
    /// The endpoint is the cluster's, not the block's.
    from_cluster: bool,
    virtual_hosted: bool,
}

impl Full {
    fn of(block: &S3Storage, snapshot: &Snapshot, credentials_region: Option<&str>) -> Result<Self, Rejection> {
        let cluster = Cluster::of(snapshot);
        let own_region = text(block.region.as_ref());
        let own_endpoint = text(block.region_endpoint.as_ref());
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
        if !is_label(region) {
            return Err(invalid(format!(
                "the region of spec.storage.s3 is {region:?}: use letters, digits and dashes, such as eu-west-1"
            )));
        }
        let from_cluster = cluster_endpoint.is_some();
        let virtual_hosted = from_cluster || block.virtual_hosted_style == Some(true);
        Ok(Self {
            block: S3Storage {
                region: Some(region.to_owned()),
                region_endpoint: own_endpoint.or(cluster_endpoint).map(str::to_owned),
                virtual_hosted_style: if from_cluster {
                    Some(true)
                } else {
                    block.virtual_hosted_style
                },
                ..block.clone()
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
         spec.storage.s3.region, and regionEndpoint where the store is not Amazon's"
            .to_owned(),
    )
}

/// Whether it can be one part of a host name.
fn is_label(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(legal) && !text.starts_with('-') && !text.ends_with('-')
}

/// Names that would lead elsewhere when they are put into a URL are refused; all else is the store's to judge.
fn check_bucket(block: &S3Storage) -> Result<(), Rejection> {
    let Some(bucket) = text(block.bucket.as_ref()) else {
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

fn own_url(url: &str) -> Result<String, Rejection> {
    endpoint_url(url).map_err(|cause| {
        invalid(format!(
            "spec.storage.s3.regionEndpoint {cause}: write the store's address as https://HOST[:PORT]"
        ))
    })
}

fn service_url(service: &str, url: &str) -> Result<String, Rejection> {
    endpoint_url(url).map_err(|cause| {
        invalid(format!(
            "the serviceEndpoint {service} of infrastructures/cluster {cause}: it has to be https://HOST[:PORT]"
        ))
    })
}

/// Scheme, host, port and path of an absolute URL, without a slash at the end; or what is wrong with it.
fn endpoint_url(text: &str) -> Result<String, String> {
    // Parsers of URLs mend much; the registry's does not.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("holds blanks or backslashes".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let absolute = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let Some(rest) = absolute else {
        return Err(format!(
            "is {:?}, which does not begin with https:// or http://",
            shown(text)
        ));
    };
    let url = Url::parse(text)
        .ok()
        .filter(|_| !rest.is_empty() && !rest.starts_with('/'));
    let url = url.ok_or_else(|| format!("is {:?}, which is no URL", shown(text)))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password, which belong into the Secret with the credentials".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// A URL for a message: what stands before an `@` may be a password.
fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// Whether the registry's Deployment uses this bucket, and has no endpoint.
fn runs_without_endpoint(snapshot: &Snapshot, bucket: &str) -> bool {
    let deployment = snapshot.objects.operand(Kind::Deployment, names::REGISTRY);
    let containers = deployment
        .and_then(|d| d.pointer("/spec/template/spec/containers"))
        .and_then(Value::as_array);
    containers.into_iter().flatten().any(|container| {
        let variables = container.get("env").and_then(Value::as_array);
        let value = |name: &str| {
            let variable = variables?
                .iter()
                .find(|v| v.get("name").and_then(Value::as_str) == Some(name))?;
            // Values are YAML: a name of digits stands in quotes.
            Some(variable.get("value")?.as_str()?.trim_matches(['"', '\'']))
        };
        value(environment::BUCKET) == Some(bucket) && value(environment::ENDPOINT).is_none_or(str::is_empty)
    })
}

#[cfg(test)]
mod tests;
