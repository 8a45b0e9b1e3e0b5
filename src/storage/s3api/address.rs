//! PURE: the URL of a bucket, the same as that of the registry's client (aws-sdk-go, version 1).
//!
//! The SDK's own rules differ from those of that client: they keep the bucket in the path before an IP address, lose the
//! slash after a path of the endpoint, and give names such as `images--x-s3` and `arn:...` a meaning that only Amazon S3
//! knows. Where the rules differ, the operator would look at another bucket than the registry.

use std::fmt;

use crate::storage::net::percent::encoded;
use aws_sdk_s3::config::endpoint::{Endpoint, EndpointFuture, Params, ResolveEndpoint};
use reqwest::Url;

/// The bucket's name in front of the endpoint's host is not the name of a host, so that the registry cannot connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the name of a host")]
pub struct NotAHost(pub String);

/// URL of a bucket, without a slash at the end: `<endpoint>/<bucket>`, or with the bucket in front of the host.
///
/// `endpoint`: scheme, host, optional port and path, without a slash at the end. `path_style`: the bucket always belongs
/// into the path. Without it, only names that cannot be part of a host name do.
///
/// # Errors
/// The host with the bucket in front of it is not a host name: the endpoint's host is an IP address.
pub fn bucket_url(endpoint: &str, path_style: bool, bucket: &str) -> Result<String, NotAHost> {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    if path_style || !goes_into_host(scheme, bucket) {
        return Ok(format!("{endpoint}/{}", encoded(bucket)));
    }
    let url = format!("{scheme}://{bucket}.{rest}");
    match Url::parse(&url) {
        Ok(parsed) if parsed.domain().is_some() => Ok(url),
        _ => {
            let host = rest.split('/').next().unwrap_or_default();
            Err(NotAHost(format!("{bucket}.{host}")))
        }
    }
}

/// Whether the bucket goes into the host name in virtual-hosted style. With TLS, a wildcard certificate does not cover a
/// name with dots.
fn goes_into_host(scheme: &str, bucket: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_host_like = (3..=63).contains(&bucket.len())
        && bucket.chars().all(|c| alphanumeric(c) || c == '.' || c == '-')
        && bucket.starts_with(alphanumeric)
        && bucket.ends_with(alphanumeric)
        && !bucket.contains("..");
    is_host_like && !is_address_like(bucket) && !(scheme == "https" && bucket.contains('.'))
}

/// Whether the name consists of four numbers.
fn is_address_like(bucket: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    bucket.split('.').count() == 4 && bucket.split('.').all(is_number)
}

/// The address of all requests of one bucket, in place of the SDK's endpoint rules.
pub(super) struct Address(String);

impl Address {
    pub(super) fn new(bucket_url: String) -> Self {
        Self(bucket_url)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address")
    }
}

impl ResolveEndpoint for Address {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        // A request without a bucket would be about all buckets of the account.
        if params.bucket().is_none_or(str::is_empty) {
            return EndpointFuture::ready(Err("the bucket has no name".into()));
        }
        EndpointFuture::ready(Ok(Endpoint::builder().url(self.0.clone()).build()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-decisions 24, storage-decisions T14a
    // Each row was checked with aws-sdk-go 1.55.5.
    #[test]
    fn a_bucket_has_the_url_that_the_registry_s_client_uses() {
        const PATH: bool = true;
        const HOST: bool = false;
        for (endpoint, style, bucket, expected) in [
            (
                "https://store.example.com/storage/v1/s3",
                PATH,
                "images",
                "https://store.example.com/storage/v1/s3/images",
            ),
            (
                "https://store.example.com",
                PATH,
                "images",
                "https://store.example.com/images",
            ),
            (
                "http://10.1.2.3:9000",
                PATH,
                "my.images",
                "http://10.1.2.3:9000/my.images",
            ),
            ("http://[fd00::1]:9000", PATH, "images", "http://[fd00::1]:9000/images"),
            ("http://store", PATH, "test_bucket", "http://store/test_bucket"),
            ("http://store", PATH, "tenant:bucket", "http://store/tenant%3Abucket"),
            ("http://store", PATH, "images--x-s3", "http://store/images--x-s3"),
            (
                "https://store.example.com/storage/v1/s3",
                HOST,
                "images",
                "https://images.store.example.com/storage/v1/s3",
            ),
            (
                "https://store.example.com",
                HOST,
                "my.images",
                "https://store.example.com/my.images",
            ),
            (
                "http://store.example.com",
                HOST,
                "my.images",
                "http://my.images.store.example.com",
            ),
            (
                "https://localhost:9000/x",
                HOST,
                "images",
                "https://images.localhost:9000/x",
            ),
            ("http://store", HOST, "test_bucket", "http://store/test_bucket"),
            ("http://store", HOST, "Images", "http://store/Images"),
            ("http://store", HOST, "ab", "http://store/ab"),
            ("http://store", HOST, "abc", "http://abc.store"),
            ("http://store", HOST, "-abc", "http://store/-abc"),
            ("http://store", HOST, "abc-", "http://store/abc-"),
            ("http://store", HOST, "1.2.3.4", "http://store/1.2.3.4"),
            ("http://store", HOST, "1.2.3.4.5", "http://1.2.3.4.5.store"),
            ("http://store", HOST, "a..b", "http://store/a..b"),
            ("http://store", HOST, "a.-b", "http://a.-b.store"),
            ("http://store", HOST, "images--x-s3", "http://images--x-s3.store"),
            (
                "http://10.1.2.3:9000",
                HOST,
                "test_bucket",
                "http://10.1.2.3:9000/test_bucket",
            ),
            (
                "https://10.1.2.3:9000",
                HOST,
                "my.images",
                "https://10.1.2.3:9000/my.images",
            ),
        ] {
            assert_eq!(
                bucket_url(endpoint, style, bucket).as_deref(),
                Ok(expected),
                "{endpoint} {bucket}"
            );
        }
    }

    // storage-decisions T14a
    // The registry's client puts the bucket before an IP address, too, and then finds no such host.
    #[test]
    fn a_bucket_before_an_address_is_told_and_not_put_elsewhere() {
        for (endpoint, host) in [
            ("http://10.1.2.3:9000", "images.10.1.2.3:9000"),
            ("https://10.1.2.3", "images.10.1.2.3"),
            ("http://127.0.0.1:8333/s3", "images.127.0.0.1:8333"),
            ("http://[fd00::1]:9000", "images.[fd00::1]:9000"),
            ("https://[::1]", "images.[::1]"),
        ] {
            assert_eq!(bucket_url(endpoint, false, "images"), Err(NotAHost(host.to_owned())));
        }
    }
}
