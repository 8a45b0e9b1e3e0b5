//! `emptyDir`: the pod's ephemeral disk, for test clusters and unknown platforms.

use crate::api::{Config, Storage};
use crate::config::event_request::EventRequest;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::{FilesystemVolume, RegistryStorage};
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::backend::Backend;
use crate::storage::model::error::StepError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::progress::{Ensured, Existence, Progress};
use crate::storage::model::state::State;
use crate::storage::model::target::{Request, Target};
use crate::storage::traits::Driver;

/// The backend. It makes no calls.
pub struct EmptyDir;

fn exists(config: &Config) -> ConditionUpdate {
    let lost = "Images are lost when the registry pod is replaced.";
    let message = match config.spec.replicas {
        2.. => format!("{lost} {}.", not_shared(config.spec.replicas)),
        _ => lost.to_owned(),
    };
    ConditionUpdate::new(STORAGE_EXISTS, Status::True, EmptyDir::EXISTS, message)
}

fn not_shared(replicas: i32) -> String {
    format!("ephemeral storage with {replicas} replicas: pods do not share content, set spec.replicas to 1")
}

fn events(config: &Config) -> Vec<EventRequest> {
    let replicas = config.spec.replicas;
    let warning = || EventRequest {
        warning: true,
        reason: "EphemeralStorageNotShared",
        message: not_shared(replicas),
    };
    (replicas > 1 && edited(config)).then(warning).into_iter().collect()
}

/// Whether the Config was edited since the last pass that stored a status, so that an event is published once per edit.
fn edited(config: &Config) -> bool {
    let observed = config.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0);
    observed < config.metadata.generation.unwrap_or(0)
}

impl Driver for EmptyDir {
    const BACKEND: Backend = Backend::EmptyDir;
    const CONDITIONS: &'static [&'static str] = &[STORAGE_EXISTS];
    const EXISTS: &'static str = "Creation Successful";
    const GONE: &'static [&'static str] = &[];
    const REMOTE: bool = false;

    fn locate(_storage: &Storage, _snapshot: &Snapshot) -> Option<String> {
        Some(String::new())
    }

    fn resolve(&self, _config: &Config, _storage: &Storage, _snapshot: &Snapshot) -> Result<Target, Rejection> {
        Ok(Target {
            location: Some(String::new()),
            named: true,
            access: Some(RegistryStorage::Filesystem(FilesystemVolume::EmptyDir)),
            ca_bundle: None,
            unfit: None,
            not_usable: None,
        })
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        Fingerprint::of_target(request.target)
    }

    async fn runtime_access(&self, _request: &Request<'_>) -> Result<RegistryStorage, StepError> {
        Ok(RegistryStorage::Filesystem(FilesystemVolume::EmptyDir))
    }

    async fn exists(&self, request: &Request<'_>) -> Result<Existence, StepError> {
        Ok(Existence::Present(vec![exists(request.config)], events(request.config)))
    }

    async fn ensure(&self, request: &Request<'_>) -> Result<Progress<Ensured>, StepError> {
        Ok(Progress::Done(Ensured {
            storage: request.storage.clone(),
            applied: None,
            blank_state: State::Managed,
            conditions: vec![exists(request.config)],
            creation: None,
            events: events(request.config),
            probe_left: false,
            final_settings: None,
            again: None,
        }))
    }
}
