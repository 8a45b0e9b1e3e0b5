//! What the stand-in knows: tenants and who is known there, roles, resources, operations, and accounts' keys.

use super::azurite::{Azurite, Slot};
use super::environment::AzureCloud;
use super::identity::Application;
use super::long_running::{LongRunning, Operation};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) struct State {
    pub cloud: AzureCloud,
    pub azurite: &'static Azurite,
    /// Behind keys of user delegation, base64.
    pub secret: String,
    pub tenants: BTreeSet<String>,
    /// Applications by client ID.
    pub applications: BTreeMap<String, Application>,
    pub assignments: Vec<Assignment>,
    pub subscriptions: BTreeMap<String, Subscription>,
    /// Resources by ID in lower case.
    pub resources: BTreeMap<String, Resource>,
    pub operations: BTreeMap<String, Operation>,
    /// How operations go on, by name; under an empty name all others.
    pub long_running: BTreeMap<String, LongRunning>,
    /// Storage accounts by name.
    pub accounts: BTreeMap<String, Account>,
    /// Names of accounts of subscriptions that nobody here sees.
    pub taken: BTreeSet<String>,
    pub tokens: BTreeMap<String, Token>,
    pub token_seconds: i64,
    /// The identity that instance metadata hands out tokens for, by client ID; the first is the default one.
    pub assigned: Vec<String>,
    /// The virtual network that clients are in; the Internet without one.
    pub client_network: Option<String>,
    /// Containers that are being deleted, by account and name, and when they are gone.
    pub vanishing: BTreeMap<(String, String), Instant>,
    /// How long the deletion of a container takes.
    pub container_deletion: Duration,
    /// How blob services answer whose account is not there: an error code, or a connection that ends.
    pub unknown_account: Option<String>,
    /// Entries of one page of a list.
    pub page: usize,
    /// What the request at hand needed so far.
    pub needed: Vec<Needed>,
    pub calls: Vec<AzureCall>,
}

/// A role that somebody has at a scope.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub client_id: String,
    /// In lower case.
    pub scope: String,
    pub role: Role,
}

/// What a role permits. `*` in an action stands for anything; case does not count.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// Actions, such as `Microsoft.Storage/storageAccounts/read`.
    pub actions: Vec<String>,
    /// What `actions` does not mean.
    pub not_actions: Vec<String>,
    /// Actions on data, such as `Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read`.
    pub data_actions: Vec<String>,
}

impl Role {
    /// A role with these actions, and actions on data.
    pub fn new(actions: &[&str], data_actions: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Self {
            actions: owned(actions),
            not_actions: Vec::new(),
            data_actions: owned(data_actions),
        }
    }

    /// The rights that a CredentialsRequest of the platform asks for; `None` if the manifest has no lists of them.
    pub fn of_credentials_request(manifest: &str) -> Option<Self> {
        let (_, rights) = manifest.split_once("    permissions:")?;
        let (actions, data) = rights.split_once("    dataPermissions:")?;
        let of = |text: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
            lines.map(str::to_owned).collect()
        };
        Some(Self {
            actions: of(actions),
            not_actions: Vec::new(),
            data_actions: of(data),
        })
    }

    /// A role with everything.
    pub fn everything() -> Self {
        Self::new(&["*"], &["*"])
    }

    /// The same without an action.
    #[must_use]
    pub fn without(mut self, action: &str) -> Self {
        self.not_actions.push(action.to_owned());
        self
    }
}

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub tenant: String,
    /// Namespaces of resource providers that are not registered.
    pub unregistered: BTreeSet<String>,
}

/// A resource of Resource Manager.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub id: String,
    pub kind: &'static str,
    /// As it is answered.
    pub body: Map<String, Value>,
    /// GET does not find it yet.
    pub hidden: bool,
}

/// The data plane of a storage account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// The resource's ID, in lower case.
    pub id: String,
    /// Both keys, base64.
    pub keys: [String; 2],
    pub slot: Slot,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub client_id: String,
    pub audience: String,
    pub expires: i64,
}

/// An action that a request needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Needed {
    /// Such as `Microsoft.Storage/storageAccounts/listKeys/action`.
    pub action: String,
    /// Whether it is an action on data.
    pub data: bool,
    /// ID of the resource.
    pub scope: String,
    /// Whether a role of the caller has it.
    pub granted: bool,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureCall {
    /// Its operation, see [`super::super::Asked::operation`].
    pub operation: String,
    /// Method, host, path and query.
    pub request: String,
    /// Who asked, for a token of Entra ID.
    pub client_id: Option<String>,
    /// Actions that were checked, in order.
    pub needed: Vec<Needed>,
    /// Status of the answer; 0 for a connection that was closed.
    pub status: u16,
}

impl State {
    pub fn new(cloud: AzureCloud, azurite: &'static Azurite) -> Self {
        Self {
            cloud,
            azurite,
            secret: super::accounts::new_key(),
            tenants: BTreeSet::new(),
            applications: BTreeMap::new(),
            assignments: Vec::new(),
            subscriptions: BTreeMap::new(),
            resources: BTreeMap::new(),
            operations: BTreeMap::new(),
            long_running: BTreeMap::new(),
            accounts: BTreeMap::new(),
            taken: BTreeSet::new(),
            tokens: BTreeMap::new(),
            token_seconds: 3599,
            assigned: Vec::new(),
            client_network: None,
            vanishing: BTreeMap::new(),
            container_deletion: Duration::ZERO,
            unknown_account: None,
            page: 100,
            needed: Vec::new(),
            calls: Vec::new(),
        }
    }

    pub fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.get(&id.to_lowercase())
    }

    pub fn resource_mut(&mut self, id: &str) -> Option<&mut Resource> {
        self.resources.get_mut(&id.to_lowercase())
    }

    /// Resources of a kind whose IDs begin so, in the order of their IDs.
    pub fn below<'a>(&'a self, prefix: &str, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        let prefix = format!("{}/", prefix.to_lowercase());
        let all = self.resources.iter();
        all.filter(move |(id, resource)| id.starts_with(&prefix) && resource.kind == kind)
            .map(|(_, resource)| resource)
    }
}

impl Resource {
    /// A text of the body, at a JSON pointer; empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// A value of the body, at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) = pointer
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((pointer.trim_start_matches('/'), ""));
        let value = self.body.get(first)?;
        if rest.is_empty() {
            return Some(value);
        }
        value.pointer(&format!("/{rest}"))
    }

    /// Sets a field of `properties`.
    pub fn set(&mut self, property: &str, value: Value) {
        let properties = self
            .body
            .entry("properties")
            .or_insert_with(|| Value::Object(Map::new()));
        properties[property] = value;
    }

    pub fn name(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or_default()
    }

    pub fn value(&self) -> Value {
        Value::Object(self.body.clone())
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Now, as RFC 3339.
pub(super) fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // An error leaves zeros, which are no secret of anybody.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// A random UUID.
pub(super) fn uuid() -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (index, byte) in random::<16>().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let byte = match index {
            6 => (byte & 0x0f) | 0x40,
            8 => (byte & 0x3f) | 0x80,
            _ => byte,
        };
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
