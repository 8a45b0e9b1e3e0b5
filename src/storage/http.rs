//! HTTP to clouds: one client for each set of roots and way out, made once and kept.

use std::sync::Arc;

use crate::api::Sensitive;
use crate::storage::fault::Fault;

/// The way out of the cluster, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`; may hold a password.
    pub http: Option<Sensitive>,
    /// For `https://`; may hold a password.
    pub https: Option<Sensitive>,
    /// Hosts, domains and networks that are reached directly, separated by commas.
    pub no_proxy: Option<String>,
}

/// Whose way out is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The operator's own, asked for at each request: the platform may change it.
    Process,
    /// That of the registry's pods.
    Fixed(Proxies),
}

/// Who is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates in PEM; may be empty.
    pub bundle: String,
    /// Whether the system's roots count too.
    pub system: bool,
}

/// Makes clients and keeps them.
pub struct Http {
    proxies: Arc<dyn Fn() -> Proxies + Send + Sync>,
}

impl Http {
    /// `proxies` tells the operator's own way out, at each request.
    pub fn new(proxies: impl Fn() -> Proxies + Send + Sync + 'static) -> Self {
        Self {
            proxies: Arc::new(proxies),
        }
    }

    /// The client for these roots and this way out. A bundle that holds no certificate is a fault.
    pub fn client(&self, trust: &Trust, via: &Via) -> Result<reqwest::Client, Fault> {
        let _ = (trust, via, &self.proxies);
        Err(Fault::transient("not built"))
    }
}
