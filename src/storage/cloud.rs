//! What drivers of clouds work with: connections, identities, and answers that need not be asked for again. It lives as
//! long as the process leads; correctness needs none of what it keeps.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;

use super::answers::{Answers, Told};
use super::http::{Http, Proxies};
use super::s3::identity::Identities;

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

/// Time, as clouds see it: what tests may take into their own hands.
#[derive(Clone)]
pub struct Pace {
    /// The clock, for credentials that expire.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Waits, between attempts.
    pub sleep: Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            now: Arc::new(SystemTime::now),
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
        }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pace")
    }
}

/// Shared by all passes.
pub struct Cloud {
    pub(super) settings: Settings,
    pub(super) http: Arc<Http>,
    pub(super) pace: Pace,
    pub(super) identities: Identities,
    /// Of core; drivers keep nothing here.
    pub(super) answers: Answers,
    /// The platform's tags that a bucket was last held against.
    pub(super) tags: Told,
}

impl Cloud {
    /// What this process wrote gave the Config another generation: that is no edit of a user, and no reason to ask again.
    pub fn config_written(&self, before: Option<i64>, after: Option<i64>) {
        self.answers.follow(before, after);
    }

    /// Nothing is made or sent yet.
    pub fn new(settings: Settings) -> Self {
        let proxies = settings.proxies.clone();
        Self {
            http: Arc::new(Http::new(move || proxies())),
            settings,
            pace: Pace::default(),
            identities: Identities::default(),
            answers: Answers::default(),
            tags: Told::default(),
        }
    }

    /// With another clock; for tests.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// With connections of another kind; for tests.
    #[must_use]
    pub fn with_http(mut self, change: impl FnOnce(Http) -> Http) -> Self {
        let proxies = self.settings.proxies.clone();
        self.http = Arc::new(change(Http::new(move || proxies())));
        self
    }
}
