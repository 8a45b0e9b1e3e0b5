//! The programs of a cluster and of storage servers: found by `KUBEBUILDER_ASSETS`, or made once from what is pinned in
//! `tools/`: Go modules are built (see the crate `go_programs`), packages of Python (see `environment`) and of Node.js (see `node`)
//! installed. Packages of Debian (see `debian`) are those of the machine's release.

mod debian;
mod environment;
mod node;

pub use go_programs::{
    CHARTS, CLIENT, CONTROL_PLANE, INGRESS_CONTROLLER, MONITORING, POLICIES, REAL, REGISTRY, REGISTRY_ON_SWIFT,
    SIMULATED, STOCK_REGISTRY,
};

use anyhow::{Context as _, Result};
use go_programs::tools;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Storage servers that are packages of Python.
const PACKAGED: &[&str] = &["moto_server", "weed"];

/// Every program that [`ensure`] knows by name.
pub fn all() -> Vec<&'static str> {
    go_programs::all().chain(PACKAGED.iter().copied()).collect()
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

/// The command that serves moto: `tools/stores/serve_moto.py` in the environment of Python that the tests install. A `moto_server` of
/// `KUBEBUILDER_ASSETS` runs as it is, which is slower.
pub(crate) fn moto_server(programs: &Programs) -> Result<Command> {
    let program = programs.path("moto_server")?;
    if go_programs::given("moto_server").is_some() {
        return Ok(crate::process::command(program));
    }
    let mut command = crate::process::command(program.with_file_name("python"));
    command.arg("-I").arg(tools("stores").join("serve_moto.py"));
    Ok(command)
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
            scripts: tools("openstack"),
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
        let script = tools("azurite").join("serve.js");
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
    let (packaged, built): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| PACKAGED.contains(name));
    let mut paths = go_programs::ensure(&built)?;
    for name in packaged {
        let path = match go_programs::given(name) {
            Some(path) => path,
            None => environment::make("stores")?.join("bin").join(name),
        };
        paths.insert(name.to_owned(), path);
    }
    Ok(Programs { paths })
}
