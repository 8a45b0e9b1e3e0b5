//! The clouds of Azure: which host is which service.

use super::super::asked::Asked;
use super::super::wire::host_name;
use std::net::IpAddr;

/// A cloud of Azure. A stand-in is one of them; the hosts of the others answer that they are elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AzureCloud {
    /// `AzurePublicCloud`.
    #[default]
    Public,
    /// `AzureUSGovernmentCloud`.
    UsGovernment,
    /// `AzureChinaCloud`.
    China,
    /// `AzureGermanCloud`.
    German,
    /// `AzureStackCloud`: one's own data centre, with hosts below `stack.example`.
    StackHub,
}

pub(super) const CLOUDS: [AzureCloud; 5] = [
    AzureCloud::Public,
    AzureCloud::UsGovernment,
    AzureCloud::China,
    AzureCloud::German,
    AzureCloud::StackHub,
];

impl AzureCloud {
    /// Host of Resource Manager.
    pub fn resource_manager(self) -> &'static str {
        match self {
            Self::Public => "management.azure.com",
            Self::UsGovernment => "management.usgovcloudapi.net",
            Self::China => "management.chinacloudapi.cn",
            Self::German => "management.microsoftazure.de",
            Self::StackHub => "management.local.stack.example",
        }
    }

    /// Hosts of Entra ID, the usual one first.
    pub fn authorities(self) -> &'static [&'static str] {
        match self {
            Self::Public => &["login.microsoftonline.com", "login.windows.net", "login.microsoft.com"],
            Self::UsGovernment => &["login.microsoftonline.us"],
            Self::China => &["login.chinacloudapi.cn", "login.partner.microsoftonline.cn"],
            Self::German => &["login.microsoftonline.de"],
            Self::StackHub => &["login.stack.example"],
        }
    }

    /// What names of blob services end in, such as `core.windows.net`.
    pub fn storage_suffix(self) -> &'static str {
        match self {
            Self::Public => "core.windows.net",
            Self::UsGovernment => "core.usgovcloudapi.net",
            Self::China => "core.chinacloudapi.cn",
            Self::German => "core.cloudapi.de",
            Self::StackHub => "local.stack.example",
        }
    }

    /// The audience of tokens for Resource Manager, without a slash at the end.
    pub fn audience(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::UsGovernment => "https://management.usgovcloudapi.net",
            Self::China => "https://management.chinacloudapi.cn",
            Self::German => "https://management.microsoftazure.de",
            Self::StackHub => "https://management.stack.example/4de154de-f8a8-4017-af41-df619da68155",
        }
    }

    /// Host of an account's blobs.
    pub fn blob_host(self, account: &str) -> String {
        format!("{account}.blob.{}", self.storage_suffix())
    }

    /// The private DNS zone of blob services.
    pub fn private_zone(self) -> String {
        format!("privatelink.blob.{}", self.storage_suffix())
    }

    /// Names for a certificate of all its services.
    pub(super) fn names(self) -> Vec<String> {
        let mut names = vec![self.resource_manager().to_owned(), self.blob_host("*")];
        names.extend(self.authorities().iter().map(ToString::to_string));
        if self == Self::Public {
            names.push(format!("*{REGIONAL}"));
        }
        names
    }

    fn service(self, host: &str) -> Option<Service> {
        if host == self.resource_manager() {
            return Some(Service::ResourceManager);
        }
        let regional = self == Self::Public && host.ends_with(REGIONAL);
        if regional || self.authorities().contains(&host) {
            return Some(Service::Entra);
        }
        let account = host.strip_suffix(self.storage_suffix())?.strip_suffix(".blob.")?;
        Some(Service::Blob(account.to_owned()))
    }
}

/// Ends the hosts of Entra ID in a region, such as `westeurope.login.microsoft.com`.
const REGIONAL: &str = ".login.microsoft.com";

/// A service of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Service {
    Entra,
    ResourceManager,
    /// The blob service of an account.
    Blob(String),
    /// Instance metadata.
    Metadata,
}

/// Which service a request is for, and in which cloud; for an address, or `localhost`, the path tells it, and the cloud is
/// open. Nothing for requests that are none of Azure's.
pub(in super::super) fn service(asked: &Asked) -> Option<(Service, Option<AzureCloud>)> {
    let host = host_name(&asked.host).to_ascii_lowercase();
    for cloud in CLOUDS {
        if let Some(service) = cloud.service(&host) {
            return Some((service, Some(cloud)));
        }
    }
    let unnamed = host.parse::<IpAddr>().is_ok() || host == "localhost";
    let path = asked.path.trim_matches('/').to_ascii_lowercase();
    let parts: Vec<&str> = path.split('/').collect();
    let service = match parts.as_slice() {
        ["metadata", "identity", ..] => Service::Metadata,
        ["subscriptions", ..] => Service::ResourceManager,
        [_, "oauth2", .., "token"] | [_, "discovery", "instance"] | [_, "v2.0", ".well-known", _] => Service::Entra,
        _ => return None,
    };
    unnamed.then_some((service, None))
}
