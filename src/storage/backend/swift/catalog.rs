//! PURE: Keystone's responses: token, catalogue, versions; and the choice of the endpoint. Source: OpenStack Identity API v3
//! and v2.0.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::auth_url::{self, Api};
use super::effective::Interface;

/// An endpoint of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Type of the service: `object-store`.
    pub service: String,
    /// Name of the service: `swift`.
    pub name: String,
    /// Region, by its name and its ID.
    pub regions: Vec<String>,
    /// `public`, `internal`, `admin`.
    pub interface: String,
    /// URL.
    pub url: String,
}

/// What a token is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenBody {
    /// Expiry, RFC 3339.
    pub expires: Option<String>,
    /// The catalogue.
    pub endpoints: Vec<Endpoint>,
    /// Whether the token has a project.
    pub scoped: bool,
    /// Name of the user.
    pub user: Option<String>,
    /// ID of the user's domain.
    pub user_domain_id: Option<String>,
    /// ID of the application credential.
    pub application_id: Option<String>,
    /// The token itself, of v2.0.
    pub token: Option<String>,
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    let text = value.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Reads the token of v3; `None` if it is none.
pub fn read_v3(body: &[u8]) -> Option<TokenBody> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let token = body.get("token").filter(|token| token.is_object())?;
    let mut endpoints = Vec::new();
    for service in items(token, "/catalog") {
        for endpoint in items(service, "/endpoints") {
            let regions = [text(endpoint, "/region"), text(endpoint, "/region_id")];
            endpoints.push(Endpoint {
                service: text(service, "/type").unwrap_or_default(),
                name: text(service, "/name").unwrap_or_default(),
                regions: regions.into_iter().flatten().collect(),
                interface: text(endpoint, "/interface").unwrap_or_default(),
                url: text(endpoint, "/url").unwrap_or_default(),
            });
        }
    }
    Some(TokenBody {
        expires: text(token, "/expires_at"),
        endpoints,
        scoped: token.get("project").is_some(),
        user: text(token, "/user/name"),
        user_domain_id: text(token, "/user/domain/id"),
        application_id: text(token, "/application_credential/id"),
        token: None,
    })
}

/// Reads the token of v2.0; `None` if it is none.
pub fn read_v2(body: &[u8]) -> Option<TokenBody> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let access = body.get("access")?;
    let token = text(access, "/token/id")?;
    let mut endpoints = Vec::new();
    for service in items(access, "/serviceCatalog") {
        for endpoint in items(service, "/endpoints") {
            for interface in [Interface::Public, Interface::Internal, Interface::Admin] {
                let Some(url) = text(endpoint, &format!("/{}URL", interface.text())) else {
                    continue;
                };
                endpoints.push(Endpoint {
                    service: text(service, "/type").unwrap_or_default(),
                    name: text(service, "/name").unwrap_or_default(),
                    regions: text(endpoint, "/region").into_iter().collect(),
                    interface: interface.text().to_owned(),
                    url,
                });
            }
        }
    }
    Some(TokenBody {
        expires: text(access, "/token/expires"),
        endpoints,
        scoped: access.pointer("/token/tenant").is_some(),
        user: text(access, "/user/name"),
        token: Some(token),
        ..TokenBody::default()
    })
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Region; `None`: any.
    pub region: Option<String>,
    /// Which endpoint.
    pub interface: Interface,
    /// As the registry chooses: only by the type `object-store`, whatever the service's name.
    pub as_registry: bool,
}

/// Type of Swift in the catalogue.
const OBJECT_STORE: &str = "object-store";
/// What the Go operator asks for first, by a historical accident.
const CONTAINER: &str = "container";
/// Name of Swift in the catalogue.
const SWIFT: &str = "swift";

/// Base URL of Swift, without a slash at its end; `None`: the catalogue has none that fits.
pub fn find(endpoints: &[Endpoint], selection: &Selection) -> Option<String> {
    chosen(endpoints, selection).map(url)
}

/// Regions that have the same service as the chosen endpoint at other URLs. Empty if the selection names a region. Otherwise the order
/// of the catalogue decides, which can change.
pub fn other_regions(endpoints: &[Endpoint], selection: &Selection) -> Vec<String> {
    let Some(chosen) = chosen(endpoints, selection).filter(|_| selection.region.is_none()) else {
        return Vec::new();
    };
    let mut seen = BTreeSet::from([url(chosen)]);
    let same = |endpoint: &&Endpoint| {
        let of = |endpoint: &Endpoint| [&endpoint.service, &endpoint.name, &endpoint.interface].map(Clone::clone);
        of(endpoint) == of(chosen) && !endpoint.url.is_empty()
    };
    let others = endpoints
        .iter()
        .filter(same)
        .filter(|endpoint| seen.insert(url(endpoint)));
    let regions = others.filter_map(|endpoint| endpoint.regions.first().cloned());
    regions.collect()
}

fn url(endpoint: &Endpoint) -> String {
    endpoint.url.trim_end_matches('/').to_owned()
}

fn chosen<'a>(endpoints: &'a [Endpoint], selection: &Selection) -> Option<&'a Endpoint> {
    let fits = |endpoint: &&Endpoint| {
        let region = selection.region.as_ref();
        endpoint.interface == selection.interface.text()
            && !endpoint.url.is_empty()
            && region.is_none_or(|region| endpoint.regions.contains(region))
    };
    let first = |service: &str, name: Option<&str>| {
        let of_service =
            |endpoint: &&Endpoint| endpoint.service == service && name.is_none_or(|name| endpoint.name == name);
        endpoints.iter().filter(fits).find(of_service)
    };
    if selection.as_registry {
        first(OBJECT_STORE, None)
    } else {
        first(OBJECT_STORE, Some(SWIFT))
            .or_else(|| first(CONTAINER, Some(SWIFT)))
            .or_else(|| first(OBJECT_STORE, None))
    }
}

/// Why the catalogue has no endpoint that fits.
pub fn not_found(body: &TokenBody, selection: &Selection) -> String {
    let mut found: Vec<String> = body
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.interface == selection.interface.text())
        .map(|endpoint| {
            let region = endpoint.regions.first().map_or("-", String::as_str);
            format!("{}/{}/{region}", endpoint.service, endpoint.name)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    let region = selection.region.as_ref();
    let region = region.map(|region| format!(" in region {region}")).unwrap_or_default();
    let hint = if body.scoped {
        ""
    } else {
        "; the token is for no project: set spec.storage.swift.tenant or tenantID"
    };
    format!(
        "the catalogue has no {} endpoint of a service of type object-store{region}; it has (type/name/region) {}{hint}",
        selection.interface.text(),
        if found.is_empty() {
            "nothing".to_owned()
        } else {
            found.join(", ")
        }
    )
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    rel: String,
    #[serde(default)]
    href: String,
}

/// The API to use and its URL, from Keystone's list of versions. An entry at `asked` wins, then v3 before v2.0. `None`: the
/// list has no version that works.
pub fn choose(body: &[u8], asked: &str) -> Option<(Api, String)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let listed = items(&body, "/versions/values").filter_map(|item| Listed::deserialize(item).ok());
    let listed = listed.filter_map(|entry| {
        let api = if entry.id.contains("v3") {
            Api::V3
        } else if entry.id.contains("v2.0") {
            Api::V2
        } else {
            return None;
        };
        let link = entry.links.iter().find(|link| link.rel == "self");
        let reported = link.and_then(|link| auth_url::at_same_host(asked, &link.href));
        let path = if api == Api::V3 { "v3" } else { "v2.0" };
        let url = reported.unwrap_or_else(|| format!("{}/{path}", auth_url::base(asked)));
        let usable = ["current", "supported", "stable"].contains(&entry.status.to_ascii_lowercase().as_str());
        Some((api, url, usable))
    });
    let listed: Vec<_> = listed.collect();
    let exact = listed.iter().find(|(_, url, _)| url == asked);
    let best = |wanted: Api| listed.iter().find(|(api, _, usable)| *api == wanted && *usable);
    let (api, url, _) = exact.or_else(|| best(Api::V3)).or_else(|| best(Api::V2))?;
    Some((*api, url.clone()))
}

#[cfg(test)]
mod tests;
