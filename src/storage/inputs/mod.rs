//! PURE: inputs of backends from the cluster: Secrets with credentials, CA bundles, names, URLs, the running registry.

pub mod live;
pub mod name;
pub mod secret;
pub mod trust;
pub mod url;
