//! What IBM's SDKs call a request.

use hyper::Method;

/// Such as `create_resource_instance`; for IAM `create_token`. Nothing for requests to Cloud Object Storage.
pub(in super::super) fn name(method: &Method, path: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let name = match (method.as_str(), parts.as_slice()) {
        ("POST", ["identity", "token"]) => "create_token",
        ("GET", ["v2", "resource_groups"]) => "list_resource_groups",
        ("GET", ["v2", "resource_groups", _]) => "get_resource_group",
        ("GET", ["v2", "resource_instances"]) => "list_resource_instances",
        ("POST", ["v2", "resource_instances"]) => "create_resource_instance",
        ("GET", ["v2", "resource_instances", _]) => "get_resource_instance",
        ("DELETE", ["v2", "resource_instances", _]) => "delete_resource_instance",
        ("GET", ["v2", "resource_instances", _, "resource_keys"]) => "list_resource_keys_for_instance",
        ("GET", ["v2", "resource_keys"]) => "list_resource_keys",
        ("POST", ["v2", "resource_keys"]) => "create_resource_key",
        ("GET", ["v2", "resource_keys", _]) => "get_resource_key",
        ("DELETE", ["v2", "resource_keys", _]) => "delete_resource_key",
        _ => return None,
    };
    Some(name.to_owned())
}
