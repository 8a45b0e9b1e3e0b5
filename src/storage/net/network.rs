//! Shared by all backends: settings of the process, HTTP clients, the clock. They live as long as the process leads.

use std::path::PathBuf;
use std::sync::Arc;

use super::clock::Clock;
use super::http::Http;
use crate::program::Proxies;

/// Settings of the process for connections to clouds.
pub struct Settings {
    /// Version of the operator, for the user agent.
    pub version: String,
    /// The operator's own proxies, read at each request.
    pub proxies: Arc<dyn Fn() -> Proxies + Send + Sync>,
    /// Whether this process leads, and will until a request that starts now has ended. Checked before each request that changes
    /// something.
    pub leading: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether to use FIPS endpoints (`AWS_USE_FIPS_ENDPOINT=true`).
    pub fips: bool,
    /// Prefix of the token file paths that credentials name; empty outside tests.
    pub root: PathBuf,
}

impl Settings {
    /// User agent of the operator.
    pub fn user_agent(&self) -> String {
        format!("openshift.io cluster-image-registry-operator/{}", self.version)
    }
}

/// Connections to clouds.
pub struct Network {
    /// Settings of the process.
    pub settings: Settings,
    /// HTTP clients, by CA certificates and proxy.
    pub http: Arc<Http>,
    /// Time and sleep.
    pub clock: Clock,
}

impl Network {
    /// Creates the shared state without a connection.
    pub fn new(settings: Settings) -> Self {
        let proxies = settings.proxies.clone();
        Self {
            http: Arc::new(Http::new(move || proxies())),
            settings,
            clock: Clock::default(),
        }
    }

    /// The same with another clock; for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The same with other HTTP clients; for tests.
    #[must_use]
    pub fn with_http(mut self, change: impl FnOnce(Http) -> Http) -> Self {
        let proxies = self.settings.proxies.clone();
        self.http = Arc::new(change(Http::new(move || proxies())));
        self
    }
}
