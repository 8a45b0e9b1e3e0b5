//! NetworkPolicies on real nodes: a program on each node enforces them, with rules in the node's network namespace.
//!
//! Traffic from a node to its own pods is always allowed, as on every cluster: the kubelet's probes need it.

use crate::{Options, control_plane::Start, node, pki::Pki};
use anyhow::{Result, bail};

/// The program, and the user as which it watches pods, namespaces and policies.
const NAME: &str = "policies";

/// Fails with what to do when a cluster cannot enforce NetworkPolicies.
pub(crate) fn check(options: &Options) -> Result<()> {
    if options.real_nodes == 0 {
        bail!("simulated nodes have no network: to enforce NetworkPolicies takes real nodes");
    }
    if node::find("ipset").is_none() {
        bail!("to enforce NetworkPolicies takes the Debian package ipset: run tests/devcluster/install-prerequisites");
    }
    Ok(())
}

/// Starts the program on every node. It waits until the kubelet has registered the node.
pub(crate) fn start(start: &Start<'_>, pki: &Pki) -> Result<()> {
    let record = start.record;
    pki.user(
        NAME,
        Some("system:masters"),
        &format!("devcluster:{NAME}"),
        &record.server,
    )?;
    for node in &record.nodes {
        let arguments = [
            format!("--kubeconfig={}", start.layout.kubeconfig(NAME).display()),
            format!("--node={}", node.name),
            format!("--service-cluster-ip-range={}", record.slot.services()),
        ];
        node::spawn(start, node, NAME, &arguments)?;
    }
    Ok(())
}
