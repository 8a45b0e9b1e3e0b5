//! PURE: what a valid Config does that its user may not expect. Each notice is one Warning event for each edit of the Config.

use super::event_request::EventRequest;
use crate::api::registry_config::{ConfigSpec, RequestLimits, Storage};
use crate::api::registry_storage::S3Storage;
use crate::names::Program;

/// The notices of a valid Config.
pub fn notices(spec: &ConfigSpec, program: Program) -> Vec<EventRequest> {
    let redirects = !spec.disable_redirect.unwrap_or(false);
    let storage = spec.storage.as_ref().filter(|_| redirects);
    let redirect = storage.and_then(untrusted_redirect);
    redirect.into_iter().chain(unlimited_requests(spec, program)).collect()
}

/// The notice of limits that the stock registry does not have.
fn unlimited_requests(spec: &ConfigSpec, program: Program) -> Option<EventRequest> {
    let requests = spec.requests.as_ref().filter(|_| program == Program::Distribution)?;
    let limits = [&requests.read, &requests.write];
    let limited = limits
        .into_iter()
        .flatten()
        .any(|limits| *limits != RequestLimits::default());
    limited.then(|| EventRequest {
        warning: true,
        reason: "RequestsNotLimited",
        message: "spec.requests has no effect: the registry program distribution (REGISTRY_PROGRAM) has no limits on requests. Remove \
                  the field, or limit requests in the Ingress or Gateway"
            .to_owned(),
    })
}

/// The notice of a store behind S3 with a private CA.
fn untrusted_redirect(storage: &Storage) -> Option<EventRequest> {
    let s3 = storage.s3.as_ref()?;
    let name = s3
        .trusted_ca
        .as_ref()?
        .name
        .as_deref()
        .filter(|name| !name.is_empty())?;
    // Clients are redirected to CloudFront instead, whose certificate is public.
    if s3.cloud_front.is_some() {
        return None;
    }
    let host = redirect_host(s3)?;
    Some(redirect_needs_trust(
        &host,
        &format!("the CA of spec.storage.s3.trustedCA (ConfigMap {name})"),
    ))
}

/// The registry redirects pulls to the storage at `host`, whose private CA is `ca`. The operator adds the CA to the entries of the
/// registry's Service in the CA ConfigMaps of the nodes: container runtimes look up a CA by the registry's host, also after a
/// redirect. Other hosts of the registry, and clients outside the cluster, do not get the CA.
pub fn redirect_needs_trust(host: &str, ca: &str) -> EventRequest {
    let message = format!(
        "clients of the registry follow its redirects to {host}, and must trust {ca}. Nodes get this CA only from \
         ConfigMap image-registry-certificates, for pulls by the name of the registry's Service. For pulls through a \
         route, add the CA to the ConfigMap that \
         spec.additionalTrustedCA of image.config.openshift.io/cluster names, under the host of the route, and to clients \
         outside the cluster; or set spec.disableRedirect to true"
    );
    EventRequest {
        warning: true,
        reason: "RedirectNeedsTrust",
        message,
    }
}

/// The registry redirects pulls to storage that only clients of one virtual network reach.
pub fn redirect_needs_network(storage: &str) -> EventRequest {
    let message = format!(
        "clients of the registry follow its redirects to {storage}, which only the virtual network with its private endpoint reaches. \
         For pulls from outside this network, set spec.disableRedirect to true: the registry then sends the content itself"
    );
    EventRequest {
        warning: true,
        reason: "RedirectNeedsNetwork",
        message,
    }
}

/// Host, and port if it is not 443, to which pulls are redirected; `None` without TLS.
fn redirect_host(s3: &S3Storage) -> Option<String> {
    let endpoint = s3.region_endpoint.as_deref().unwrap_or_default().trim();
    if endpoint.is_empty() {
        return Some("the endpoint of S3".to_owned());
    }
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    if scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.strip_suffix(":443").unwrap_or(host);
    let bucket = s3
        .bucket
        .as_deref()
        .filter(|bucket| s3.virtual_hosted_style.unwrap_or(false) && !bucket.is_empty());
    Some(bucket.map_or_else(|| host.to_owned(), |bucket| format!("{bucket}.{host}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn messages(spec: Value) -> Vec<String> {
        let mut spec = spec;
        spec["replicas"] = json!(1);
        let spec: ConfigSpec = serde_json::from_value(spec).unwrap();
        let notices = notices(&spec, Program::Platform);
        assert!(notices.iter().all(|notice| notice.warning));
        notices.into_iter().map(|notice| notice.message).collect()
    }

    // kubernetes 4, in part: `requests`
    #[test]
    fn limits_of_requests_are_reported_where_the_program_has_none() {
        let reasons = |requests: Value, program| {
            let spec = json!({"replicas": 1, "requests": requests});
            let spec: ConfigSpec = serde_json::from_value(spec).unwrap();
            let notices = notices(&spec, program);
            notices.into_iter().map(|n| (n.warning, n.reason)).collect::<Vec<_>>()
        };
        let limited = json!({"read": {"maxRunning": 3}});
        assert_eq!(
            reasons(limited.clone(), Program::Distribution),
            [(true, "RequestsNotLimited")]
        );
        assert!(reasons(limited, Program::Platform).is_empty());
        assert!(reasons(json!({"read": {}, "write": null}), Program::Distribution).is_empty());
    }

    // issue 10, row 17: clients that could not pull
    #[test]
    fn redirects_to_a_store_with_a_private_ca_are_reported() {
        let trusted = json!({"name": "store-ca"});
        let with = |more: Value| {
            let mut s3 =
                json!({"bucket": "images", "regionEndpoint": "https://store.example.com", "trustedCA": trusted});
            s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"storage": {"s3": s3}})
        };
        let no_redirect = |mut spec: Value, value: bool| {
            spec["disableRedirect"] = json!(value);
            spec
        };
        // The host that the notice names; "" for no notice.
        for (what, spec, host) in [
            ("path style", with(json!({})), "store.example.com"),
            (
                "a port",
                with(json!({"regionEndpoint": "https://store.example.com:9000"})),
                "store.example.com:9000",
            ),
            (
                "port 443",
                with(json!({"regionEndpoint": "https://store.example.com:443/"})),
                "store.example.com",
            ),
            (
                "a path",
                with(json!({"regionEndpoint": "https://store.example.com:9000/v1/s3"})),
                "store.example.com:9000",
            ),
            (
                "no scheme",
                with(json!({"regionEndpoint": "store.example.com"})),
                "store.example.com",
            ),
            (
                "an address",
                with(json!({"regionEndpoint": "https://10.1.2.3:9000"})),
                "10.1.2.3:9000",
            ),
            (
                "virtual hosts",
                with(json!({"virtualHostedStyle": true})),
                "images.store.example.com",
            ),
            (
                "virtual hosts without a bucket",
                with(json!({"virtualHostedStyle": true, "bucket": ""})),
                "store.example.com",
            ),
            (
                "redirects not disabled",
                no_redirect(with(json!({})), false),
                "store.example.com",
            ),
            ("redirects disabled", no_redirect(with(json!({})), true), ""),
            (
                "no TLS",
                with(json!({"regionEndpoint": "http://store.example.com:9000"})),
                "",
            ),
            (
                "no TLS, in capitals",
                with(json!({"regionEndpoint": "HTTP://store.example.com"})),
                "",
            ),
            ("no CA", with(json!({"trustedCA": null})), ""),
            ("an empty name", with(json!({"trustedCA": {"name": ""}})), ""),
            (
                "CloudFront",
                with(
                    json!({"cloudFront": {"baseURL": "https://d.example.net", "keypairID": "K",
                "privateKey": {"key": "k", "name": "s"}}}),
                ),
                "",
            ),
            ("another backend", json!({"storage": {"pvc": {"claim": "c"}}}), ""),
            ("no storage", json!({}), ""),
        ] {
            let found = messages(spec);
            assert_eq!(found.len(), usize::from(!host.is_empty()), "{what}: {found:?}");
            for message in found {
                assert!(message.contains(&format!("redirects to {host},")), "{what}: {message}");
                assert!(
                    message.contains("store-ca") && message.contains("spec.disableRedirect"),
                    "{what}: {message}"
                );
            }
        }
        let aws = messages(json!({"storage": {"s3": {"trustedCA": trusted}}}));
        assert!(aws[0].contains("redirects to the endpoint of S3"), "{aws:?}");
    }
}
