//! The platform's node resolver and node certificates: plain functions over a cluster's directory, so that a stand-in in
//! another process can play them.

use crate::standin::RESOLVER_MARK;
use crate::{files, record::Record};
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

/// Makes every real node resolve these names, and no others but its own and those that the stand-ins wrote there. Written in
/// place: each node has the file bound over its `/etc/hosts`, and a new file would not be the bound one.
pub fn write_node_hosts(directory: &Path, entries: &[(String, IpAddr)]) -> Result<()> {
    let record = Record::read(directory)?;
    let mut text = String::from("127.0.0.1 localhost\n");
    for node in &record.nodes {
        writeln!(text, "{} {}", node.address, node.name)?;
    }
    for (name, address) in entries {
        writeln!(text, "{address} {name}")?;
    }
    for node in &record.nodes {
        let path = record.layout().hosts(&node.name);
        let before = files::read(&path)?;
        let of_standins = before.lines().filter(|line| line.ends_with(RESOLVER_MARK));
        let all: Vec<&str> = text.lines().chain(of_standins).collect();
        files::write(&path, all.join("\n") + "\n")?;
    }
    Ok(())
}

/// Makes every real node trust the authority for the registry `host_port`, for example
/// `image-registry.openshift-image-registry.svc:5000`, until node-ca does.
pub fn write_node_ca(directory: &Path, host_port: &str, pem: &str) -> Result<()> {
    if host_port.is_empty() || host_port.contains('/') || host_port.starts_with('.') {
        bail!("{host_port:?} is no host with a port");
    }
    let record = Record::read(directory)?;
    for node in &record.nodes {
        let registry = record.layout().certs(&node.name).join(host_port);
        files::create_dir(&registry)?;
        files::replace(&registry.join("ca.crt"), pem).with_context(|| format!("certificates of {}", node.name))?;
    }
    Ok(())
}
