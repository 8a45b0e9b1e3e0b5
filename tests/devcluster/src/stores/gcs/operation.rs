//! What Google's discovery documents call a request.

use hyper::Method;

/// Such as `storage.buckets.insert` or `cloudresourcemanager.tagBindings.create`; for OAuth 2.0, which has no document,
/// `oauth2.token`, and for a part of a resumable upload `storage.objects.insert.resume`. Nothing for other requests, the XML
/// API's among them.
pub(in super::super) fn name(method: &Method, path: &str, query: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let name = match (method.as_str(), parts.as_slice()) {
        ("POST", ["token"]) => "oauth2.token",
        ("POST", ["v1", "token"]) => "sts.token",
        ("POST", ["v1", "projects", "-", "serviceAccounts", _]) => {
            "iamcredentials.projects.serviceAccounts.generateAccessToken"
        }
        ("POST", ["v3", "tagBindings"]) => "cloudresourcemanager.tagBindings.create",
        ("GET", ["v3", "tagBindings"]) => "cloudresourcemanager.tagBindings.list",
        ("GET", ["v3", "effectiveTags"]) => "cloudresourcemanager.effectiveTags.list",
        ("GET", ["v3", "operations", _]) => "cloudresourcemanager.operations.get",
        (_, ["upload", "storage", "v1", "b", _, "o"]) if query.contains("upload_id=") => {
            "storage.objects.insert.resume"
        }
        ("POST", ["upload", "storage", "v1", "b", _, "o"]) => "storage.objects.insert",
        ("GET", ["download", "storage", "v1", "b", _, "o", _]) => "storage.objects.get",
        (method, ["storage", "v1", "b", rest @ ..]) => {
            return of_storage(method, rest).map(|name| format!("storage.{name}"));
        }
        _ => return None,
    };
    Some(name.to_owned())
}

fn of_storage(method: &str, rest: &[&str]) -> Option<&'static str> {
    let name = match (method, rest) {
        ("POST", []) => "buckets.insert",
        ("GET", []) => "buckets.list",
        ("GET", [_]) => "buckets.get",
        ("PATCH", [_]) => "buckets.patch",
        ("DELETE", [_]) => "buckets.delete",
        ("GET", [_, "iam", "testPermissions"]) => "buckets.testIamPermissions",
        ("GET", [_, "o"]) => "objects.list",
        ("GET", [_, "o", _]) => "objects.get",
        ("PATCH", [_, "o", _]) => "objects.patch",
        ("PUT", [_, "o", _]) => "objects.update",
        ("DELETE", [_, "o", _]) => "objects.delete",
        ("POST", [_, "o", _, "compose"]) => "objects.compose",
        ("POST", [_, "o", _, "rewriteTo", ..]) => "objects.rewrite",
        ("POST", [_, "o", _, "copyTo", ..]) => "objects.copy",
        _ => return None,
    };
    Some(name)
}
