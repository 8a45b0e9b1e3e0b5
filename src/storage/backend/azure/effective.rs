//! PURE: the effective configuration of `spec.storage.azure`, with settings of the cluster filled in.

use std::collections::BTreeMap;

use super::cloud::{self, Cloud};
use super::environment::Environment;
use super::generated;
use crate::api::Kind;
use crate::api::openshift::AzurePlatform;
use crate::api::registry_storage::{AzureInternal, AzureNetworkAccess, AzureStorage};
use crate::config::content;
use crate::config::host;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::inputs::{live, name};
use crate::storage::model::error::StorageError;
use crate::storage::model::spec;

/// Key of the addresses of Azure Stack Hub.
const ENDPOINTS_KEY: &str = "endpoints";
/// Value of the tag of what belongs to the cluster.
pub const OWNED: &str = "owned";
/// Prefix of the tag that names a cluster.
pub const MARK: &str = "kubernetes.io_cluster.";

/// The effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The spec, with the name of the cloud filled in.
    pub spec: AzureStorage,
    /// The spec itself names the cloud.
    pub cloud_given: bool,
}

fn given(member: Option<&String>) -> Option<String> {
    member.filter(|text| !text.is_empty()).cloned()
}

/// Settings of the platform, if it is Azure.
pub fn platform(snapshot: &Snapshot) -> Option<AzurePlatform> {
    let platform = snapshot.infrastructure().unwrap_or_default().platform_status?;
    (platform.type_.as_deref() == Some("Azure")).then(|| platform.azure.unwrap_or_default())
}

impl Effective {
    /// The effective configuration of a spec in this cluster. Values of the user are never replaced.
    ///
    /// # Errors
    /// A value would change the host or path of a request. The message names field, value and remedy.
    pub fn of(spec: &AzureStorage, snapshot: &Snapshot) -> Result<Self, Rejection> {
        let own = given(spec.cloud_name.as_ref());
        let of_cluster = || given(platform(snapshot)?.cloud_name.as_ref());
        let spec = AzureStorage {
            account_name: given(spec.account_name.as_ref()),
            container: given(spec.container.as_ref()),
            cloud_name: own.clone().or_else(of_cluster),
            network_access: spec.network_access.clone(),
        };
        check_name("accountName", spec.account_name.as_deref())?;
        check_name("container", spec.container.as_deref().filter(|name| *name != "$root"))?;
        check_internal(spec.network_access.as_ref().and_then(|access| access.internal.as_ref()))?;
        Ok(Self {
            cloud_given: own.is_some(),
            spec,
        })
    }

    /// The same with the names that the operator chooses.
    #[must_use]
    pub fn named(mut self, snapshot: &Snapshot) -> Self {
        if self.spec.account_name.is_none() {
            self.spec.account_name = generated::account(snapshot).ok();
        }
        if self.spec.container.is_none() {
            self.spec.container = generated::container(snapshot).ok();
        }
        self
    }

    /// Name of the account; empty if it is not known.
    pub fn account(&self) -> &str {
        self.spec.account_name.as_deref().unwrap_or_default()
    }

    /// Name of the container; empty if it is not known.
    pub fn container(&self) -> &str {
        self.spec.container.as_deref().unwrap_or_default()
    }

    /// Name of the cloud; empty: the public one.
    pub fn cloud_name(&self) -> &str {
        self.spec.cloud_name.as_deref().unwrap_or_default()
    }

    /// Location ID: cloud, account and container. `None` without names.
    pub fn location(&self) -> Option<String> {
        let (account, container) = (self.spec.account_name.as_ref()?, self.spec.container.as_ref()?);
        Some(format!("{}/{account}/{container}", cloud::canonical(self.cloud_name())))
    }

    /// Addresses of the cloud.
    ///
    /// # Errors
    /// The cloud is not known, or Azure Stack Hub has no private endpoints: what to do.
    pub fn cloud(&self, snapshot: &Snapshot, environment: &Environment) -> Result<Cloud, StorageError> {
        let map = snapshot
            .objects
            .get(Kind::ConfigMap, names::CONFIG_NAMESPACE, names::CLOUD_PROVIDER_CONFIG);
        let text = map.and_then(|map| content::map_text(map, ENDPOINTS_KEY));
        let text = text.as_deref().or(environment.stack_endpoints.as_deref());
        let found = cloud::find(self.cloud_name(), text);
        let cloud = found.map_err(|why| invalid(format!("spec.storage.azure: {why}")))?;
        if cloud.stack && self.is_internal() {
            let why = "spec.storage.azure.networkAccess.type is Internal, and Azure Stack Hub has no private endpoints: use \
                       External";
            return Err(invalid(why.to_owned()).into());
        }
        Ok(cloud)
    }

    /// Suffix of the storage endpoints for the registry; `None`: the registry's default, that of the public cloud. Pods that run
    /// with this account keep the variable that they have, present or absent, as long as it means this cloud: another spelling of
    /// the same cloud does not replace them.
    pub fn realm(&self, cloud: &Cloud, snapshot: &Snapshot) -> Option<String> {
        let is_absent = match live::azure_realm(snapshot, self.account()) {
            _ if self.cloud_name().is_empty() => true,
            Some("") if cloud::is_public(self.cloud_name()) => true,
            Some(realm) if realm == cloud.suffix => false,
            _ => !self.cloud_given && cloud::is_public(self.cloud_name()),
        };
        (!is_absent).then(|| cloud.suffix.clone())
    }

    /// Whether the account gets a private endpoint, and no public access.
    pub fn is_internal(&self) -> bool {
        let access = self.spec.network_access.as_ref();
        access.is_some_and(|access| access.kind.as_deref() == Some("Internal"))
    }

    /// Settings of the private endpoint.
    pub fn internal(&self) -> AzureInternal {
        let access = self.spec.network_access.as_ref();
        access.and_then(|access| access.internal.clone()).unwrap_or_default()
    }

    /// Whether two specs mean the same in this cluster. Members that the cluster fills in count as present in both.
    pub fn same(stored: &AzureStorage, wanted: &AzureStorage, snapshot: &Snapshot) -> bool {
        let full = |spec: &AzureStorage| {
            let mut spec = Self::of(spec, snapshot).ok()?.named(snapshot).spec;
            spec.cloud_name = Some(cloud::canonical(spec.cloud_name.as_deref().unwrap_or_default()));
            if spec.network_access.as_ref().is_none_or(|access| access.kind.is_none()) {
                spec.network_access = Some(AzureNetworkAccess {
                    kind: Some("External".to_owned()),
                    internal: None,
                });
            }
            Some(spec)
        };
        let storage = |spec| crate::api::Storage {
            azure: spec,
            ..crate::api::Storage::default()
        };
        match (full(stored), full(wanted)) {
            (Some(stored), Some(wanted)) => spec::same(&storage(Some(stored)), &storage(Some(wanted))),
            _ => stored == wanted,
        }
    }
}

/// Key of the tag that marks what belongs to this cluster.
///
/// # Errors
/// The name of the cluster is not known.
pub fn mark(snapshot: &Snapshot) -> Result<String, StorageError> {
    Ok(format!("{MARK}{}", name::infrastructure_name(snapshot)?))
}

/// Tags of what the operator creates: the mark, and the tags of the platform, which have precedence.
///
/// # Errors
/// The name of the cluster is not known.
pub fn tags(snapshot: &Snapshot) -> Result<BTreeMap<String, String>, StorageError> {
    let mut tags = BTreeMap::from([(mark(snapshot)?, OWNED.to_owned())]);
    let wanted = platform(snapshot).and_then(|azure| azure.resource_tags);
    let wanted = wanted.unwrap_or_default().into_iter();
    tags.extend(wanted.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))));
    Ok(tags)
}

fn invalid(message: String) -> Rejection {
    Rejection::new(Reason::InvalidConfig, message)
}

/// Rejects names that would change host or path of a URL. All other rules are left to the service.
fn check_name(field: &str, name: Option<&str>) -> Result<(), Rejection> {
    match name {
        Some(name) if !host::is_label(name) => Err(invalid(format!(
            "spec.storage.azure.{field} is {name:?}, which Azure does not allow: use lower-case letters and digits"
        ))),
        _ => Ok(()),
    }
}

/// The names of the network become parts of a path.
fn check_internal(internal: Option<&AzureInternal>) -> Result<(), Rejection> {
    let Some(internal) = internal else {
        return Ok(());
    };
    let members = [
        ("networkResourceGroupName", &internal.network_resource_group_name),
        ("vnetName", &internal.vnet_name),
        ("subnetName", &internal.subnet_name),
        ("privateEndpointName", &internal.private_endpoint_name),
    ];
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    for (member, name) in members {
        let name = name.as_deref().unwrap_or_default();
        if !name.chars().all(legal) || matches!(name, "." | "..") {
            return Err(invalid(format!(
                "spec.storage.azure.networkAccess.internal.{member} is {name:?}: use letters, digits, '_', '.' and '-'"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
