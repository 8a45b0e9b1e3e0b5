//! OpenStack for tests: the real Keystone and the real Swift; and Ceph's gateway, which speaks Swift too.
//!
//! One Keystone serves any number of Swifts, each in a region of its own. A test makes its own [`Project`] with one user:
//! projects are separate accounts of Swift, so tests do not see each other.

mod account;
mod keystone;
mod project;
mod rgw;
mod swift;

pub use account::Account;
pub use keystone::{Keystone, KeystoneOptions};
pub use project::{ApplicationCredential, Project};
pub use rgw::{CEPH, Rgw};
pub use swift::{Swift, SwiftOptions};

use super::gate::Reply;
use super::tls::Authority;
use anyhow::Result;
use serde_json::json;
use tokio::sync::OnceCell;

/// The region of Keystone, and of a Swift that is not given another one.
pub const REGION: &str = "RegionOne";

/// How to start both.
#[derive(Clone, Debug, Default)]
pub struct OpenStackOptions {
    /// TLS with certificates of this authority for both; plain HTTP without.
    pub authority: Option<Authority>,
    /// Names of the certificates beside [`super::NAMES`].
    pub names: Vec<String>,
    /// Middleware that Swift runs without, see [`SwiftOptions::without`].
    pub without: Vec<String>,
    /// See [`SwiftOptions::caches_tokens`].
    pub caches_tokens: bool,
}

/// A Keystone and a Swift.
#[derive(Debug)]
pub struct OpenStack {
    /// Users, projects and the catalogue.
    pub keystone: Keystone,
    /// The object store, in [`REGION`].
    pub swift: Swift,
}

/// The pair of [`OpenStack::shared`].
static SHARED: OnceCell<OpenStack> = OnceCell::const_new();

impl OpenStack {
    /// The pair that all tests of a program share, over TLS; the first call starts it.
    /// [`Keystone::authority`] is who signed both certificates.
    pub async fn shared() -> Result<&'static Self> {
        let start = || async {
            let options = OpenStackOptions {
                authority: Some(Authority::new("openstack")?),
                ..OpenStackOptions::default()
            };
            Self::start(options).await
        };
        SHARED.get_or_try_init(start).await
    }

    /// Starts both at the same time; they answer when this returns.
    pub async fn start(options: OpenStackOptions) -> Result<Self> {
        let programs = crate::programs::openstack().await?;
        let mut keystone = Keystone::spawn(
            &programs,
            KeystoneOptions {
                authority: options.authority.clone(),
                names: options.names.clone(),
            },
        )?;
        let swift = SwiftOptions {
            authority: options.authority,
            names: options.names,
            without: options.without,
            caches_tokens: options.caches_tokens,
            ..SwiftOptions::default()
        };
        let mut swift = Swift::spawn(&programs, &keystone, swift)?;
        keystone.ready().await?;
        swift.ready(&keystone).await?;
        Ok(Self { keystone, swift })
    }
}

impl Reply {
    /// An error as Keystone gives it, in JSON. Swift's errors have a short text that means nothing: [`Reply::new`].
    pub fn keystone_error(status: u16, title: &str, message: &str) -> Self {
        let body = json!({ "error": { "code": status, "title": title, "message": message } }).to_string();
        Self::new(status, &body).header("content-type", "application/json")
    }
}
