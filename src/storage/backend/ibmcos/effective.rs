//! PURE: the effective configuration of `spec.storage.ibmcos`, with settings of the cluster filled in.

use super::endpoint::Endpoints;
use super::platform::{Location, Platform};
use crate::api::Storage;
use crate::api::registry_storage::IbmCosStorage;
use crate::config::host;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::name;
use crate::storage::model::container::ContainerName;
use crate::storage::model::error::StorageError;

/// Longest name of a bucket that does not change the meaning of a URL.
const LONGEST: usize = 255;

/// The effective configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Name of the bucket; `None`: the operator chooses it.
    pub bucket: Option<String>,
    /// Location, for endpoint, signatures and the bucket's LocationConstraint.
    pub location: String,
    /// Resource group of a new service instance.
    pub resource_group: Option<String>,
    /// CRN of the service instance; `None`: found by its name, or created.
    pub instance: Option<String>,
    /// CRN of the resource key; `None`: found by its name, or created.
    pub key: Option<String>,
    /// Addresses of the services.
    pub endpoints: Endpoints,
}

/// The text of a field, unless it is empty.
pub fn given(member: Option<&String>) -> Option<&str> {
    member.map(String::as_str).filter(|text| !text.is_empty())
}

fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(Reason::InvalidConfig, message.into())
}

impl Effective {
    /// The effective configuration of a spec in this cluster. Values of the user are never replaced.
    ///
    /// # Errors
    /// The location is not known, or no service instance is named and the resource group for a new one is not known; or a
    /// value would change the host or path of a request. The message names field, value and remedy.
    pub fn of(spec: &IbmCosStorage, snapshot: &Snapshot) -> Result<Self, Rejection> {
        let platform = Platform::of(snapshot);
        let location = match given(spec.location.as_ref()) {
            Some(location) => location.to_owned(),
            None => of_platform(platform.location.as_ref())?,
        };
        if !host::is_label(&location) {
            return Err(invalid(format!(
                "location {location:?} of IBM Cloud Object Storage cannot be part of a host name: set \
                 spec.storage.ibmcos.location to a location such as us-south"
            )));
        }
        check_bucket(given(spec.bucket.as_ref()).unwrap_or_default())?;
        let instance = given(spec.service_instance_crn.as_ref()).map(str::to_owned);
        let of_spec = given(spec.resource_group_name.as_ref()).map(str::to_owned);
        let resource_group = of_spec.or(platform.resource_group);
        if instance.is_none() && resource_group.is_none() {
            return Err(invalid(
                "the resource group for a new instance of Cloud Object Storage is not known (infrastructures/cluster names \
                 none): set spec.storage.ibmcos.resourceGroupName, or serviceInstanceCRN to an existing instance",
            ));
        }
        Ok(Self {
            bucket: given(spec.bucket.as_ref()).map(str::to_owned),
            location,
            resource_group,
            instance,
            key: given(spec.resource_key_crn.as_ref()).map(str::to_owned),
            endpoints: Endpoints::of(&platform.service_endpoints)?,
        })
    }

    /// LocationConstraint of a new bucket: location and storage class.
    pub fn constraint(&self) -> String {
        format!("{}-smart", self.location)
    }

    /// The name of the bucket, even if the operator chooses it. The Go operator draws its last letters; here the name follows
    /// from the rest, so that a second attempt finds the same.
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
        Ok(name::deterministic(&infrastructure, &[&self.location]))
    }

    /// Location ID of this bucket; `None` while the service instance is not known.
    pub fn locate(&self, bucket: &str) -> Option<String> {
        self.instance.as_deref().map(|instance| location_id(instance, bucket))
    }

    /// Name and location of the bucket.
    ///
    /// # Errors
    /// The name of the cluster is not known.
    pub fn container(&self, snapshot: &Snapshot) -> Result<ContainerName, StorageError> {
        let name = self.bucket_name(snapshot)?;
        Ok(ContainerName {
            location: self.locate(&name).unwrap_or_default(),
            deterministic: name == self.generated(snapshot)?,
            place: self.location.clone(),
            name,
        })
    }

    /// The spec with every member filled in, as far as known.
    pub fn completed(&self, bucket: &str) -> IbmCosStorage {
        IbmCosStorage {
            bucket: Some(bucket.to_owned()),
            location: Some(self.location.clone()),
            resource_group_name: self.resource_group.clone(),
            resource_key_crn: self.key.clone(),
            service_instance_crn: self.instance.clone(),
        }
    }

    /// Whether two specs mean the same in this cluster. Members that the cluster fills in count as present in both.
    pub fn same(stored: &IbmCosStorage, wanted: &IbmCosStorage, snapshot: &Snapshot) -> bool {
        let full = |spec: &IbmCosStorage| {
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

/// Location ID of a bucket: CRN of the service instance and name.
pub fn location_id(instance: &str, bucket: &str) -> String {
    format!("{instance}/{bucket}")
}

/// The spec of a storage.
pub fn spec_of(storage: &Storage) -> IbmCosStorage {
    storage.ibmcos.clone().unwrap_or_default()
}

fn of_platform(location: Option<&Location>) -> Result<String, Rejection> {
    let location = location.ok_or_else(|| {
        invalid(
            "no location of IBM Cloud Object Storage is known: infrastructures/cluster is not of platform IBMCloud or \
             PowerVS, or names none: set spec.storage.ibmcos.location",
        )
    })?;
    location.known().map(str::to_owned)
}

/// Rejects names that would change the path of a URL. All other rules are left to the service.
fn check_bucket(bucket: &str) -> Result<(), Rejection> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = bucket.contains(|c: char| c.is_ascii_alphanumeric());
    if bucket.is_empty() || (bucket.len() <= LONGEST && is_name && bucket.chars().all(legal)) {
        return Ok(());
    }
    Err(invalid(format!(
        "spec.storage.ibmcos.bucket is {bucket:?}, which cannot be the name of a bucket: use lower-case letters, digits, - \
         and ."
    )))
}

#[cfg(test)]
mod tests;
