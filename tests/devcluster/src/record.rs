//! What a cluster's directory tells about it, so that another process can work with it.

use crate::{Options, files, layout::Layout, slot::Slot};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// A cluster as recorded in its directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The cluster's name.
    pub name: String,
    /// Where everything of it lies.
    pub directory: PathBuf,
    /// URL of the API server.
    pub server: String,
    /// Its real nodes.
    pub nodes: Vec<NodeRecord>,
    pub(crate) slot: Slot,
}

/// A real node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Name of the Node object.
    pub name: String,
    /// Its address, reachable from this machine.
    pub address: Ipv4Addr,
    /// The range of its pods.
    pub pods: String,
}

impl Record {
    pub(crate) fn new(options: &Options, layout: &Layout, slot: Slot) -> Self {
        let nodes = (0..options.real_nodes)
            .map(|index| NodeRecord {
                name: format!("node{}", index + 1),
                address: slot.node(index),
                pods: slot.pods_of(index),
            })
            .collect();
        Self {
            name: options.name.clone(),
            directory: layout.root().to_owned(),
            server: String::new(),
            nodes,
            slot,
        }
    }

    /// Where the API server listens: with real nodes where they reach it, on the bridge; else on nothing but loopback.
    pub(crate) fn address(&self) -> Ipv4Addr {
        if self.nodes.is_empty() {
            Ipv4Addr::LOCALHOST
        } else {
            self.slot.host()
        }
    }

    /// Sets the API server's port.
    pub(crate) fn listen(&mut self, port: u16) {
        self.server = format!("https://{}:{port}", self.address());
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::at(&self.directory)
    }

    pub(crate) fn write(&self) -> Result<()> {
        files::replace(&self.layout().record(), serde_json::to_vec_pretty(self)?)
    }

    /// Reads the record of the cluster in that directory.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = Layout::at(directory).record();
        serde_json::from_str(&files::read(&path)?).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// Names of the cluster's processes with their ids, `None` for one that no longer runs.
    pub fn processes(&self) -> Vec<(String, Option<i32>)> {
        let recorded = crate::process::recorded(&self.layout());
        recorded
            .into_iter()
            .map(|(name, process)| (name, process.map(|p| p.pid)))
            .collect()
    }

    /// Kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout().kubeconfig("admin")
    }
}

/// Names become parts of paths, of socket paths even, and of node names.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 24 || !name.chars().all(plain) {
        bail!("a cluster's name is 1 to 24 of a-z, 0-9 and -; {name:?} is not");
    }
    Ok(())
}

/// The running cluster of that name.
pub fn find(name: &str) -> Result<Record> {
    check_name(name)?;
    let layout = Layout::named(name);
    if !layout.record().exists() {
        bail!(
            "there is no cluster {name:?} ({} does not exist); `devcluster up` makes one",
            layout.record().display()
        );
    }
    Record::read(layout.root())
}
