//! What tests do to IBM Cloud behind the operator's back, and what they see of it.

use super::Ibm;
use super::state::{ApiKey, Bucket, Group};
use crate::stores::wire::Keys;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;

impl Ibm {
    /// Makes an API key of an account.
    pub fn api_key(&self, account: &str) -> String {
        let mut state = self.state();
        let key = format!("devcluster-api-key-{}-of-{account}", state.number());
        let record = ApiKey {
            account: account.to_owned(),
            redacted: false,
        };
        state.api_keys.insert(key.clone(), record);
        key
    }

    /// From now on the API key may or may not see the credentials of resource keys; tokens follow.
    pub fn redact(&self, key: &str, redacted: bool) {
        let mut state = self.state();
        if let Some(known) = state.api_keys.get_mut(key) {
            known.redacted = redacted;
            let tokens = state.tokens.values_mut().filter(|token| token.api_key == key);
            tokens.for_each(|token| token.redacted = redacted);
        }
    }

    /// Takes an API key away. Its tokens stay valid.
    pub fn delete_api_key(&self, key: &str) {
        self.state().api_keys.remove(key);
    }

    /// The tokens of an API key end.
    pub fn end_tokens(&self, key: &str) {
        self.state().tokens.retain(|_, token| token.api_key != key);
    }

    /// How many seconds new tokens live; an hour without a number.
    pub fn token_seconds(&self, seconds: Option<i64>) {
        self.state().token_seconds = seconds;
    }

    /// Whether new tokens name no account.
    pub fn without_account(&self, without: bool) {
        self.state().without_account = without;
    }

    /// Makes a resource group of an account, unless there is one of this name; its ID.
    pub fn group(&self, account: &str, name: &str) -> String {
        let mut state = self.state();
        let known = state
            .groups
            .iter()
            .find(|group| group.account == account && group.name == name);
        if let Some(known) = known {
            return known.id.clone();
        }
        let id = format!("group-{}", state.number());
        state.groups.push(Group {
            account: account.to_owned(),
            id: id.clone(),
            name: name.to_owned(),
        });
        id
    }

    /// How often a new instance is read as `provisioning`.
    pub fn provisioning(&self, reads: usize) {
        self.state().provisioning = reads;
    }

    /// Makes an instance of Cloud Object Storage, which is active; its CRN.
    pub fn make_instance(&self, account: &str, name: &str, group: &str) -> String {
        let mut state = self.state();
        let crn = state.add_instance(account, name, group, Value::Null).crn;
        if let Some(instance) = state.instance(&crn) {
            instance.pending = 0;
        }
        crn
    }

    /// CRN of the newest instance of this name, or the one that it is going to have.
    pub fn crn_of(&self, account: &str, name: &str) -> String {
        let state = self.state();
        let known = state
            .instances
            .iter()
            .rev()
            .find(|one| one.account == account && one.name == name);
        known.map_or_else(|| state.next_instance(account, name).1, |one| one.crn.clone())
    }

    /// Sets the state of an instance, such as `removed`, with which its buckets go.
    pub fn set_instance(&self, crn: &str, to: &str) {
        if let Some(instance) = self.state().instance(crn) {
            to.clone_into(&mut instance.state);
            instance.pending = 0;
        }
        if to == "removed" {
            self.state().forget_buckets_of(crn);
        }
    }

    /// It is as if the instance had never been. Its buckets go with it.
    pub fn forget_instance(&self, crn: &str) {
        let mut state = self.state();
        state.instances.retain(|one| one.crn != crn);
        state.forget_buckets_of(crn);
    }

    /// How many creations of a bucket are refused after one of the same name was deleted from now on.
    pub fn keep_names(&self, creations: usize) {
        self.state().kept = Some(creations);
    }

    /// Instances of this name: CRN, state, and the request that created it (null: no request did).
    pub fn instances(&self, name: &str) -> Vec<(String, String, Value)> {
        let state = self.state();
        let named = state.instances.iter().filter(|one| one.name == name);
        named
            .map(|one| (one.crn.clone(), one.state.clone(), one.request.clone()))
            .collect()
    }

    /// Makes a resource key with HMAC keys; its CRN.
    pub async fn make_key(&self, instance: &str, name: &str, role: &str) -> Result<String> {
        let issued = self.shared.issued(name).await;
        let issued = issued.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        let mut state = self.state();
        let instance = state.instance(instance).cloned().context("no such instance")?;
        Ok(state.add_key(&instance, name, role, Some(issued)).crn)
    }

    /// Replaces the credentials of a resource key, as they are answered.
    pub fn set_credentials(&self, key: &str, credentials: Value) {
        if let Some(key) = self.state().key(key) {
            key.credentials = Some(credentials);
        }
    }

    /// Takes a resource key away, as IBM remembers it: `removed`.
    pub fn remove_key(&self, key: &str) {
        if let Some(key) = self.state().key(key) {
            "removed".clone_into(&mut key.state);
        }
    }

    /// CRNs of the resource keys of an instance that are not removed.
    pub fn keys(&self, instance: &str) -> Vec<String> {
        let state = self.state();
        let keys = state
            .keys
            .iter()
            .filter(|key| key.instance == instance && key.state != "removed");
        keys.map(|key| key.crn.clone()).collect()
    }

    /// HMAC keys of a resource key.
    pub fn hmac(&self, key: &str) -> Option<Keys> {
        self.state().key(key)?.hmac.clone()
    }

    /// Makes a bucket in an instance.
    pub async fn make_bucket(&self, instance: &str, name: &str) -> Result<()> {
        let answer = self.shared.create(name).await?;
        if answer.status != 200 {
            bail!("{name}: {}: {}", answer.status, answer.text());
        }
        let bucket = Bucket {
            instance: instance.to_owned(),
            constraint: "us-south-smart".to_owned(),
        };
        self.state().buckets.insert(name.to_owned(), bucket);
        Ok(())
    }

    /// Forgets a bucket that the store behind does not have any more.
    pub fn forget_bucket(&self, name: &str) {
        self.state().forget_bucket(name);
    }

    /// Instance and LocationConstraint of a bucket.
    pub fn bucket(&self, name: &str) -> Option<(String, String)> {
        let state = self.state();
        let bucket = state.buckets.get(name)?;
        Some((bucket.instance.clone(), bucket.constraint.clone()))
    }

    /// Buckets of all instances whose name holds the text.
    pub fn buckets(&self, part: &str) -> Vec<String> {
        let state = self.state();
        state
            .buckets
            .keys()
            .filter(|name| name.contains(part))
            .cloned()
            .collect()
    }
}
