//! Writes of the Config. A pass stores what it adds to the Config before anything uses it.

use serde_json::Value;

use super::controller::{Interrupted, Registry, Stale, Unstored};
use super::pass::PassContext;
use super::report::Outcome;
use crate::api::{Config, Kind, ObjectRef};
use crate::apply::WriteError;
use crate::config::complete::completion;
use crate::config::error_class::ErrorClass;
use crate::config::event_request::EventRequest;
use crate::config::tls::ServingInfo;
use crate::names;
use crate::runtime::random;

/// Bytes of a generated `spec.httpSecret`.
const HTTP_SECRET_BYTES: usize = 64;

impl Registry {
    /// Adds missing fields to the Config: the finalizer, the observed TLS settings and, if `with_secret`,
    /// `spec.httpSecret`. While the cluster's TLS profile cannot be read, the settings observed before stay. Returns whether it wrote
    /// the Config.
    pub(super) async fn complete(&mut self, context: &mut PassContext, with_secret: bool) -> Result<bool, Interrupted> {
        let profile = &context.snapshot;
        let known = profile.objects.unreadable(Kind::ApiServer).is_none();
        let observed = known.then(|| ServingInfo::observed(profile.api_server().as_ref()));
        let secret = if with_secret {
            random::key_hex::<HTTP_SECRET_BYTES>()
        } else {
            None
        };
        let patch = completion(&context.config, observed.as_ref(), secret.as_deref());
        let tls_changes = patch.pointer("/spec/observedConfig").is_some();
        let changes = match &observed {
            Some(observed) if tls_changes => observed.changes(context.config.spec.observed_config.as_ref()),
            _ => Vec::new(),
        };
        let event = |reason, message| EventRequest {
            warning: false,
            reason,
            message,
        };
        let profile = changes
            .iter()
            .cloned()
            .map(|message| event("ObserveTLSSecurityProfile", message));
        self.context.publish_events(profile);
        let complete = patch.as_object().is_none_or(serde_json::Map::is_empty);
        self.store(context, patch).await?;
        if tls_changes {
            let message = format!(
                "spec.observedConfig follows the cluster's TLS profile: {}",
                changes.join("; ")
            );
            self.context.publish_events([event("ObservedConfigChanged", message)]);
        }
        Ok(!complete)
    }

    /// [`Self::complete`] without `spec.httpSecret`, for a pass that uses none of these fields: a refusal is reported beside the rest.
    /// `meanwhile`: what the pass does all the same. Returns whether the pass is to be repeated.
    pub(super) async fn complete_if_accepted(
        &mut self,
        context: &mut PassContext,
        outcome: &mut Outcome,
        meanwhile: &str,
    ) -> Result<bool, Interrupted> {
        match self.complete(context, false).await {
            Ok(_) => Ok(false),
            Err(Interrupted::Unstored(unstored)) => {
                outcome.add_unobserved(format!(
                    "spec.observedConfig of Config {} cannot be written, and {meanwhile}: {}. {}",
                    names::CLUSTER,
                    unstored.error,
                    unstored.remedy()
                ));
                // An edit corrects what the API server refuses for its content, and starts a pass; anything else is tried again.
                Ok(!matches!(unstored.class(), ErrorClass::Invalid(_)))
            }
            Err(interrupted) => Err(interrupted),
        }
    }

    /// Patches the Config, if it has not changed since the pass read it. The pass continues with the stored Config.
    pub(super) async fn store(&mut self, context: &mut PassContext, patch: Value) -> Result<(), Interrupted> {
        if patch.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(());
        }
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let version = context.config.metadata.resource_version.clone();
        let observed = patch.pointer("/spec/observedConfig").is_some();
        let merged = self.context.writer.merge(&reference, patch, version.as_deref()).await;
        let written = merged.map_err(|error| unstored(error, observed))?;
        self.unstored = None;
        // The next attempt reports a Config that does not decode.
        let newest: Box<Config> = serde_json::from_value(written.clone()).map_err(|_| Stale::Undecodable)?;
        context.snapshot.objects.insert(reference, written);
        let before = context.config.metadata.generation;
        self.context.storage.config_written(before, newest.metadata.generation);
        context.config = newest;
        context.confirmed.set(true);
        Ok(())
    }

    /// Removes the operator's finalizer from a Config that is being deleted. Finalizers of others stay as they are.
    pub(super) async fn release(&mut self, config: &Value) -> Result<(), Interrupted> {
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let removed = self
            .context
            .writer
            .remove_finalizer(&reference, config, names::FINALIZER)
            .await;
        removed.map_err(|error| unstored(error, false))?;
        self.unstored = None;
        Ok(())
    }

    /// Reads the Config live before the first write of a pass, unless the pass wrote the Config. If the version
    /// differs, the pass starts over.
    pub(super) async fn confirm(&self, config: &Config) -> Result<(), Interrupted> {
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let live = self.context.writer.read(&reference).await?;
        let version = live
            .as_ref()
            .and_then(|l| l.pointer("/metadata/resourceVersion"))
            .and_then(Value::as_str);
        if version == config.metadata.resource_version.as_deref() {
            Ok(())
        } else {
            Err(Stale::Changed.into())
        }
    }
}

fn unstored(error: WriteError, observed: bool) -> Interrupted {
    match error {
        WriteError::Forbidden(_) | WriteError::Refused(_) | WriteError::Transient(_) => {
            Interrupted::Unstored(Unstored { error, observed })
        }
        WriteError::NotLeading | WriteError::Conflict(_) | WriteError::NotFound => error.into(),
    }
}
