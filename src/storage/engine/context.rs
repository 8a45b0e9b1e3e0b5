//! Context of a step.

use super::cache::ObservationCache;
use crate::storage::preflight::RegistryPods;

/// Context of a step, in addition to the driver.
pub struct Engine<'a, C> {
    /// Access to the cluster, for one version of the Config.
    pub cluster: &'a C,
    /// Cached observations of this process.
    pub cache: &'a ObservationCache,
    /// The registry's pods as this pass would render them.
    pub pods: &'a RegistryPods<'a>,
}
