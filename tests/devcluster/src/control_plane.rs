//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

use crate::{
    files,
    layout::Layout,
    pki::Pki,
    process::{self, Processes},
    programs::Programs,
    record::Record,
    slot::Slot,
};
use anyhow::{Result, bail};
use std::process::Command;

/// Growth of the heap, in percent, until the next garbage collection.
const GOGC: &str = "400";

/// Ports of the control plane on this machine.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    pub api: u16,
    pub etcd: u16,
    pub etcd_peer: u16,
    pub controller_manager: u16,
    pub scheduler: u16,
    pub kwok: u16,
}

impl Ports {
    /// Free ones of a slot.
    pub fn take(slot: Slot) -> Result<Self> {
        let free = slot.free_ports(6)?;
        let [api, etcd, etcd_peer, controller_manager, scheduler, kwok] = free[..] else {
            bail!("no free ports")
        };
        Ok(Self {
            api,
            etcd,
            etcd_peer,
            controller_manager,
            scheduler,
            kwok,
        })
    }
}

/// Every request with its user, verb, object and answer, but without bodies.
const AUDIT_POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"Metadata"}]}"#;

/// Everything that the parts of a cluster need to start.
pub(crate) struct Start<'a> {
    pub record: &'a Record,
    pub layout: &'a Layout,
    pub programs: &'a Programs,
    pub processes: &'a Processes,
    pub ports: &'a Ports,
}

impl Start<'_> {
    pub fn spawn(&self, name: &str, arguments: impl IntoIterator<Item = String>) -> Result<()> {
        let mut command: Command = process::command(self.programs.path(name)?);
        command.args(arguments).current_dir(self.layout.root());
        // Garbage collection is a third of the CPU time of an API server that has just started. Memory is cheaper here.
        command.env("GOGC", GOGC);
        self.processes.spawn(name, command)?;
        Ok(())
    }
}

/// Issues what the control plane and its users identify themselves with.
pub(crate) fn certificates(record: &Record, layout: &Layout) -> Result<Pki> {
    let pki = Pki::create(layout)?;
    let mut names: Vec<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    ]
    .into_iter()
    .chain(["kubernetes.default.svc.cluster.local", "127.0.0.1"])
    // The name of the Service in the namespace of a hosted control plane.
    .chain(["kube-apiserver"])
    .map(ToOwned::to_owned)
    .collect();
    names.extend([record.slot.api_service().to_string(), record.slot.host().to_string()]);
    pki.issue("apiserver", None, "kube-apiserver", &names)?;
    pki.issue("kubelet-client", Some("system:masters"), "kubelet-client", &[])?;
    pki.issue("front-proxy", None, "front-proxy-client", &[])?;
    pki.user("admin", Some("system:masters"), "admin", &record.server)?;
    // A name of its own keeps the stand-ins' requests apart in the audit log.
    pki.user(
        "standins",
        Some("system:masters"),
        "devcluster:standins",
        &record.server,
    )?;
    pki.user("kwok", Some("system:masters"), "devcluster:kwok", &record.server)?;
    for component in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        pki.user(component, None, &format!("system:{component}"), &record.server)?;
    }
    Ok(pki)
}

/// Starts etcd and the API server.
pub(crate) fn start_api(start: &Start<'_>) -> Result<()> {
    let etcd = format!("http://127.0.0.1:{}", start.ports.etcd);
    let peer = format!("http://127.0.0.1:{}", start.ports.etcd_peer);
    start.spawn(
        "etcd",
        [
            format!("--data-dir={}", start.layout.root().join("etcd").display()),
            // The data need not outlive the machine.
            "--unsafe-no-fsync".into(),
            format!("--listen-client-urls={etcd}"),
            format!("--advertise-client-urls={etcd}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ],
    )?;
    files::write(&start.layout.root().join("audit-policy.json"), AUDIT_POLICY)?;
    start.spawn("kube-apiserver", api_server(start, &etcd))
}

fn api_server(start: &Start<'_>, etcd: &str) -> Vec<String> {
    let pki = |file: &str| start.layout.pki().join(file).display().to_string();
    let record = start.record;
    let address = record.address();
    let mut arguments = vec![
        format!("--etcd-servers={etcd}"),
        format!("--secure-port={}", start.ports.api),
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        format!("--service-cluster-ip-range={}", record.slot.services()),
        "--allow-privileged=true".into(),
        "--authorization-mode=Node,RBAC".into(),
        // The second one is on in OKD: who sets blockOwnerDeletion must be allowed to update the owner's finalizers.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement".into(),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", pki("service-account.pub")),
        format!("--service-account-signing-key-file={}", pki("service-account.key")),
        format!("--kubelet-client-certificate={}", pki("kubelet-client.crt")),
        format!("--kubelet-client-key={}", pki("kubelet-client.key")),
        format!("--kubelet-certificate-authority={}", pki("ca.crt")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--requestheader-client-ca-file={}", pki("ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        format!("--proxy-client-cert-file={}", pki("front-proxy.crt")),
        format!("--proxy-client-key-file={}", pki("front-proxy.key")),
        format!(
            "--audit-policy-file={}",
            start.layout.root().join("audit-policy.json").display()
        ),
        format!("--audit-log-path={}", start.layout.audit_log().display()),
        // A request is in the log before it is answered, and the log (in MB) is never rotated: tests count on both.
        "--audit-log-mode=blocking".into(),
        "--audit-log-maxsize=1000000".into(),
    ];
    if record.nodes.is_empty() {
        // Loopback is no valid endpoint address; nobody asks for the Service `kubernetes` without real nodes.
        arguments.push("--endpoint-reconciler-type=none".into());
    }
    arguments
}

/// Starts the controllers and the scheduler; they want an API server that answers.
pub(crate) fn start_controllers(start: &Start<'_>) -> Result<()> {
    let pki = |file: &str| start.layout.pki().join(file).display().to_string();
    let kubeconfig = |user: &str| format!("--kubeconfig={}", start.layout.kubeconfig(user).display());
    start.spawn(
        "kube-controller-manager",
        [
            kubeconfig("kube-controller-manager"),
            format!("--service-account-private-key-file={}", pki("service-account.key")),
            format!("--root-ca-file={}", pki("ca.crt")),
            format!("--cluster-signing-cert-file={}", pki("ca.crt")),
            format!("--cluster-signing-key-file={}", pki("ca.key")),
            "--leader-elect=false".into(),
            "--use-service-account-credentials=true".into(),
            "--controllers=*".into(),
            // The default of 20 requests a second is what a start would otherwise wait for.
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
            // A volume made a moment before its claim is otherwise found by the next look at all of them, after 15 s.
            "--pvclaimbinder-sync-period=1s".into(),
            // A paused kwok, or a machine with too much to do, must not cost pods their node.
            "--node-monitor-grace-period=10m".into(),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", start.ports.controller_manager),
        ],
    )?;
    start.spawn(
        "kube-scheduler",
        [
            kubeconfig("kube-scheduler"),
            "--leader-elect=false".into(),
            // A pod refused for another's anti-affinity is looked at again only by this flush, by default after 5 min.
            "--pod-max-in-unschedulable-pods-duration=5s".into(),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", start.ports.scheduler),
        ],
    )
}
