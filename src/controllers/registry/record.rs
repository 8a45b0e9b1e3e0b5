//! Stores first what a pass adds to the Config, before anything uses it.

use serde_json::Value;

use super::{Interrupted, Registry, Unstored};
use crate::api::{Config, Kind, ObjectRef};
use crate::apply::WriteError;
use crate::config::complete::completion;
use crate::config::notice::Notice;
use crate::config::snapshot::Snapshot;
use crate::config::tls::ServingInfo;
use crate::names;
use crate::runtime::random;

/// Bytes of a generated `spec.httpSecret`.
const HTTP_SECRET_BYTES: usize = 64;

impl Registry {
    /// Adds what is missing: finalizer, observed TLS settings and, `with_secret`, the upload secret. Tells whether it
    /// wrote, and so has read the newest Config.
    pub(super) async fn complete(
        &mut self,
        config: Box<Config>,
        snapshot: Snapshot,
        with_secret: bool,
    ) -> Result<(Box<Config>, Snapshot, bool), Interrupted> {
        let observed = ServingInfo::observed(snapshot.api_server().as_ref());
        let secret = if with_secret {
            random::key_hex::<HTTP_SECRET_BYTES>()
        } else {
            None
        };
        let patch = completion(&config, Some(&observed), secret.as_deref());
        let tls_changes = patch.pointer("/spec/observedConfig").is_some();
        let news = if tls_changes {
            observed.news(config.spec.observed_config.as_ref())
        } else {
            Vec::new()
        };
        let said = |reason, note| Notice {
            warning: false,
            reason,
            note,
        };
        let profile = news.iter().cloned().map(|note| said("ObserveTLSSecurityProfile", note));
        self.context.tell(profile);
        let (config, snapshot, wrote) = self.store(config, snapshot, patch).await?;
        if wrote && tls_changes {
            let note = format!(
                "spec.observedConfig follows the cluster's TLS profile: {}",
                news.join("; ")
            );
            self.context.tell([said("ObservedConfigChanged", note)]);
        }
        Ok((config, snapshot, wrote))
    }

    /// Patches the Config, only if it is still the one that the pass began with; the pass goes on with what was stored.
    pub(super) async fn store(
        &mut self,
        config: Box<Config>,
        mut snapshot: Snapshot,
        patch: Value,
    ) -> Result<(Box<Config>, Snapshot, bool), Interrupted> {
        if patch.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok((config, snapshot, false));
        }
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let version = config.metadata.resource_version.clone();
        let observed = patch.pointer("/spec/observedConfig").is_some();
        let merged = self.context.writer.merge(&reference, patch, version.as_deref()).await;
        let written = merged.map_err(|error| match error {
            WriteError::Forbidden(_) | WriteError::Refused(_) | WriteError::Transient(_) => {
                Interrupted::Unstored(Unstored { error, observed })
            }
            WriteError::NotLeading | WriteError::Conflict(_) | WriteError::NotFound => error.into(),
        })?;
        self.unstored = None;
        let newest: Result<Box<Config>, _> = serde_json::from_value(written.clone());
        snapshot.objects.insert(reference, written.into());
        match newest {
            Ok(newest) => {
                let generations = (config.metadata.generation, newest.metadata.generation);
                self.context.cloud.config_written(generations.0, generations.1);
                Ok((newest, snapshot, true))
            }
            Err(_) => Err(Interrupted::Stale), // the next attempt reports it
        }
    }

    /// The one live read of a pass: before its first write, unless the pass has just written the Config. A Config that
    /// differs from the watched one starts the pass over.
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
            Err(Interrupted::Stale)
        }
    }
}
