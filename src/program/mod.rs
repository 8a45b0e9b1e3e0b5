//! The registry program: how what a registry needs of its storage becomes variables, files and volumes. PURE.
//!
//! A backend describes the storage as typed data ([`RegistryStorage`]); a [`RegistryProgram`] renders it. The platform's
//! registry ([`platform::Platform`]) is one program; the stock registry ([`distribution::Distribution`]) has other variables
//! for the same data. The preflight asks the program how it would speak to the storage ([`S3Wire`]).

pub mod distribution;
pub mod platform;
mod storage;

use crate::api::Sensitive;
use crate::config::facts::StorageFacts;
use crate::config::resolve::{Proxy, Rejection};

pub use storage::{
    AzureLogin, AzureStorage, CloudFrontKey, FilesystemVolume, GcsStorage, NameAndId, PublicEndpoint, RegistryStorage,
    S3CloudFront, S3Storage, SwiftStorage,
};

/// A program that serves the registry.
pub trait RegistryProgram {
    /// Variables, volumes, mounts and files for this storage. The caller adds the CA. A program without a driver for the
    /// storage rejects it: the message names the program and the backend.
    fn render(&self, storage: &RegistryStorage) -> Result<StorageFacts, Rejection>;
    /// How the program speaks to an S3 store.
    fn s3_wire(&self) -> S3Wire;
}

/// How a program speaks to an S3 store, for a preflight that does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct S3Wire {
    /// The program has a setting for the address of STS. Without one it sends these calls to the storage's own endpoint, or
    /// to the public address.
    pub has_sts_endpoint: bool,
}

/// Proxy settings, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`; may hold a password.
    pub http: Option<Sensitive>,
    /// For `https://`; may hold a password.
    pub https: Option<Sensitive>,
    /// Hosts, domains and networks that are reached directly, separated by commas.
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// The proxy settings of the registry's pods.
    pub fn of(proxy: &Proxy) -> Self {
        Self {
            http: proxy.http.as_ref().map(Sensitive::new),
            https: proxy.https.as_ref().map(Sensitive::new),
            no_proxy: proxy.no_proxy.clone(),
        }
    }

    /// Whether there is a proxy.
    pub fn is_any(&self) -> bool {
        [&self.http, &self.https]
            .into_iter()
            .flatten()
            .any(|url| !url.is_empty())
    }

    /// All settings, for fingerprints.
    pub fn texts(&self) -> [&str; 3] {
        let [http, https] = [&self.http, &self.https].map(|url| url.as_ref().map_or("", Sensitive::expose));
        [http, https, self.no_proxy.as_deref().unwrap_or_default()]
    }
}
