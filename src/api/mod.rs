//! Wire types only: what the API server stores, as it may really be stored.
//!
//! Reading is tolerant: everything optional is an `Option`, text that a newer release may extend stays text, members
//! that we pass through stay JSON. Writing is the API's business: its validations stand at the fields and become the CRDs
//! (`crd`). Nothing here decides; `config` does. This room may use `names` only.

pub mod crd;
pub mod duration;
pub mod image_pruner;
pub mod kind;
pub mod managed_fields;
pub mod openshift;
pub mod registry_config;
pub mod registry_storage;
mod schema;
pub mod sensitive;

pub use image_pruner::{ImagePruner, ImagePrunerSpec, ImagePrunerStatus};
pub use kind::{Kind, ObjectRef};
pub use registry_config::{Condition, Config, ConfigSpec, ConfigStatus, Generation, Storage};
pub use sensitive::Sensitive;
