//! Publishes the CA of the storage for the CA ConfigMaps.

use super::controller::Registry;
use super::pass::PassContext;
use crate::api::Kind;
use crate::config::facts::StorageFacts;
use crate::names;
use crate::observe::Controller;
use crate::plan::Plan;
use crate::plan::storage_ca::{self, BeforeRollout};
use crate::status::deployment::Deployment;
use crate::status::judge::Preflight;
use crate::storage;

impl Registry {
    /// The facts of the storage step; `None` until the CA ConfigMaps contain the CA of that storage.
    pub(super) fn publish_first(&self, outcome: &mut storage::Outcome, context: &PassContext) -> Option<StorageFacts> {
        self.set_storage_ca_error(outcome.ca_error.take());
        let facts = outcome.facts.take()?;
        match storage_ca::before_rollout(&facts, &context.snapshot) {
            BeforeRollout::Ready => Some(facts),
            BeforeRollout::First(bundle) => {
                self.set_storage_ca(bundle);
                Some(facts)
            }
            BeforeRollout::PublishFirst(bundle) => {
                self.set_storage_ca(bundle);
                let message = format!(
                    "the CA of the new storage is being written to ConfigMap {}",
                    names::CERTIFICATES_MAP
                );
                outcome.keep_current_storage(&context.config);
                outcome.preflight = Some(Preflight::Waiting(message));
                None
            }
        }
    }

    /// Publishes the CA of this storage alone, when no pod of an earlier rollout needs another CA.
    pub(super) fn publish(&self, facts: &StorageFacts, plan: &Plan, context: &PassContext) {
        let live = context.snapshot.objects.operand(Kind::Deployment, names::REGISTRY);
        let complete = live.is_some_and(|live| Deployment(live).complete());
        if let Some(bundle) = storage_ca::during_rollout(facts, plan, &context.snapshot, complete) {
            self.set_storage_ca(bundle);
        }
    }

    /// Publishes the CA with `managementState: Unmanaged`, without a preflight. If the Config names none, the published
    /// CA stays, because pods may need it.
    pub(super) fn publish_unmanaged(&self, context: &PassContext) {
        let (bundle, error) = match storage::ca_bundle(&context.config, &context.snapshot) {
            Ok(bundle) => (bundle, None),
            Err(error) => (None, Some(error.message)),
        };
        self.set_storage_ca_error(error);
        if bundle.is_some() {
            self.set_storage_ca(bundle);
        }
    }

    /// Sets the CA of the storage for the CA ConfigMaps.
    pub(super) fn set_storage_ca(&self, bundle: Option<String>) {
        if self.context.shared.set_storage_ca(bundle) {
            self.context.caches.trigger(Controller::Certificates);
        }
    }

    /// Sets why the CA of the storage is missing.
    pub(super) fn set_storage_ca_error(&self, error: Option<String>) {
        if self.context.shared.set_storage_ca_error(error) {
            self.context.caches.trigger(Controller::Certificates);
        }
    }
}
