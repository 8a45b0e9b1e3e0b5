//! Which programs there are, and what uses them.

use anyhow::bail;
use std::str::FromStr;

/// Version that the Kubernetes programs report; without it they call themselves v0.0.0. Equal to tools/kubernetes/go.mod.
pub(crate) const KUBERNETES_VERSION: &str = "v1.35.4";

/// One Go module under `tools/` and what is built from it.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: &'static str,
    /// About how long the build of all programs takes on two cores, with an empty cache.
    pub seconds: u64,
    /// Program and Go package.
    pub programs: &'static [(&'static str, &'static str)],
    pub tags: &'static str,
}

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "kubernetes",
        seconds: 430,
        programs: &[
            ("etcd", "go.etcd.io/etcd/server/v3"),
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            (
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
            ),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        ],
        tags: "",
    },
    Group {
        name: "kwok",
        seconds: 115,
        programs: &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
        tags: "",
    },
    Group {
        name: "containerd",
        seconds: 75,
        programs: &[
            ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            (
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            ),
            ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
        // Snapshotters that nobody uses here and that want C libraries.
        tags: "no_btrfs no_devmapper no_zfs",
    },
    Group {
        name: "cni",
        seconds: 15,
        programs: &[
            ("ptp", "github.com/containernetworking/plugins/plugins/main/ptp"),
            (
                "loopback",
                "github.com/containernetworking/plugins/plugins/main/loopback",
            ),
            (
                "host-local",
                "github.com/containernetworking/plugins/plugins/ipam/host-local",
            ),
            ("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
        ],
        tags: "",
    },
    Group {
        name: "policies",
        seconds: 40,
        programs: &[("policies", ".")],
        tags: "",
    },
    Group {
        name: "crane",
        seconds: 15,
        programs: &[("crane", "github.com/google/go-containerregistry/cmd/crane")],
        tags: "",
    },
    Group {
        name: "kubectl",
        seconds: 60,
        programs: &[("kubectl", ".")],
        tags: "",
    },
    Group {
        name: "helm",
        seconds: 100,
        programs: &[("helm", "helm.sh/helm/v4/cmd/helm")],
        tags: "",
    },
    Group {
        name: "registry",
        seconds: 75,
        programs: &[("registry", ".")],
        tags: "",
    },
    Group {
        name: "distribution",
        seconds: 75,
        programs: &[("distribution", "github.com/distribution/distribution/v3/cmd/registry")],
        tags: "",
    },
    Group {
        name: "registry-v2",
        seconds: 30,
        programs: &[("registry-v2", ".")],
        tags: "",
    },
    Group {
        name: "promtool",
        seconds: 200,
        programs: &[("promtool", "github.com/prometheus/prometheus/cmd/promtool")],
        // Service discovery of clouds, which rules do not need.
        tags: "remove_all_sd",
    },
    Group {
        name: "traefik",
        seconds: 240,
        programs: &[("traefik", "github.com/traefik/traefik/v3/cmd/traefik")],
        tags: "",
    },
    Group {
        name: "pause",
        seconds: 3,
        programs: &[("pause", ".")],
        tags: "",
    },
    Group {
        name: "fake-gcs-server",
        seconds: 60,
        programs: &[("fake-gcs-server", "github.com/fsouza/fake-gcs-server")],
        tags: "",
    },
];

/// What a control plane consists of.
pub const CONTROL_PLANE: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// What simulated nodes need on top.
pub const SIMULATED: &[&str] = &["kwok"];
/// What real nodes need on top.
pub const REAL: &[&str] = &[
    "kubelet",
    "kube-proxy",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "ptp",
    "loopback",
    "host-local",
    "portmap",
    "pause",
];
/// What the registry's image holds.
pub const REGISTRY: &[&str] = &["registry"];
/// What the registry's image holds on top for Swift: the program that [`REGISTRY`] replaces itself by.
pub const REGISTRY_ON_SWIFT: &[&str] = &["registry-v2"];
/// The stock registry, as its project ships it.
pub const STOCK_REGISTRY: &[&str] = &["distribution"];
/// What enforces NetworkPolicies on real nodes.
pub const POLICIES: &[&str] = &["policies"];
/// The client of administrators.
pub const CLIENT: &[&str] = &["kubectl"];
/// What installs the chart.
pub const CHARTS: &[&str] = &["helm"];
/// A controller of Ingresses and of the Gateway API.
pub const INGRESS_CONTROLLER: &[&str] = &["traefik"];
/// What checks and tests rules for Prometheus.
pub const MONITORING: &[&str] = &["promtool"];

/// What kind of cluster the demo runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// OKD, with its registry.
    Okd,
    /// A cluster without OKD's APIs, with the stock registry.
    Kubernetes,
}

impl Demo {
    /// What the demo uses.
    pub fn programs(self) -> Vec<&'static str> {
        let registry = match self {
            Self::Okd => REGISTRY,
            Self::Kubernetes => STOCK_REGISTRY,
        };
        [CONTROL_PLANE, REAL, registry, &["crane"]].concat()
    }
}

impl FromStr for Demo {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "okd" => Ok(Self::Okd),
            "kubernetes" => Ok(Self::Kubernetes),
            _ => bail!("the demo runs on okd or kubernetes, not on {text:?}"),
        }
    }
}
