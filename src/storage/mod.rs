//! Storage of the images: the only room that talks to a cloud.
//!
//! The [`engine`] decides what is the same for every backend: which backend, existence, creation, ownership, settings,
//! removal. A backend ([`traits::ObjectBackend`]) says how to talk to its cloud. [`dispatch`] knows every backend. Each
//! step is idempotent: it depends only on the stored Config (spec, status, annotations) and on the responses of the
//! cloud. The controller stores what a step records, and repeats the step. This room never writes the Config itself.
//!
//! ```text
//! dispatch -> backend -> {engine, preflight, s3api} -> {net, inputs} -> {traits, model}
//! ```

pub mod backend;
mod dispatch;
pub mod engine;
pub mod inputs;
pub mod model;
pub mod net;
pub mod preflight;
pub mod s3api;
pub mod traits;

pub use backend::pvc::{BootstrapClaim, bootstrap_claim, bootstrap_claim_reads_volumes};
pub use dispatch::{StorageClients, ca_bundle, clear_probes, ensure, inputs, left_alone, platform_default, remove};
pub use engine::steps::{Pass, reconcile};
pub use model::outcome::{Freeze, Outcome, STORAGE_CONDITIONS, STORAGE_EXISTS, Waiting};
pub use traits::{Cluster, Creation};
