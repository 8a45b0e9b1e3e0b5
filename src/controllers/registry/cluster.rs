//! Access of storage steps to the cluster. Writes happen only while this process leads, and only for the newest Config.

use std::cell::Cell;

use serde_json::Value;

use crate::api::{Config, Kind, ObjectRef, Sensitive};
use crate::apply::{WriteError, Writer};
use crate::names;
use crate::storage::model::error::StorageError;
use crate::storage::{Cluster, Creation};

/// Access to the cluster for one version of the Config. Before the first change it reads the Config live, so that an
/// outdated Config never causes the creation or deletion of storage.
pub(super) struct ClusterAccess<'a> {
    writer: &'a Writer,
    version: Option<String>,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unread,
    Newest,
    Stale,
}

impl<'a> ClusterAccess<'a> {
    pub(super) fn new(writer: &'a Writer, config: &Config) -> Self {
        Self {
            writer,
            version: config.metadata.resource_version.clone(),
            state: Cell::new(State::Unread),
        }
    }

    /// Access for a pass that may have read or written the Config already (`confirmed`). A pass reads the Config live at
    /// most once.
    pub(super) fn continued(writer: &'a Writer, config: &Config, confirmed: bool) -> Self {
        let access = Self::new(writer, config);
        if confirmed {
            access.state.set(State::Newest);
        }
        access
    }

    /// Whether the Config is known to be the newest version.
    pub(super) fn is_confirmed(&self) -> bool {
        self.state.get() == State::Newest
    }
}

fn transient(error: &WriteError) -> StorageError {
    StorageError::transient(error.to_string())
}

impl Cluster for ClusterAccess<'_> {
    async fn confirm(&self) -> Result<(), StorageError> {
        if !self.writer.leads() {
            return Err(transient(&WriteError::NotLeading));
        }
        if self.state.get() == State::Unread {
            let config = ObjectRef::new(Kind::Config, "", names::CLUSTER);
            let live = self.writer.read(&config).await.map_err(|error| transient(&error))?;
            let version = live
                .as_ref()
                .and_then(|l| l.pointer("/metadata/resourceVersion"))
                .and_then(Value::as_str);
            let newest = version == self.version.as_deref();
            self.state.set(if newest { State::Newest } else { State::Stale });
        }
        if self.is_stale() {
            return Err(StorageError::transient("the Config was changed at the same time"));
        }
        Ok(())
    }

    async fn registry_token(&self, audience: &str) -> Result<Sensitive, StorageError> {
        let account = names::REGISTRY_SERVICE_ACCOUNT;
        let reference = ObjectRef::new(Kind::ServiceAccount, names::NAMESPACE, account);
        let token = self.writer.token(&reference, audience).await;
        token.map_err(|error| {
            let message =
                format!("cannot request a token of ServiceAccount {account} for audience {audience}: {error}");
            match error {
                WriteError::Refused(_) | WriteError::Forbidden(_) => StorageError::action_required(message),
                _ => StorageError::transient(message),
            }
        })
    }

    fn is_stale(&self) -> bool {
        self.state.get() == State::Stale
    }

    async fn create_claim(&self, claim: &Value) -> Result<Creation, StorageError> {
        self.confirm().await?;
        let name = claim
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or(names::DEFAULT_CLAIM);
        let reference = ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, name);
        match self.writer.create(&reference, claim).await {
            Ok(_) => Ok(Creation::Created),
            Err(WriteError::Conflict(_)) => Ok(Creation::AlreadyExists),
            Err(error @ (WriteError::Refused(_) | WriteError::Forbidden(_))) => {
                Err(StorageError::action_required(error.to_string()))
            }
            Err(error) => Err(transient(&error)),
        }
    }

    async fn delete_claim(&self, name: &str, uid: &str, version: &str) -> Result<(), StorageError> {
        self.confirm().await?;
        let reference = ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, name);
        self.writer
            .delete_version(&reference, uid, version)
            .await
            .map_err(|error| transient(&error))
    }
}
