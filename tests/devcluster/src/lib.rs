//! A real Kubernetes cluster on this machine, for the demo and the tests.

pub mod image;
pub mod standin;
