//! Slots, which keep clusters on the same machine apart.
//!
//! A slot is a small number from which addresses, interface names and ports follow. It is taken by a file in one
//! directory for the whole machine, which also tells the next `up` where the leftovers of a killed cluster are.

use crate::{files, network, process::ProcessId};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// Nodes of one cluster: the pod ranges of a slot are eight, one is for simulated nodes.
pub const MAX_REAL_NODES: usize = 7;
/// Clusters at the same time.
const SLOTS: u8 = 16;
/// Reserved for benchmarks, hence never somebody's network: the first half for nodes and pods, the second for Services.
pub(crate) const NETWORK: &str = "198.18.0.0/15";
/// Below the range from which the kernel takes ports for outgoing connections, so that none is snatched between its
/// choice and its use.
const FIRST_PORT: u16 = 18000;
const PORTS_PER_SLOT: u16 = 100;

/// Whether an address is one that clusters use.
pub(crate) fn is_ours(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [198, 18 | 19, ..])
}

/// Who holds a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The cluster's directory.
    pub directory: PathBuf,
    /// The process that the cluster lives and dies with; none for one that `devcluster up` left running.
    pub owner: Option<ProcessId>,
    /// Whether the slot's bridge exists.
    pub real: bool,
}

/// A number and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot(u8);

impl Slot {
    pub fn bridge(self) -> String {
        format!("dcbr{}", self.0)
    }

    /// This machine's end of the veth pair to a node.
    pub fn cable(self, node: usize) -> String {
        format!("dc{}n{node}", self.0)
    }

    /// This machine's address on the bridge.
    pub fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.0, 1)
    }

    /// This machine's second address on the bridge: where pods find the cloud, and its names.
    pub fn cloud(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.0, 2)
    }

    pub fn node(self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.0, u8::try_from(11 + node).unwrap_or(u8::MAX))
    }

    /// All pods of the cluster.
    pub fn pods(self) -> String {
        format!("198.18.{}.0/21", 128 + 8 * self.0)
    }

    /// The pods of one real node; of the simulated ones for [`MAX_REAL_NODES`].
    pub fn pods_of(self, node: usize) -> String {
        format!("198.18.{}.0/24", 128 + 8 * usize::from(self.0) + node)
    }

    pub fn services(self) -> String {
        format!("198.19.{}.0/20", u16::from(self.0) * 16)
    }

    /// Address of the Service `kubernetes`: the first of the range.
    pub fn api_service(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 19, self.0 * 16, 1)
    }

    /// Whether an address lies in one of the slot's ranges.
    pub fn holds(self, address: Ipv4Addr) -> bool {
        match address.octets() {
            [198, 18, third, _] => third == self.0 || (third >= 128 && (third - 128) / 8 == self.0),
            [198, 19, third, _] => third / 16 == self.0,
            _ => false,
        }
    }

    /// That many ports of the slot on which nobody listens.
    pub fn free_ports(self, count: usize) -> Result<Vec<u16>> {
        let first = FIRST_PORT + u16::from(self.0) * PORTS_PER_SLOT;
        let free: Vec<u16> = (first..first + PORTS_PER_SLOT)
            .filter(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
            .take(count)
            .collect();
        if free.len() < count {
            bail!(
                "fewer than {count} of the ports {first} to {} are free",
                first + PORTS_PER_SLOT - 1
            );
        }
        Ok(free)
    }
}

/// Where this machine's addresses and ports are handed out.
pub(crate) fn directory() -> Result<PathBuf> {
    // Not TMPDIR: clusters of differing TMPDIR share the machine's addresses and ports too.
    let directory = PathBuf::from("/tmp/devcluster-slots");
    if !directory.is_dir() {
        files::create_dir(&directory)?;
        files::set_mode(&directory, 0o1777)?;
    }
    Ok(directory)
}

/// The machine's slots, locked against every other process for as long as this value lives.
pub(crate) struct Slots {
    directory: PathBuf,
    _lock: File,
}

impl Slots {
    pub fn lock() -> Result<Self> {
        let directory = directory()?;
        let path = directory.join("lock");
        // Reading is enough for a lock: another user's file can be opened for that only.
        let lock = File::open(&path).or_else(|_| File::create(&path));
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { directory, _lock: lock })
    }

    fn file(&self, slot: Slot) -> PathBuf {
        self.directory.join(format!("{}.json", slot.0))
    }

    /// The slots that are taken.
    pub fn taken(&self) -> Vec<(Slot, Holder)> {
        let holder = |slot| serde_json::from_str(&files::read(&self.file(slot)).ok()?).ok();
        (0..SLOTS)
            .map(Slot)
            .filter_map(|slot| Some((slot, holder(slot)?)))
            .collect()
    }

    /// The slot of the cluster in that directory.
    pub fn find(&self, directory: &Path) -> Option<(Slot, Holder)> {
        self.taken()
            .into_iter()
            .find(|(_, holder)| holder.directory == directory)
    }

    /// Takes a slot that no cluster has and whose addresses this machine has no other use for.
    pub fn take(&self, holder: &Holder) -> Result<Slot> {
        // Without real nodes no address of the slot is used, and `ip` may be missing.
        let used = if holder.real { network::routes()? } else { Vec::new() };
        let free = |slot: &Slot| !self.file(*slot).exists() && !used.iter().any(|address| slot.holds(*address));
        let slot = (0..SLOTS).map(Slot).find(free);
        let Some(slot) = slot else {
            bail!("{SLOTS} clusters run on this machine already; stop one (`devcluster status` lists them)");
        };
        self.set(slot, holder)?;
        Ok(slot)
    }

    pub fn set(&self, slot: Slot, holder: &Holder) -> Result<()> {
        files::replace(&self.file(slot), serde_json::to_vec(holder)?)
    }

    pub fn free(&self, slot: Slot) -> Result<()> {
        let path = self.file(slot);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_of_slots_do_not_overlap() -> Result<()> {
        for slot in (0..SLOTS).map(Slot) {
            let mut ranges = vec![slot.pods(), slot.services(), slot.pods_of(MAX_REAL_NODES)];
            ranges.extend((0..MAX_REAL_NODES).map(|node| slot.pods_of(node)));
            let mut addresses = vec![slot.host(), slot.cloud(), slot.api_service(), slot.node(MAX_REAL_NODES)];
            for range in ranges {
                addresses.push(range.split('/').next().unwrap_or_default().parse()?);
            }
            for address in addresses {
                let holders: Vec<Slot> = (0..SLOTS).map(Slot).filter(|other| other.holds(address)).collect();
                assert_eq!(holders, [slot], "{address}");
            }
        }
        Ok(())
    }
}
