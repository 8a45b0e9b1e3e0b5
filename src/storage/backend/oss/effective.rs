//! PURE: the effective configuration of `spec.storage.oss`, with settings of the cluster filled in.
//!
//! Sources: Alibaba Cloud, "Use AWS SDKs to access OSS" (endpoints of the S3 API) and "Compatibility with Amazon S3" (what the
//! S3 API of OSS offers).

use crate::api::Storage;
use crate::api::registry_storage::OssStorage;
use crate::config::host;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::name;
use crate::storage::model::container::ContainerName;
use crate::storage::model::error::StorageError;

/// Domain of OSS.
const DOMAIN: &str = "aliyuncs.com";
/// Value of `endpointAccessibility` for the endpoint on the Internet; all others mean the internal one.
const PUBLIC: &str = "Public";

/// The effective configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Name of the bucket; `None`: the operator chooses it.
    pub bucket: Option<String>,
    /// Region, such as `cn-hangzhou`.
    pub region: String,
    /// The endpoint on the Internet, instead of the one inside Alibaba Cloud.
    pub public: bool,
    /// Uploads ask for encryption with keys of OSS (AES256).
    pub encrypt: bool,
}

fn given(member: Option<&String>) -> Option<&str> {
    member.map(String::as_str).filter(|text| !text.is_empty())
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(Reason::InvalidConfig, message.into())
}

impl Effective {
    /// The effective configuration of a spec in this cluster. Values of the user are never replaced.
    ///
    /// # Errors
    /// The region is not known, a value would change the host of a request, or the S3 API of OSS cannot do what the spec wants.
    /// The message names field and remedy.
    pub fn of(spec: &OssStorage, snapshot: &Snapshot) -> Result<Self, Rejection> {
        let of_cluster = of_platform(snapshot);
        let region = given(spec.region.as_ref()).or(of_cluster.as_deref()).ok_or_else(|| {
            invalid(
                "the region of Alibaba Cloud OSS is not known (infrastructures/cluster names none): set \
                 spec.storage.oss.region, for example to cn-hangzhou",
            )
        })?;
        // As some tools of Alibaba Cloud write it.
        let region = region.strip_prefix("oss-").unwrap_or(region);
        if !host::is_label(region) {
            return Err(invalid(format!(
                "spec.storage.oss.region is {region:?}, which cannot be part of a host name: set a region such as cn-hangzhou"
            )));
        }
        Ok(Self {
            bucket: checked_bucket(given(spec.bucket.as_ref()))?,
            encrypt: encrypts(spec)?,
            public: spec.endpoint_accessibility.as_deref() == Some(PUBLIC),
            region: region.to_owned(),
        })
    }

    /// URL of the endpoint of OSS's S3 API.
    pub fn endpoint(&self) -> String {
        let network = if self.public { "" } else { "-internal" };
        format!("https://s3.oss-{}{network}.{DOMAIN}", self.region)
    }

    /// The name of the bucket, even if the operator chooses it.
    ///
    /// # Errors
    /// The name of the cluster is not known.
    pub fn bucket_name(&self, snapshot: &Snapshot) -> Result<String, StorageError> {
        match &self.bucket {
            Some(bucket) => Ok(bucket.clone()),
            None => self.generated(snapshot),
        }
    }

    fn generated(&self, snapshot: &Snapshot) -> Result<String, StorageError> {
        let infrastructure = name::infrastructure_name(snapshot)?;
        Ok(name::deterministic(&infrastructure, &[&self.region]))
    }

    /// Name and location of the bucket.
    ///
    /// # Errors
    /// The name of the cluster is not known.
    pub fn container(&self, snapshot: &Snapshot) -> Result<ContainerName, StorageError> {
        let name = self.bucket_name(snapshot)?;
        Ok(ContainerName {
            location: location_id(&name),
            deterministic: name == self.generated(snapshot)?,
            place: self.region.clone(),
            name,
        })
    }

    /// Whether two specs mean the same in this cluster. Members that the cluster fills in count as present in both.
    pub fn same(stored: &OssStorage, wanted: &OssStorage, snapshot: &Snapshot) -> bool {
        let full = |spec: &OssStorage| {
            let mut effective = Self::of(spec, snapshot).ok()?;
            effective.bucket = effective.bucket_name(snapshot).ok();
            Some(effective)
        };
        match (full(stored), full(wanted)) {
            (Some(stored), Some(wanted)) => stored == wanted,
            _ => stored == wanted,
        }
    }
}

/// Location ID of a bucket. The names of all accounts and regions are in one namespace.
pub fn location_id(bucket: &str) -> String {
    format!("{DOMAIN}/{bucket}")
}

/// The spec of a storage.
pub fn spec_of(storage: &Storage) -> OssStorage {
    storage.oss.clone().unwrap_or_default()
}

/// The bucket that a spec names.
pub fn named(storage: &Storage) -> Option<&str> {
    given(storage.oss.as_ref()?.bucket.as_ref())
}

fn of_platform(snapshot: &Snapshot) -> Option<String> {
    let status = snapshot.infrastructure()?.platform_status?;
    let cloud = status
        .alibaba_cloud
        .filter(|_| status.type_.as_deref() == Some("AlibabaCloud"))?;
    cloud.region.filter(|region| !region.is_empty())
}

/// Whether uploads ask for encryption.
fn encrypts(spec: &OssStorage) -> Result<bool, Rejection> {
    let Some(encryption) = &spec.encryption else {
        return Ok(false);
    };
    if let Some(kms) = &encryption.kms {
        return Err(no_kms(&format!(
            "spec.storage.oss.encryption.kms.keyID ({})",
            kms.key_id
        )));
    }
    match given(encryption.method.as_ref()) {
        None | Some("AES256") => Ok(true),
        Some(method) => Err(no_kms(&format!("spec.storage.oss.encryption.method ({method})"))),
    }
}

fn no_kms(field: &str) -> Rejection {
    invalid(format!(
        "{field} is not supported: the S3 API of OSS, which the registry uses, has no encryption with a key of KMS, and no \
         settings for the encryption of a bucket. Set spec.storage.oss.encryption.method to AES256, or remove encryption \
         and turn on encryption with KMS for the bucket in OSS"
    ))
}

/// Refuses names that would change the host or the path of a URL. OSS has virtual-hosted requests only.
fn checked_bucket(bucket: Option<&str>) -> Result<Option<String>, Rejection> {
    let Some(bucket) = bucket else {
        return Ok(None);
    };
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if host::is_label(bucket) && bucket.len() >= 3 && bucket.chars().all(legal) {
        return Ok(Some(bucket.to_owned()));
    }
    Err(invalid(format!(
        "spec.storage.oss.bucket is {bucket:?}, which cannot be the name of a bucket of OSS: use 3 to 63 lower-case letters, \
         digits and hyphens"
    )))
}

#[cfg(test)]
mod tests;
