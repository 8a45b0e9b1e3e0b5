//! What each server has to itself: a directory, ports, and its process, which ends with the value.

use super::port::Ports;
use crate::process::{ProcessId, Processes};
use crate::{files, layout::Layout, teardown, wait};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PREFIX: &str = "devcluster-store-";
/// A file system in memory, for servers that wait for the disk at each write.
const MEMORY: &str = "/dev/shm";
/// In a server's directory: the process that it lives and dies with.
const OWNER: &str = "owner.json";
/// How long a start may take; generous, for machines with too much to do.
const START: Duration = Duration::from_mins(2);

/// A server's directory, ports and process.
#[derive(Debug)]
pub(crate) struct Home {
    layout: Layout,
    processes: Processes,
    ports: Ports,
    /// Whether the start is complete: what is dropped before has failed.
    pub complete: bool,
}

impl Home {
    /// A new directory, and that many ports.
    pub fn create(kind: &str, ports: usize) -> Result<Self> {
        Self::create_in(&std::env::temp_dir(), kind, ports)
    }

    /// The same in memory, where there is a file system for that.
    pub fn in_memory(kind: &str, ports: usize) -> Result<Self> {
        match rustix::fs::access(MEMORY, rustix::fs::Access::WRITE_OK) {
            Ok(()) => Self::create_in(Path::new(MEMORY), kind, ports),
            Err(_) => Self::create(kind, ports),
        }
    }

    fn create_in(base: &Path, kind: &str, ports: usize) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers(base);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{kind}-{}-{number}", std::process::id());
        let layout = Layout::at(&base.join(name));
        for directory in [layout.root().to_owned(), layout.pids(), layout.logs()] {
            files::create_dir(&directory)?;
        }
        // Keys lie here.
        files::set_mode(layout.root(), 0o700)?;
        let owner = serde_json::to_vec(&ProcessId::current()?)?;
        files::replace(&layout.root().join(OWNER), owner)?;
        let processes = Processes::new(&layout);
        processes.watch_over_and_remove()?;
        Ok(Self {
            processes,
            layout,
            ports: Ports::take(ports)?,
            complete: false,
        })
    }

    pub fn directory(&self) -> &Path {
        self.layout.root()
    }

    pub fn ports(&self) -> &[u16] {
        self.ports.numbers()
    }

    /// The log of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.layout.logs().join(format!("{name}.log"))
    }

    /// Starts a program with a clean environment, in the directory.
    pub fn spawn(&self, name: &str, mut command: Command) -> Result<()> {
        command.current_dir(self.directory());
        self.processes.spawn(name, command)?;
        Ok(())
    }

    /// Waits until `ready` answers something, as long as the process runs.
    pub async fn until<T, F>(&self, what: &str, mut ready: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Option<T>>,
    {
        let ready = wait::until(what, START, || {
            let asked = ready();
            async {
                self.processes.check()?;
                Ok(asked.await)
            }
        });
        ready.await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let failed = !self.complete || std::thread::panicking();
        self.processes.end_watchdog();
        let cleared = teardown::clear(self.layout.root(), failed);
        self.processes.reap();
        if let Err(error) = cleared {
            tracing::error!("{error:#}; the next start of a store tries again");
        }
    }
}

/// Removes what servers left behind whose owners are gone, for which their watchdogs did not live long enough.
fn remove_leftovers(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    for directory in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) {
            continue;
        }
        let owner = std::fs::read(directory.join(OWNER)).ok();
        let owner: Option<ProcessId> = owner.and_then(|text| serde_json::from_slice(&text).ok());
        // Without this file it is being made, or removed.
        if owner.is_some_and(|owner| !owner.alive()) {
            // Another process may be at it too.
            let _ = teardown::clear(&directory, false);
        }
    }
}
