//! Where a cluster keeps what: every path below its directory, once.

use std::path::{Path, PathBuf};

/// Paths of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The directory of the cluster of that name: `${TMPDIR:-/tmp}/devcluster-NAME`.
    pub fn named(name: &str) -> Self {
        Self {
            root: std::env::temp_dir().join(format!("devcluster-{name}")),
        }
    }

    /// The paths below `directory`.
    pub fn at(directory: &Path) -> Self {
        Self {
            root: directory.to_owned(),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Facts about the cluster, see `record`.
    pub fn record(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// One file per process: its id and start time.
    pub fn pids(&self) -> PathBuf {
        self.root.join("pids")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where the logs of a failed cluster are kept once its directory is gone.
    pub fn kept_logs(&self) -> PathBuf {
        let mut name = self.root.file_name().unwrap_or_default().to_owned();
        name.push(".logs");
        self.root.with_file_name(name)
    }

    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.root.join("audit.log")
    }

    /// Kubeconfig of one of the cluster's own users, such as `admin`.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root.join(format!("{user}.kubeconfig"))
    }

    /// Address of the stand-ins' router.
    pub fn router(&self) -> PathBuf {
        self.root.join("router.address")
    }

    /// What pods on any real node see under the same path: volumes of `host_volume`.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Everything of one real node.
    pub fn node(&self, node: &str) -> PathBuf {
        self.root.join("nodes").join(node)
    }

    /// Process id of the holder of a node's namespaces, as this machine counts.
    pub fn holder(&self, node: &str) -> PathBuf {
        self.node(node).join("holder.pid")
    }

    pub fn containerd_socket(&self, node: &str) -> PathBuf {
        self.node(node).join("containerd.sock")
    }

    /// The node's `/etc/hosts`.
    pub fn hosts(&self, node: &str) -> PathBuf {
        self.node(node).join("hosts")
    }

    /// The node's `/etc/docker/certs.d`.
    pub fn certs(&self, node: &str) -> PathBuf {
        self.node(node).join("certs.d")
    }
}
