//! A container of objects (a bucket), and what a backend reports about it.

/// Reasons of a backend's conditions, and words for messages.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The cloud's word for what holds the objects: `bucket`.
    pub container: &'static str,
    /// Reason of `StorageExists=True`.
    pub exists: &'static str,
    /// Reason of `StorageExists=True` for a container that a user brought, until the next check.
    pub brought: &'static str,
    /// Reason of `StorageExists=True` for a container that the operator created.
    pub created: &'static str,
    /// Reasons of `StorageExists=False` for a container that does not exist.
    pub gone: &'static [&'static str],
    /// Reason of `StorageExists=False` for a container that was created and is not visible yet; one of `gone`.
    pub not_visible: &'static str,
    /// Reason of `StorageExists=False` for a container name that belongs to another account.
    pub name_taken: &'static str,
    /// Reason of `StorageExists=False` if the container could not be created; `None`: the service's error code, and
    /// `StorageExists=Unknown` without a decision of the service.
    pub not_created: Option<&'static str>,
    /// Reason of `StorageExists=False` after a removal.
    pub deleted: &'static str,
    /// Reason of `StorageExists=Unknown` without credentials, or if the token service gave no token.
    pub no_login: &'static str,
    /// Reason of conditions if the service returned no error code.
    pub unknown: &'static str,
    /// Field of the Config that names the container: `spec.storage.s3.bucket`.
    pub name_field: &'static str,
    /// Permissions to observe the container, for messages.
    pub rights_to_observe: &'static str,
    /// Permissions to list and delete versions, for messages.
    pub rights_on_versions: &'static str,
    /// Condition that, beside `StorageExists`, reports a failed write of the ownership mark; `None` if the backend has
    /// none.
    pub marked: Option<&'static str>,
}

/// Name and location of a container.
#[derive(Clone, Debug)]
pub struct ContainerName {
    /// Name of the container.
    pub name: String,
    /// Location ID.
    pub location: String,
    /// Region, for messages. Empty if the cloud has no regions.
    pub place: String,
    /// Whether the name equals the deterministic name that the operator would choose.
    pub deterministic: bool,
}

/// Owner of a container, according to its ownership mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The complete mark of this cluster, and no mark of another cluster.
    Ours,
    /// The mark of another cluster: the name of that cluster.
    Other(String),
    /// No mark, or an incomplete one: what is missing.
    Nobody(String),
    /// The service cannot store a mark.
    Unmarkable,
}

/// Content of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// No object, version or delete marker, except for the probe object.
    Nothing,
    /// At least one object.
    Something,
    /// The content cannot be listed: why.
    Hidden(String),
}

/// Result of the deletion of one page.
#[derive(Clone, Debug, Default)]
pub struct PageDeletion {
    /// Number of deleted objects.
    pub deleted: u64,
    /// Objects that the service did not delete.
    pub refused: Vec<Refusal>,
}

/// An object that the service did not delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Key of the object.
    pub key: String,
    /// Why the service refused.
    pub cause: RefusalCause,
    /// The service's error code.
    pub code: String,
    /// The service's message.
    pub message: String,
}

/// Why an object was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// Retention, legal hold, object lock.
    Locked,
    /// This permission is missing.
    Forbidden(&'static str),
    /// Throttling or a failure of the service.
    Busy,
    /// Any other reason.
    Other,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page<E> {
    /// The first entries of the container; at most 1000.
    pub entries: Vec<E>,
    /// The container may hold versions that the operator may not list.
    pub versions_hidden: bool,
}
