//! The programs of a cluster and of storage servers: found by `KUBEBUILDER_ASSETS`, or made once from what is pinned in
//! `tools/`: Go modules are built, packages of Python (see `environment`) and of Node.js (see `node`) installed. Packages of Debian
//! (see `debian`) are those of the machine's release.
//!
//! Each group is a Go module of its own, so that their versions do not bind each other. What is built is kept in
//! `${XDG_CACHE_HOME:-~/.cache}/image-registry-operator/devcluster/GROUP-HASH`, where the hash covers the module's files
//! and the build flags: a change of either builds anew, a second run builds nothing.

mod debian;
mod environment;
mod node;
mod replaced;

use crate::files;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Version that the Kubernetes programs report; without it they call themselves v0.0.0. Equal to tools/kubernetes/go.mod.
const KUBERNETES_VERSION: &str = "v1.35.4";

/// One Go module under `tools/` and what is built from it.
#[derive(Debug)]
struct Group {
    name: &'static str,
    /// About how long the build of all programs takes on two cores, with an empty cache.
    seconds: u64,
    /// Program and Go package.
    programs: &'static [(&'static str, &'static str)],
    tags: &'static str,
}

const GROUPS: &[Group] = &[
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
/// Storage servers, which only tests use.
pub const STORES: &[&str] = &["moto_server", "weed", "fake-gcs-server"];

/// Every program that [`ensure`] knows by name.
pub fn all() -> Vec<&'static str> {
    let built = GROUPS.iter().flat_map(|group| group.programs).map(|(name, _)| *name);
    let mut names: Vec<&str> = built.filter(|name| !STORES.contains(name)).collect();
    names.extend(STORES);
    names
}

/// What a demo uses that runs this registry.
pub fn demo(registry: &[&'static str]) -> Vec<&'static str> {
    [CONTROL_PLANE, REAL, registry, &["crane"]].concat()
}

/// Where programs are.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    paths: BTreeMap<String, PathBuf>,
}

impl Programs {
    /// The path of a program that [`ensure`] was asked for.
    pub fn path(&self, name: &str) -> Result<&Path> {
        self.paths
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("program {name} was not asked for"))
    }

    /// The programs of the registry's image: that of [`REGISTRY`], and that of [`REGISTRY_ON_SWIFT`] if it was asked for.
    pub fn registry(&self) -> Result<Vec<&Path>> {
        let names = [REGISTRY, REGISTRY_ON_SWIFT].concat();
        let asked = names.into_iter().filter(|name| self.paths.contains_key(*name));
        asked.map(|name| self.path(name)).collect()
    }

    /// The directory of a program.
    pub fn directory(&self, name: &str) -> Result<&Path> {
        self.path(name)?
            .parent()
            .with_context(|| format!("program {name} has no directory"))
    }
}

/// Keystone and Swift, which are Python packages; their scripts are in `tools/openstack`.
#[derive(Clone, Debug)]
pub(crate) struct OpenStack {
    /// The Python that has the packages.
    pub python: PathBuf,
    /// Directory of the scripts that serve.
    pub scripts: PathBuf,
    /// Directory with Keystone's database and configuration, as they are before the first start.
    pub keystone: PathBuf,
}

/// The password of Keystone's users `admin` and `swift`.
pub(crate) const OPENSTACK_PASSWORD: &str = "devcluster-openstack";

/// Installs Keystone and Swift unless they are there, and makes Keystone's first database.
pub(crate) async fn openstack() -> Result<OpenStack> {
    tokio::task::spawn_blocking(|| {
        Ok(OpenStack {
            python: environment::make("openstack")?.join("bin/python"),
            scripts: pins("openstack"),
            keystone: environment::fill("openstack", "initialise.py", OPENSTACK_PASSWORD)?,
        })
    })
    .await?
}

/// Google's own clients, which are Python packages.
#[derive(Clone, Debug)]
pub struct GoogleClients {
    /// The Python that has `google.cloud.storage` and `googleapiclient`.
    pub python: PathBuf,
    /// Google's discovery documents, as `googleapiclient` carries them: `storage.v1.json` and others.
    pub documents: PathBuf,
}

/// Installs Google's own clients unless they are there.
pub async fn google_clients() -> Result<GoogleClients> {
    tokio::task::spawn_blocking(|| {
        let directory = environment::make("gcs")?;
        let packages = environment::packages(&directory)?;
        Ok(GoogleClients {
            python: directory.join("bin/python"),
            documents: packages.join("googleapiclient/discovery_cache/documents"),
        })
    })
    .await?
}

/// Installs IBM's own clients unless they are there; the Python that has `ibm_platform_services` and `ibm_boto3`.
pub async fn ibm_clients() -> Result<PathBuf> {
    tokio::task::spawn_blocking(|| Ok(environment::make("ibm")?.join("bin/python"))).await?
}

/// Azurite, a package of Node.js.
#[derive(Clone, Debug)]
pub(crate) struct Azurite {
    /// The Node.js that runs it.
    pub node: PathBuf,
    /// The script that serves blobs.
    pub script: PathBuf,
    /// The directory that holds its packages.
    pub packages: PathBuf,
}

/// Installs Azurite unless it is there.
pub(crate) async fn azurite() -> Result<Azurite> {
    tokio::task::spawn_blocking(|| {
        let (node, packages) = node::make("azurite")?;
        let script = pins("azurite").join("serve.js");
        Ok(Azurite { node, script, packages })
    })
    .await?
}

/// Installs Azurite and Microsoft's own clients unless they are there.
pub async fn ensure_azure() -> Result<()> {
    azurite().await?;
    azure_clients().await.map(drop)
}

/// Installs Microsoft's own clients unless they are there; the Python that has `azure.identity`, `azure.storage.blob` and
/// `azure.mgmt` of `storage`, `network` and `privatedns`.
pub async fn azure_clients() -> Result<PathBuf> {
    tokio::task::spawn_blocking(|| Ok(environment::make("azure")?.join("bin/python"))).await?
}

/// Makes all that storage servers consist of, beside the programs that [`ensure`] knows by name.
pub async fn ensure_openstack() -> Result<()> {
    openstack().await.map(drop)
}

/// Ceph with its RADOS Gateway.
#[derive(Clone, Debug)]
pub(crate) struct Ceph {
    /// Directory of the programs.
    pub programs: PathBuf,
    /// What `LD_LIBRARY_PATH` has to be.
    pub libraries: std::ffi::OsString,
    /// Directory of Ceph's plug-ins.
    pub plugins: PathBuf,
    /// Directory of the classes of objects, which a gateway uses.
    pub classes: PathBuf,
}

/// Unpacks Ceph unless it is there.
pub(crate) async fn ceph() -> Result<Ceph> {
    tokio::task::spawn_blocking(|| {
        let root = debian::unpack("ceph", &["ceph-mon", "ceph-osd", "radosgw"])?;
        // Named after the machine's architecture.
        let libraries = std::fs::read_dir(root.join("usr/lib"))?.filter_map(Result::ok);
        let mut libraries = libraries.map(|entry| entry.path());
        let libraries = libraries.find(|path| path.join("rados-classes").is_dir());
        let libraries = libraries.with_context(|| format!("no Ceph in {}", root.display()))?;
        let plugins = libraries.join("ceph");
        // Some packages have theirs in /lib.
        let architecture = libraries.file_name().context("a directory of libraries")?;
        let older = root.join("lib").join(architecture);
        Ok(Ceph {
            programs: root.join("usr/bin"),
            classes: libraries.join("rados-classes"),
            libraries: std::env::join_paths([&libraries, &older, &plugins])?,
            plugins,
        })
    })
    .await?
}

/// Unpacks Ceph unless it is there.
pub async fn ensure_ceph() -> Result<()> {
    ceph().await.map(drop)
}

/// Finds the named programs and builds those that are nowhere; waits for another process that builds the same.
pub async fn ensure(names: &[&str]) -> Result<Programs> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || ensure_blocking(&names)).await?
}

fn ensure_blocking(names: &[String]) -> Result<Programs> {
    let mut programs = Programs::default();
    let assets = std::env::var_os("KUBEBUILDER_ASSETS")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    let mut wanted: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    let mut stores = Vec::new();
    for name in names {
        if let Some(path) = assets
            .as_ref()
            .map(|directory| directory.join(name))
            .filter(|path| path.is_file())
        {
            programs.paths.insert(name.clone(), path);
            continue;
        }
        let group = GROUPS
            .iter()
            .position(|group| group.programs.iter().any(|(program, _)| program == name));
        if group.is_none() && STORES.contains(&name.as_str()) {
            stores.push(name);
            continue;
        }
        wanted
            .entry(group.with_context(|| format!("there is no program {name}"))?)
            .or_default()
            .push(name);
    }
    let mut directories = BTreeMap::new();
    for index in wanted.keys() {
        let group = &GROUPS[*index];
        directories.insert(*index, cache()?.join(format!("{}-{}", group.name, hash(group)?)));
    }
    announce(&wanted, &directories);
    for (index, names) in wanted {
        let directory = &directories[&index];
        build(&GROUPS[index], &names, directory)?;
        for name in names {
            programs.paths.insert(name.to_owned(), directory.join(name));
        }
    }
    if !stores.is_empty() {
        let directory = environment::make("stores")?;
        for name in stores {
            programs.paths.insert(name.clone(), directory.join("bin").join(name));
        }
    }
    Ok(programs)
}

/// Says what will be built and about how long that takes, if there is more than one group to build.
fn announce(wanted: &BTreeMap<usize, Vec<&str>>, directories: &BTreeMap<usize, PathBuf>) {
    let incomplete = wanted.iter().filter(|(index, names)| {
        let directory = directories.get(index);
        directory.is_some_and(|directory| names.iter().any(|name| !directory.join(name).is_file()))
    });
    let missing: Vec<&Group> = incomplete.map(|(index, _)| &GROUPS[*index]).collect();
    if missing.len() > 1 {
        let names: Vec<&str> = missing.iter().map(|group| group.name).collect();
        let seconds: u64 = missing.iter().map(|group| group.seconds).sum();
        progress(&format!(
            "to be built once: {}; about {} minutes on two cores",
            names.join(", "),
            seconds.div_ceil(60)
        ));
    }
}

/// Where a group's pins are.
fn pins(group: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(group)
}

/// Directory of a group's Go module.
fn module(group: &Group) -> PathBuf {
    pins(group.name)
}

fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    let base = match base {
        Some(base) => base,
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(base.join("image-registry-operator/devcluster"))
}

fn link_flags(group: &Group) -> String {
    let mut flags = "-s -w".to_owned();
    if group.name == "kubernetes" {
        let mut parts = KUBERNETES_VERSION.trim_start_matches('v').split('.');
        for (variable, value) in [
            ("gitVersion", KUBERNETES_VERSION),
            ("gitMajor", parts.next().unwrap_or_default()),
            ("gitMinor", parts.next().unwrap_or_default()),
        ] {
            flags.push_str(" -X k8s.io/component-base/version.");
            flags.push_str(variable);
            flags.push('=');
            flags.push_str(value);
        }
    }
    flags
}

/// What a group is built from, as twelve hex digits.
fn hash(group: &Group) -> Result<String> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut sources = files::list(&module(group), "mod")?;
    sources.extend(files::list(&module(group), "sum")?);
    sources.extend(files::list(&module(group), "go")?);
    for source in sources {
        context.update(&std::fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?);
    }
    context.update(format!("{} {}", link_flags(group), group.tags).as_bytes());
    Ok(abbreviate(context.finish()))
}

/// The first twelve hex digits.
fn abbreviate(digest: aws_lc_rs::digest::Digest) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in digest.as_ref().iter().take(6) {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Waits for another process that makes the same; the lock is held as long as the file is open.
fn lock(name: &str, directory: &Path) -> Result<File> {
    let lock = File::create(directory.join("lock")).context("cannot create a lock file")?;
    if lock.try_lock().is_err() {
        progress(&format!("another process builds {name}; waiting for it"));
        lock.lock().context("cannot lock")?;
    }
    Ok(lock)
}

fn build(group: &Group, names: &[&str], directory: &Path) -> Result<()> {
    let missing = || -> Vec<&(&str, &str)> {
        group
            .programs
            .iter()
            .filter(|(name, _)| names.contains(name) && !directory.join(name).is_file())
            .collect()
    };
    if missing().is_empty() {
        return Ok(());
    }
    files::create_dir(directory)?;
    let _lock = lock(group.name, directory)?;
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    progress(&format!(
        "building {} (once; kept in {})",
        list.join(", "),
        directory.display()
    ));
    let start = Instant::now();
    // All at once: linking takes one core, so that the compiler has the others. What a killed build has compiled is in Go's own
    // cache.
    let unfinished = directory.join("unfinished");
    files::create_dir(&unfinished)?;
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    go_build(group, &packages, &unfinished)?;
    for (name, package) in &missing {
        let output = unfinished.join(go_name(package, group));
        std::fs::rename(&output, directory.join(name)).with_context(|| format!("cannot store {name}"))?;
    }
    progress(&format!("  {} after {} s", group.name, start.elapsed().as_secs()));
    // Ignored: what is left in a cache harms nobody.
    let _ = std::fs::remove_dir_all(&unfinished);
    Ok(())
}

/// The name that `go build` gives to the program of a package: the last element of its path that is not a major version. The
/// module of a group of ours ends in the name of the group.
fn go_name<'a>(package: &'a str, group: &'a Group) -> &'a str {
    let is_version = |element: &str| {
        let digits = element.strip_prefix('v').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let element = package.rsplit('/').find(|element| !is_version(element));
    element.filter(|element| *element != ".").unwrap_or(group.name)
}

/// Builds packages of a group into a directory.
fn go_build(group: &Group, packages: &[&str], directory: &Path) -> Result<()> {
    let mut command = Command::new("go");
    // The caller's environment stays: GOPROXY, GOFLAGS and the proxies are how a machine reaches its modules.
    command
        .current_dir(module(group))
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "auto");
    command.arg("build");
    if let Some(file) = replaced::module_file(group.name, &module(group), directory)? {
        command.arg("-modfile").arg(file);
    }
    command.args(["-trimpath", "-ldflags", &link_flags(group), "-tags", group.tags, "-o"]);
    command.arg(format!("{}/", directory.display())).args(packages);
    let result = match command.output() {
        Ok(result) => result,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "{} must be built, and there is no `go` in PATH: install Go 1.26 or newer (https://go.dev/dl), or name a directory that \
             holds the program in KUBEBUILDER_ASSETS",
            group.name
        ),
        Err(error) => return Err(error).context("cannot run go"),
    };
    if !result.status.success() {
        bail!(
            "building {} failed:\n{}",
            group.name,
            String::from_utf8_lossy(&result.stderr)
        );
    }
    Ok(())
}

/// A build lasts minutes: told straight to the terminal, because a test's captured output would hide it.
fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "devcluster: {line}");
}
