//! A cloud for the pods of a cluster with real nodes: its hosts resolve in pods, and answer on the port of the web.

use super::dns::Dns;
use super::gate::{Gate, GateOptions};
use super::tls::Authority;
use super::wire::Target;
use crate::Cluster;
use anyhow::{Result, bail};
use std::net::Ipv4Addr;

const HTTPS: u16 = 443;
const DNS: u16 = 53;

/// Hosts such as `sts.us-east-1.amazonaws.com`, as pods see them; gone when it is dropped.
#[derive(Debug)]
pub struct Cloud {
    gate: Gate,
    dns: Dns,
    address: Ipv4Addr,
}

impl Cloud {
    /// Serves `routes`, hosts and the servers behind them (`*.NAME`: every name below NAME, at any depth), over TLS with a
    /// certificate of the authority for exactly `names`: there `*.` stands for one label only. Pods resolve the hosts;
    /// nodes do not.
    ///
    /// One at a time in a cluster, which must have real nodes.
    pub fn start(
        cluster: &Cluster,
        authority: &Authority,
        routes: Vec<(String, Target)>,
        names: &[String],
    ) -> Result<Self> {
        if cluster.real_nodes().is_empty() {
            bail!("a cloud is for pods that run: the cluster has no real nodes");
        }
        let address = Self::address_in(cluster);
        let hosts: Vec<(String, Ipv4Addr)> = routes.iter().map(|(host, _)| (host.clone(), address)).collect();
        let gate = Gate::with(GateOptions {
            address: (address, HTTPS).into(),
            routes,
            authority: Some(authority.clone()),
            names: names.to_vec(),
        })?;
        let dns = Dns::start((address, DNS).into(), hosts)?;
        Ok(Self { gate, dns, address })
    }

    /// The address of a cloud on the cluster's network, also before the cloud is started.
    pub fn address_in(cluster: &Cluster) -> Ipv4Addr {
        cluster.record().slot.cloud()
    }

    /// Where faults are planned, and what was asked is seen.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Names that were asked for.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Its address on the cluster's network.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}
