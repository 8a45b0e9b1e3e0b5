//! What the controllers get from the process that runs them. The caller fills it; the controllers only read it.

use std::sync::Arc;

use kube::Client;

use crate::runtime::clock::Clock;
use crate::runtime::environment::ProcessEnvironment;
use crate::runtime::event::Events;
use crate::runtime::leader::Claim;
use crate::runtime::metrics::Metrics;
use crate::runtime::server::{OwnCertificate, Readiness};
use crate::runtime::shutdown::Shutdown;
use crate::runtime::telemetry::Telemetry;

/// Everything that [`run`](super::run) needs. The controllers run until `shutdown` begins, and check `claim` before each
/// write.
#[derive(Clone)]
pub struct Settings {
    /// Version of this program, for user agents.
    pub version: &'static str,
    /// Client of the API server.
    pub client: Client,
    /// Leadership: checked before each write.
    pub claim: Claim,
    /// Publishes events about the operator's Deployment.
    pub events: Events,
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Set when no new pass may begin.
    pub shutdown: Shutdown,
    /// Gets whether all watches are synced.
    pub readiness: Readiness,
    /// Certificate of the metrics server, if the process makes it itself.
    pub serving: Option<OwnCertificate>,
    /// The time of day of passes.
    pub clock: Arc<dyn Clock>,
    /// Environment variables of the process.
    pub environment: Arc<ProcessEnvironment>,
    /// Gets the log level.
    pub telemetry: Telemetry,
}
