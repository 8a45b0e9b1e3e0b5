//! PURE: reasons of `StorageExists`, as the Go operator has them.

/// True: the container exists.
pub const EXISTS: &str = "ContainerExists";
/// True: the administrator gave an account key, and the container is used without a check.
pub const USER_MANAGED: &str = "UserManaged";
/// False: the container does not exist.
pub const CONTAINER_NOT_FOUND: &str = "ContainerNotFound";
/// False: the account does not exist.
pub const ACCOUNT_NOT_FOUND: &str = "AccountNotFound";
/// False: a removal deleted the container.
pub const CONTAINER_DELETED: &str = "ContainerDeleted";
/// False: a removal deleted the account, and the container with it.
pub const ACCOUNT_DELETED: &str = "AccountDeleted";
/// False: the spec does not name account and container.
pub const NOT_CONFIGURED: &str = "StorageNotConfigured";
/// Unknown: credentials, cloud, infrastructure.
pub const CONFIG_ERROR: &str = "ConfigError";
/// Unknown: a failed call.
pub const AZURE_ERROR: &str = "AzureError";
