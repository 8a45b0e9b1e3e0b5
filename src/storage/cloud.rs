//! What drivers of clouds work with: connections, identities, and answers that need not be asked for again. It lives as
//! long as the process leads; correctness needs none of what it keeps.

use std::path::PathBuf;
use std::sync::Arc;

use super::answers::Answers;
use super::http::{Http, Proxies};

/// What the process gives to clouds.
pub struct Settings {
    /// Version of the operator, for the user agent.
    pub version: String,
    /// The operator's own way out, asked for at each request.
    pub proxies: Arc<dyn Fn() -> Proxies + Send + Sync>,
    /// Whether this process still leads: asked before each request that changes something.
    pub leading: Arc<dyn Fn() -> bool + Send + Sync>,
    /// `AWS_USE_FIPS_ENDPOINT=true`.
    pub fips: bool,
    /// Put before paths of token files that credentials name; empty outside tests.
    pub root: PathBuf,
}

/// Shared by all passes.
pub struct Cloud {
    pub(super) settings: Settings,
    pub(super) http: Http,
    /// Of core; drivers keep nothing here.
    pub(super) answers: Answers,
}

impl Cloud {
    /// Nothing is sent yet.
    pub fn new(settings: Settings) -> Self {
        let proxies = settings.proxies.clone();
        Self {
            http: Http::new(move || proxies()),
            answers: Answers::default(),
            settings,
        }
    }
}
