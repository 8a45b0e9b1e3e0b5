//! Starts a real Kubernetes cluster on this machine, for the demo and the tests. Needs no Docker and no fixed ports; several
//! clusters can run at the same time.
//!
//! The control plane (etcd, kube-apiserver, kube-controller-manager, kube-scheduler) always consists of the real
//! programs. Nodes come in two kinds: *simulated* ones (kwok sets the status of their pods; needs no root) and *real*
//! ones (kubelet, containerd and kube-proxy in namespaces of their own; needs root). On top the platform's CRDs, config
//! objects and `deploy/` are installed, and stand-ins replace the platform's controllers.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let cluster = devcluster::Cluster::up(devcluster::Options { name: "example".into(), ..Default::default() }).await?;
//! let client = cluster.client().await?;
//! cluster.down().await
//! # }
//! ```
//!
//! Modules: `programs` finds or builds the binaries; `slot` hands out addresses and ports; `process` starts
//! and stops; `control_plane`, `simulated`, `node`, `network` and `policies` are the parts of a cluster; `platform` and
//! `apply` fill it; `image` packs what runs on real nodes, `install` runs the operator there, `inside` runs commands on a
//! node, `login` is what clients of a stock registry need, `pod_network` connects and listens as a pod;
//! `standin` replaces the platform's controllers, started by `companion`; `stores` are storage servers for tests, `operand`
//! is the registry as a process; `bench` measures the operator; `teardown` removes a cluster, also a crashed one;
//! `cluster` combines them.

pub mod apply;
pub mod audit;
pub mod bench;
pub mod cluster;
pub mod hosts;
pub mod image;
pub mod inside;
pub mod install;
pub mod login;
pub mod operand;
pub mod pod_network;
pub mod programs;
pub mod rights;
pub mod standin;
pub mod stores;
pub mod wait;

mod client;
mod companion;
mod control_plane;
mod layout;
mod limits;
mod network;
mod node;
mod pki;
mod platform;
mod policies;
mod process;
mod record;
mod simulated;
mod slot;
mod teardown;

use go_programs::files;

pub use client::from as client_from;
pub use cluster::{Cluster, RealNode};
pub use companion::{APPS_DOMAIN, run as run_standins};
pub use node::check_real_nodes;
pub use platform::RELEASE_VERSION;
pub use record::{Record, find as find_cluster};

/// Options of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each switch stands for itself
pub struct Options {
    /// Unique among the clusters on this machine, short (it becomes part of socket paths): `[a-z0-9-]`, at most 24.
    pub name: String,
    /// Number of nodes that kwok simulates. With real nodes beside them they are tainted `kwok.x-k8s.io/node`, so that
    /// a pod only lands there when it asks to.
    pub simulated_nodes: usize,
    /// Number of real nodes, at most seven; needs root.
    pub real_nodes: usize,
    /// Whether real nodes enforce NetworkPolicies. Without it they have no effect.
    pub network_policies: bool,
    /// `status.platformStatus.type` of the Infrastructure object, such as `None`, `Libvirt`, `oVirt` or `OpenStack`.
    pub platform: String,
    /// Whether to install an empty CRD `securitycontextconstraints.security.openshift.io`, so that the API group is
    /// served as it is on OKD.
    pub security_api: bool,
    /// Whether to install a CRD `imagestreams.image.openshift.io/v1`.
    pub imagestreams: bool,
    /// Whether to install the platform's CRDs and objects, as on OKD. Without them the cluster is a plain Kubernetes that has this
    /// project's CRDs and the objects of `deploy/overlays/kubernetes`. [`Cluster::install_platform_crd`] adds one later.
    pub platform_apis: bool,
    /// Whether to apply `deploy/`, all but the operator's Deployment: tests run the operator as a process.
    pub deploy: bool,
    /// Whether to start the stand-ins for the platform's controllers.
    pub standins: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "dev".into(),
            simulated_nodes: 1,
            real_nodes: 0,
            network_policies: false,
            platform: "None".into(),
            security_api: false,
            imagestreams: false,
            platform_apis: true,
            deploy: true,
            standins: true,
        }
    }
}
