//! What the stand-in knows: API keys and tokens, resource groups, service instances, resource keys, and which bucket is in
//! which instance.

use super::super::wire::Keys;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Plan Standard of Cloud Object Storage.
pub(super) const PLAN: &str = "744bfc56-d12c-4866-88d5-dac9139e0e5d";
/// Cloud Object Storage in the catalogue.
const SERVICE: &str = "dff97f5c-bc5e-4455-b470-411c3edbe49c";
const ROLES: &str = "crn:v1:bluemix:public:iam::::serviceRole:";
/// How long a token lives, in seconds.
const LIFE: i64 = 3600;
/// How many creations of a bucket are refused after one of this name was deleted, unless a test says otherwise. IBM keeps the names
/// for about ten minutes, and those of a deleted instance for seven days; clocks of tests are not of one mind about minutes.
const KEPT: usize = 1;

#[derive(Default)]
pub(super) struct State {
    pub api_keys: BTreeMap<String, ApiKey>,
    pub tokens: BTreeMap<String, Token>,
    pub token_seconds: Option<i64>,
    /// Tokens name no account.
    pub without_account: bool,
    pub groups: Vec<Group>,
    pub instances: Vec<Instance>,
    pub keys: Vec<Key>,
    pub buckets: BTreeMap<String, Bucket>,
    /// Names of deleted buckets, with the number of creations that are still refused.
    pub kept_names: BTreeMap<String, usize>,
    /// How many creations of the name of a deleted bucket are refused.
    pub kept: Option<usize>,
    /// Buckets that went with their instance, and that the store behind still has.
    pub abandoned: BTreeSet<String>,
    /// How often a new instance is read before it is active.
    pub provisioning: usize,
    count: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ApiKey {
    pub account: String,
    /// It may not see the credentials of resource keys.
    pub redacted: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The API key that it was given for.
    pub api_key: String,
    pub account: String,
    pub redacted: bool,
    pub expires: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub account: String,
    pub id: String,
    pub name: String,
}

#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub account: String,
    pub guid: String,
    pub crn: String,
    pub name: String,
    pub group: String,
    pub state: String,
    /// How often it is still read as `provisioning`.
    pub pending: usize,
    /// The body of the request that created it.
    pub request: Value,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub account: String,
    pub guid: String,
    pub crn: String,
    pub name: String,
    pub instance: String,
    pub role: String,
    pub state: String,
    pub hmac: Option<Keys>,
    /// In place of the credentials.
    pub credentials: Option<Value>,
    pub source: String,
}

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub instance: String,
    pub constraint: String,
}

/// A text that is always the same for the same parts, in the form of a UUID.
fn uuid(parts: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, parts.as_bytes());
    let hex: Vec<String> = digest
        .as_ref()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let hex = hex.concat();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

impl State {
    /// A number that nobody had.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    pub fn lifetime(&self) -> i64 {
        self.token_seconds.unwrap_or(LIFE)
    }

    /// The CRN that the next instance of this name gets.
    pub fn next_instance(&self, account: &str, name: &str) -> (String, String) {
        let earlier = self
            .instances
            .iter()
            .filter(|one| one.account == account && one.name == name);
        let guid = uuid(&format!("{account}/{name}/{}", earlier.count()));
        let crn = format!("crn:v1:bluemix:public:cloud-object-storage:global:a/{account}:{guid}::");
        (guid, crn)
    }

    pub fn add_instance(&mut self, account: &str, name: &str, group: &str, request: Value) -> Instance {
        let (guid, crn) = self.next_instance(account, name);
        let pending = self.provisioning;
        let instance = Instance {
            account: account.to_owned(),
            guid,
            crn,
            name: name.to_owned(),
            group: group.to_owned(),
            state: "active".to_owned(),
            pending,
            request,
        };
        self.instances.push(instance.clone());
        instance
    }

    pub fn add_key(&mut self, instance: &Instance, name: &str, role: &str, hmac: Option<Keys>) -> Key {
        let guid = uuid(&format!("{}/{name}/{}", instance.crn, self.number()));
        let prefix = instance.crn.trim_end_matches(':');
        let role = if role.starts_with("crn:") {
            role.to_owned()
        } else {
            format!("{ROLES}{role}")
        };
        let key = Key {
            account: instance.account.clone(),
            crn: format!("{prefix}:resource-key:{guid}"),
            guid,
            name: name.to_owned(),
            instance: instance.crn.clone(),
            role,
            state: "active".to_owned(),
            hmac,
            credentials: None,
            source: instance.crn.clone(),
        };
        self.keys.push(key.clone());
        key
    }

    /// A bucket is gone. Nobody gets its name for a while.
    pub fn forget_bucket(&mut self, name: &str) {
        if self.buckets.remove(name).is_some() {
            let kept = self.kept.unwrap_or(KEPT);
            self.kept_names.insert(name.to_owned(), kept);
        }
    }

    /// The buckets of an instance go with it.
    pub fn forget_buckets_of(&mut self, instance: &str) {
        let all = self.buckets.iter();
        let of_instance = all.filter(|(_, bucket)| bucket.instance == instance);
        let names: Vec<String> = of_instance.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.forget_bucket(&name);
            self.abandoned.insert(name);
        }
    }

    /// Whether a creation of this name is refused now, because a bucket of the name was deleted.
    pub fn keeps_name(&mut self, name: &str) -> bool {
        match self.kept_names.get_mut(name) {
            Some(0) | None => {
                self.kept_names.remove(name);
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// An instance by CRN or GUID.
    pub fn instance(&mut self, id: &str) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|one| one.crn == id || one.guid == id)
    }

    /// A resource key by CRN or GUID.
    pub fn key(&mut self, id: &str) -> Option<&mut Key> {
        self.keys.iter_mut().find(|one| one.crn == id || one.guid == id)
    }
}

impl Instance {
    /// Whether a list shows it that asks for this state. Without one, it has those that are active or being provisioned.
    pub fn is_listed(&self, state: Option<&str>) -> bool {
        let now = if self.pending > 0 { "provisioning" } else { &self.state };
        match state {
            Some(state) => state == now,
            None => matches!(now, "active" | "provisioning"),
        }
    }

    /// Its state, read once.
    pub fn read(&mut self) -> String {
        if self.pending > 0 {
            self.pending -= 1;
            return "provisioning".to_owned();
        }
        self.state.clone()
    }

    /// As it is answered.
    pub fn json(&self, state: &str) -> Value {
        let url = format!("/v2/resource_instances/{}", self.guid);
        let operation = if state == "provisioning" {
            "in progress"
        } else {
            "succeeded"
        };
        json!({
            "id": self.crn, "guid": self.guid, "url": url, "created_at": STAMP, "updated_at": STAMP, "deleted_at": null,
            "created_by": "IBMid-1", "updated_by": "", "deleted_by": "", "scheduled_reclaim_at": null, "restored_at": null,
            "scheduled_reclaim_by": "", "restored_by": "", "name": self.name, "region_id": "global",
            "account_id": self.account, "reseller_channel_id": "", "resource_plan_id": PLAN, "resource_group_id": self.group,
            "resource_group_crn": format!("crn:v1:bluemix:public:resource-controller::a/{}::resource-group:{}", self.account, self.group),
            "target_crn": "crn:v1:bluemix:public:globalcatalog::::deployment:744bfc56-d12c-4866-88d5-dac9139e0e5d%3Aglobal",
            "allow_cleanup": false, "crn": self.crn, "state": state, "type": "service_instance", "sub_type": "",
            "resource_id": SERVICE, "dashboard_url": format!("https://cloud.ibm.com/objectstorage/{}", self.guid),
            "last_operation": {"type": "create", "state": operation, "async": false, "description": "Completed create instance operation"},
            "resource_aliases_url": format!("{url}/resource_aliases"), "resource_bindings_url": format!("{url}/resource_bindings"),
            "resource_keys_url": format!("{url}/resource_keys"), "plan_history": [], "migrated": false, "locked": false,
        })
    }
}

const STAMP: &str = "2026-01-01T00:00:00.000000000Z";

impl Key {
    /// As it is answered.
    pub fn json(&self, redacted: bool) -> Value {
        let url = format!("/v2/resource_keys/{}", self.guid);
        json!({
            "id": self.crn, "guid": self.guid, "url": url, "created_at": STAMP, "updated_at": STAMP, "deleted_at": null,
            "created_by": "IBMid-1", "updated_by": "", "deleted_by": "", "source_crn": self.source, "name": self.name,
            "role": self.role, "crn": self.crn, "state": self.state, "account_id": self.account, "resource_group_id": "",
            "resource_id": SERVICE, "credentials": self.credentials(redacted), "iam_compatible": true, "migrated": false,
            "resource_instance_url": format!("/v2/resource_instances/{}", self.instance), "resource_alias_url": null,
        })
    }

    fn credentials(&self, redacted: bool) -> Value {
        if redacted {
            return json!({ "REDACTED": "REDACTED_EXPLICIT" });
        }
        if let Some(credentials) = &self.credentials {
            return credentials.clone();
        }
        let mut credentials = json!({
            "apikey": format!("api-key-of-{}", self.guid),
            "endpoints": "https://control.cloud-object-storage.cloud.ibm.com/v2/endpoints",
            "iam_apikey_description": "Auto-generated", "iam_apikey_id": "ApiKey-1", "iam_apikey_name": self.name,
            "iam_role_crn": self.role, "iam_serviceid_crn": "crn:v1:bluemix:public:iam-identity::a/1::serviceid:ServiceId-1",
            "resource_instance_id": self.instance,
        });
        if let Some(hmac) = &self.hmac {
            credentials["cos_hmac_keys"] = json!({ "access_key_id": hmac.id, "secret_access_key": hmac.secret });
        }
        credentials
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
