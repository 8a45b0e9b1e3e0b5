//! Private DNS zones with their records and links, and the zone groups of private endpoints: a part of Microsoft.Network.
//!
//! Source: https://learn.microsoft.com/rest/api/dns/privatednszones, .../virtualnetwork/private-dns-zone-groups

use super::accounts::check_tags;
use super::arm::{Call, need_linked, not_played};
use super::long_running::{Effect, Manner, OperationHeaders, begin, begin_failing};
use super::network::{self, ENDPOINT, NETWORK, etag, last};
use super::reply;
use super::state::{Resource, State, uuid};
use crate::stores::Reply;
use serde_json::{Value, json};

pub(super) const ZONE: &str = "Microsoft.Network/privateDnsZones";
pub(super) const LINK: &str = "Microsoft.Network/privateDnsZones/virtualNetworkLinks";
pub(super) const RECORD: &str = "Microsoft.Network/privateDnsZones/A";
/// Records that only administrators make.
pub(super) const CNAME: &str = "Microsoft.Network/privateDnsZones/CNAME";
/// A list of all records of a zone.
pub(super) const ALL: &str = "Microsoft.Network/privateDnsZones/ALL";
pub(super) const GROUP: &str = "Microsoft.Network/privateEndpoints/privateDnsZoneGroups";

const ACCEPTED: Manner = Manner {
    headers: OperationHeaders::Both,
    accepted: 202,
    made: 201,
};

/// PUT, PATCH and DELETE.
pub(super) fn change(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    match (call.asked.method.as_str(), call.kind) {
        ("PUT", ZONE) => put_zone(state, call),
        ("PUT", LINK) => put_link(state, call),
        ("PUT", RECORD) => put_record(state, call),
        ("PUT", GROUP) => put_group(state, call),
        ("DELETE", ZONE) => delete_zone(state, call),
        ("DELETE", RECORD) => {
            let there = state.resource(&call.id()).cloned();
            if there.is_some() {
                network::matches(call, there.as_ref())?;
                state.erase(&call.id());
            }
            Ok(reply::empty(if there.is_some() { 200 } else { 204 }))
        }
        ("DELETE", _) => network::delete(state, call),
        _ => Err(not_played(call)),
    }
}

fn global(call: &Call<'_>) -> Result<(), Reply> {
    if call.body["location"]
        .as_str()
        .is_none_or(|location| !location.eq_ignore_ascii_case("global"))
    {
        let message = "The location of a private DNS zone and of its links must be 'global'.";
        return Err(reply::arm(400, "LocationNotAvailableForResourceType", message));
    }
    check_tags(&call.body["tags"])?;
    let digits = |name: &str| name.starts_with(|first: char| first.is_ascii_digit());
    let wrong = call.body["tags"]
        .as_object()
        .into_iter()
        .flatten()
        .find(|(name, _)| digits(name) || name.contains([' ', '(', ')']));
    if let Some((name, _)) = wrong {
        let message = format!("The tag name '{name}' is not accepted by Azure DNS.");
        return Err(reply::arm(400, "BadRequest", &message));
    }
    Ok(())
}

fn put_zone(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    global(call)?;
    let id = call.id();
    network::not_busy(state, &id)?;
    network::matches(call, state.resource(&id))?;
    let existed = state.resource(&id).is_some();
    state.zone(&id, &call.body["tags"]);
    Ok(begin(state, call, Effect::Create, existed, ACCEPTED))
}

fn delete_zone(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    if state.below(&call.id(), LINK).next().is_some() {
        let message = format!(
            "Can not delete resource before nested resources are deleted. The zone '{}' has virtual network links.",
            call.id()
        );
        return Err(reply::arm(409, "CannotDeleteResource", &message));
    }
    network::delete(state, call)
}

fn put_link(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    global(call)?;
    let id = call.id();
    let network = call.body["properties"]["virtualNetwork"]["id"]
        .as_str()
        .unwrap_or_default();
    if state.resource(network).is_none_or(|one| one.kind != NETWORK) {
        let message = format!("The virtual network {network} could not be found.");
        return Err(reply::arm(400, "BadRequest", &message));
    }
    if !call.body["properties"]["registrationEnabled"].is_boolean() {
        return Err(reply::arm(
            400,
            "BadRequest",
            "The property 'registrationEnabled' is required.",
        ));
    }
    need_linked(state, call, &format!("{NETWORK}/join/action"), network)?;
    network::not_busy(state, &id)?;
    let zone = call.address.parts.get(1).map_or("", String::as_str);
    let conflict = state.resources.values().find(|one| {
        one.kind == LINK
            && !one.id.eq_ignore_ascii_case(&id)
            && zone_of(&one.id).eq_ignore_ascii_case(zone)
            && one.text("/properties/virtualNetwork/id").eq_ignore_ascii_case(network)
    });
    let conflict = conflict.map(|one| one.id.clone());
    let own = call.address.parent().id(ZONE);
    let existed = state.resource(&id).is_some();
    if let Some(conflict) = conflict {
        if conflict.to_lowercase().starts_with(&format!("{}/", own.to_lowercase())) {
            let message = format!("Private zone '{zone}' is already linked to the virtual network '{network}'.");
            return Err(reply::arm(409, "Conflict", &message));
        }
        // The operation is accepted, and fails.
        let message = format!(
            "A virtual network cannot be linked to multiple zones with overlapping namespaces. You tried to link virtual network \
             with '{zone}' and '{zone}' zones; {conflict} links it already."
        );
        state.link(&id, network, &call.body["tags"]);
        return Ok(begin_failing(state, call, ACCEPTED, ("BadRequest", &message)));
    }
    state.link(&id, network, &call.body["tags"]);
    Ok(begin(state, call, Effect::Create, existed, ACCEPTED))
}

/// The name of the zone in the ID of what stands below it.
fn zone_of(id: &str) -> &str {
    let mut parts = id.rsplit('/');
    parts.nth(2).unwrap_or_default()
}

fn put_record(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    let id = call.id();
    let properties = &call.body["properties"];
    let addresses = properties["aRecords"].as_array();
    let good = addresses.is_some_and(|all| {
        let address = |one: &Value| {
            one["ipv4Address"]
                .as_str()
                .is_some_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok())
        };
        !all.is_empty() && all.iter().all(address)
    });
    if !good || !properties["ttl"].is_u64() {
        return Err(reply::dns(
            400,
            "BadRequest",
            "The record set has no valid 'ttl', or no valid address.",
        ));
    }
    network::matches(call, state.resource(&id))?;
    let existed = state.resource(&id).is_some();
    state.record(&id, properties);
    let body = state.resource(&id).map(Resource::value).unwrap_or_default();
    Ok(reply::json(if existed { 200 } else { 201 }, &body))
}

fn put_group(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    let id = call.id();
    let configs = call.body["properties"]["privateDnsZoneConfigs"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for config in &configs {
        let zone = config["properties"]["privateDnsZoneId"].as_str().unwrap_or_default();
        if state.resource(zone).is_none_or(|one| one.kind != ZONE) {
            let message = format!("Resource {zone} referenced by resource {id} was not found.");
            return Err(reply::arm(400, "InvalidResourceReference", &message));
        }
        need_linked(state, call, &format!("{ZONE}/join/action"), zone)?;
    }
    network::not_busy(state, &id)?;
    let endpoint = call.address.parent().parent().id(ENDPOINT);
    if state.is_busy(&endpoint) {
        let message = "Another operation on this or dependent resource is in progress.";
        return Err(reply::arm(409, "AnotherOperationInProgress", message));
    }
    let existed = state.resource(&id).is_some();
    state.zone_group(&id, &configs);
    let manner = Manner {
        headers: OperationHeaders::AsyncOperation,
        accepted: 201,
        made: 201,
    };
    Ok(begin(state, call, Effect::Create, existed, manner))
}

impl State {
    /// Makes a private DNS zone.
    pub fn zone(&mut self, id: &str, tags: &Value) {
        let body = json!({
            "name": last(id), "type": ZONE, "etag": etag(), "location": "global",
            "tags": tags.as_object().cloned().unwrap_or_default(),
            "properties": { "provisioningState": "Succeeded", "maxNumberOfRecordSets": 25000 },
        });
        self.store(id, ZONE, body);
    }

    /// Links a zone to a virtual network.
    pub fn link(&mut self, id: &str, network: &str, tags: &Value) {
        let body = json!({
            "name": last(id), "type": LINK, "etag": etag(), "location": "global",
            "tags": tags.as_object().cloned().unwrap_or_default(),
            "properties": { "provisioningState": "Succeeded", "virtualNetworkLinkState": "Completed",
                "registrationEnabled": false, "virtualNetwork": { "id": network } },
        });
        self.store(id, LINK, body);
    }

    /// Makes an A record; `properties` have `ttl`, `aRecords`, and maybe `metadata`.
    pub fn record(&mut self, id: &str, properties: &Value) {
        let mut kept = json!({
            "fqdn": format!("{}.{}.", last(id), zone_of(id)), "ttl": properties["ttl"], "aRecords": properties["aRecords"],
            "isAutoRegistered": false,
        });
        if properties["metadata"].is_object() {
            kept["metadata"] = properties["metadata"].clone();
        }
        let body = json!({ "name": last(id), "type": RECORD, "etag": uuid(), "properties": kept });
        self.store(id, RECORD, body);
    }

    /// Makes a CNAME record.
    pub fn alias(&mut self, id: &str, target: &str) {
        let properties = json!({ "ttl": 10, "cnameRecord": { "cname": target } });
        let body = json!({ "name": last(id), "type": CNAME, "etag": uuid(), "properties": properties });
        self.store(id, CNAME, body);
    }

    /// Makes a zone group of a private endpoint.
    pub fn zone_group(&mut self, id: &str, configs: &[Value]) {
        let body = json!({
            "name": last(id), "type": GROUP, "etag": etag(),
            "properties": { "provisioningState": "Succeeded", "privateDnsZoneConfigs": configs },
        });
        self.store(id, GROUP, body);
    }

    /// ID and properties of each record that a zone group keeps.
    fn records_of(&self, group: &Resource) -> Vec<(String, Value)> {
        let endpoint = group.id.split("/privateDnsZoneGroups/").next().unwrap_or_default();
        let Some(endpoint) = self.resource(endpoint) else {
            return Vec::new();
        };
        let host = endpoint
            .text("/properties/customDnsConfigs/0/fqdn")
            .split('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let address = endpoint.text("/properties/customDnsConfigs/0/ipAddresses/0").to_owned();
        let configs = group.at("/properties/privateDnsZoneConfigs").and_then(Value::as_array);
        let records = configs.into_iter().flatten().map(|config| {
            let zone = config["properties"]["privateDnsZoneId"].as_str().unwrap_or_default();
            let properties = json!({
                "ttl": 10, "aRecords": [{ "ipv4Address": address }],
                "metadata": { "creator": format!("created by private endpoint {} with resource guid {}",
                    endpoint.name(), endpoint.text("/properties/resourceGuid")) },
            });
            (format!("{zone}/A/{host}"), properties)
        });
        records.collect()
    }
}

/// A zone group that is made writes its records.
pub(super) fn completed(state: &mut State, id: &str) {
    let Some(group) = state.resource(id).filter(|one| one.kind == GROUP).cloned() else {
        return;
    };
    for (record, properties) in state.records_of(&group) {
        state.record(&record, &properties);
    }
}

/// A zone group that goes takes its records along.
pub(super) fn erasing(state: &mut State, id: &str) {
    let Some(group) = state.resource(id).filter(|one| one.kind == GROUP).cloned() else {
        return;
    };
    for (record, _) in state.records_of(&group) {
        state.resources.remove(&record.to_lowercase());
    }
}

/// An answer of DNS.
pub enum Resolved {
    /// The public address.
    Public,
    /// No address.
    Nothing,
    /// The address of a private endpoint.
    Private(String),
}

impl State {
    /// What a client in a virtual network finds under the host of an account.
    pub fn resolve(&self, network: &str, account: &str) -> Resolved {
        let suffix = format!("/storageaccounts/{}", account.to_lowercase());
        let service = "/properties/privateLinkServiceConnections/0/properties/privateLinkServiceId";
        let has_endpoint = |one: &Resource| one.kind == ENDPOINT && one.text(service).to_lowercase().ends_with(&suffix);
        if !self.resources.values().any(has_endpoint) {
            // Public DNS leads to the private zone only when there is an endpoint.
            return Resolved::Public;
        }
        let zone = self.cloud.private_zone();
        let link = self.resources.values().find(|one| {
            one.kind == LINK
                && zone_of(&one.id).eq_ignore_ascii_case(&zone)
                && one.text("/properties/virtualNetwork/id").eq_ignore_ascii_case(network)
                && one.text("/properties/provisioningState") == "Succeeded"
        });
        let Some(link) = link else {
            return Resolved::Public;
        };
        let zone = link.id.split("/virtualNetworkLinks/").next().unwrap_or_default();
        let record = self.resource(&format!("{zone}/A/{account}"));
        record.map_or(Resolved::Nothing, |record| {
            Resolved::Private(record.text("/properties/aRecords/0/ipv4Address").to_owned())
        })
    }

    /// Whether an address is that of a private endpoint for an account (its resource's ID).
    pub fn leads_to(&self, address: &str, account: &str) -> bool {
        self.resources.values().any(|one| {
            one.kind == ENDPOINT
                && one.text("/properties/provisioningState") == "Succeeded"
                && one.text("/properties/customDnsConfigs/0/ipAddresses/0") == address
                && one
                    .text("/properties/privateLinkServiceConnections/0/properties/privateLinkServiceId")
                    .eq_ignore_ascii_case(account)
        })
    }
}
