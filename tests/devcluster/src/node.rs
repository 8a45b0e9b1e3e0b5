//! Real nodes: containerd, kubelet and kube-proxy, each node in namespaces of its own on this machine.

use crate::{
    control_plane::Start,
    files, image,
    layout::Layout,
    limits, network,
    pki::Pki,
    process,
    record::{NodeRecord, Record},
    wait,
};
use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const HOLDER: &str = include_str!("node-holder.sh");
/// Name under which the pods' sandbox image is loaded.
const PAUSE: &str = "localhost/pause:dev";

/// Programs of the machine that real nodes use, and the Debian packages that bring them.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("iptables", "iptables"),
    ("runc", "runc"),
];

/// Fails with what to do when this machine cannot have real nodes.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("real nodes need root (namespaces, mounts): run as root, or use simulated nodes only (--real-nodes 0)");
    }
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| find(tool).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        bail!(
            "real nodes need the Debian packages {}: run tests/devcluster/install-prerequisites",
            missing.join(", ")
        );
    }
    let root = layout.root().to_string_lossy();
    if ["/etc/", "/run/", "/var/lib/", "/var/log/"]
        .iter()
        .any(|hidden| root.starts_with(hidden))
        || root.len() > 60
    {
        bail!("{root} cannot hold real nodes (hidden inside a node, or too long for sockets): set TMPDIR=/tmp");
    }
    Ok(())
}

/// Fails with what to do when this machine cannot have real nodes in a cluster of that name.
pub fn check_real_nodes(name: &str) -> Result<()> {
    check(&Layout::named(name))
}

/// A program in PATH, or where Debian keeps those of the administrator.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Opens the namespaces of all nodes, connects them and starts their containerds; needs no API server yet.
pub(crate) async fn prepare(start: &Start<'_>, pki: &Pki) -> Result<()> {
    if start.record.nodes.is_empty() {
        return Ok(());
    }
    limits::raise();
    for node in &start.record.nodes {
        hold(start, node)?;
        let names = [node.name.clone(), node.address.to_string()];
        pki.issue(
            &node.name,
            Some("system:nodes"),
            &format!("system:node:{}", node.name),
            &names,
        )?;
        pki.kubeconfig(&node.name, &start.record.server)?;
    }
    for (index, node) in start.record.nodes.iter().enumerate() {
        wait::until(
            &format!("namespaces of {}", node.name),
            Duration::from_secs(20),
            || async {
                start.processes.check()?;
                Ok(network::holder(start.layout, &node.name).ok())
            },
        )
        .await?;
        network::connect(start.record, start.layout, index)?;
        start_containerd(start, node)?;
    }
    crate::hosts::write_node_hosts(start.layout.root(), &[])?;
    let pause = start.layout.root().join("pause.tar");
    image::pause_image(PAUSE, start.programs.path("pause")?).write(&pause)?;
    for node in &start.record.nodes {
        wait::until(
            &format!("containerd of {}", node.name),
            Duration::from_secs(30),
            || async {
                start.processes.check()?;
                Ok(UnixStream::connect(start.layout.containerd_socket(&node.name)).ok())
            },
        )
        .await?;
    }
    load(start.record, start.programs.path("ctr")?, &pause).await
}

fn hold(start: &Start<'_>, node: &NodeRecord) -> Result<()> {
    let directory = start.layout.node(&node.name);
    files::create_dir(&directory.join("cni"))?;
    files::create_dir(&start.layout.certs(&node.name))?;
    // node-ca runs as a user of root's group. Privileged as it is, the platform's runtime lets it write anywhere; containerd
    // gives capabilities to nobody but root.
    files::set_mode(&start.layout.certs(&node.name), 0o775)?;
    files::write(&start.layout.hosts(&node.name), "127.0.0.1 localhost\n")?;
    let script = directory.join("holder.sh");
    files::write(&script, HOLDER)?;
    let mut command = process::command("unshare");
    // The holder ends with `unshare`, and everything in the node with the holder.
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--propagation",
        "private",
        "sh",
    ]);
    command.arg(script).arg(&directory);
    start.processes.spawn(&format!("{}.holder", node.name), command)?;
    Ok(())
}

/// Starts a program inside a node.
pub(crate) fn spawn(start: &Start<'_>, node: &NodeRecord, name: &str, arguments: &[String]) -> Result<()> {
    let mut command = network::enter(start.layout, &node.name)?;
    command.arg(start.programs.path(name)?).args(arguments);
    let own = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    // containerd looks its shim up in PATH, kubelet its iptables; a login without /usr/sbin in PATH is common.
    let mut path = vec![start.programs.directory("containerd-shim-runc-v2")?.to_owned()];
    path.extend(own);
    path.extend(["/usr/sbin".into(), "/sbin".into()]);
    command.env("PATH", std::env::join_paths(path)?);
    start.processes.spawn(&format!("{}.{name}", node.name), command)?;
    Ok(())
}

fn start_containerd(start: &Start<'_>, node: &NodeRecord) -> Result<()> {
    let directory = start.layout.node(&node.name);
    let d = directory.display();
    // ptp, not bridge: every packet passes the node's routing, so Services work between pods of one node without
    // br_netfilter.
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "devcluster",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": directory.join("ipam"),
                    "ranges": [[{ "subnet": node.pods }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    files::write(
        &directory.join("cni/10-devcluster.conflist"),
        serde_json::to_vec_pretty(&network)?,
    )?;
    let runc = find("runc").context("runc is gone")?;
    let config = format!(
        r#"version = 3
root = "{d}/containerd"
state = "{d}/containerd-state"
# The first wants what no node here has, the second makes /opt/containerd on this machine.
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{cni}"]
  conf_dir = "{d}/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    BinaryName = "{runc}"
"#,
        socket = start.layout.containerd_socket(&node.name).display(),
        cni = start.programs.directory("ptp")?.display(),
        runc = runc.display(),
    );
    files::write(&directory.join("containerd.toml"), config)?;
    spawn(
        start,
        node,
        "containerd",
        &["-c".into(), format!("{d}/containerd.toml")],
    )
}

/// Starts the kubelets and kube-proxies; they want an API server that answers.
pub(crate) fn start(start: &Start<'_>) -> Result<()> {
    for node in &start.record.nodes {
        start_kubelet(start, node)?;
        let arguments = [
            format!("--kubeconfig={}", start.layout.kubeconfig("kube-proxy").display()),
            format!("--hostname-override={}", node.name),
            "--proxy-mode=iptables".into(),
            format!("--cluster-cidr={}", start.record.slot.pods()),
            // Limits of connection tracking belong to the machine.
            "--conntrack-max-per-core=0".into(),
            "--conntrack-tcp-timeout-established=0s".into(),
            "--conntrack-tcp-timeout-close-wait=0s".into(),
        ];
        spawn(start, node, "kube-proxy", &arguments)?;
    }
    Ok(())
}

/// Whether the kube-proxy of every node translates the address of the Service `kubernetes`. Until then pods do not reach the API
/// server.
pub(crate) fn translate_services(record: &Record, layout: &Layout) -> Result<bool> {
    let service = format!(" -d {}/32 ", record.slot.api_service());
    let program =
        find("iptables-save").context("there is no iptables-save: run tests/devcluster/install-prerequisites")?;
    for node in &record.nodes {
        let mut save = network::enter(layout, &node.name)?;
        if !process::run(save.arg(&program).args(["-t", "nat"]))?.contains(&service) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn start_kubelet(start: &Start<'_>, node: &NodeRecord) -> Result<()> {
    let layout = start.layout;
    let directory = layout.node(&node.name);
    files::write(&directory.join("resolv.conf"), "")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "x509": { "clientCAFile": layout.pki().join("ca.crt") },
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": Pki::certificate(&node.name, layout),
        "tlsPrivateKeyFile": Pki::key(&node.name, layout),
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket(&node.name).display()),
        // Whatever control groups the machine has are good enough, and pods take no share from each other.
        "failCgroupV1": false,
        "failSwapOn": false,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "cgroupRoot": cgroup(start.record, node),
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        // A full disk of this machine is nobody's reason to evict pods or drop images.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": { "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%" },
        // There is no cluster DNS. Nobody answers here, at once, unless a test has a cloud for its pods; an address at all
        // spares them the kubelet's warning event.
        "clusterDNS": [start.record.slot.cloud().to_string()],
        "clusterDomain": "cluster.local",
        "resolvConf": directory.join("resolv.conf"),
        "podLogsDir": directory.join("podlogs"),
        "volumePluginDir": directory.join("volume-plugins"),
        "syncFrequency": "10s",
        "registerNode": true,
    });
    files::write(&directory.join("kubelet.json"), serde_json::to_vec_pretty(&config)?)?;
    let arguments = [
        format!("--config={}", directory.join("kubelet.json").display()),
        format!("--kubeconfig={}", layout.kubeconfig(&node.name).display()),
        format!("--hostname-override={}", node.name),
        format!("--node-ip={}", node.address),
        format!("--root-dir={}", directory.join("kubelet").display()),
        format!("--cert-dir={}", directory.join("kubelet-pki").display()),
    ];
    spawn(start, node, "kubelet", &arguments)
}

/// Control group of a node's pods, found again when the node is removed.
fn cgroup(record: &Record, node: &NodeRecord) -> String {
    format!("/{}/{}", cgroup_name(record.layout().root()), node.name)
}

/// Name of the control group below which all pods of a cluster are.
pub(crate) fn cgroup_name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Gives a registered node the roles that the kubelet may not give itself.
pub(crate) async fn label(client: &Client, node: &str) -> Result<()> {
    let api: Api<Node> = Api::all(client.clone());
    let roles = json!({ "metadata": { "labels": {
        "node-role.kubernetes.io/master": "",
        "node-role.kubernetes.io/control-plane": "",
        "node-role.kubernetes.io/worker": "",
    } } });
    api.patch(node, &PatchParams::default(), &Patch::Merge(&roles))
        .await
        .context("cannot label a node")?;
    Ok(())
}

/// Loads an image archive into every real node.
pub(crate) async fn load(record: &Record, ctr: &Path, tar: &Path) -> Result<()> {
    if !tar.is_file() {
        bail!("there is no image archive {}", tar.display());
    }
    let layout = record.layout();
    try_join_all(record.nodes.iter().map(|node| {
        let mut command = process::command(ctr);
        command.arg("-a").arg(layout.containerd_socket(&node.name));
        command
            .args(["-n", "k8s.io", "images", "import", "--digests=false"])
            .arg(tar);
        async move {
            let output = tokio::task::spawn_blocking(move || process::run(&mut command)).await?;
            output.with_context(|| format!("cannot load an image into {}", node.name))
        }
    }))
    .await?;
    Ok(())
}
