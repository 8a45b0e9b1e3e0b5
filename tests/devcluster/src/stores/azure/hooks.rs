//! What a test does as an administrator, behind the clients' back: resources, accounts, blobs, and how the cloud behaves.

use super::accounts::new_key;
use super::arm::known;
use super::state::{AzureCall, Needed, Resource};
use super::{Azure, LongRunning, accounts, containers, dns, network};
use crate::stores::form::escape;
use crate::stores::wire::Answer;
use anyhow::{Context as _, Result, bail};
use hyper::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

impl Azure {
    /// Makes a resource group; its ID.
    pub fn resource_group(&self, subscription: &str, name: &str, location: &str) -> String {
        self.state().group(subscription, name, location, &Value::Null)
    }

    /// Makes a virtual network in a group (its ID) with tags; the network's ID.
    pub fn virtual_network(&self, group: &str, name: &str, location: &str, tags: &Value) -> String {
        let id = format!("{group}/providers/{}/{name}", network::NETWORK);
        self.state().network(&id, location, tags, &json!(["10.0.0.0/16"]));
        id
    }

    /// Makes a subnet of a network (its ID) with a prefix such as `10.0.1.0/24`; `delegated`: to a service, such as
    /// `Microsoft.Web/serverFarms`. The subnet's ID.
    pub fn subnet(&self, network: &str, name: &str, prefix: &str, delegated: Option<&str>) -> String {
        let id = format!("{network}/subnets/{name}");
        let delegations: Vec<Value> = delegated
            .map(|service| json!({ "name": "delegation", "properties": { "serviceName": service } }))
            .into_iter()
            .collect();
        let properties = json!({ "addressPrefix": prefix, "delegations": delegations });
        self.state().subnet(&id, &properties);
        id
    }

    /// Makes a storage account in a group (its ID) at once; `given` is what PUT would have, and may be without kind and SKU.
    pub fn make_account(&self, group: &str, name: &str, given: &Value) -> Result<String> {
        let id = format!("{group}/providers/{}/{name}", accounts::ACCOUNT);
        let mut given = given.clone();
        if given.is_null() {
            given = json!({});
        }
        let defaults = [("kind", "StorageV2"), ("location", "westeurope")];
        for (name, value) in defaults {
            if given[name].is_null() {
                given[name] = json!(value);
            }
        }
        self.state().account(&id, &given)?;
        Ok(id)
    }

    /// Makes a file share, queue or table in an account (its ID): `kind` as in `fileServices/shares`.
    pub fn make_beside(&self, account: &str, kind: &str, name: &str) -> Result<()> {
        let (service, list) = kind.split_once('/').context("no kind")?;
        let known = known(&format!("{}/{kind}", accounts::ACCOUNT)).context("no such kind")?;
        let id = format!("{account}/{service}/default/{list}/{name}");
        self.state()
            .store(&id, known.name, json!({ "name": name, "type": known.name }));
        Ok(())
    }

    /// Makes a private DNS zone in a group (its ID) at once, unless it is there; its ID.
    pub fn private_zone(&self, group: &str, name: &str, tags: &Value) -> String {
        let id = format!("{group}/providers/{}/{name}", dns::ZONE);
        self.state().zone(&id, tags);
        id
    }

    /// Links a private DNS zone to a virtual network (both by ID); the link's ID.
    pub fn link_zone(&self, zone: &str, name: &str, network: &str) -> String {
        let id = format!("{zone}/virtualNetworkLinks/{name}");
        self.state().link(&id, network, &Value::Null);
        id
    }

    /// Makes an A record of a zone (its ID).
    pub fn record(&self, zone: &str, name: &str, address: &str, metadata: &Value) -> String {
        let id = format!("{zone}/A/{name}");
        let properties = json!({ "ttl": 10, "aRecords": [{ "ipv4Address": address }], "metadata": metadata });
        self.state().record(&id, &properties);
        id
    }

    /// Makes a private endpoint for the blobs of an account, at once: its ID, the IDs of subnet and account.
    pub fn private_endpoint(&self, id: &str, location: &str, tags: &Value, subnet: &str, account: &str) {
        let connection =
            json!({ "name": "blob", "properties": { "privateLinkServiceId": account, "groupIds": ["blob"] } });
        let given = json!({
            "tags": tags,
            "properties": { "subnet": { "id": subnet }, "privateLinkServiceConnections": [connection] },
        });
        self.state().endpoint(id, location, &given);
    }

    /// A resource by its ID, as GET answers it; also one that GET does not find yet.
    pub fn resource(&self, id: &str) -> Option<Value> {
        let state = self.state();
        state.resource(id).map(|resource| network::shown(&state, resource))
    }

    /// IDs of all resources of a kind such as `Microsoft.Network/privateEndpoints`, in order.
    pub fn resources(&self, kind: &str) -> Vec<String> {
        let Some(kind) = known(kind) else {
            return Vec::new();
        };
        let state = self.state();
        let of_kind = state.resources.values().filter(|resource| resource.kind == kind.name);
        of_kind.map(|resource| resource.id.clone()).collect()
    }

    /// Merges a change into a resource (JSON merge patch: `null` removes), such as `{"properties": {"publicNetworkAccess": "Disabled"}}`.
    pub fn change_resource(&self, id: &str, change: &Value) -> Result<()> {
        let mut state = self.state();
        let resource = state.resource_mut(id).context("no such resource")?;
        let mut body = Value::Object(std::mem::take(&mut resource.body));
        merge(&mut body, change);
        resource.body = body.as_object().cloned().unwrap_or_default();
        Ok(())
    }

    /// Replaces the tags of a resource.
    pub fn set_tags(&self, id: &str, tags: &Value) -> Result<()> {
        let mut state = self.state();
        let resource = state.resource_mut(id).context("no such resource")?;
        resource.body.insert("tags".into(), tags.clone());
        Ok(())
    }

    /// A resource goes at once, with all below it, as if another had deleted it.
    pub fn delete_resource(&self, id: &str) {
        self.state().erase(id);
    }

    /// How operations of this name, such as `PrivateEndpoints_CreateOrUpdate`, go on that begin from now on.
    pub fn long_running(&self, operation: &str, how: LongRunning) {
        self.state().long_running.insert(operation.to_owned(), how);
    }

    /// How all others go on.
    pub fn long_running_by_default(&self, how: LongRunning) {
        self.long_running("", how);
    }

    /// Entries of one page of each list.
    pub fn page_length(&self, entries: usize) {
        self.state().page = entries.max(1);
    }

    /// The virtual network (ID) that clients are in, or the Internet. In a network, the host of an account leads where the
    /// private zone that is linked to it says.
    pub fn clients_are_in(&self, network: Option<&str>) {
        self.state().client_network = network.map(ToOwned::to_owned);
    }

    /// How the host of an account that is not there behaves: an answer 404 with that code, such as `AccountNotFound`, or no
    /// connection at all (as by default).
    pub fn unknown_accounts_answer(&self, code: Option<&str>) {
        self.state().unknown_account = code.map(ToOwned::to_owned);
    }
}

fn merge(into: &mut Value, change: &Value) {
    let Some(changes) = change.as_object() else {
        *into = change.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    if let Some(into) = into.as_object_mut() {
        for (name, change) in changes {
            if change.is_null() {
                into.remove(name);
            } else {
                merge(into.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
    }
}

impl Azure {
    /// What was asked so far, by any client.
    pub fn calls(&self) -> Vec<AzureCall> {
        self.state().calls.clone()
    }

    /// Forgets what was asked.
    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    /// What an application needed so far, without repetitions; for the proof that a role has enough, and nothing in vain.
    pub fn needed(&self, client_id: &str) -> BTreeSet<Needed> {
        let state = self.state();
        let calls = state
            .calls
            .iter()
            .filter(|call| call.client_id.as_deref() == Some(client_id));
        calls.flat_map(|call| call.needed.iter().cloned()).collect()
    }

    /// Names of all storage accounts of all subscriptions.
    pub fn accounts(&self) -> Vec<String> {
        self.state().accounts.keys().cloned().collect()
    }

    /// A storage account by its name, as GET answers it.
    pub fn account(&self, name: &str) -> Option<Value> {
        let state = self.state();
        let account = state.accounts.get(name)?;
        state.resource(&account.id).map(Resource::value)
    }

    /// A name of accounts is taken, by somebody whom nobody here sees.
    pub fn take_name(&self, name: &str) {
        self.state().taken.insert(name.to_owned());
    }

    /// Both keys of an account.
    pub fn account_keys(&self, name: &str) -> Result<[String; 2]> {
        let state = self.state();
        let account = state.accounts.get(name).with_context(|| format!("no account {name}"))?;
        Ok(account.keys.clone())
    }

    /// Makes a key of an account anew, `key1` or `key2`; the old one does not count any more.
    pub fn rotate_key(&self, name: &str, key: &str) -> Result<String> {
        let mut state = self.state();
        let account = state
            .accounts
            .get_mut(name)
            .with_context(|| format!("no account {name}"))?;
        let place = match key {
            "key1" => &mut account.keys[0],
            "key2" => &mut account.keys[1],
            _ => bail!("there is no {key}"),
        };
        *place = new_key();
        Ok(place.clone())
    }

    /// How long the deletion of a container takes; meanwhile its name cannot be used.
    pub fn container_deletion(&self, time: Duration) {
        self.state().container_deletion = time;
    }

    /// A call to the blob service of an account, as its administrator; path and query are encoded. Whatever the answer.
    pub async fn blob_call(
        &self,
        account: &str,
        method: Method,
        path: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer> {
        let slot = self.slot(account)?;
        self.shared.azurite.call(&slot, method, path, headers, body).await
    }

    fn slot(&self, account: &str) -> Result<super::azurite::Slot> {
        let state = self.state();
        let account = state
            .accounts
            .get(account)
            .with_context(|| format!("no account {account}"))?;
        Ok(account.slot.clone())
    }

    /// The containers of an account with their metadata.
    pub async fn containers(&self, account: &str) -> Result<Vec<(String, Map<String, Value>)>> {
        containers::all(self.shared.azurite, &self.slot(account)?).await
    }

    /// Makes a container with metadata.
    pub async fn make_container(&self, account: &str, name: &str, metadata: &[(&str, &str)]) -> Result<()> {
        let headers: Vec<(String, &str)> = metadata
            .iter()
            .map(|(name, value)| (format!("x-ms-meta-{name}"), *value))
            .collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let path = (format!("/{name}"), "restype=container");
        let made = self
            .blob_call(account, Method::PUT, (&path.0, path.1), &headers, b"")
            .await?;
        made.good().map(drop)
    }

    /// Replaces the metadata of a container.
    pub async fn set_container_metadata(&self, account: &str, name: &str, metadata: &[(&str, &str)]) -> Result<()> {
        let headers: Vec<(String, &str)> = metadata
            .iter()
            .map(|(name, value)| (format!("x-ms-meta-{name}"), *value))
            .collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let path = format!("/{name}");
        let query = "restype=container&comp=metadata";
        let made = self
            .blob_call(account, Method::PUT, (&path, query), &headers, b"")
            .await?;
        made.good().map(drop)
    }

    /// Deletes a container with all that is in it.
    pub async fn delete_container(&self, account: &str, name: &str) -> Result<()> {
        let path = format!("/{name}");
        let deleted = self
            .blob_call(account, Method::DELETE, (&path, "restype=container"), &[], b"")
            .await?;
        deleted.good().map(drop)
    }

    /// Writes a blob.
    pub async fn put_blob(&self, account: &str, container: &str, name: &str, content: &[u8]) -> Result<()> {
        let headers = [("x-ms-blob-type", "BlockBlob")];
        let path = format!("/{container}/{}", escape(name));
        let written = self
            .blob_call(account, Method::PUT, (&path, ""), &headers, content)
            .await?;
        written.good().map(drop)
    }

    /// The content of a blob, if it is there.
    pub async fn blob(&self, account: &str, container: &str, name: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("/{container}/{}", escape(name));
        let read = self.blob_call(account, Method::GET, (&path, ""), &[], b"").await?;
        if read.status == 404 {
            return Ok(None);
        }
        Ok(Some(read.good()?.body.to_vec()))
    }

    /// Names of the blobs of a container.
    pub async fn blobs(&self, account: &str, container: &str) -> Result<Vec<String>> {
        self.shared.azurite.names(&self.slot(account)?, Some(container)).await
    }

    /// Makes that many blobs of one byte, fast: `PREFIX000000`, `PREFIX000001`, and so on.
    pub async fn fill(&self, account: &str, container: &str, prefix: &str, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        self.shared
            .azurite
            .fill(&self.slot(account)?, container, prefix, count)
            .await
    }
}
