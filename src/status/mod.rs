//! What is told: conditions and the ClusterOperator. All PURE but `write`, the one writer of `Config.status`.

pub mod cluster_operator;
pub mod conditions;
pub mod config_status;
pub mod deployment;
pub mod image_config;
pub mod judge;
pub mod node_ca;
pub mod pruner;
