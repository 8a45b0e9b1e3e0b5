//! Which programs there are, and what uses them.

use anyhow::bail;
use std::str::FromStr;

/// Version that the Kubernetes programs report; without it they call themselves v0.0.0. Equal to tools/go.mod.
pub(crate) const KUBERNETES_VERSION: &str = "v1.35.4";

/// The Go module of nearly all programs: what several of them use has one version, and is compiled once.
const SHARED: &str = ".";

/// Programs that are built together.
#[derive(Debug)]
pub(crate) struct Group {
    /// Also the folder below `tools/` with its own sources, if it has some.
    pub name: &'static str,
    /// The folder below `tools/` with the Go module.
    pub module: &'static str,
    /// About how long the build of all programs takes on two cores, after the groups above and otherwise with an empty cache.
    pub seconds: u64,
    /// Program and Go package.
    pub programs: &'static [(&'static str, &'static str)],
    pub tags: &'static str,
}

/// Leaves out what the client of Google Cloud Storage uses over gRPC only (Envoy, xDS), and traces of gRPC: the registries and
/// fake-gcs-server speak HTTP. A quarter of the build of a registry.
const WITHOUT_GRPC_STORAGE: &str = "disable_grpc_modules grpcnotrace";

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "kubernetes",
        module: SHARED,
        seconds: 400,
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
        module: "kwok",
        seconds: 100,
        programs: &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
        tags: "",
    },
    Group {
        name: "containerd",
        module: SHARED,
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
        module: SHARED,
        seconds: 5,
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
        module: SHARED,
        seconds: 5,
        programs: &[("policies", "./policies")],
        tags: "",
    },
    Group {
        name: "crane",
        module: SHARED,
        seconds: 5,
        programs: &[("crane", "github.com/google/go-containerregistry/cmd/crane")],
        tags: "",
    },
    Group {
        name: "kubectl",
        module: SHARED,
        seconds: 30,
        programs: &[("kubectl", "./kubectl")],
        tags: "",
    },
    Group {
        name: "helm",
        module: SHARED,
        seconds: 25,
        programs: &[("helm", "helm.sh/helm/v4/cmd/helm")],
        tags: "",
    },
    Group {
        name: "registry",
        module: SHARED,
        seconds: 75,
        programs: &[("registry", "./registry")],
        tags: WITHOUT_GRPC_STORAGE,
    },
    Group {
        name: "distribution",
        module: SHARED,
        seconds: 5,
        programs: &[("distribution", "github.com/distribution/distribution/v3/cmd/registry")],
        tags: WITHOUT_GRPC_STORAGE,
    },
    Group {
        name: "registry-v2",
        module: SHARED,
        seconds: 5,
        programs: &[("registry-v2", "./registry-v2")],
        tags: "",
    },
    Group {
        name: "promtool",
        module: SHARED,
        seconds: 35,
        programs: &[("promtool", "github.com/prometheus/prometheus/cmd/promtool")],
        // Service discovery of clouds, which rules do not need.
        tags: "remove_all_sd",
    },
    Group {
        name: "traefik",
        module: "traefik",
        seconds: 60,
        programs: &[("traefik", "github.com/traefik/traefik/v3/cmd/traefik")],
        tags: "",
    },
    Group {
        name: "pause",
        module: SHARED,
        seconds: 3,
        programs: &[("pause", "./pause")],
        tags: "",
    },
    Group {
        name: "fake-gcs-server",
        module: SHARED,
        seconds: 10,
        programs: &[("fake-gcs-server", "github.com/fsouza/fake-gcs-server")],
        tags: WITHOUT_GRPC_STORAGE,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that wants newer libraries of Kubernetes would move the API server to them.
    #[test]
    fn kubernetes_is_of_the_release_that_it_reports_with_all_its_libraries() {
        let pinned = crate::files::read(&crate::tools("go.mod")).unwrap();
        let release = KUBERNETES_VERSION.trim_start_matches("v1.");
        let version = |module: &str| {
            let line = pinned.lines().find_map(|line| line.trim().strip_prefix(module));
            line.unwrap().split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(version("k8s.io/kubernetes "), format!("v1.{release}"));
        for library in [
            "api",
            "apimachinery",
            "apiserver",
            "client-go",
            "component-base",
            "kubelet",
        ] {
            assert_eq!(
                version(&format!("k8s.io/{library} ")),
                format!("v0.{release}"),
                "{library}"
            );
        }
    }
}
