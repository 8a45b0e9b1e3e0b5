//! What the specifications of Azure's REST APIs call a request.

use super::address::Address;
use super::arm::{GROUP, known};
use super::environment::{Service, service};
use super::{accounts, containers, dns, network};
use crate::stores::asked::Asked;

/// Such as `StorageAccounts_Create`, `PrivateEndpoints_Delete` or `Container_GetProperties`: the operation's ID in Microsoft's
/// specifications. A token of Entra ID is `Entra_Token`, one of instance metadata `Metadata_Token`, a look at a long operation
/// `Operations_Get`. Nothing for requests that are not to Azure.
pub(in super::super) fn name(asked: &Asked) -> Option<String> {
    let (service, _) = service(asked)?;
    let name = match service {
        Service::Entra if asked.path.ends_with("/token") => "Entra_Token".to_owned(),
        Service::Entra => "Entra_Discovery".to_owned(),
        Service::Metadata => "Metadata_Token".to_owned(),
        Service::ResourceManager => resource_manager(asked),
        Service::Blob(_) => blob(asked).to_owned(),
    };
    Some(name)
}

fn resource_manager(asked: &Asked) -> String {
    let unknown = || format!("{} {}", asked.method, asked.path);
    let Some(address) = Address::parse(&asked.path) else {
        return unknown();
    };
    let first = address
        .parts
        .first()
        .map(|part| part.to_lowercase())
        .unwrap_or_default();
    match first.as_str() {
        "locations" => return "Operations_Get".to_owned(),
        "checknameavailability" => return "StorageAccounts_CheckNameAvailability".to_owned(),
        "register" => return "Providers_Register".to_owned(),
        _ => {}
    }
    let verb = if asked.method == hyper::Method::POST {
        address.name().to_lowercase()
    } else {
        String::new()
    };
    match verb.as_str() {
        "listkeys" => return "StorageAccounts_ListKeys".to_owned(),
        "regeneratekey" => return "StorageAccounts_RegenerateKey".to_owned(),
        _ => {}
    }
    let kind = if address.namespace.is_empty() {
        GROUP.to_owned()
    } else {
        address.kind()
    };
    let Some(kind) = known(&kind) else {
        return unknown();
    };
    let group = match kind.name {
        accounts::ACCOUNT => "StorageAccounts",
        accounts::SERVICE => "BlobServices",
        containers::CONTAINER => "BlobContainers",
        accounts::SHARE => "FileShares",
        accounts::QUEUE => "Queue",
        accounts::TABLE => "Table",
        network::NETWORK => "VirtualNetworks",
        network::SUBNET => "Subnets",
        network::INTERFACE => "NetworkInterfaces",
        network::ENDPOINT => "PrivateEndpoints",
        dns::GROUP => "PrivateDnsZoneGroups",
        dns::ZONE => "PrivateZones",
        dns::LINK => "VirtualNetworkLinks",
        dns::RECORD | dns::ALL => "RecordSets",
        _ => "ResourceGroups",
    };
    let single = address.is_single() || (kind.name == GROUP && address.group.is_some());
    let at_once = matches!(kind.name, accounts::ACCOUNT | containers::CONTAINER);
    let what = match (asked.method.as_str(), single) {
        ("GET", true) if kind.name == accounts::ACCOUNT => "GetProperties",
        ("GET", true) if kind.name == accounts::SERVICE => "GetServiceProperties",
        ("GET", true) => "Get",
        ("HEAD", _) => "CheckExistence",
        ("GET", false) if kind.name == accounts::ACCOUNT && address.group.is_some() => "ListByResourceGroup",
        ("GET", false) => "List",
        ("PUT", _) if at_once => "Create",
        ("PUT", _) => "CreateOrUpdate",
        ("PATCH", _) => "Update",
        ("DELETE", _) => "Delete",
        _ => return unknown(),
    };
    format!("{group}_{what}")
}

/// Method, `comp`, and the name; the first that fits counts.
const SERVICE: &[(&str, &str, &str)] = &[
    ("GET", "list", "Service_ListContainersSegment"),
    ("GET", "properties", "Service_GetProperties"),
    ("PUT", "properties", "Service_SetProperties"),
    ("POST", "userdelegationkey", "Service_GetUserDelegationKey"),
    ("POST", "batch", "Service_SubmitBatch"),
];

const CONTAINER: &[(&str, &str, &str)] = &[
    ("GET", "list", "Container_ListBlobFlatSegment"),
    ("GET", "acl", "Container_GetAccessPolicy"),
    ("PUT", "acl", "Container_SetAccessPolicy"),
    ("PUT", "metadata", "Container_SetMetadata"),
    ("PUT", "lease", "Container_Lease"),
    ("POST", "batch", "Container_SubmitBatch"),
    ("GET", "", "Container_GetProperties"),
    ("HEAD", "", "Container_GetProperties"),
    ("PUT", "", "Container_Create"),
    ("DELETE", "", "Container_Delete"),
];

const BLOB: &[(&str, &str, &str)] = &[
    ("PUT", "block", "BlockBlob_StageBlock"),
    ("PUT", "blocklist", "BlockBlob_CommitBlockList"),
    ("GET", "blocklist", "BlockBlob_GetBlockList"),
    ("PUT", "appendblock", "AppendBlob_AppendBlock"),
    ("PUT", "metadata", "Blob_SetMetadata"),
    ("PUT", "properties", "Blob_SetHTTPHeaders"),
    ("PUT", "lease", "Blob_Lease"),
    ("PUT", "copy", "Blob_AbortCopyFromURL"),
    ("PUT", "tier", "Blob_SetTier"),
    ("PUT", "undelete", "Blob_Undelete"),
    ("GET", "", "Blob_Download"),
    ("HEAD", "", "Blob_GetProperties"),
    ("DELETE", "", "Blob_Delete"),
];

/// An operation on a blob service.
fn blob(asked: &Asked) -> &'static str {
    let comp = asked.parameter("comp").unwrap_or_default().to_lowercase();
    let path = asked.path.trim_start_matches('/');
    let (container, blob) = path.split_once('/').unwrap_or((path, ""));
    let of_container = blob.is_empty() && !container.is_empty();
    let names = if container.is_empty() {
        SERVICE
    } else if of_container {
        CONTAINER
    } else {
        BLOB
    };
    let fits = |(method, wanted, _): &&(&str, &str, &str)| *method == asked.method.as_str() && *wanted == comp;
    if let Some((_, _, name)) = names.iter().find(fits) {
        return name;
    }
    if asked.method != hyper::Method::PUT || of_container || container.is_empty() {
        return "Unknown";
    }
    match (asked.header("x-ms-copy-source"), asked.header("x-ms-blob-type")) {
        (Some(_), None) if asked.header("x-ms-requires-sync") == Some("true") => "Blob_CopyFromURL",
        (Some(_), None) => "Blob_StartCopyFromURL",
        (_, Some("AppendBlob")) => "AppendBlob_Create",
        (_, Some("PageBlob")) => "PageBlob_Create",
        _ => "BlockBlob_Upload",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use hyper::body::Bytes;

    fn named(method: &str, host: &str, path: &str) -> Option<String> {
        let request = Request::builder().method(method).uri(path).header("host", host);
        name(&Asked::new(&request.body(()).unwrap(), "https", Bytes::new()))
    }

    #[test]
    fn operations_are_told_by_host_and_path() {
        let below = |rest: &str| format!("/subscriptions/s/resourceGroups/g/providers/{rest}?api-version=1");
        let accounts = |rest: &str| below(&format!("Microsoft.Storage/storageAccounts{rest}"));
        let network = |rest: &str| below(&format!("Microsoft.Network/{rest}"));
        for (method, path, expected) in [
            ("PUT", accounts("/a"), "StorageAccounts_Create"),
            ("GET", accounts("/a"), "StorageAccounts_GetProperties"),
            ("GET", accounts(""), "StorageAccounts_ListByResourceGroup"),
            ("POST", accounts("/a/listKeys"), "StorageAccounts_ListKeys"),
            (
                "GET",
                accounts("/a/blobServices/default/containers"),
                "BlobContainers_List",
            ),
            ("GET", network("virtualNetworks/v/subnets"), "Subnets_List"),
            ("PUT", network("privateEndpoints/p"), "PrivateEndpoints_CreateOrUpdate"),
            (
                "DELETE",
                network("privateDnsZones/z/virtualNetworkLinks/l"),
                "VirtualNetworkLinks_Delete",
            ),
            ("PUT", network("privateDnsZones/z/A/a"), "RecordSets_CreateOrUpdate"),
            (
                "GET",
                "/subscriptions/s/resourcegroups/g".to_owned(),
                "ResourceGroups_Get",
            ),
        ] {
            assert_eq!(
                named(method, "management.azure.com", &path).as_deref(),
                Some(expected),
                "{path}"
            );
            assert_eq!(
                named(method, "127.0.0.1:5000", &path).as_deref(),
                Some(expected),
                "{path}"
            );
        }
        for (method, path, expected) in [
            ("PUT", "/c?restype=container", "Container_Create"),
            ("HEAD", "/c?restype=container", "Container_GetProperties"),
            ("GET", "/c?restype=container&comp=list", "Container_ListBlobFlatSegment"),
            ("PUT", "/c/a/b", "BlockBlob_Upload"),
            ("PUT", "/c/a/b?comp=block&blockid=AA", "BlockBlob_StageBlock"),
            ("DELETE", "/c/a", "Blob_Delete"),
            (
                "POST",
                "/?restype=service&comp=userdelegationkey",
                "Service_GetUserDelegationKey",
            ),
        ] {
            let host = "account.blob.core.chinacloudapi.cn";
            assert_eq!(named(method, host, path).as_deref(), Some(expected), "{path}");
        }
        let token = named("POST", "login.microsoftonline.us", "/t/oauth2/v2.0/token");
        assert_eq!(token.as_deref(), Some("Entra_Token"));
        for path in ["/bucket/oauth2/key", "/metadata/key", "/v3/auth/tokens"] {
            assert_eq!(named("GET", "127.0.0.1:5000", path), None, "{path}");
        }
    }
}
