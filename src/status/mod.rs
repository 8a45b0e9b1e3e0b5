//! PURE: the conditions and statuses that the operator reports: of the Config, the ImagePruner, the ClusterOperator and the
//! cluster's Image.
//!
//! Functions take the findings of a pass and the stored status, and return the status or the patch to write; the controllers
//! write it. This room uses no client, clock (time is a parameter) or environment variables. It may import `config`, `api` and
//! `names`.

pub mod cluster_operator;
pub mod conditions;
pub mod config_status;
pub mod deployment;
pub mod image_config;
pub mod job;
pub mod judge;
pub mod node_ca;
pub mod pods;
pub mod pruner;
