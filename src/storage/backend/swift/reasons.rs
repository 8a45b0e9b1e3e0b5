//! PURE: reasons of `StorageExists`, as the Go operator has them.

/// True: the container exists.
pub const EXISTS: &str = "Swift container Exists";
/// True: the container exists, and a user brought it.
pub const BROUGHT: &str = "Container exists";
/// True: the operator created the container.
pub const CREATED: &str = "Swift Container Created";
/// False: the container does not exist.
pub const MISSING: &str = "Storage does not exist";
/// False: the service refused to say whether the container exists.
pub const UNCHECKED: &str = "Unable to check if container exists";
/// False: the container could not be created.
pub const NOT_CREATED: &str = "Creation Failed";
/// False: a removal deleted the container.
pub const DELETED: &str = "Swift Container Deleted";
/// Unknown: no login, or no endpoint.
pub const NO_LOGIN: &str = "Could not connect to registry storage";
/// Unknown: anything else.
pub const UNKNOWN: &str = "Unknown error occurred";
