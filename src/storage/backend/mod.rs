//! The backends: how the operator talks to each kind of storage. The engine decides what a backend may do.

pub mod azure;
pub mod empty_dir;
pub mod gcs;
pub mod ibmcos;
pub mod oss;
pub mod pvc;
pub mod s3;
pub mod swift;
