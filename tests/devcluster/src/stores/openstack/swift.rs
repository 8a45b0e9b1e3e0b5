//! Swift: its four servers with one replica, in one process.
//!
//! Where it differs from a large cloud: what is deleted or changed is so at once, as there is one replica; nothing expires
//! objects, since no daemon runs. Container servers tell account servers about containers after they answered: the list of
//! containers of an account, and its counts, may lag behind for some milliseconds.

use super::REGION;
use super::keystone::Keystone;
use super::project::Project;
use crate::stores::home::Home;
use crate::stores::tls::Authority;
use crate::stores::wire::{Call, Target};
use crate::{files, process, programs};
use anyhow::{Context as _, Result};
use hyper::Method;
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::Path;

const PROCESS: &str = "swift";

/// How to start Swift.
#[derive(Clone, Debug)]
pub struct SwiftOptions {
    /// TLS with a certificate of this authority; plain HTTP without.
    pub authority: Option<Authority>,
    /// Names of the certificate beside [`crate::stores::NAMES`].
    pub names: Vec<String>,
    /// The region of the catalogue that it serves; replaces the Swift that served it before.
    pub region: String,
    /// Middleware to leave out: `bulk`, `slo`, `dlo`, `tempurl`, `symlink`, `versioned_writes`, `copy`. `GET /info` does
    /// not tell them then.
    pub without: Vec<String>,
    /// Swift asks Keystone once for each token, as in a real cloud: fast, but a token stays good after its user is gone.
    pub caches_tokens: bool,
}

impl Default for SwiftOptions {
    fn default() -> Self {
        Self {
            authority: None,
            names: Vec::new(),
            region: REGION.to_owned(),
            without: Vec::new(),
            caches_tokens: false,
        }
    }
}

/// A running Swift; dropped, it is gone with all that it holds. The Keystone that it asks must outlive it.
#[derive(Debug)]
pub struct Swift {
    home: Home,
    target: Target,
    authority: Option<Authority>,
    region: String,
}

impl Swift {
    /// Starts it; it answers, and is in the catalogue, when this returns.
    pub async fn start(keystone: &Keystone, options: SwiftOptions) -> Result<Self> {
        let mut swift = Self::spawn(&programs::openstack().await?, keystone, options)?;
        swift.ready(keystone).await?;
        Ok(swift)
    }

    pub(super) fn spawn(programs: &programs::OpenStack, keystone: &Keystone, options: SwiftOptions) -> Result<Self> {
        let home = Home::create("swift", 4)?;
        let directory = home.directory();
        let port = home.ports().first().copied().context("a port")?;
        let tls = match &options.authority {
            Some(authority) => Some(authority.issue(&options.names)?.write(directory)?),
            None => None,
        };
        let cafile = keystone.authority().map(|_| directory.join("keystone.crt"));
        if let (Some(path), Some(authority)) = (&cafile, keystone.authority()) {
            files::write(path, authority.pem())?;
        }
        let settings = json!({
            "address": Ipv4Addr::LOCALHOST,
            "ports": home.ports(),
            "tls": tls,
            "without": options.without,
            "token_cache_time": if options.caches_tokens { 300 } else { -1 },
            "keystone": keystone.url(),
            "password": programs::OPENSTACK_PASSWORD,
            "cafile": cafile,
        });
        files::write(&directory.join("swift.json"), settings.to_string())?;
        let mut command = process::command(&programs.python);
        command.arg("-I").arg(programs.scripts.join("serve_swift.py"));
        // Where its libraries would look for settings of the machine.
        command.env("HOME", directory);
        home.spawn(PROCESS, command)?;
        Ok(Self {
            home,
            target: Target {
                address: (Ipv4Addr::LOCALHOST, port).into(),
                tls: options.authority.as_ref().map(Authority::client).transpose()?,
            },
            authority: options.authority,
            region: options.region,
        })
    }

    pub(super) async fn ready(&mut self, keystone: &Keystone) -> Result<()> {
        self.home
            .until("Swift answers", || async {
                let answer = self.target.call(Call::new(Method::GET, "/healthcheck")).await;
                answer.ok().filter(|answer| answer.status == 200)
            })
            .await?;
        keystone.set_swift(&self.region, Some(&self.url())).await?;
        self.home.complete = true;
        Ok(())
    }

    /// URL without a path: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// URL of a project's account: `https://127.0.0.1:PORT/v1/AUTH_ID`.
    pub fn account_url(&self, project: &Project) -> String {
        format!("{}/v1/AUTH_{}", self.url(), project.id)
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The region that it serves.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Where its log lies, among others.
    pub fn directory(&self) -> &Path {
        self.home.directory()
    }
}
