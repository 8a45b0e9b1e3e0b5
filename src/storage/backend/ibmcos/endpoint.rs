//! PURE: addresses of the services of IBM Cloud.
//!
//! Sources: IBM Cloud, "Cloud Object Storage: Endpoints and storage locations"; API references of IAM Identity Services,
//! Resource Controller and Resource Manager.

use crate::api::openshift::ServiceEndpoint;
use crate::config::resolve::{Reason, Rejection};
use crate::storage::inputs::url;

const IAM: &str = "https://iam.cloud.ibm.com";
/// Of Resource Controller and Resource Manager.
const RESOURCES: &str = "https://resource-controller.cloud.ibm.com";
/// Domain of Cloud Object Storage.
const COS: &str = "cloud-object-storage.appdomain.cloud";
/// Services whose addresses the platform may change, and which the operator does not use.
const UNUSED: &[&str] = &[
    "CIS",
    "COSConfig",
    "DNSServices",
    "GlobalCatalog",
    "GlobalSearch",
    "GlobalTagging",
    "HyperProtect",
    "KeyProtect",
    "Power",
    "VPC",
];

/// Addresses of the services, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Cloud Object Storage: scheme and host; `None`: the public endpoint of the location.
    cos: Option<String>,
    /// IAM, without the path of a call.
    pub iam: String,
    /// Resource Controller, without the version of its API.
    pub controller: String,
    /// Resource Manager, without the version of its API.
    pub manager: String,
    /// Names of entries that the operator does not know.
    pub unknown: Vec<String>,
}

impl Endpoints {
    /// The addresses in a cluster with these other addresses of services. The last entry of a name counts; names are
    /// case-sensitive.
    ///
    /// # Errors
    /// An address of a service that the operator uses is not a URL.
    pub fn of(overrides: &[ServiceEndpoint]) -> Result<Self, Rejection> {
        let mut endpoints = Self {
            cos: None,
            iam: IAM.to_owned(),
            controller: RESOURCES.to_owned(),
            manager: RESOURCES.to_owned(),
            unknown: Vec::new(),
        };
        for entry in overrides {
            let name = entry.name.as_deref().unwrap_or_default();
            let Some(text) = entry.url.as_deref().filter(|url| !url.is_empty()) else {
                continue;
            };
            let address = || checked(name, text);
            match name {
                "COS" => endpoints.cos = Some(origin(&address()?)),
                "IAM" => endpoints.iam = without_token_path(&address()?),
                "ResourceController" => endpoints.controller = without_version(&address()?),
                "ResourceManager" => endpoints.manager = without_version(&address()?),
                name if UNUSED.contains(&name) => {}
                name => endpoints.unknown.push(name.to_owned()),
            }
        }
        Ok(endpoints)
    }

    /// Endpoint of Cloud Object Storage, as the registry gets it: the platform's, or the host of the location's public one. `live`: the
    /// endpoint that its pods have, which stays if it is only another spelling. The Go operator writes it as the platform does, with a slash
    /// at its end for example, and another text would replace the pods.
    pub fn of_registry(&self, location: &str, live: Option<&str>) -> String {
        let Some(cos) = &self.cos else {
            return format!("s3.{location}.{COS}");
        };
        let same = live.filter(|live| url::endpoint(live).is_ok_and(|live| live == *cos));
        same.unwrap_or(cos).to_owned()
    }

    /// URL of Cloud Object Storage.
    pub fn cos(&self, location: &str) -> String {
        self.cos
            .clone()
            .unwrap_or_else(|| format!("https://s3.{location}.{COS}"))
    }

    /// All addresses, for fingerprints.
    pub fn texts(&self) -> [&str; 4] {
        let cos = self.cos.as_deref().unwrap_or_default();
        [cos, &self.iam, &self.controller, &self.manager]
    }
}

fn checked(name: &str, text: &str) -> Result<String, Rejection> {
    url::endpoint(text).map_err(|cause| {
        let message = format!(
            "the serviceEndpoint {name} of infrastructures/cluster {cause}: it must be https://HOST[:PORT], with or without \
             the path of the service"
        );
        Rejection::new(Reason::InvalidConfig, message)
    })
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

fn without_token_path(url: &str) -> String {
    let url = url.strip_suffix("/token").unwrap_or(url);
    url.strip_suffix("/identity").unwrap_or(url).to_owned()
}

/// The URL without `/v2` or `/api/v2` at its end.
fn without_version(url: &str) -> String {
    let (before, last) = url.rsplit_once('/').unwrap_or((url, ""));
    let is_version = last
        .strip_prefix('v')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_version {
        return url.to_owned();
    }
    before.strip_suffix("/api").unwrap_or(before).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(list: &[(&str, &str)]) -> Result<Endpoints, Rejection> {
        let entry = |(name, url): &(&str, &str)| ServiceEndpoint {
            name: Some((*name).to_owned()),
            url: Some((*url).to_owned()),
        };
        Endpoints::of(&list.iter().map(entry).collect::<Vec<_>>())
    }

    // storage-ibmcos 1
    // In part: the address.
    #[test]
    fn without_other_addresses_the_public_ones_count() {
        let public = endpoints(&[]).unwrap();
        assert_eq!(
            public.cos("us-east"),
            "https://s3.us-east.cloud-object-storage.appdomain.cloud"
        );
        assert_eq!(
            public.of_registry("us-east", None),
            "s3.us-east.cloud-object-storage.appdomain.cloud"
        );
        assert_eq!(public.iam, "https://iam.cloud.ibm.com");
        assert_eq!(public.controller, "https://resource-controller.cloud.ibm.com");
        assert_eq!(public.manager, public.controller);
    }

    // storage-ibmcos 2, 6, 7, 8
    // In part: which address.
    #[test]
    fn other_addresses_count_in_each_form_in_which_the_platform_may_have_them() {
        for (url, expected) in [
            (
                "https://s3.direct.us-east.cloud-object-storage.appdomain.cloud",
                "https://s3.direct.us-east.cloud-object-storage.appdomain.cloud",
            ),
            (
                "https://s3.private.jp-tok.cloud-object-storage.appdomain.cloud/",
                "https://s3.private.jp-tok.cloud-object-storage.appdomain.cloud",
            ),
            ("https://cos.example:8443/v2", "https://cos.example:8443"),
        ] {
            let cos = endpoints(&[("COS", url)]).unwrap();
            assert_eq!(
                (cos.cos("us-east"), cos.of_registry("us-east", None)),
                (expected.to_owned(), expected.to_owned())
            );
            // Running pods keep the spelling that they have, if it is no more than that.
            let slash = format!("{expected}/");
            assert_eq!(cos.of_registry("us-east", Some(&slash)), slash);
            for elsewhere in [
                "https://cos.elsewhere.example/".to_owned(),
                format!("{expected}/v2"),
                format!("{expected}:444"),
                expected.replace("https", "http"),
            ] {
                assert_eq!(cos.of_registry("us-east", Some(&elsewhere)), expected, "{elsewhere}");
            }
        }
        for url in [
            "https://iam.example",
            "https://iam.example/",
            "https://iam.example/identity/token",
            "https://iam.example/identity",
        ] {
            assert_eq!(endpoints(&[("IAM", url)]).unwrap().iam, "https://iam.example", "{url}");
        }
        for url in [
            "https://rc.example",
            "https://rc.example/",
            "https://rc.example/v2",
            "https://rc.example/v2/",
            "https://rc.example/api/v2",
        ] {
            let both = endpoints(&[("ResourceController", url), ("ResourceManager", url)]).unwrap();
            assert_eq!(
                (both.controller.as_str(), both.manager.as_str()),
                ("https://rc.example", "https://rc.example")
            );
        }
        assert_eq!(
            endpoints(&[("ResourceController", "https://rc.example/vee")])
                .unwrap()
                .controller,
            "https://rc.example/vee"
        );
        let lower = endpoints(&[("cos", "https://x.example")]).unwrap();
        assert_eq!(lower.texts(), endpoints(&[]).unwrap().texts());
        assert_eq!(lower.unknown, ["cos"]);
        assert_eq!(endpoints(&[("COS", "")]), endpoints(&[]));
    }

    // issue 13: services that are of no use here
    #[test]
    fn addresses_of_other_services_are_tolerated_whatever_they_hold() {
        let all: Vec<_> = UNUSED
            .iter()
            .chain(&["Future"])
            .map(|name| (*name, "not a URL"))
            .collect();
        let tolerated = endpoints(&all).unwrap();
        assert_eq!(tolerated.texts(), endpoints(&[]).unwrap().texts());
        assert_eq!(tolerated.unknown, ["Future"], "for the log");
        let error = endpoints(&[("IAM", "iam.example")]).unwrap_err();
        assert!(error.message.contains("serviceEndpoint IAM"), "{error:?}");
    }

    #[test]
    fn a_crn_is_one_segment_of_a_path() {
        assert_eq!(
            crate::storage::net::percent::encoded("crn:v1:a/b::x y"),
            "crn%3Av1%3Aa%2Fb%3A%3Ax%20y"
        );
    }
}
