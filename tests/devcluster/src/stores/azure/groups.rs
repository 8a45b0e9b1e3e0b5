//! Resource groups, and how resources are stored.
//!
//! Source: https://learn.microsoft.com/rest/api/resources/resource-groups

use super::address::group_id;
use super::arm::{Call, GROUP};
use super::reply;
use super::state::{Resource, State};
use crate::stores::Reply;
use serde_json::{Value, json};

pub(super) fn get(state: &State, call: &Call<'_>) -> Result<Reply, Reply> {
    let group = state.resource(&call.id()).ok_or_else(|| {
        let name = call.address.group.as_deref().unwrap_or_default();
        reply::arm(
            404,
            "ResourceGroupNotFound",
            &format!("Resource group '{name}' could not be found."),
        )
    })?;
    Ok(reply::json(200, &group.value()))
}

pub(super) fn put(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    let name = call.address.group.as_deref().unwrap_or_default();
    let existed = state.resource(&call.id()).is_some();
    let location = call.body["location"].as_str().unwrap_or_default();
    if location.is_empty() {
        return Err(reply::arm(
            400,
            "LocationRequired",
            "The location property is required for this definition.",
        ));
    }
    state.group(&call.address.subscription, name, location, &call.body["tags"]);
    let group = state.resource(&call.id()).map(Resource::value).unwrap_or_default();
    Ok(reply::json(if existed { 200 } else { 201 }, &group))
}

impl State {
    /// Makes a resource group.
    pub fn group(&mut self, subscription: &str, name: &str, location: &str, tags: &Value) -> String {
        let id = group_id(subscription, name);
        let body = json!({
            "name": name, "type": "Microsoft.Resources/resourceGroups", "location": location,
            "tags": if tags.is_null() { json!({}) } else { tags.clone() },
            "properties": { "provisioningState": "Succeeded" },
        });
        self.store(&id, GROUP, body);
        id
    }

    /// Stores a resource under its ID.
    pub fn store(&mut self, id: &str, kind: &'static str, body: Value) {
        let mut body = match body {
            Value::Object(body) => body,
            _ => serde_json::Map::new(),
        };
        body.insert("id".into(), id.into());
        let resource = Resource {
            id: id.to_owned(),
            kind,
            body,
            hidden: false,
        };
        self.resources.insert(id.to_lowercase(), resource);
    }
}
