//! Ports of loopback for servers that must be told theirs.

use crate::slot;
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};

/// After those of clusters, and below the range from which the kernel takes ports for outgoing connections.
const FIRST: u16 = 19_600;
const COUNT: u16 = 2_000;

/// Ports that no other server of ours takes on this machine while this value lives.
#[derive(Debug)]
pub(super) struct Ports {
    numbers: Vec<u16>,
    _locks: Vec<File>,
}

impl Ports {
    pub fn take(count: usize) -> Result<Self> {
        let directory = slot::directory()?;
        let mut numbers = Vec::new();
        let mut locks = Vec::new();
        // Tests of one process begin at different places, so that they seldom ask for each other's.
        let begin = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
        for port in (0..COUNT).map(|index| FIRST + (begin + index) % COUNT) {
            if numbers.len() == count {
                break;
            }
            let path = directory.join(format!("port-{port}"));
            // Reading is enough for a lock: another user's file can be opened for that only.
            let lock = File::open(&path).or_else(|_| File::create(&path));
            let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
                numbers.push(port);
                locks.push(lock);
            }
        }
        if numbers.len() < count {
            bail!(
                "fewer than {count} of the ports {FIRST} to {} are free",
                FIRST + COUNT - 1
            );
        }
        Ok(Self { numbers, _locks: locks })
    }

    pub fn numbers(&self) -> &[u16] {
        &self.numbers
    }
}
