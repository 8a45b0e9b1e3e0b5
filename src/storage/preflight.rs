//! Trying changed storage out, as the registry would, before the registry's pods are told of it.

use crate::api::Sensitive;
use crate::config::facts::StorageFacts;
use crate::config::notice::Notice;
use crate::config::snapshot::Snapshot;

use super::http::Proxies;

/// What storage has to know of the registry's pods as they would be rendered.
pub struct Pods<'a> {
    /// Whether the running registry would get another storage with these facts: environment, volumes, private Secret, CA,
    /// way out. `true` where there is no Deployment.
    pub differs: &'a dyn Fn(&StorageFacts) -> bool,
    /// Their way out.
    pub via: Proxies,
    /// Pushes are refused.
    pub read_only: bool,
}

impl Pods<'_> {
    /// For steps that do not lead to pods.
    pub(super) fn none() -> Self {
        Self {
            differs: &|_| false,
            via: Proxies::default(),
            read_only: false,
        }
    }
}

/// How storage is tried out.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// What the registry would get: environment, files, CA.
    pub facts: &'a StorageFacts,
    /// Key of the probe object, `docker/registry/v2/_preflight/<uid of our namespace>`; a backend with a root directory puts
    /// that before it.
    pub key: &'a str,
    /// The way out of the pods.
    pub via: &'a Proxies,
    /// Certificates that the pods trust beside the roots of the system, PEM.
    pub roots: &'a str,
    /// Only list and read: pushes are refused.
    pub read_only: bool,
}

/// What came of a probe.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Whether it works.
    pub trial: Trial,
    /// Something of the probe may still be there, because its deletion failed or could not be tried: it is looked for again.
    /// `false` where deletion is refused for good on Unmanaged storage; a notice tells of that.
    pub left: bool,
    /// What to tell.
    pub notices: Vec<Notice>,
}

/// Whether storage works for the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It does.
    Passed,
    /// It does not.
    Denied(Denial),
    /// Nobody knows: no answer, throttling, 5xx. Why, for people.
    Undecided(String),
}

/// What the registry could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Right that is needed: `s3:PutObject`.
    pub action: String,
    /// On what: `bucket/key`.
    pub resource: String,
    /// The service's code: `AccessDenied`.
    pub code: String,
    /// The service's text; may be empty, never holds a secret.
    pub message: String,
    /// Rights, keys, tokens, signature: what a fresh key needs minutes to have.
    pub auth: bool,
}

/// Audience of the tokens that the registry's pods get.
pub const AUDIENCE: &str = "openshift";

/// Key of probe objects: beside the registry's own, and not among its repositories and blobs.
pub fn key(snapshot: &Snapshot) -> String {
    format!("docker/registry/v2/_preflight/{}", snapshot.namespace_uid())
}

/// A probe that was not asked for: backends that cost nothing to look at need none.
impl From<Trial> for Probed {
    fn from(trial: Trial) -> Self {
        Self {
            trial,
            left: false,
            notices: Vec::new(),
        }
    }
}

/// A proxy's address as a secret: it may hold a password.
pub fn proxy(address: Option<&String>) -> Option<Sensitive> {
    address.map(Sensitive::new)
}
