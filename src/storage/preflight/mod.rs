//! The preflight: the operator uses changed storage as the registry would, before the registry's pods get it.

pub mod decide;
pub mod exercise;
pub mod record;

use crate::config::facts::StorageFacts;
use crate::config::snapshot::Snapshot;
use crate::program::platform::Platform;
use crate::program::{Proxies, RegistryProgram};

/// Audience of the ServiceAccount tokens that the registry's pods get.
pub const AUDIENCE: &str = "openshift";

/// What the storage must know about the registry's pods as this pass would render them.
pub struct RegistryPods<'a> {
    /// The program that serves the registry.
    pub program: &'a dyn RegistryProgram,
    /// Whether these facts would change the storage of the running registry: environment, volumes, private Secret, CA,
    /// proxy. `true` without a Deployment.
    pub differs: &'a dyn Fn(&StorageFacts) -> bool,
    /// Whether the running registry has other credentials than these facts. `false` if it does not run.
    pub other_credentials: &'a dyn Fn(&StorageFacts) -> bool,
    /// Proxy of the pods.
    pub proxies: Proxies,
    /// The registry refuses pushes.
    pub read_only: bool,
}

/// Value for steps that render no pods, such as a removal.
pub fn no_pods() -> RegistryPods<'static> {
    RegistryPods {
        program: &Platform,
        differs: &|_| false,
        other_credentials: &|_| false,
        proxies: Proxies::default(),
        read_only: false,
    }
}

/// Directory of probe objects.
const DIRECTORY: &str = "docker/registry/v2/_preflight";

/// Key of probe objects: inside the registry's root directory, but outside its repositories and blobs.
pub fn key(snapshot: &Snapshot) -> String {
    format!("{DIRECTORY}/{}", snapshot.namespace_uid())
}
