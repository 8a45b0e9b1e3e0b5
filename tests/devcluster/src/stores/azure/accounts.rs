//! Storage accounts: the resource provider Microsoft.Storage.
//!
//! Source: https://learn.microsoft.com/rest/api/storagerp/storage-accounts

use super::arm::{self, Call, not_played};
use super::environment::AzureCloud;
use super::long_running::{Effect, Manner, OperationHeaders, begin};
use super::reply;
use super::state::{Account, State, random, timestamp};
use crate::stores::Reply;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

pub(super) const ACCOUNT: &str = "Microsoft.Storage/storageAccounts";
pub(super) const SERVICE: &str = "Microsoft.Storage/storageAccounts/blobServices";
/// What an account holds beside containers: the services, and the kinds of what is in them. Only lists are played.
pub(super) const FILES: &str = "Microsoft.Storage/storageAccounts/fileServices";
pub(super) const SHARE: &str = "Microsoft.Storage/storageAccounts/fileServices/shares";
pub(super) const QUEUES: &str = "Microsoft.Storage/storageAccounts/queueServices";
pub(super) const QUEUE: &str = "Microsoft.Storage/storageAccounts/queueServices/queues";
pub(super) const TABLES: &str = "Microsoft.Storage/storageAccounts/tableServices";
pub(super) const TABLE: &str = "Microsoft.Storage/storageAccounts/tableServices/tables";
/// Properties that are answered only if somebody set them.
const SETTINGS: &[&str] = &[
    "supportsHttpsTrafficOnly",
    "allowBlobPublicAccess",
    "minimumTlsVersion",
    "allowSharedKeyAccess",
    "publicNetworkAccess",
    "allowCrossTenantReplication",
    "defaultToOAuthAuthentication",
    "accessTier",
    "networkAcls",
];

/// `checkNameAvailability`; it needs no action, as the roles of the platform have none for it.
pub(super) fn check_name(state: &State, body: &Value) -> Result<Reply, Reply> {
    let name = body["name"].as_str().unwrap_or_default();
    if body["type"] != ACCOUNT {
        return Err(reply::arm(
            400,
            "InvalidValuesForRequestParameters",
            "The type must be Microsoft.Storage/storageAccounts.",
        ));
    }
    let answer = if !is_valid(name) {
        json!({ "nameAvailable": false, "reason": "AccountNameInvalid", "message": invalid(name) })
    } else if state.accounts.contains_key(name) || state.taken.contains(name) {
        let message = format!("The storage account named {name} is already taken.");
        json!({ "nameAvailable": false, "reason": "AlreadyExists", "message": message })
    } else {
        json!({ "nameAvailable": true })
    };
    Ok(reply::json(200, &answer))
}

fn is_valid(name: &str) -> bool {
    (3..=24).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn invalid(name: &str) -> String {
    format!(
        "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use \
         numbers and lower-case letters only."
    )
}

pub(super) fn new_key() -> String {
    STANDARD.encode(random::<64>())
}

/// PUT of an account.
pub(super) fn create(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    let name = call.address.name().to_owned();
    if !is_valid(&name) {
        return Err(reply::arm(400, "AccountNameInvalid", &invalid(&name)));
    }
    not_busy(state, call)?;
    check(state, call)?;
    if state.resource(&call.id()).is_some() {
        let location = state
            .resource(&call.id())
            .map(|one| one.text("location").to_owned())
            .unwrap_or_default();
        if call.body["location"] != location.as_str() {
            let message = format!(
                "The resource '{name}' already exists in location '{location}'. A resource with the same name cannot be created in \
                 location '{}'. Please select a new resource name.",
                call.body["location"].as_str().unwrap_or_default()
            );
            return Err(reply::arm(409, "InvalidResourceLocation", &message));
        }
        change(state, call);
        return arm::get(state, call);
    }
    let elsewhere = state.taken.contains(&name);
    if let Some(other) = state
        .accounts
        .get(&name)
        .map(|account| account.id.clone())
        .or(elsewhere.then(String::new))
    {
        let ours = other.starts_with(&format!("/subscriptions/{}/", call.address.subscription));
        let code = if ours {
            "StorageAccountInAnotherResourceGroup"
        } else {
            "StorageAccountAlreadyTaken"
        };
        return Err(reply::arm(
            409,
            code,
            &format!("The storage account named {name} is already taken."),
        ));
    }
    state
        .account(&call.id(), &call.body)
        .map_err(|error| reply::arm(500, "InternalServerError", &error.to_string()))?;
    let manner = Manner {
        headers: OperationHeaders::Location,
        accepted: 202,
        made: 200,
    };
    Ok(begin(state, call, Effect::Create, false, manner))
}

fn not_busy(state: &mut State, call: &Call<'_>) -> Result<(), Reply> {
    if !state.is_busy(&call.id()) {
        return Ok(());
    }
    let message = "An operation is currently performing on this storage account that requires exclusive access.";
    Err(reply::arm(409, "StorageAccountOperationInProgress", message))
}

/// What a body must hold.
fn check(state: &State, call: &Call<'_>) -> Result<(), Reply> {
    let text = |pointer: &str| call.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/location").is_empty() {
        return Err(reply::arm(
            400,
            "LocationRequired",
            "The location property is required for this definition.",
        ));
    }
    if text("/sku/name").is_empty() || text("/kind").is_empty() {
        let message = "The values for the request parameters sku and kind are required.";
        return Err(reply::arm(400, "InvalidValuesForRequestParameters", message));
    }
    if state.cloud == AzureCloud::StackHub && text("/kind") != "Storage" {
        let message = format!("The account kind '{}' is not supported.", text("/kind"));
        return Err(reply::arm(400, "InvalidAccountKind", &message));
    }
    check_tags(&call.body["tags"])?;
    check_properties(&call.body["properties"])
}

/// Properties of the right types.
fn check_properties(properties: &Value) -> Result<(), Reply> {
    let wrong = |name: &str| {
        let message = format!("The value of property '{name}' is invalid.");
        Err(reply::arm(400, "InvalidRequestPropertyValue", &message))
    };
    for (name, value) in properties.as_object().into_iter().flatten() {
        let good = match name.as_str() {
            "supportsHttpsTrafficOnly"
            | "allowBlobPublicAccess"
            | "allowSharedKeyAccess"
            | "defaultToOAuthAuthentication" => value.is_boolean() || value.is_null(),
            "publicNetworkAccess" => {
                value.is_null() || value == "Enabled" || value == "Disabled" || value == "SecuredByPerimeter"
            }
            "minimumTlsVersion" => matches!(value.as_str(), Some("TLS1_0" | "TLS1_1" | "TLS1_2" | "TLS1_3")),
            _ => true,
        };
        if !good {
            return wrong(name);
        }
    }
    Ok(())
}

/// Tags that every resource provider accepts.
pub(super) fn check_tags(tags: &Value) -> Result<(), Reply> {
    let Some(tags) = tags.as_object() else {
        return Ok(());
    };
    if tags.len() > 50 {
        return Err(reply::arm(
            400,
            "InvalidTags",
            "The number of tags exceeds the limit of 50.",
        ));
    }
    for (name, value) in tags {
        let good_name = (1..=128).contains(&name.len()) && !name.contains(['<', '>', '%', '&', '\\', '?', '/']);
        if !good_name {
            let message =
                format!("The tag name '{name}' has reserved characters '<,>,%,&,\\,?,/' or control characters.");
            return Err(reply::arm(400, "InvalidTagNameCharacters", &message));
        }
        if value.as_str().is_none_or(|value| value.len() > 256) {
            let message = format!("The value of tag '{name}' is no text, or longer than 256 characters.");
            return Err(reply::arm(400, "TagValueTooLong", &message));
        }
    }
    Ok(())
}

impl State {
    /// Makes an account at once; `given` is what PUT would have.
    pub fn account(&mut self, id: &str, given: &Value) -> anyhow::Result<()> {
        let slot = self.azurite.slot()?;
        let name = id.rsplit('/').next().unwrap_or_default().to_owned();
        let blob = format!("https://{}/", self.cloud.blob_host(&name));
        let location = given["location"].clone();
        let mut properties = Map::new();
        for setting in SETTINGS {
            if let Some(value) = given["properties"].get(setting) {
                properties.insert((*setting).to_owned(), value.clone());
            }
        }
        properties.insert("provisioningState".into(), json!("Succeeded"));
        properties.insert("creationTime".into(), json!(timestamp()));
        properties.insert("primaryLocation".into(), location.clone());
        properties.insert("statusOfPrimary".into(), json!("available"));
        properties.insert("primaryEndpoints".into(), json!({ "blob": blob }));
        properties.insert("privateEndpointConnections".into(), json!([]));
        let acls =
            json!({ "bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow" });
        properties.entry("networkAcls").or_insert(acls);
        let tags = given["tags"].as_object().cloned().unwrap_or_default();
        let sku = given["sku"]["name"].as_str().unwrap_or("Standard_LRS");
        let body = json!({
            "name": name, "type": ACCOUNT, "location": location, "tags": tags, "kind": given["kind"],
            "sku": { "name": sku, "tier": "Standard" }, "properties": properties,
        });
        self.store(id, ACCOUNT, body);
        let account = Account {
            id: id.to_lowercase(),
            keys: [new_key(), new_key()],
            slot,
        };
        self.accounts.insert(name, account);
        Ok(())
    }
}

/// Takes over tags, SKU and settings of a body.
fn change(state: &mut State, call: &Call<'_>) {
    let Some(resource) = state.resource_mut(&call.id()) else {
        return;
    };
    if let Some(tags) = call.body.get("tags").filter(|tags| tags.is_object()) {
        resource.body.insert("tags".into(), tags.clone());
    }
    for setting in SETTINGS {
        if let Some(value) = call.body["properties"].get(setting) {
            resource.set(setting, value.clone());
        }
    }
}

/// PATCH of an account: the tags are replaced, settings changed.
pub(super) fn update(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    not_busy(state, call)?;
    arm::get(state, call)?;
    check_tags(&call.body["tags"])?;
    check_properties(&call.body["properties"])?;
    change(state, call);
    arm::get(state, call)
}

/// DELETE of an account: at once, if the test wants no long operation.
pub(super) fn delete(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    not_busy(state, call)?;
    let id = call.id();
    if state.resource(&id).is_none() {
        return Ok(reply::empty(204));
    }
    if state.is_long(&call.operation) {
        let manner = Manner {
            headers: OperationHeaders::AsyncOperation,
            accepted: 202,
            made: 200,
        };
        return Ok(begin(state, call, Effect::Delete, true, manner));
    }
    state.erase(&id);
    Ok(reply::empty(200))
}

/// `listKeys` and `regenerateKey`.
pub(super) fn act(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    if state.is_busy(&call.id()) {
        return Err(reply::arm(
            409,
            "StorageAccountIsNotProvisioned",
            "The storage account provisioning state must be 'Succeeded' before executing the operation.",
        ));
    }
    arm::get(state, call)?;
    let account = state.accounts.get_mut(call.address.name());
    let account = account.ok_or_else(|| reply::no_resource(ACCOUNT, call.address.name(), ""))?;
    match call.verb.to_lowercase().as_str() {
        "listkeys" => {}
        "regeneratekey" => match call.body["keyName"].as_str() {
            Some("key1") => account.keys[0] = new_key(),
            Some("key2") => account.keys[1] = new_key(),
            _ => return Err(reply::arm(400, "InvalidKeyName", "The key name is invalid.")),
        },
        _ => return Err(not_played(call)),
    }
    let key = |name: &str, value: &str| json!({ "creationTime": timestamp(), "keyName": name, "value": value, "permissions": "FULL" });
    let keys = [key("key1", &account.keys[0]), key("key2", &account.keys[1])];
    Ok(reply::json(200, &json!({ "keys": keys })))
}

/// The blob service of an account, which is always there.
pub(super) fn service(state: &mut State, call: &Call<'_>) -> Reply {
    if let Ok(found) = arm::get(state, call) {
        return found;
    }
    let body = json!({
        "id": call.id(), "name": "default", "type": SERVICE, "sku": { "name": "Standard_LRS", "tier": "Standard" },
        "properties": { "cors": { "corsRules": [] }, "deleteRetentionPolicy": { "enabled": false } },
    });
    reply::json(200, &body)
}
