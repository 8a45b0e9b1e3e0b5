//! Wire types of the Kubernetes API objects that this operator reads or writes.
//!
//! Decoding is tolerant: optional fields are `Option`s, enumerations that a newer release may extend are strings, and fields
//! that the operator passes through are JSON. The API server validates: the validation rules are attributes of the fields
//! and become the CRDs ([`crd`]). This room makes no decisions; `config` does. It may import `names` and `sensitive` only.

pub mod crd;
pub mod duration;
pub mod image_pruner;
pub mod kind;
pub mod managed_fields;
pub mod openshift;
pub mod registry_config;
pub mod registry_storage;
mod schema;

pub use crate::sensitive::Sensitive;
pub use image_pruner::{ImagePruner, ImagePrunerSpec, ImagePrunerStatus};
pub use kind::{Kind, ObjectRef};
pub use registry_config::{Condition, Config, ConfigSpec, ConfigStatus, Generation, Storage};
