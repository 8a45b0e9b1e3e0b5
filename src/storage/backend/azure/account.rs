//! Calls about storage accounts. Source: Azure Storage resource provider, REST API 2023-05-01.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arm::{Arm, Call, Operation};
use super::error::{Failure, account_gone};
use crate::api::Sensitive;
use crate::storage::model::call::{CallClass, CallError, Called};
use crate::storage::net::percent::encoded;

/// Permission to read an account.
pub const READ: &str = "Microsoft.Storage/storageAccounts/read";
/// Permission to create or change an account.
pub const WRITE: &str = "Microsoft.Storage/storageAccounts/write";
/// Permission to delete an account.
const DELETE: &str = "Microsoft.Storage/storageAccounts/delete";
/// Permission to read the keys of an account.
const LIST_KEYS: &str = "Microsoft.Storage/storageAccounts/listKeys/action";
/// Permission to ask whether a name can be used.
const CHECK_NAME: &str = "Microsoft.Storage/checknameavailability/read";
/// Permission to read containers.
pub const READ_CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/read";
/// Permission to delete a container.
const DELETE_CONTAINER: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/delete";
const RESOURCE: &str = "Microsoft.Storage/storageAccounts";
/// Code for a resource group that does not exist.
const NO_GROUP: &str = "ResourceGroupNotFound";

/// A storage account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Tags.
    pub tags: Option<BTreeMap<String, String>>,
    properties: Properties,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    provisioning_state: Option<String>,
    public_network_access: Option<String>,
    allow_shared_key_access: Option<bool>,
}

impl Account {
    /// Whether the account can be used. Azure returns other states while it creates it.
    pub fn is_ready(&self) -> bool {
        matches!(self.properties.provisioning_state.as_deref(), None | Some("Succeeded"))
    }

    /// Whether the account is reachable through private endpoints only.
    pub fn is_private(&self) -> bool {
        self.properties.public_network_access.as_deref() == Some("Disabled")
    }

    /// Whether keys of the account authorize requests.
    pub fn has_shared_keys(&self) -> bool {
        self.properties.allow_shared_key_access != Some(false)
    }

    /// Whether the account has this tag.
    pub fn is_tagged(&self, key: &str, value: &str) -> bool {
        let tags = self.tags.as_ref();
        tags.is_some_and(|tags| tags.iter().any(|(k, v)| k.eq_ignore_ascii_case(key) && v == value))
    }
}

/// What an account holds beside containers: the word for it, path below the account, and the permission to read it.
pub type Kind = (&'static str, &'static str, &'static str);

/// All of these. Azure Stack Hub has no file shares.
pub const KINDS: [Kind; 3] = [
    (
        "queue",
        "queueServices/default/queues",
        "Microsoft.Storage/storageAccounts/queueServices/queues/read",
    ),
    (
        "table",
        "tableServices/default/tables",
        "Microsoft.Storage/storageAccounts/tableServices/tables/read",
    ),
    (
        "file share",
        "fileServices/default/shares",
        "Microsoft.Storage/storageAccounts/fileServices/shares/read",
    ),
];

/// Whether the name of an account can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// No account has the name.
    Available,
    /// An account has the name.
    Taken,
    /// Azure does not allow the name: why.
    Invalid(String),
    /// These credentials may not ask.
    Unknown,
}

/// The accounts of the cluster's resource group.
pub struct Accounts<'a> {
    /// Resource Manager.
    pub arm: &'a Arm,
    /// Name of the account.
    pub name: &'a str,
}

impl Accounts<'_> {
    fn resource(&self) -> String {
        format!("storage account {}", self.name)
    }

    /// Path of the account, which is its ID.
    pub fn path(&self) -> String {
        format!(
            "{}/providers/Microsoft.Storage/storageAccounts/{}",
            self.arm.group_path(None),
            encoded(self.name)
        )
    }

    fn version(&self) -> &'static str {
        if self.arm.stack { "2019-06-01" } else { "2023-05-01" }
    }

    /// The account; `None` if the resource group has none of this name. A resource group that does not exist says nothing about
    /// the account, which may be in another one.
    pub async fn find(&self) -> Called<Option<Account>> {
        let resource = self.resource();
        let call = Call {
            action: READ,
            resource: &resource,
        };
        let found = match self.arm.get(call, &self.path(), self.version()).await {
            Ok(found) => found,
            Err(failure) if failure.error.is_missing() => {
                if failure.code == NO_GROUP {
                    self.prove_absence(&failure).await?;
                }
                return Ok(None);
            }
            Err(failure) => return Err(failure.into()),
        };
        serde_json::from_value(found)
            .map(Some)
            .map_err(|_| call.garbled("no storage account"))
    }

    /// The account; `None` if there is none of this name, not only in this resource group.
    pub async fn find_anywhere(&self) -> Called<Option<Account>> {
        let found = self.find().await?;
        if found.is_none() && self.availability().await? == Availability::Taken {
            return Err(self.elsewhere());
        }
        Ok(found)
    }

    /// Whether an answer that the account does not exist means that there is none. Names of accounts are global: a name that is
    /// taken belongs to an account that these settings do not show.
    ///
    /// # Errors
    /// It may exist in another resource group.
    async fn prove_absence(&self, missing: &Failure) -> Called<()> {
        match self.availability().await? {
            Availability::Available | Availability::Invalid(_) => Ok(()),
            Availability::Unknown if missing.code != NO_GROUP => Ok(()),
            Availability::Unknown | Availability::Taken => Err(self.elsewhere()),
        }
    }

    /// Error for an account that may exist, but not where these settings say.
    fn elsewhere(&self) -> CallError {
        let message = format!(
            "resource group {} does not exist or has no such account, and the name is in use: correct azure_resourcegroup and \
             azure_subscription_id in the Secret with the credentials",
            self.arm.group
        );
        super::error::rejected(READ, &self.resource(), message)
    }

    /// Whether the name can be used, in the whole cloud.
    pub async fn availability(&self) -> Called<Availability> {
        let resource = self.resource();
        let call = Call {
            action: CHECK_NAME,
            resource: &resource,
        };
        let path = format!(
            "{}/providers/Microsoft.Storage/checkNameAvailability",
            self.arm.subscription_path()
        );
        let content = json!({"name": self.name, "type": RESOURCE});
        let query = format!("api-version={}", self.version());
        let answer = match self.arm.ask(call, &path, &query, Some(&content)).await {
            Ok(answer) => answer,
            Err(failure) if failure.error.class == CallClass::Forbidden => return Ok(Availability::Unknown),
            // Whatever a missing API means, it does not mean that the name is available.
            Err(failure) if failure.error.is_missing() => {
                return Err(CallError {
                    class: CallClass::Rejected,
                    ..failure.into()
                });
            }
            Err(failure) => return Err(failure.into()),
        };
        let text = |member: &str| answer.get(member).and_then(Value::as_str).unwrap_or_default();
        Ok(
            match (answer.get("nameAvailable").and_then(Value::as_bool), text("reason")) {
                (Some(true), _) => Availability::Available,
                (_, "AccountNameInvalid") => Availability::Invalid(text("message").to_owned()),
                _ => Availability::Taken,
            },
        )
    }

    /// Creates the account.
    pub async fn create(&self, tags: &BTreeMap<String, String>, keyless: bool) -> Called<()> {
        let region = self.region().await?;
        let mut content = json!({
            "kind": if self.arm.stack { "Storage" } else { "StorageV2" },
            "location": region, "sku": {"name": "Standard_LRS"}, "tags": tags,
        });
        if !self.arm.stack {
            content["properties"] = json!({
                "supportsHttpsTrafficOnly": true, "allowBlobPublicAccess": false, "minimumTlsVersion": "TLS1_2",
            });
            if keyless {
                content["properties"]["allowSharedKeyAccess"] = json!(false);
            }
        }
        self.write(Method::PUT, &content).await
    }

    /// Changes properties of the account.
    pub async fn update(&self, properties: &Value) -> Called<()> {
        self.write(Method::PATCH, &json!({"properties": properties})).await
    }

    async fn write(&self, method: Method, content: &Value) -> Called<()> {
        let resource = self.resource();
        let call = Call {
            action: WRITE,
            resource: &resource,
        };
        let path = self.path();
        let written = self
            .arm
            .change(call, method, &path, self.version(), Some(content))
            .await;
        written.map_err(|failure| match failure.code.as_str() {
            "MissingSubscriptionRegistration"
            | "MissingRegistrationForResourceProvider"
            | "SubscriptionNotRegistered" => {
                let message = format!(
                    "{}; register resource provider Microsoft.Storage in subscription {}",
                    failure.error.message, self.arm.subscription
                );
                CallError {
                    message,
                    ..failure.into()
                }
            }
            _ => failure.into(),
        })
    }

    /// Region of the cluster; if it is not known, that of its resource group.
    async fn region(&self) -> Called<String> {
        if !self.arm.region.is_empty() {
            return Ok(self.arm.region.clone());
        }
        let resource = format!("resource group {}", self.arm.group);
        let call = Call {
            action: "Microsoft.Resources/subscriptions/resourceGroups/read",
            resource: &resource,
        };
        let version = if self.arm.stack { "2018-05-01" } else { "2021-04-01" };
        let found = self.arm.get(call, &self.arm.group_path(None), version).await?;
        let location = found.get("location").and_then(Value::as_str).unwrap_or_default();
        if location.is_empty() {
            return Err(call.garbled("a resource group without a location"));
        }
        Ok(location.to_owned())
    }

    /// The operation on the account that this process started: its creation, or a change of it.
    pub async fn operation(&self) -> Called<Operation> {
        self.operation_for(WRITE).await
    }

    /// The same for a deletion.
    pub async fn deletion(&self) -> Called<Operation> {
        self.operation_for(DELETE).await
    }

    async fn operation_for(&self, action: &'static str) -> Called<Operation> {
        let resource = self.resource();
        let call = Call {
            action,
            resource: &resource,
        };
        self.arm.operation(call, &self.path()).await
    }

    /// Whether this process started an operation on the account, of which it did not see the end. Makes no call.
    pub fn is_changing(&self) -> bool {
        self.arm.has_operation(&self.path())
    }

    /// The first key. Where the account does not exist, neither does the container.
    pub async fn key(&self) -> Called<Sensitive> {
        let resource = self.resource();
        let call = Call {
            action: LIST_KEYS,
            resource: &resource,
        };
        let path = format!("{}/listKeys", self.path());
        let query = format!("api-version={}&$expand=kerb", self.version());
        let answer = match self.arm.ask(call, &path, &query, None).await {
            Ok(answer) => answer,
            Err(failure) if failure.error.is_missing() => {
                self.prove_absence(&failure).await?;
                return Err(account_gone(failure.into()));
            }
            Err(failure) => return Err(failure.into()),
        };
        let key = answer
            .pointer("/keys/0/value")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if key.is_empty() {
            return Err(call.rejected("the account has no key: renew its keys, or delete and create it again"));
        }
        Ok(Sensitive::new(key))
    }

    /// Deletes the account with everything in it.
    pub async fn delete(&self) -> Called<()> {
        let resource = self.resource();
        let call = Call {
            action: DELETE,
            resource: &resource,
        };
        self.arm.delete(call, &self.path(), self.version()).await
    }

    /// Names of all containers.
    pub async fn containers(&self) -> Called<Vec<String>> {
        let resource = self.resource();
        let call = Call {
            action: READ_CONTAINERS,
            resource: &resource,
        };
        Ok(self.names(call, "blobServices/default/containers").await?)
    }

    /// Names of what the account holds beside containers.
    pub async fn others(&self, (_, path, action): Kind) -> Called<Vec<String>> {
        let resource = self.resource();
        let call = Call {
            action,
            resource: &resource,
        };
        match self.names(call, path).await {
            // Accounts of this kind have none.
            Err(failure) if failure.code == "FeatureNotSupportedForAccount" => Ok(Vec::new()),
            found => Ok(found?),
        }
    }

    /// Names of all entries of a listing below the account.
    async fn names(&self, call: Call<'_>, path: &str) -> Result<Vec<String>, Failure> {
        let path = format!("{}/{path}", self.path());
        let found = self.arm.pages(call, &path, self.version()).await?;
        let name = |entry: &Value| Some(entry.get("name")?.as_str()?.to_owned());
        let names: Option<Vec<String>> = found.iter().map(name).collect();
        names.ok_or_else(|| call.garbled("an entry without a name").into())
    }

    /// Deletes a container with its content, which the network rules of the account do not prevent. One that does not exist is a
    /// success.
    pub async fn delete_container(&self, container: &str) -> Called<()> {
        let resource = format!("container {container} of storage account {}", self.name);
        let call = Call {
            action: DELETE_CONTAINER,
            resource: &resource,
        };
        let path = format!("{}/blobServices/default/containers/{}", self.path(), encoded(container));
        self.arm.delete(call, &path, self.version()).await
    }

    /// Metadata of a container, from Resource Manager, which the network rules of the account do not concern. `None` if the
    /// container does not exist.
    pub async fn metadata(&self, container: &str) -> Called<Option<BTreeMap<String, String>>> {
        let resource = format!("container {container} of storage account {}", self.name);
        let call = Call {
            action: READ_CONTAINERS,
            resource: &resource,
        };
        let path = format!("{}/blobServices/default/containers/{}", self.path(), encoded(container));
        let found = self.arm.find(call, &path, self.version()).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let metadata = found.pointer("/properties/metadata").and_then(Value::as_object);
        let text = |(key, value): (&String, &Value)| Some((key.to_ascii_lowercase(), value.as_str()?.to_owned()));
        Ok(Some(
            metadata
                .map(|members| members.iter().filter_map(text).collect())
                .unwrap_or_default(),
        ))
    }
}
