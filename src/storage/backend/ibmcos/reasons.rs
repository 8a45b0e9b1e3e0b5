//! PURE: reasons of `StorageExists`, as the Go operator has them.

/// True: the bucket exists.
pub const EXISTS: &str = "IBM COS Bucket Exists";
/// True: the operator created the bucket.
pub const CREATED: &str = "Creation Successful";
/// False: the bucket does not exist, and the service instance does not exist either.
pub const INSTANCE_GONE: &str = "IBM COS Instance Gone";
/// False: the service instance is active; a later step failed.
pub const INSTANCE_ACTIVE: &str = "IBM COS Instance Active";
/// False: this pass created the service instance, or found it by its name; a later step failed.
pub const INSTANCE_CREATED: &str = "IBM COS Instance Creation Successful";
/// False: the resource key can be used; a later step failed.
pub const KEY_VALID: &str = "IBM COS Resource Key Valid";
/// False: this pass created the resource key, or found it by its name; a later step failed.
pub const KEY_CREATED: &str = "IBM COS Resource Key Creation Successful";
/// False: the service instance is being created.
pub const PROVISIONING: &str = "IBM COS Instance Provisioning";
/// False: a removal deleted the bucket.
pub const DELETED: &str = "IBM COS Bucket Deleted";
