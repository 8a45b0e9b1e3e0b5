//! The network of real nodes: a bridge on this machine, a cable to each node, and routes; nothing leads outside.

use crate::{
    layout::Layout,
    process::{self, ProcessId},
    record::Record,
    slot::{self, MAX_REAL_NODES, NETWORK, Slot},
};
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;

/// Anything for an address of a cluster that is gone ends here instead of on the way to the internet.
const UNREACHABLE: [&str; 4] = ["unreachable", NETWORK, "metric", "4294967295"];

fn ip(arguments: &[&str]) -> Result<String> {
    let mut command = process::command("ip");
    process::run(command.args(arguments))
}

/// Creates the bridge.
pub(crate) fn create(slot: Slot) -> Result<()> {
    let bridge = slot.bridge();
    ip(&["link", "add", &bridge, "type", "bridge"])?;
    for address in [slot.host(), slot.cloud()] {
        ip(&["addr", "add", &format!("{address}/24"), "dev", &bridge])?;
    }
    ip(&["link", "set", &bridge, "up"])?;
    let mut route = vec!["route", "replace"];
    route.extend(UNREACHABLE);
    ip(&route)?;
    Ok(())
}

/// Connects a node whose namespaces exist: cable, address, ways to the other nodes' pods and to Services.
pub(crate) fn connect(record: &Record, layout: &Layout, index: usize) -> Result<()> {
    let slot = record.slot;
    let node = &record.nodes[index];
    let holder = holder(layout, &node.name)?;
    let cable = slot.cable(index);
    let pid = holder.to_string();
    ip(&[
        "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &pid,
    ])?;
    ip(&["link", "set", &cable, "master", &slot.bridge(), "up"])?;
    let mut lines = String::new();
    writeln!(lines, "addr add {}/24 dev eth0", node.address)?;
    writeln!(lines, "link set lo up\nlink set eth0 up")?;
    // Never sent: the node's own kube-proxy translates before. But without a route the sender is told "unreachable".
    writeln!(lines, "route add {} dev eth0", slot.services())?;
    for other in record.nodes.iter().filter(|other| other.name != node.name) {
        writeln!(lines, "route add {} via {}", other.pods, other.address)?;
    }
    let batch = layout.node(&node.name).join("ip.batch");
    crate::files::write(&batch, lines)?;
    process::run(
        process::command("nsenter")
            .args(["-t", &pid, "-n", "ip", "-batch"])
            .arg(&batch),
    )?;
    ip(&["route", "add", &node.pods, "via", &node.address.to_string()])?;
    if index == 0 {
        // This machine reaches Services through the first node, whose kube-proxy translates.
        ip(&["route", "add", &slot.services(), "via", &node.address.to_string()])?;
    }
    Ok(())
}

/// Removes the bridge with its routes, the cables, and, if no other cluster is left, the route for all of them.
///
/// Cables would go with the namespaces of the nodes, but the kernel keeps those while a connection that was cut in the
/// middle still tries to say goodbye: minutes in which the next cluster could not have the name.
pub(crate) fn remove(slot: Slot) {
    // Errors mean: is not there.
    for node in 0..MAX_REAL_NODES {
        let _ = ip(&["link", "del", &slot.cable(node)]);
    }
    let _ = ip(&["link", "del", &slot.bridge()]);
    if routes().is_ok_and(|routes| routes.iter().all(|route| !slot::is_ours(*route))) {
        let mut route = vec!["route", "del"];
        route.extend(UNREACHABLE);
        let _ = ip(&route);
    }
}

/// First addresses of the ranges that this machine has routes to, without the unreachable ones.
pub(crate) fn routes() -> Result<Vec<Ipv4Addr>> {
    let first = |line: &str| line.split(['/', ' ']).next()?.parse().ok();
    Ok(ip(&["-4", "route", "show"])?.lines().filter_map(first).collect())
}

/// Process id of the holder of a node's namespaces.
pub(crate) fn holder(layout: &Layout, node: &str) -> Result<i32> {
    let text = crate::files::read(&layout.holder(node)).with_context(|| format!("node {node} does not run"))?;
    let pid = text.trim().parse().with_context(|| format!("holder of {node}"))?;
    ProcessId::of(pid).with_context(|| format!("node {node} does not run"))?;
    Ok(pid)
}

/// A command inside a node: its network, mounts and processes.
pub(crate) fn enter(layout: &Layout, node: &str) -> Result<Command> {
    let mut command = process::command("nsenter");
    command.args(["-t", &holder(layout, node)?.to_string(), "-m", "-n", "-p", "--"]);
    Ok(command)
}
