//! PURE: the desired objects and the objects to delete, as data. One file per kind.
//!
//! This room uses no client, clock, environment variables or randomness. It may import `config`, `api` and `names`.

mod adopt;
pub mod certificates;
pub mod checksum;
mod dependencies;
mod deployment;
mod disruption;
pub mod drift;
pub mod exposure;
pub mod htpasswd;
mod model;
mod network;
mod node_ca;
mod outside;
pub mod own_certificates;
mod owned;
mod parts;
mod pruner;
mod rbac;
mod registry;
pub mod removal;
mod route;
mod secret;
mod service;
pub mod settle;
mod source;
pub mod stock;
mod storage;
pub mod storage_ca;
mod volumes;

#[cfg(test)]
use self::tests::fixture;
#[cfg(test)]
mod tests;

pub use self::certificates::{Certificates, certificates};
pub use self::checksum::checksum;
pub use self::deployment::affinity_first;
pub use self::model::{Desired, Drift, Failure, Inputs, Mark, Origin, Plan};
use self::model::{annotation, config, exclusive, operand};
pub use self::node_ca::node_ca;
pub use self::outside::{exposing, may_expose};
pub use self::pruner::{pruner, short_age};
pub use self::registry::{conflicts, registry};
pub use self::removal::{Removal, removal};
pub use self::settle::{unsettled, wait_ends};
pub use self::source::Source;
pub use self::storage::{has_other_credentials, storage_differs};
