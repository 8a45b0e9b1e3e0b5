//! The stages: service instance and resource key. Their names are not unique in IBM Cloud, so that each is looked for by its
//! name before it is created.

use std::sync::PoisonError;
use std::time::Duration;

use super::bucket::{Store, missing};
use super::error::{held, unusable};
use super::reasons;
use super::resource::{Group, Instance, InstanceState, ResourceKey, Unusable, is_of_instance};
use crate::api::Storage;
use crate::api::registry_storage::IbmCosStorage;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::call::{CallClass, CallError, Called};
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::progress::Wait;
use crate::storage::model::stage::{Stage, StageState};
use crate::storage::model::state::State;
use crate::storage::traits::Cluster;

/// The instance of Cloud Object Storage.
pub const INSTANCE: Stage = Stage {
    name: "service instance",
    deadline: Duration::from_mins(15),
};
/// The resource key with the registry's HMAC keys.
pub const KEY: Stage = Stage {
    name: "resource key",
    deadline: Duration::from_mins(5),
};
/// Wait before a new instance is asked for again.
const CHECK: Duration = Duration::from_secs(10);

impl<C: Cluster> Store<'_, C> {
    /// The storage of the request with these changes of its spec.
    fn with(&self, change: impl FnOnce(&mut IbmCosStorage)) -> Storage {
        let mut spec = self.spec.clone();
        change(&mut spec);
        Storage {
            ibmcos: Some(spec),
            ..self.request.storage.clone()
        }
    }

    /// State of the service instance.
    pub(super) async fn instance_stage(&self) -> Called<StageState> {
        let Some(crn) = &self.effective.instance else {
            return self.named_instance(self.spec.clone()).await;
        };
        let found = self.api.instance(crn).await?;
        let state = match &found {
            Some(instance) => Self::state_of(crn, instance)?,
            None => InstanceState::Gone,
        };
        match state {
            InstanceState::Active => self.active(crn, &found.unwrap_or_default()).await,
            InstanceState::Provisioning => Ok(provisioning(crn)),
            InstanceState::Held(hold) => Err(held(crn, &found.unwrap_or_default(), hold)),
            InstanceState::Gone if self.request.effective_state() == Some(State::Unmanaged) => {
                Ok(StageState::Missing {
                    storage: self.request.storage.clone(),
                    id: crn.clone(),
                    reason: Some(reasons::INSTANCE_GONE),
                })
            }
            InstanceState::Gone => {
                // What belonged to the instance went with it.
                let mut spec = self.spec.clone();
                spec.service_instance_crn = None;
                let key = spec.resource_key_crn.take();
                spec.resource_key_crn = key.filter(|key| !is_of_instance(key, crn));
                self.named_instance(spec).await
            }
        }
    }

    /// The instance with the name that the operator gives, in the resource group; without one it is to be created.
    async fn named_instance(&self, spec: IbmCosStorage) -> Called<StageState> {
        let group = self.group().await?;
        // Without a state, the list has only the instances that are active or being provisioned.
        for state in [None, Some("pre_provisioning"), Some("inactive")] {
            let found = self.api.instances(&self.resource_name, &group, state).await?;
            if let Some(state) = self.named_among(&found, &spec)? {
                return Ok(state);
            }
        }
        Ok(StageState::Missing {
            storage: self.with(|own| *own = spec),
            id: self.resource_name.clone(),
            reason: Some(reasons::INSTANCE_GONE),
        })
    }

    /// The instance among these that can be used, or will be; `None`: another one may be created.
    ///
    /// # Errors
    /// One of them is disabled, and the images may be in it; or a response lacks what is needed.
    fn named_among(&self, found: &[Instance], spec: &IbmCosStorage) -> Called<Option<StageState>> {
        let crn_or_name = |instance: &Instance| instance.crn.clone().unwrap_or_else(|| self.resource_name.clone());
        let mut states = Vec::new();
        for instance in found {
            // One without a state may be usable: another one must not be created beside it.
            states.push((Self::state_of(&crn_or_name(instance), instance)?, instance));
        }
        if let Some((_, instance)) = states.iter().find(|(state, _)| *state == InstanceState::Active) {
            let action = "GET /v2/resource_instances";
            let crn = instance.crn.as_deref();
            let crn = crn.ok_or_else(|| missing("crn", action, &self.resource_name))?;
            self.found(crn);
            let group = self.effective.resource_group.clone();
            return Ok(Some(self.ready(crn, instance, group, spec.clone())));
        }
        if let Some((_, instance)) = states.iter().find(|(state, _)| *state == InstanceState::Provisioning) {
            return Ok(Some(provisioning(&crn_or_name(instance))));
        }
        for (state, instance) in states {
            if let InstanceState::Held(hold) = state {
                return Err(held(&crn_or_name(instance), instance, hold));
            }
        }
        Ok(None)
    }

    /// ID of the resource group for a new instance.
    async fn group(&self) -> Called<String> {
        let action = "role Viewer on the resource group";
        let name = self.effective.resource_group.as_deref().ok_or_else(|| {
            let why = "the resource group is not known: set spec.storage.ibmcos.resourceGroupName";
            unusable(action, &self.resource_name, "NoResourceGroup", why)
        })?;
        let groups = self.api.groups(name).await?;
        let is_named = |group: &Group| {
            group
                .name
                .as_deref()
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        let first = groups.into_iter().find(is_named).ok_or_else(|| {
            let why = format!(
                "the account of the API key has no resource group {name}, or the API key may not see it: correct \
                 spec.storage.ibmcos.resourceGroupName, or grant role Viewer on the group"
            );
            unusable(action, name, "NoResourceGroup", &why)
        })?;
        first.id.ok_or_else(|| missing("id", action, name))
    }

    async fn active(&self, crn: &str, instance: &Instance) -> Called<StageState> {
        let mut name = self.effective.resource_group.clone();
        if let Some(id) = instance.resource_group_id.as_deref().filter(|id| !id.is_empty()) {
            match self.api.group(id).await {
                Ok(group) => name = group.name.or(name),
                Err(error) if error.is_undecided() => return Err(error),
                // The name is for the administrator; the instance is known without it.
                Err(error) => tracing::debug!(%error, "the name of the resource group is not known"),
            }
        }
        Ok(self.ready(crn, instance, name, self.spec.clone()))
    }

    fn ready(&self, crn: &str, instance: &Instance, group: Option<String>, spec: IbmCosStorage) -> StageState {
        self.reach(if self.is_fresh(crn) {
            reasons::INSTANCE_CREATED
        } else {
            reasons::INSTANCE_ACTIVE
        });
        // By its name if the operator gave it, because the CRN was not known when the stage was recorded.
        let is_own = instance.name.as_deref() == Some(&self.resource_name);
        // The spec of Unmanaged storage stays as the user wrote it.
        let filled_in = if self.request.effective_state() == Some(State::Unmanaged) {
            spec
        } else {
            IbmCosStorage {
                location: Some(self.effective.location.clone()),
                resource_group_name: group,
                ..spec
            }
        };
        StageState::Ready {
            storage: self.with(|own| {
                *own = IbmCosStorage {
                    service_instance_crn: Some(crn.to_owned()),
                    ..filled_in
                }
            }),
            id: if is_own {
                self.resource_name.clone()
            } else {
                crn.to_owned()
            },
        }
    }

    /// Remembers that this pass created the service instance, or found it by its name.
    fn found(&self, crn: &str) {
        let found = &self.backend.sessions.found;
        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some((crn.to_owned(), self.request.snapshot.now));
    }

    fn is_fresh(&self, crn: &str) -> bool {
        let found = self
            .backend
            .sessions
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.request.snapshot.now;
        found.as_ref().is_some_and(|(found, pass)| found == crn && *pass == now)
    }

    /// Creates the service instance.
    pub(super) async fn create_instance(&self) -> Called<StageState> {
        let group = self.group().await?;
        let name = &self.resource_name;
        let created = self.api.create_instance(name, &group, &self.infrastructure).await?;
        let crn = created.crn.as_deref();
        let crn = crn
            .ok_or_else(|| missing("crn", "POST /v2/resource_instances", name))?
            .to_owned();
        self.found(&crn);
        // The next step looks at its state.
        let created = Instance {
            name: Some(name.clone()),
            ..created
        };
        Ok(self.ready(&crn, &created, self.effective.resource_group.clone(), self.spec.clone()))
    }

    /// State of the resource key.
    pub(super) async fn key_stage(&self) -> Called<StageState> {
        let instance = self.instance()?;
        let absent = |storage| StageState::Missing {
            storage,
            id: self.resource_name.clone(),
            reason: None,
        };
        if let Some(crn) = &self.effective.key {
            let key = match self.api.key(crn).await {
                Ok(key) => Some(key).filter(|key| !key.is_gone()),
                Err(error) if error.class == CallClass::NotFound => None,
                Err(error) => return Err(error),
            };
            let Some(key) = key else {
                return Ok(absent(self.with(|spec| spec.resource_key_crn = None)));
            };
            key.hmac(instance).map_err(|fault| refused(crn, &fault))?;
            self.reach(reasons::KEY_VALID);
            return Ok(StageState::Ready {
                storage: self.request.storage.clone(),
                id: crn.clone(),
            });
        }
        Ok(match self.named_key(instance).await? {
            Some(crn) => self.key_ready(crn),
            None => absent(self.request.storage.clone()),
        })
    }

    /// CRN of the resource key with the name that the operator gives, if the registry can use it.
    ///
    /// # Errors
    /// There is one whose credentials the API key may not read: it could not read those of another one either.
    async fn named_key(&self, instance: &str) -> Called<Option<String>> {
        let crn = |key: &ResourceKey| {
            let action = "GET /v2/resource_instances/ID/resource_keys";
            let crn = key.crn.clone();
            crn.ok_or_else(|| missing("crn", action, &self.resource_name))
        };
        let found = self.api.keys(instance).await?;
        let is_own = |key: &&ResourceKey| key.name.as_deref() == Some(&self.resource_name) && !key.is_gone();
        let mut hidden = None;
        for key in found.iter().filter(is_own) {
            match key.hmac(instance) {
                Ok(_) => return crn(key).map(Some),
                Err(fault) if fault.is_hidden() => hidden = hidden.or(Some(key)),
                Err(_) => {}
            }
        }
        let Some(key) = hidden else {
            return Ok(None);
        };
        // A list may show less than the key itself.
        let crn = crn(key)?;
        match self.api.key(&crn).await?.hmac(instance) {
            Ok(_) => Ok(Some(crn)),
            Err(fault) if fault.is_hidden() => Err(refused(&crn, &fault)),
            Err(_) => Ok(None),
        }
    }

    fn key_ready(&self, crn: String) -> StageState {
        self.reach(reasons::KEY_CREATED);
        StageState::Ready {
            storage: self.with(|spec| spec.resource_key_crn = Some(crn)),
            id: self.resource_name.clone(),
        }
    }

    /// Creates the resource key.
    pub(super) async fn create_key(&self) -> Called<StageState> {
        let name = &self.resource_name;
        let created = self.api.create_key(name, self.instance()?).await?;
        let crn = created
            .crn
            .ok_or_else(|| missing("crn", "POST /v2/resource_keys", name))?;
        Ok(self.key_ready(crn))
    }
}

fn provisioning(crn: &str) -> StageState {
    let message = format!("service instance {crn} is being created");
    let exists = ConditionUpdate::new(STORAGE_EXISTS, Status::False, reasons::PROVISIONING, message.clone());
    StageState::Pending(Wait::new(CHECK, message).with(vec![exists]))
}

/// Error of a resource key that was deleted.
pub(super) fn gone_key(key: &str) -> CallError {
    CallError {
        class: CallClass::NotFound,
        ..unusable("use of the resource key", key, "Removed", "it was deleted")
    }
}

/// Error of a resource key that the registry cannot use.
pub(super) fn refused(key: &str, fault: &Unusable) -> CallError {
    unusable("use of the resource key", key, fault.code, &fault.why)
}
