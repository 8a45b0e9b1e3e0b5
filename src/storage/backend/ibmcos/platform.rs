//! PURE: what the platforms `IBMCloud` and `PowerVS` tell about location, resource group and endpoints.

use crate::api::openshift::ServiceEndpoint;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;

/// Locations of Cloud Object Storage by region of Power Virtual Server. Source: the Go operator.
const REGIONS: &[(&str, &str)] = &[
    ("dal", "us-south"),
    ("eu-de", "eu-de"),
    ("lon", "eu-gb"),
    ("mad", "eu-de"),
    ("mon", "ca-tor"),
    ("osa", "jp-osa"),
    ("sao", "br-sao"),
    ("syd", "au-syd"),
    ("tok", "jp-tok"),
    ("tor", "ca-tor"),
    ("us-east", "us-east"),
    ("us-south", "us-south"),
    ("wdc", "us-east"),
];

/// What the platform tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Platform {
    /// Location of Cloud Object Storage; `None` on another platform.
    pub location: Option<Location>,
    /// Resource group of the cluster.
    pub resource_group: Option<String>,
    /// Other addresses of services.
    pub service_endpoints: Vec<ServiceEndpoint>,
}

/// A location, as the platform has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A location of Cloud Object Storage.
    Known(String),
    /// A region of Power Virtual Server for which no location of Cloud Object Storage is known.
    Unknown(String),
}

impl Location {
    /// The location.
    ///
    /// # Errors
    /// There is none for the region of Power Virtual Server.
    pub fn known(&self) -> Result<&str, Rejection> {
        match self {
            Self::Known(location) => Ok(location),
            Self::Unknown(region) => Err(Rejection::new(
                Reason::InvalidConfig,
                format!(
                    "the operator knows no location of IBM Cloud Object Storage for region {region} of Power Virtual Server \
                     (infrastructures/cluster): set spec.storage.ibmcos.location"
                ),
            )),
        }
    }
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Platform {
    /// What the cluster's Infrastructure tells.
    pub fn of(snapshot: &Snapshot) -> Self {
        let status = snapshot.infrastructure().unwrap_or_default().platform_status;
        let status = status.unwrap_or_default();
        match status.type_.as_deref() {
            Some("IBMCloud") => {
                let cloud = status.ibmcloud.unwrap_or_default();
                Self {
                    location: given(cloud.location).map(Location::Known),
                    resource_group: given(cloud.resource_group_name),
                    service_endpoints: cloud.service_endpoints.unwrap_or_default(),
                }
            }
            Some("PowerVS") => {
                let cloud = status.powervs.unwrap_or_default();
                Self {
                    location: given(cloud.region).map(|region| of_power_vs(&region)),
                    resource_group: given(cloud.resource_group),
                    service_endpoints: cloud.service_endpoints.unwrap_or_default(),
                }
            }
            _ => Self::default(),
        }
    }
}

fn of_power_vs(region: &str) -> Location {
    match REGIONS.iter().find(|(name, _)| *name == region) {
        Some((_, location)) => Location::Known((*location).to_owned()),
        None => Location::Unknown(region.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-ibmcos 3
    #[test]
    fn each_region_of_power_virtual_server_has_its_location() {
        for (region, location) in [
            ("dal", "us-south"),
            ("eu-de", "eu-de"),
            ("lon", "eu-gb"),
            ("mad", "eu-de"),
            ("mon", "ca-tor"),
            ("osa", "jp-osa"),
            ("sao", "br-sao"),
            ("syd", "au-syd"),
            ("tok", "jp-tok"),
            ("tor", "ca-tor"),
            ("us-east", "us-east"),
            ("us-south", "us-south"),
            ("wdc", "us-east"),
        ] {
            assert_eq!(of_power_vs(region).known().unwrap(), location);
        }
    }
}
