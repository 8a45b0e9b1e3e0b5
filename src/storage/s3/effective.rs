//! What a block of `s3` means once the cluster's own settings are filled in. PURE.

use super::endpoint::Partition;
use crate::api::registry_storage::S3Storage;

/// The effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The block, completed: as it is persisted at creation, and stands in the status.
    pub block: S3Storage,
    /// Region, never empty.
    pub region: String,
    /// Custom endpoint (origin, without a slash at the end) that the operator uses; `None`: the public one.
    pub endpoint: Option<String>,
    /// Endpoint that is rendered for the registry: the same, but at take-over of a Deployment without one (T21).
    pub rendered_endpoint: Option<String>,
    /// Bucket in the host name, at a custom endpoint.
    pub virtual_hosted: bool,
    /// Partition of the region.
    pub partition: &'static Partition,
    /// The cluster's own address of STS.
    pub sts_endpoint: Option<String>,
}
