//! What a long-running process needs. It knows no object of the registry. It may use `names` and `sensitive` only.

pub(crate) mod client;
pub mod clock;
pub(crate) mod config_file;
pub mod environment;
pub mod event;
pub mod exposure;
pub(crate) mod file_watch;
pub mod issuer;
pub mod leader;
pub mod metrics;
pub(crate) mod random;
pub mod server;
pub mod shutdown;
pub mod telemetry;
