//! PURE: the clouds of Azure and their addresses. Source: Azure, "National clouds" and "Azure Stack Hub: connect with the
//! resource manager".

use serde::Deserialize;

use crate::storage::inputs::url;

/// Name of Azure Stack Hub, whose addresses come from a file of the cluster.
pub const STACK: &str = "AzureStackCloud";
/// Name of the public cloud.
pub const PUBLIC: &str = "AzurePublicCloud";

/// Addresses of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Address of Resource Manager, without a trailing slash.
    pub resource_manager: String,
    /// Audience of the tokens for Resource Manager, without a trailing slash.
    pub audience: String,
    /// Authority host of Entra ID, with a trailing slash, as the registry gets it.
    pub authority: String,
    /// Suffix of the storage endpoints: `core.windows.net`.
    pub suffix: String,
    /// Azure Stack Hub: older versions of the APIs, and other requests for tokens.
    pub stack: bool,
}

impl Cloud {
    /// Address of the blob service of an account, without a trailing slash.
    pub fn blob_service(&self, account: &str) -> String {
        format!("https://{account}.blob.{}", self.suffix)
    }

    /// Name of the private DNS zone of blob endpoints.
    pub fn private_zone(&self) -> String {
        format!("privatelink.blob.{}", self.suffix)
    }

    /// Scope of tokens for Resource Manager.
    pub fn scope(&self) -> String {
        format!("{}/.default", self.audience)
    }
}

/// A cloud with fixed addresses: names, Resource Manager, authority host, storage suffix.
type Known = (&'static [&'static str], &'static str, &'static str, &'static str);

const KNOWN: [Known; 4] = [
    (
        &[PUBLIC, "AzureCloud", ""],
        "https://management.azure.com",
        "https://login.microsoftonline.com/",
        "core.windows.net",
    ),
    (
        &["AzureUSGovernmentCloud", "AzureUSGovernment"],
        "https://management.usgovcloudapi.net",
        "https://login.microsoftonline.us/",
        "core.usgovcloudapi.net",
    ),
    (
        &["AzureChinaCloud"],
        "https://management.chinacloudapi.cn",
        "https://login.chinacloudapi.cn/",
        "core.chinacloudapi.cn",
    ),
    (
        &["AzureGermanCloud"],
        "https://management.microsoftazure.de",
        "https://login.microsoftonline.de/",
        "core.cloudapi.de",
    ),
];

fn known(name: &str) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|(names, ..)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

/// Whether the name means Azure Stack Hub.
pub fn is_stack(name: &str) -> bool {
    name.eq_ignore_ascii_case(STACK)
}

/// Whether the name means the public cloud.
pub fn is_public(name: &str) -> bool {
    known(name).is_some_and(|(names, ..)| names.first() == Some(&PUBLIC))
}

/// One name for each cloud, for location IDs. A cloud that is not known keeps its name.
pub fn canonical(name: &str) -> String {
    match known(name) {
        Some((names, ..)) => names.first().copied().unwrap_or_default().to_owned(),
        None if is_stack(name) => STACK.to_owned(),
        None => name.to_ascii_uppercase(),
    }
}

/// The file with the addresses of a cloud that is not public.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoints {
    resource_manager_endpoint: String,
    active_directory_endpoint: String,
    token_audience: String,
    storage_endpoint_suffix: String,
}

/// Addresses of the cloud with this name. `endpoints`: content of the file with the addresses of a cloud that is not public
/// (JSON), if there is one.
///
/// # Errors
/// The name is not known, or the file cannot be used: what to do.
pub fn find(name: &str, endpoints: Option<&str>) -> Result<Cloud, String> {
    if let Some((_, resource_manager, authority, suffix)) = known(name) {
        return Ok(Cloud {
            resource_manager: (*resource_manager).to_owned(),
            audience: (*resource_manager).to_owned(),
            authority: (*authority).to_owned(),
            suffix: (*suffix).to_owned(),
            stack: false,
        });
    }
    let Some(text) = endpoints.filter(|text| !text.trim().is_empty()) else {
        let names: Vec<&str> = KNOWN.iter().filter_map(|(names, ..)| names.first().copied()).collect();
        return Err(if is_stack(name) {
            "the addresses of Azure Stack Hub are not known: store them as JSON in key endpoints of ConfigMap \
             openshift-config/cloud-provider-config"
                .to_owned()
        } else {
            format!(
                "cloudName {name:?} is no cloud of Azure: use one of {}, or {STACK} with the addresses in key endpoints of \
                 ConfigMap openshift-config/cloud-provider-config",
                names.join(", ")
            )
        });
    };
    of_endpoints(name, text)
}

/// Names of the members of a document without a value; `None`: each has one.
pub fn missing(members: &[(&str, &String)]) -> Option<String> {
    let missing: Vec<&str> = members
        .iter()
        .filter(|(_, value)| value.trim().is_empty())
        .map(|(member, _)| *member)
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn of_endpoints(name: &str, text: &str) -> Result<Cloud, String> {
    let source = "key endpoints of ConfigMap openshift-config/cloud-provider-config";
    let endpoints: Endpoints = serde_json::from_str(text).map_err(|error| {
        format!(
            "{source} is not the JSON of a cloud's addresses (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    let members = [
        ("resourceManagerEndpoint", &endpoints.resource_manager_endpoint),
        ("activeDirectoryEndpoint", &endpoints.active_directory_endpoint),
        ("tokenAudience", &endpoints.token_audience),
        ("storageEndpointSuffix", &endpoints.storage_endpoint_suffix),
    ];
    if let Some(missing) = missing(&members) {
        return Err(format!("{source} has no {missing}: add it"));
    }
    let address = |member: &str, value: &str| {
        let address = url::endpoint(value).map_err(|why| format!("{member} of {source} {why}"))?;
        // Secrets and tokens go there.
        if address.starts_with("https://") {
            Ok(address)
        } else {
            Err(format!(
                "{member} of {source} is {address:?}, which does not begin with https://"
            ))
        }
    };
    let suffix = endpoints.storage_endpoint_suffix.trim().trim_matches('.');
    if !suffix.split('.').all(crate::config::host::is_label) {
        return Err(format!(
            "storageEndpointSuffix of {source} is {suffix:?}, which is no domain"
        ));
    }
    let authority = address("activeDirectoryEndpoint", &endpoints.active_directory_endpoint)?;
    // Endpoints of AD FS end with the name of the tenant.
    let authority = authority.strip_suffix("/adfs").unwrap_or(&authority);
    let audience = endpoints.token_audience.trim();
    Ok(Cloud {
        resource_manager: address("resourceManagerEndpoint", &endpoints.resource_manager_endpoint)?,
        audience: audience.strip_suffix('/').unwrap_or(audience).to_owned(),
        authority: format!("{authority}/"),
        suffix: suffix.to_owned(),
        stack: is_stack(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"name":"AzureStackCloud","resourceManagerEndpoint":"https://management.local.stack.example/",
        "activeDirectoryEndpoint":"https://login.stack.example/adfs/","tokenAudience":"https://management.adfs.stack.example/0a1b/",
        "storageEndpointSuffix":"local.stack.example"}"#;

    // storage-azure 6
    #[test]
    fn names_are_found_in_any_case() {
        for (name, manager, authority, suffix) in [
            (
                "",
                "https://management.azure.com",
                "https://login.microsoftonline.com/",
                "core.windows.net",
            ),
            (
                "azurecloud",
                "https://management.azure.com",
                "https://login.microsoftonline.com/",
                "core.windows.net",
            ),
            (
                "azureusgovernment",
                "https://management.usgovcloudapi.net",
                "https://login.microsoftonline.us/",
                "core.usgovcloudapi.net",
            ),
            (
                "AZURECHINACLOUD",
                "https://management.chinacloudapi.cn",
                "https://login.chinacloudapi.cn/",
                "core.chinacloudapi.cn",
            ),
            (
                "AzureGermanCloud",
                "https://management.microsoftazure.de",
                "https://login.microsoftonline.de/",
                "core.cloudapi.de",
            ),
        ] {
            let cloud = find(name, None).unwrap();
            assert_eq!(
                (&cloud.resource_manager[..], &cloud.authority[..]),
                (manager, authority)
            );
            assert_eq!(cloud.suffix, suffix);
            assert_eq!(cloud.scope(), format!("{manager}/.default"));
            assert!(!cloud.stack);
        }
        let unknown = find("invalid", None).unwrap_err();
        assert!(unknown.contains("\"invalid\"") && unknown.contains(PUBLIC), "{unknown}");
    }

    // storage-azure 40
    #[test]
    fn the_private_zone_is_that_of_the_cloud() {
        let zone = |name| find(name, None).unwrap().private_zone();
        assert_eq!(zone(""), "privatelink.blob.core.windows.net");
        assert_eq!(
            zone("AzureUSGovernmentCloud"),
            "privatelink.blob.core.usgovcloudapi.net"
        );
    }

    #[test]
    fn one_cloud_has_one_name_in_locations() {
        for (name, expected) in [
            ("", PUBLIC),
            ("AZURECLOUD", PUBLIC),
            ("azurestackcloud", STACK),
            ("AzureUSGovernment", "AzureUSGovernmentCloud"),
            ("AzureUSSecCloud", "AZUREUSSECCLOUD"),
        ] {
            assert_eq!(canonical(name), expected);
        }
        assert!(is_public("") && is_public("azurepubliccloud") && !is_public(STACK));
    }

    #[test]
    fn a_stack_has_the_addresses_of_its_file() {
        let cloud = find("AZURESTACKCLOUD", Some(FILE)).unwrap();
        assert_eq!(cloud.resource_manager, "https://management.local.stack.example");
        assert_eq!(cloud.authority, "https://login.stack.example/");
        assert_eq!(cloud.audience, "https://management.adfs.stack.example/0a1b");
        assert_eq!(cloud.blob_service("acct"), "https://acct.blob.local.stack.example");
        assert!(cloud.stack);
        // Any other name takes the addresses of the file, if there is one.
        assert!(!find("AzureUSSecCloud", Some(FILE)).unwrap().stack);
    }

    #[test]
    fn an_incomplete_file_names_all_that_is_missing() {
        let missing = find(STACK, Some(r#"{"tokenAudience":"x"}"#)).unwrap_err();
        for member in [
            "resourceManagerEndpoint",
            "activeDirectoryEndpoint",
            "storageEndpointSuffix",
        ] {
            assert!(missing.contains(member), "{missing}");
        }
        assert!(!missing.contains("tokenAudience"));
        assert!(find(STACK, None).unwrap_err().contains("cloud-provider-config"));
        assert!(find(STACK, Some("no json")).unwrap_err().contains("JSON"));
    }

    #[test]
    fn secrets_and_tokens_go_over_tls_only() {
        for (secure, member) in [
            ("https://management.local.stack.example/", "resourceManagerEndpoint"),
            ("https://login.stack.example/adfs/", "activeDirectoryEndpoint"),
        ] {
            let plain = FILE.replace(secure, &secure.replace("https:", "HTTP:"));
            let error = find(STACK, Some(&plain)).unwrap_err();
            assert!(error.contains(member) && error.contains("https://"), "{error}");
        }
    }
}
