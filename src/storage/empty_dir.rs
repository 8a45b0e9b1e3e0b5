//! The pod's own disk: for test clusters, and for platforms nobody knows.

use serde_json::json;

use super::STORAGE_EXISTS;
use super::claim;
use super::driver::{Driver, Ensured, Existence, Failure, Next, State, Step, Target};
use crate::api::{Config, Storage};
use crate::config::notice::Notice;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::status::conditions::{Status, Verdict};

/// Name of the backend.
pub const NAME: &str = "EmptyDir";

/// The backend. There is nothing to ask anybody.
pub struct EmptyDir;

fn verdict(config: &Config) -> Verdict {
    let lost = "Images are lost when the registry pod is replaced.";
    let message = match config.spec.replicas {
        2.. => format!("{lost} {}.", not_shared(config.spec.replicas)),
        _ => lost.to_owned(),
    };
    Verdict::new(STORAGE_EXISTS, Status::True, EmptyDir::EXISTS, message)
}

fn not_shared(replicas: i32) -> String {
    format!("ephemeral storage with {replicas} replicas: pods do not share content, set spec.replicas to 1")
}

fn notices(config: &Config) -> Vec<Notice> {
    let replicas = config.spec.replicas;
    let warning = || Notice {
        warning: true,
        reason: "EphemeralStorageNotShared",
        note: not_shared(replicas),
    };
    (replicas > 1 && edited(config)).then(warning).into_iter().collect()
}

/// Whether the Config was edited since the last pass that stored a status: things are told once per edit.
fn edited(config: &Config) -> bool {
    let observed = config.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0);
    observed < config.metadata.generation.unwrap_or(0)
}

impl Driver for EmptyDir {
    const NAME: &'static str = NAME;
    const CONDITIONS: &'static [&'static str] = &[STORAGE_EXISTS];
    const EXISTS: &'static str = "Creation Successful";
    const GONE: &'static [&'static str] = &[];
    const REMOTE: bool = false;

    fn locate(_storage: &Storage, _snapshot: &Snapshot) -> Option<String> {
        Some(String::new())
    }

    fn resolve(&self, _config: &Config, _storage: &Storage, _snapshot: &Snapshot) -> Result<Target, Rejection> {
        let facts = claim::filesystem(NAME, json!({"name": claim::VOLUME, "emptyDir": {}}));
        Ok(Target {
            location: Some(String::new()),
            named: true,
            facts,
        })
    }

    async fn exists(&self, step: &Step<'_>) -> Result<Existence, Failure> {
        Ok(Existence::Present(vec![verdict(step.config)], notices(step.config)))
    }

    async fn ensure(&self, step: &Step<'_>) -> Result<Next<Ensured>, Failure> {
        Ok(Next::Done(Ensured {
            storage: step.storage.clone(),
            applied: None,
            blank_state: State::Managed,
            verdicts: vec![verdict(step.config)],
            notices: notices(step.config),
            probe_left: false,
        }))
    }
}
