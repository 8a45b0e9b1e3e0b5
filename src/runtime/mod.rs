//! What a long-running process needs; it knows no Kubernetes object of ours. It may use [`crate::names`] and no other room.

pub mod client;
pub mod clock;
pub mod config_file;
pub mod environment;
pub mod event;
#[cfg(test)]
pub(crate) mod fake_api;
pub mod file_watch;
pub mod leader;
pub mod metrics;
pub mod node_ca_sync;
pub mod random;
pub mod secret;
pub mod server;
pub mod shutdown;
pub mod telemetry;
