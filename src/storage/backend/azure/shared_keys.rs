//! The end of the account's shared keys, if the registry authenticates with a token. It is a setting, not a stage: nothing waits
//! for it, and a pod that still uses a key must not lose it.

use serde_json::{Value, json};

use super::context::Azure;
use super::stages::ACCOUNT;
use super::step::Store;
use crate::api::Kind;
use crate::config::event_request::EventRequest;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::deployment::{Deployment, text};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::setting::{Applied, Followed, Setting, SettingError, SettingEvents};
use crate::storage::traits::Cluster;

/// Name of the setting. It has no condition: `StorageExists` is the only one on Azure.
const NAME: &str = "shared keys";

/// Reason of the events.
const EVENT: &str = "AzureSharedKeys";

/// Whether no pod of the registry uses a key: there is no Deployment, or its pods are all those of a template with the token.
fn is_unused(snapshot: &Snapshot) -> bool {
    let Some(live) = snapshot.objects.operand(Kind::Deployment, names::REGISTRY) else {
        return true;
    };
    let containers = live.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let variables: Vec<&str> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("env")?.as_array())
        .flatten()
        .map(|variable| text(variable, "name"))
        .collect();
    let deployment = Deployment(live);
    let is_rolled_out = deployment.complete() && deployment.replicas() == deployment.updated();
    is_rolled_out
        && variables.contains(&"AZURE_FEDERATED_TOKEN_FILE")
        && !variables.contains(&super::credentials::USER_KEY)
}

/// The setting, which follows the credentials and the registry's Deployment: it is due when the last pod with a key is gone. `None`:
/// pods still use keys that nobody needs any more. `keyless`: the registry is to log in with a token.
pub fn setting(account: &str, keyless: bool, snapshot: &Snapshot) -> Option<Setting> {
    if keyless && !is_unused(snapshot) {
        return None;
    }
    let state = if keyless { "unused" } else { "needed" };
    Some(Setting {
        condition: NAME,
        reason: "",
        failure: "",
        follows: Some(Followed {
            fingerprint: Fingerprint::of([NAME, account, state]),
            empty: !keyless,
        }),
        probes: false,
        marks: false,
        events: Some(SettingEvents {
            reason: EVENT,
            changed: "is in an account that accepts no keys any more, because the registry logs in with a token",
            failed: "is in an account that still accepts keys",
        }),
    })
}

impl<C: Cluster> Azure<'_, C> {
    /// Name of the setting.
    pub(super) const SHARED_KEYS: &'static str = NAME;
}

impl<C: Cluster> Store<'_, C> {
    /// The Go operator disabled keys only when it created the storage. In an account that was in use before this operator, somebody may
    /// use a key, and a user decides about it.
    fn keys_stay(&self) -> Applied {
        let name = self.effective.account();
        let group = self.arm().map(|arm| arm.group.as_str()).unwrap_or_default();
        let message = format!(
            "storage account {name} still accepts keys, although the registry logs in with a token: if nobody else uses a key, run az \
             storage account update --name {name} --resource-group {group} --allow-shared-key-access false"
        );
        Applied {
            events: vec![EventRequest {
                warning: false,
                reason: EVENT,
                message,
            }],
            ..Applied::default()
        }
    }

    /// Disables the keys of an account of the operator. Those of other accounts stay: they may be in use.
    pub(super) async fn disable_shared_keys(&self) -> Result<Applied, SettingError> {
        if !self.session.is_keyless() || !is_unused(self.request.snapshot) {
            return Ok(Applied::default());
        }
        let account = self.described_account().await?.unwrap_or_default();
        if !account.has_shared_keys() {
            return Ok(Applied::default());
        }
        let name = self.effective.account();
        if !self.is_ours(&account) {
            tracing::info!(
                account = name,
                "the keys of the storage account stay enabled: the account has no tag of this cluster"
            );
            return Ok(Applied::default());
        }
        // The name tells the operator's own account, also where the records are those of another container.
        if self.request.in_use && !self.has_own_name() && !self.has_record(&ACCOUNT) {
            return Ok(self.keys_stay());
        }
        self.backend.cluster.confirm().await?;
        self.forget_account();
        let accounts = self.accounts()?;
        accounts.update(&json!({"allowSharedKeyAccess": false})).await?;
        let account = self.described_account().await?.unwrap_or_default();
        if account.has_shared_keys() {
            let why =
                "Azure accepted that the keys are disabled, and they are not: see the policies of the subscription";
            return Err(super::error::rejected(
                super::account::WRITE,
                &format!("storage account {name}"),
                why.to_owned(),
            )
            .into());
        }
        Ok(Applied {
            changed: true,
            ..Applied::default()
        })
    }
}
