//! Where the registry's objects have their storage from.

use crate::config::facts::StorageFacts;

/// Source of the storage parts of the registry's objects.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// From what the storage needs now.
    Facts(&'a StorageFacts),
    /// From the running Deployment: what it mounts stays as it is, the private Secret included. Without a Deployment none is
    /// made.
    Live,
    /// From nowhere: Deployment and private Secret are not planned.
    Nowhere,
}

impl<'a> Source<'a> {
    /// What the storage needs now; `None` where that does not count.
    pub fn facts(&self) -> Option<&'a StorageFacts> {
        match self {
            Self::Facts(facts) => Some(facts),
            Self::Live | Self::Nowhere => None,
        }
    }
}
