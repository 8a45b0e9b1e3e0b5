//! What is told: conditions and the ClusterOperator. All PURE but `write`, the one writer of `Config.status`.

pub mod conditions;
