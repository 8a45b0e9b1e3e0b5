//! Settings of a process that leads.

use std::sync::Arc;

use kube::Client;

use crate::controllers::Settings;
use crate::runtime::clock::SystemClock;
use crate::runtime::environment::ProcessEnvironment;
use crate::runtime::event::Events;
use crate::runtime::leader::Claim;
use crate::runtime::metrics::Metrics;
use crate::runtime::server::Readiness;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::telemetry::Telemetry;

pub(crate) fn settings(client: Client, claim: Claim) -> Settings {
    let images = ["OPERATOR_IMAGE", "IMAGE", "IMAGE_PRUNER"].map(|name| (name.to_owned(), "x".to_owned()));
    Settings {
        version: "0.0.0",
        client,
        claim,
        events: Events::discard(),
        metrics: Arc::new(Metrics::new("1")),
        shutdown: Shutdown::new(),
        readiness: Readiness::default(),
        serving: None,
        clock: Arc::new(SystemClock),
        environment: Arc::new(ProcessEnvironment::from_variables(images).unwrap()),
        telemetry: Telemetry::detached(),
    }
}
