//! A request as a server between client and store saw it.

use super::form::unescape;
use super::wire::host_name;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

/// A request that came in.
#[derive(Clone)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// Counts from 1, in the order of arrival.
    pub number: usize,
    /// Method.
    pub method: Method,
    /// `http` or `https`, as the client asked.
    pub scheme: &'static str,
    /// Host header, with the port if it has one.
    pub host: String,
    /// Path, encoded.
    pub path: String,
    /// Query without `?`, encoded; may be empty.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Status of the answer; 0 while there is none.
    pub status: u16,
    /// Whether it was carried out, and its answer thrown away.
    pub lost: bool,
}

impl Asked {
    pub(super) fn new(request: &Request<()>, scheme: &'static str, body: Bytes) -> Self {
        let header = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
        Self {
            at: Instant::now(),
            number: 0,
            method: request.method().clone(),
            scheme,
            host: header(header::HOST).unwrap_or_default().to_owned(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
            body,
            status: 0,
            lost: false,
        }
    }

    /// The whole URL.
    pub fn url(&self) -> String {
        let question = if self.query.is_empty() { "" } else { "?" };
        format!("{}://{}{}{question}{}", self.scheme, self.host, self.path, self.query)
    }

    /// A header, if there is one in plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it carries a signature, in a header or in the URL.
    pub fn is_signed(&self) -> bool {
        self.key_id().is_some()
    }

    /// Access key ID of the signature.
    pub fn key_id(&self) -> Option<String> {
        let scope = match self.header("authorization") {
            Some(value) => value.split_once("Credential=").map(|(_, rest)| rest.to_owned()),
            None => self.parameter("X-Amz-Credential"),
        };
        scope?.split('/').next().map(ToOwned::to_owned)
    }

    /// A parameter of the query, decoded; empty for one without a value.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self
            .query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| unescape(value))
    }

    /// All values of a parameter of the query, decoded.
    pub fn all(&self, name: &str) -> Vec<String> {
        let pairs = super::form::decode(&self.query);
        let named = pairs.into_iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value).collect()
    }

    /// Names of the parameters of the query, in order.
    pub fn parameters(&self) -> Vec<String> {
        super::form::decode(&self.query)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    /// Path and query, encoded.
    pub(super) fn path_and_query(&self) -> String {
        let question = if self.query.is_empty() { "" } else { "?" };
        format!("{}{question}{}", self.path, self.query)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the bucket is in the path: the host is an address, or begins with `localhost` or `s3.`.
    fn is_path_style(&self) -> bool {
        let host = host_name(&self.host);
        host.parse::<IpAddr>().is_ok() || host == "localhost" || host.starts_with("s3.") || host.starts_with("s3-")
    }

    /// Bucket and key, decoded; empty where there is none.
    pub fn resource(&self) -> (String, String) {
        let path = self.path.trim_start_matches('/');
        let (bucket, key) = if self.is_path_style() {
            path.split_once('/').unwrap_or((path, ""))
        } else {
            (host_name(&self.host).split('.').next().unwrap_or_default(), path)
        };
        (unescape(bucket), unescape(key))
    }

    /// Name of the operation of S3 (`PutBucketTagging`, `HeadObject`), of Google Cloud (`storage.buckets.insert`), or `Action` of
    /// a form (`AssumeRole`). For IBM Cloud it is that of its SDKs (`create_resource_key`). For Swift it is the method with what it
    /// is for (`PostContainer`, `GetAccount`, `PutObject`) or `BulkDelete`; for Keystone the method with the path
    /// (`POST /v3/auth/tokens`). For Azure it is the operation's ID in Microsoft's specifications (`StorageAccounts_Create`,
    /// `Container_GetProperties`), or `Entra_Token`.
    pub fn operation(&self) -> String {
        if let Some(name) = super::azure::operation::name(self) {
            return name;
        }
        let google = super::gcs::operation::name(&self.method, &self.path, &self.query);
        let ibm = || super::ibm::operation::name(&self.method, &self.path);
        if let Some(name) = google.or_else(|| self.openstack()).or_else(ibm) {
            return name;
        }
        if let Some(action) = self.action() {
            return action;
        }
        let (_, key) = self.resource();
        let method = self.method.as_str();
        let names: &[(&str, &str, &str)] = if key.is_empty() { BUCKET } else { OBJECT };
        let fits = |(of, parameter, _): &&(&str, &str, &str)| {
            *of == method && (parameter.is_empty() || self.parameter(parameter).is_some())
        };
        let name = names.iter().find(fits).map_or("Unknown", |(_, _, name)| *name);
        let copies = self.header("x-amz-copy-source").is_some();
        match name {
            "PutObject" if copies => "CopyObject",
            "UploadPart" if copies => "UploadPartCopy",
            name => name,
        }
        .to_owned()
    }

    /// The operation, if this is a request to Swift or Keystone: no bucket of S3 has a name as short as `v1`.
    fn openstack(&self) -> Option<String> {
        if self.path == "/v3" || self.path.starts_with("/v3/") {
            return Some(format!("{} {}", self.method, self.path));
        }
        // Ceph's gateway has its Swift below a prefix.
        let path = self.path.strip_prefix("/swift").unwrap_or(&self.path);
        let below = path.strip_prefix("/v1/AUTH_")?.trim_end_matches('/');
        if self.parameter("bulk-delete").is_some() {
            return Some("BulkDelete".to_owned());
        }
        let of = match below.matches('/').count() {
            0 => "Account",
            1 => "Container",
            _ => "Object",
        };
        let (first, rest) = self.method.as_str().split_at(1);
        Some(format!("{first}{}{of}", rest.to_lowercase()))
    }

    /// `Action` of a form, as the query protocol of STS and IAM has it.
    fn action(&self) -> Option<String> {
        let is_form = self
            .header("content-type")?
            .starts_with("application/x-www-form-urlencoded");
        let pairs = super::form::decode(&self.text());
        pairs
            .into_iter()
            .find(|(name, _)| is_form && name == "Action")
            .map(|(_, action)| action)
    }

    /// Whether it can change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// Method, parameter that decides, operation; the first that fits counts.
const BUCKET: &[(&str, &str, &str)] = &[
    ("HEAD", "", "HeadBucket"),
    ("GET", "location", "GetBucketLocation"),
    ("GET", "tagging", "GetBucketTagging"),
    ("GET", "encryption", "GetBucketEncryption"),
    ("GET", "lifecycle", "GetBucketLifecycleConfiguration"),
    ("GET", "publicAccessBlock", "GetPublicAccessBlock"),
    ("GET", "versioning", "GetBucketVersioning"),
    ("GET", "object-lock", "GetObjectLockConfiguration"),
    ("GET", "versions", "ListObjectVersions"),
    ("GET", "uploads", "ListMultipartUploads"),
    ("GET", "list-type", "ListObjectsV2"),
    ("GET", "", "ListObjects"),
    ("PUT", "tagging", "PutBucketTagging"),
    ("PUT", "encryption", "PutBucketEncryption"),
    ("PUT", "lifecycle", "PutBucketLifecycleConfiguration"),
    ("PUT", "publicAccessBlock", "PutPublicAccessBlock"),
    ("PUT", "versioning", "PutBucketVersioning"),
    ("PUT", "policy", "PutBucketPolicy"),
    ("PUT", "object-lock", "PutObjectLockConfiguration"),
    ("PUT", "", "CreateBucket"),
    ("DELETE", "tagging", "DeleteBucketTagging"),
    ("DELETE", "encryption", "DeleteBucketEncryption"),
    ("DELETE", "lifecycle", "DeleteBucketLifecycle"),
    ("DELETE", "publicAccessBlock", "DeletePublicAccessBlock"),
    ("DELETE", "", "DeleteBucket"),
    ("POST", "delete", "DeleteObjects"),
];

const OBJECT: &[(&str, &str, &str)] = &[
    ("HEAD", "", "HeadObject"),
    ("GET", "uploadId", "ListParts"),
    ("GET", "tagging", "GetObjectTagging"),
    ("GET", "", "GetObject"),
    ("PUT", "uploadId", "UploadPart"),
    ("PUT", "", "PutObject"),
    ("POST", "uploads", "CreateMultipartUpload"),
    ("POST", "uploadId", "CompleteMultipartUpload"),
    ("DELETE", "uploadId", "AbortMultipartUpload"),
    ("DELETE", "", "DeleteObject"),
];

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = if self.lost { " (answer lost)" } else { "" };
        write!(
            f,
            "{} {} {} {}{lost}",
            self.status,
            self.operation(),
            self.method,
            self.url()
        )
    }
}

/// Without headers and body, which hold what must not be shown.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, host: &str, path: &str) -> Asked {
        let request = Request::builder().method(method).uri(path).header("host", host);
        Asked::new(&request.body(()).unwrap(), "http", Bytes::new())
    }

    #[test]
    fn operations_are_told_in_both_styles() {
        for (method, rest, expected) in [
            ("HEAD", "", "HeadBucket"),
            ("PUT", "", "CreateBucket"),
            ("PUT", "?tagging", "PutBucketTagging"),
            ("GET", "?versions&max-keys=5", "ListObjectVersions"),
            ("GET", "?list-type=2&prefix=x", "ListObjectsV2"),
            ("POST", "?delete", "DeleteObjects"),
            ("PUT", "/a/b", "PutObject"),
            ("POST", "/a?uploads", "CreateMultipartUpload"),
            ("PUT", "/a?partNumber=1&uploadId=u", "UploadPart"),
            ("DELETE", "/a?uploadId=u", "AbortMultipartUpload"),
        ] {
            let path = asked(method, "127.0.0.1:5000", &format!("/buck.et{rest}"));
            assert_eq!(path.operation(), expected, "{method} {rest}");
            assert_eq!(path.resource().0, "buck.et");
            let rest = if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("/{rest}")
            };
            let hosted = asked(method, "bucket.s3.localhost:5000", &rest);
            assert_eq!(hosted.operation(), expected, "{method} {rest}");
            assert_eq!(hosted.resource().0, "bucket");
        }
    }

    #[test]
    fn operations_of_swift_and_keystone_are_told_by_their_paths() {
        for (method, path, expected) in [
            ("GET", "/v1/AUTH_a?format=json", "GetAccount"),
            ("HEAD", "/v1/AUTH_a/c", "HeadContainer"),
            ("POST", "/v1/AUTH_a/c/", "PostContainer"),
            ("PUT", "/v1/AUTH_a/c/o/p", "PutObject"),
            ("POST", "/v1/AUTH_a?bulk-delete", "BulkDelete"),
            ("PUT", "/swift/v1/AUTH_a/c/o/p", "PutObject"),
            ("POST", "/v3/auth/tokens", "POST /v3/auth/tokens"),
        ] {
            assert_eq!(asked(method, "127.0.0.1", path).operation(), expected);
        }
    }

    #[test]
    fn operations_of_google_cloud_have_the_names_of_its_documents() {
        for (method, path, expected) in [
            ("POST", "/storage/v1/b?project=p", "storage.buckets.insert"),
            ("GET", "/storage/v1/b/bucket?projection=noAcl", "storage.buckets.get"),
            ("GET", "/storage/v1/b/bucket/o?versions=true", "storage.objects.list"),
            (
                "DELETE",
                "/storage/v1/b/bucket/o/a%2Fb?generation=1",
                "storage.objects.delete",
            ),
            (
                "POST",
                "/upload/storage/v1/b/bucket/o?uploadType=media&name=a",
                "storage.objects.insert",
            ),
            ("POST", "/v3/tagBindings", "cloudresourcemanager.tagBindings.create"),
            ("POST", "/v1/token", "sts.token"),
            ("POST", "/token", "oauth2.token"),
            ("GET", "/bucket/object", "GetObject"),
        ] {
            assert_eq!(
                asked(method, "127.0.0.1:5000", path).operation(),
                expected,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn operations_of_ibm_cloud_have_the_names_of_its_sdks() {
        for (method, path, expected) in [
            ("POST", "/identity/token", "create_token"),
            ("GET", "/v2/resource_groups?name=a", "list_resource_groups"),
            ("POST", "/v2/resource_instances", "create_resource_instance"),
            ("GET", "/v2/resource_instances/crn%3Aa%2Fb", "get_resource_instance"),
            (
                "GET",
                "/v2/resource_instances/a/resource_keys",
                "list_resource_keys_for_instance",
            ),
            ("POST", "/v2/resource_keys", "create_resource_key"),
            ("GET", "/identity/token", "GetObject"),
        ] {
            assert_eq!(
                asked(method, "127.0.0.1:5000", path).operation(),
                expected,
                "{method} {path}"
            );
        }
    }

    #[test]
    fn who_signed_is_told_from_header_and_url() {
        let mut signed = asked("GET", "h", "/b");
        assert!(!signed.is_signed());
        let header = "AWS4-HMAC-SHA256 Credential=AKIAX/20200101/us-east-1/s3/aws4_request, SignedHeaders=host";
        signed.headers.insert("authorization", header.parse().unwrap());
        assert_eq!(signed.key_id().as_deref(), Some("AKIAX"));
        let url = asked("GET", "h", "/b?X-Amz-Credential=AKIAY%2F20200101%2Fx");
        assert_eq!(url.key_id().as_deref(), Some("AKIAY"));
    }
}
