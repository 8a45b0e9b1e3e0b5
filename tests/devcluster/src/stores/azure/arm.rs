//! Resource Manager: who may call what, and which resource provider answers.
//!
//! Source: https://learn.microsoft.com/rest/api/resources/

use super::access::Invalid;
use super::address::Address;
use super::environment::AzureCloud;
use super::state::State;
use super::{accounts, containers, dns, groups, long_running, network, reply};
use crate::stores::Reply;
use crate::stores::asked::Asked;
use serde_json::{Value, json};

/// A kind of resource.
#[derive(Debug)]
pub(super) struct Kind {
    pub name: &'static str,
    /// Versions of the API, and those of Stack Hub.
    versions: &'static [&'static str],
    hub: &'static [&'static str],
}

const STORAGE: &[&str] = &[
    "2019-06-01",
    "2021-02-01",
    "2021-09-01",
    "2022-09-01",
    "2023-01-01",
    "2023-05-01",
    "2024-01-01",
    "2025-06-01",
    "2025-08-01",
    "2026-04-01",
    "2026-06-01",
    "2026-09-01",
];
const STORAGE_HUB: &[&str] = &["2015-06-15", "2016-01-01", "2017-10-01", "2018-02-01", "2019-06-01"];
const NETWORK: &[&str] = &[
    "2020-11-01",
    "2021-08-01",
    "2022-01-01",
    "2022-07-01",
    "2023-09-01",
    "2024-05-01",
    "2025-05-01",
    "2025-07-01",
    "2026-03-01",
];
const NETWORK_HUB: &[&str] = &["2015-06-15", "2017-10-01", "2018-11-01"];
const DNS: &[&str] = &["2018-09-01", "2020-01-01", "2020-06-01", "2024-06-01"];
const GROUPS: &[&str] = &[
    "2018-05-01",
    "2019-10-01",
    "2020-10-01",
    "2021-04-01",
    "2022-09-01",
    "2024-03-01",
    "2025-04-01",
];
const GROUPS_HUB: &[&str] = &["2016-02-01", "2018-05-01", "2019-10-01"];
/// The kind of resource groups.
pub(super) const GROUP: &str = "Microsoft.Resources/subscriptions/resourceGroups";

const KINDS: &[Kind] = &[
    kind(accounts::ACCOUNT, STORAGE, STORAGE_HUB),
    kind(accounts::SERVICE, STORAGE, STORAGE_HUB),
    kind(containers::CONTAINER, STORAGE, STORAGE_HUB),
    kind(accounts::FILES, STORAGE, &[]),
    kind(accounts::SHARE, STORAGE, &[]),
    kind(accounts::QUEUES, STORAGE, STORAGE_HUB),
    kind(accounts::QUEUE, STORAGE, STORAGE_HUB),
    kind(accounts::TABLES, STORAGE, STORAGE_HUB),
    kind(accounts::TABLE, STORAGE, STORAGE_HUB),
    kind(network::NETWORK, NETWORK, NETWORK_HUB),
    kind(network::SUBNET, NETWORK, NETWORK_HUB),
    kind(network::INTERFACE, NETWORK, NETWORK_HUB),
    kind(network::ENDPOINT, NETWORK, &[]),
    kind(dns::GROUP, NETWORK, &[]),
    kind(dns::ZONE, DNS, &[]),
    kind(dns::LINK, DNS, &[]),
    kind(dns::RECORD, DNS, &[]),
    kind(dns::ALL, DNS, &[]),
    kind(GROUP, GROUPS, GROUPS_HUB),
];

const fn kind(name: &'static str, versions: &'static [&'static str], hub: &'static [&'static str]) -> Kind {
    Kind { name, versions, hub }
}

/// The kind of that name, in any case.
pub(super) fn known(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name))
}

/// A call whose caller may make it.
pub(super) struct Call<'a> {
    pub asked: &'a Asked,
    pub address: Address,
    pub kind: &'static str,
    /// What POST does; empty for other methods.
    pub verb: String,
    pub client_id: String,
    pub version: String,
    pub body: Value,
    pub operation: String,
}

impl Call<'_> {
    /// The ID of the resource, or of the scope of a list.
    pub fn id(&self) -> String {
        self.address.id(self.kind)
    }
}

/// What is to be done with a call.
pub(super) enum Decision {
    Done(Reply),
    /// It is about containers, which Azurite has.
    Containers(containers::Work),
}

/// A request to Resource Manager.
pub(super) fn decide(state: &mut State, asked: &Asked, operation: &str) -> Result<Decision, Reply> {
    let client_id = authenticate(state, asked)?;
    let version = asked.parameter("api-version").ok_or_else(|| {
        let message = "The api-version query parameter (?api-version=) is required for all requests.";
        reply::arm(400, "MissingApiVersionParameter", message)
    })?;
    let address = Address::parse(&asked.path);
    let address = address.ok_or_else(|| reply::arm(404, "InvalidRequestUri", "The request URI is not valid."))?;
    own_subscription(state, &address, &client_id)?;
    // Who began an operation may look at it, without any action.
    if let ["locations", _, what, id] = address.parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        return Ok(Decision::Done(long_running::poll(state, what, id, &asked.url())));
    }
    if address
        .parts
        .first()
        .is_some_and(|part| part.eq_ignore_ascii_case("checkNameAvailability"))
    {
        versioned(state.cloud, known(accounts::ACCOUNT), &version, &address)?;
        return accounts::check_name(state, &body(asked)?).map(Decision::Done);
    }
    if let Some(answer) = register(state, asked, &address) {
        return Ok(Decision::Done(answer));
    }
    let call = prepare(state, asked, address, &version, client_id, operation)?;
    permit(state, &call)?;
    exists(state, &call)?;
    dispatch(state, &call)
}

fn authenticate(state: &State, asked: &Asked) -> Result<String, Reply> {
    let refuse = |code: &str, message: &str| {
        let tenant = state.tenants.iter().next().map_or("common", String::as_str);
        let host = state.cloud.authorities().first().copied().unwrap_or_default();
        let challenge = format!(
            "Bearer authorization_uri=\"https://{host}/{tenant}\", error=\"invalid_token\", error_description=\"{message}\""
        );
        reply::arm(401, code, message).header("www-authenticate", &challenge)
    };
    let token = state.bearer(asked).map_err(|invalid| match invalid {
        Invalid::Missing => refuse(
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing.",
        ),
        Invalid::Unknown => refuse("InvalidAuthenticationToken", "The access token is invalid."),
        Invalid::Expired => refuse(
            "ExpiredAuthenticationToken",
            "The access token expiry UTC time is in the past.",
        ),
    })?;
    let classic = state.cloud == AzureCloud::Public && token.audience == "https://management.core.windows.net";
    if token.audience != state.cloud.audience() && !classic {
        let message = format!(
            "The access token has been obtained for wrong audience or resource '{}'. It should exactly match one of the allowed \
             audiences '{}/'.",
            token.audience,
            state.cloud.audience()
        );
        return Err(refuse("InvalidAuthenticationTokenAudience", &message));
    }
    Ok(token.client_id)
}

fn own_subscription(state: &State, address: &Address, client_id: &str) -> Result<(), Reply> {
    let known = state.subscriptions.get(&address.subscription);
    let known = known.ok_or_else(|| {
        let message = format!("The subscription '{}' could not be found.", address.subscription);
        reply::arm(404, "SubscriptionNotFound", &message)
    })?;
    let tenant = state
        .applications
        .get(client_id)
        .map(|one| one.tenant.clone())
        .unwrap_or_default();
    if known.tenant == tenant {
        return Ok(());
    }
    let message = format!(
        "The access token is from the wrong issuer 'https://sts.windows.net/{tenant}/'. It must match the tenant \
         'https://sts.windows.net/{}/' associated with this subscription.",
        known.tenant
    );
    Err(reply::arm(401, "InvalidAuthenticationTokenTenant", &message))
}

/// `POST /subscriptions/S/providers/N/register`.
fn register(state: &mut State, asked: &Asked, address: &Address) -> Option<Reply> {
    let is_register = address.parts.len() == 1 && address.name().eq_ignore_ascii_case("register");
    if asked.method != hyper::Method::POST || !is_register || address.group.is_some() {
        return None;
    }
    let subscription = state.subscriptions.get_mut(&address.subscription)?;
    subscription.unregistered.remove(&address.namespace.to_lowercase());
    let body = json!({ "namespace": address.namespace, "registrationState": "Registered" });
    Some(reply::json(200, &body))
}

fn body(asked: &Asked) -> Result<Value, Reply> {
    if asked.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&asked.body).map_err(|_| {
        let message = "The request content was invalid and could not be deserialized.";
        reply::arm(400, "InvalidRequestContent", message)
    })
}

fn prepare<'a>(
    state: &State,
    asked: &'a Asked,
    mut address: Address,
    version: &str,
    client_id: String,
    operation: &str,
) -> Result<Call<'a>, Reply> {
    let mut verb = String::new();
    if asked.method == hyper::Method::POST && !address.is_single() {
        address.name().clone_into(&mut verb);
        address.parts.pop();
    }
    let name = if address.namespace.is_empty() {
        GROUP.to_owned()
    } else {
        address.kind()
    };
    let kind = known(&name);
    versioned(state.cloud, kind, version, &address)?;
    let Some(kind) = kind else {
        let message = format!(
            "The resource type could not be found in the namespace '{}' for api version '{version}'.",
            address.namespace
        );
        return Err(reply::arm(404, "InvalidResourceType", &message));
    };
    Ok(Call {
        asked,
        address,
        kind: kind.name,
        verb,
        client_id,
        version: version.to_owned(),
        body: body(asked)?,
        operation: operation.to_owned(),
    })
}

fn versioned(cloud: AzureCloud, kind: Option<&Kind>, version: &str, address: &Address) -> Result<(), Reply> {
    let Some(kind) = kind else { return Ok(()) };
    let versions = if cloud == AzureCloud::StackHub {
        kind.hub
    } else {
        kind.versions
    };
    if versions.contains(&version) {
        return Ok(());
    }
    let (namespace, rest) = kind.name.split_once('/').unwrap_or((kind.name, ""));
    let message = format!(
        "No registered resource provider found for location '{}' and API version '{version}' for type '{rest}' of '{namespace}'. \
         The supported api-versions are '{}'.",
        address.group.as_deref().unwrap_or("global"),
        versions.join(", ")
    );
    Err(reply::arm(400, "NoRegisteredProviderFound", &message))
}

fn permit(state: &mut State, call: &Call<'_>) -> Result<(), Reply> {
    let kind = if call.kind == dns::ALL { dns::ZONE } else { call.kind };
    let action = match call.asked.method.as_str() {
        "PUT" | "PATCH" => format!("{kind}/write"),
        "DELETE" => format!("{kind}/delete"),
        "POST" => format!("{kind}/{}/action", call.verb),
        _ => format!("{kind}/read"),
    };
    need(state, call, &action, &scope(call))
}

/// The resource, or for a list what holds it.
fn scope(call: &Call<'_>) -> String {
    let address = &call.address;
    if address.is_single() || address.parts.is_empty() {
        return call.id();
    }
    let mut above = address.parent();
    if above.parts.is_empty() {
        above.namespace = String::new();
    }
    above.id(call.kind)
}

/// 403 unless the caller has the action at the scope.
pub(super) fn need(state: &mut State, call: &Call<'_>, action: &str, scope: &str) -> Result<(), Reply> {
    if state.need(&call.client_id, action, false, scope) {
        return Ok(());
    }
    let object = state
        .applications
        .get(&call.client_id)
        .map(|one| one.object_id.clone())
        .unwrap_or_default();
    let message = format!(
        "The client '{}' with object id '{object}' does not have authorization to perform action '{action}' over scope '{scope}' \
         or the scope is invalid. If access was recently granted, please refresh your credentials.",
        call.client_id
    );
    Err(reply::arm(403, "AuthorizationFailed", &message))
}

/// The same for a resource that the call links to.
pub(super) fn need_linked(state: &mut State, call: &Call<'_>, action: &str, scope: &str) -> Result<(), Reply> {
    if state.need(&call.client_id, action, false, scope) {
        return Ok(());
    }
    let message = format!(
        "The client '{}' has permission to perform action '{}/write' on scope '{}'; however, it does not have permission to \
         perform action(s) '{action}' on the linked scope(s) '{scope}' (respectively) or the linked scope(s) are invalid.",
        call.client_id,
        call.kind,
        call.id()
    );
    Err(reply::arm(403, "LinkedAuthorizationFailed", &message))
}

/// The group is there, and what stands above the resource; the resource provider is registered.
fn exists(state: &mut State, call: &Call<'_>) -> Result<(), Reply> {
    let address = &call.address;
    if call.kind == GROUP {
        return Ok(());
    }
    if let Some(group) = &address.group
        && state.resource(&address.group_id()).is_none()
    {
        let message = format!("Resource group '{group}' could not be found.");
        return Err(reply::arm(404, "ResourceGroupNotFound", &message));
    }
    let namespace = address.namespace.to_lowercase();
    let subscription = state.subscriptions.get(&address.subscription);
    if call.asked.is_write() && subscription.is_some_and(|one| one.unregistered.contains(&namespace)) {
        let message = format!(
            "The subscription is not registered to use namespace '{}'.",
            address.namespace
        );
        return Err(reply::arm(409, "MissingSubscriptionRegistration", &message));
    }
    // The types of parents are a beginning of the type itself.
    let singles = address.parts.len() / 2 - usize::from(address.is_single());
    for depth in 1..=singles {
        let mut above = address.clone();
        above.parts.truncate(depth * 2);
        let kind = call.kind.split('/').take(depth + 1).collect::<Vec<_>>().join("/");
        // Every account has its services.
        let services = [accounts::SERVICE, accounts::FILES, accounts::QUEUES, accounts::TABLES];
        if !services.contains(&kind.as_str()) && state.resource(&above.id(&kind)).is_none() {
            if call.asked.method == hyper::Method::PUT {
                let message = format!(
                    "Failed to perform 'write' on resource(s) of type '{}', because the parent resource '{}' could not be found.",
                    call.kind,
                    above.id(&kind)
                );
                return Err(reply::arm(404, "ParentResourceNotFound", &message));
            }
            let group = address.group.as_deref().unwrap_or_default();
            return Err(reply::no_resource(&kind, above.name(), group));
        }
    }
    Ok(())
}

fn dispatch(state: &mut State, call: &Call<'_>) -> Result<Decision, Reply> {
    if call.kind == containers::CONTAINER {
        return containers::work(state, call).map(Decision::Containers);
    }
    let done = match (call.asked.method.as_str(), call.kind) {
        ("HEAD", GROUP) => Ok(reply::empty(if state.resource(&call.id()).is_some() {
            204
        } else {
            404
        })),
        ("GET", GROUP) if call.address.group.is_some() => groups::get(state, call),
        ("PUT", GROUP) => groups::put(state, call),
        ("GET", accounts::SERVICE) if call.address.is_single() => Ok(accounts::service(state, call)),
        ("GET", _) if call.address.is_single() => get(state, call),
        ("GET", _) => Ok(list(state, call)),
        ("PUT", accounts::ACCOUNT) => accounts::create(state, call),
        ("PATCH", accounts::ACCOUNT) => accounts::update(state, call),
        ("DELETE", accounts::ACCOUNT) => accounts::delete(state, call),
        ("POST", accounts::ACCOUNT) => accounts::act(state, call),
        (_, network::NETWORK | network::SUBNET | network::ENDPOINT) => network::change(state, call),
        (_, dns::ZONE | dns::LINK | dns::RECORD | dns::GROUP) => dns::change(state, call),
        _ => Err(not_played(call)),
    };
    done.map(Decision::Done)
}

/// What the service has and this stand-in does not play.
pub(super) fn not_played(call: &Call<'_>) -> Reply {
    let message = format!("the stand-in does not play {} of {}", call.asked.method, call.kind);
    reply::arm(501, "NotImplemented", &message)
}

/// A resource, as GET finds it.
pub(super) fn get(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    state.is_busy(&call.id());
    let found = state.resource(&call.id()).filter(|resource| !resource.hidden);
    let found = found.ok_or_else(|| {
        let group = call.address.group.as_deref().unwrap_or_default();
        let name = call.address.name();
        if call.kind == dns::RECORD {
            let message = format!("The resource record '{name}' does not exist in resource group '{group}'.");
            return reply::dns(404, "NotFound", &message);
        }
        reply::no_resource(call.kind, name, group)
    })?;
    Ok(reply::json(200, &network::shown(state, found)))
}

fn list(state: &State, call: &Call<'_>) -> Reply {
    let (kind, above) = match call.kind {
        dns::ALL => (dns::RECORD, call.address.parent().id(dns::ZONE)),
        GROUP => (GROUP, format!("/subscriptions/{}", call.address.subscription)),
        kind => (kind, scope(call)),
    };
    let all: Vec<Value> = state
        .below(&above, kind)
        .filter(|resource| !resource.hidden)
        .map(|resource| network::shown(state, resource))
        .collect();
    let skip: usize = call
        .asked
        .parameter("$skiptoken")
        .and_then(|text| text.parse().ok())
        .unwrap_or_default();
    let page: Vec<&Value> = all.iter().skip(skip).take(state.page).collect();
    let mut body = json!({ "value": page });
    let next = skip + state.page;
    if next < all.len() {
        let asked = call.asked;
        body["nextLink"] = json!(format!(
            "https://{}{}?api-version={}&$skiptoken={next}",
            asked.host, asked.path, call.version
        ));
    }
    reply::json(200, &body)
}
