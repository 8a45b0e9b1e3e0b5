//! `node-ca-sync`, the program of DaemonSet `node-ca`: copies the CAs of the registry's host names to where the container
//! runtime of a node reads them. Key `registry.example.com..5000` of ConfigMap `image-registry-certificates` becomes
//! `/etc/docker/certs.d/registry.example.com:5000/ca.crt`.
//!
//! `containerd.rs` does the same for containerd, in its form.
//!
//! Administrators and the machine-config operator create directories there as well. So a directory that this program creates,
//! or finds under a required name, gets a [marker](MARKER), and only directories with the marker are removed.
//!
//! The program runs on every node, so it saves memory: no Kubernetes client, and one file is read at a time.

mod containerd;
mod disk;
mod marker;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use self::containerd::HOSTS_FILE;
pub(crate) use self::containerd::{Server, Servers, await_directory};
use self::disk::{CopyResult, FileError};
pub use self::marker::MARKER;
use self::marker::{CERTIFICATE, is_marked, mark};
use crate::names;
use crate::runtime::shutdown::Shutdown;

/// Where the DaemonSet mounts the ConfigMap.
pub(crate) const SOURCE: &str = "/tmp/serviceca";
/// Where the DaemonSet mounts the node's directory of the same path, for CRI-O, podman and Docker.
pub const DESTINATION: &str = names::DOCKER_CERTS;
/// The same for containerd.
pub(crate) const CONTAINERD_DESTINATION: &str = names::CONTAINERD_HOSTS;

/// Longest time between two passes, after which a change made on the node is reverted.
const PERIOD: Duration = Duration::from_mins(1);
/// How often the source is polled. Polling reads no file content.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Why a pass failed. An error of a single entry is logged, and the pass continues.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    /// The destination exists and is no directory.
    #[error("{} is not a directory: remove it", .0.display())]
    NotADirectory(PathBuf),
    /// The destination cannot be created or accessed.
    #[error("cannot make directory {0}")]
    Destination(#[source] FileError),
    /// The destination was deleted on the node while the container has it mounted. Only a new container mounts a new one.
    #[error("{} was deleted on the node", .0.display())]
    Deleted(PathBuf),
    /// A directory cannot be listed. Without a complete list nothing is copied or removed.
    #[error("cannot list {0}")]
    List(#[source] FileError),
}

/// Result of a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Certificates that were absent or different and were written.
    pub copied: usize,
    /// Certificates that were up to date.
    pub skipped: usize,
    /// Hosts that a directory of others has.
    pub left_alone: usize,
    /// Directories that were removed because they are not required any more.
    pub trimmed: usize,
    /// Entries with an error, which was logged.
    pub failed: usize,
}

/// Keeps the destination in sync with the source.
#[derive(Clone, Debug)]
pub(crate) struct NodeCaSync {
    /// A mounted ConfigMap with one key for each host name.
    pub source: PathBuf,
    /// Contains one directory for each host name.
    pub destination: PathBuf,
    /// Also removes directories without the marker, as the Go operator did.
    pub prune_unmanaged: bool,
    /// Form of the directories.
    pub layout: Layout,
}

/// What a container runtime reads.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// `ca.crt` alone: CRI-O, podman and Docker.
    Docker,
    /// Also `hosts.toml`, with these servers.
    Containerd(Servers),
}

/// Required certificates: name of the directory on the node, and the file to copy.
type Wanted = BTreeMap<OsString, PathBuf>;

impl NodeCaSync {
    /// Runs a pass at once, after each change of the source, and every minute, until the process shuts down. An error needs a new
    /// container.
    pub(crate) async fn run(&self, shutdown: &Shutdown) -> Result<(), SyncError> {
        while !shutdown.is_begun() {
            // Read before the pass, so that a change during the pass leads to another pass.
            let before = Fingerprint::of(&self.source);
            match self.pass() {
                Ok(summary) => summary.log(),
                Err(error @ SyncError::Deleted(_)) => return Err(error),
                Err(error) => tracing::error!("sync failed, trying again within {PERIOD:?}: {error}"),
            }
            tokio::select! {
                biased;
                _ = shutdown.begun() => {}
                () = self.next_pass_due(&before) => {}
            }
        }
        // Existing tests of users search for this line.
        tracing::info!("shutting down {}", names::NODE_CA);
        Ok(())
    }

    /// Waits until the next pass is due.
    async fn next_pass_due(&self, before: &Fingerprint) {
        let latest = Instant::now() + PERIOD;
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            if Instant::now() >= latest {
                return;
            }
            if Fingerprint::of(&self.source) != *before {
                tracing::info!("{} changed", self.source.display());
                return;
            }
        }
    }

    /// Copies certificates that differ and removes directories that are not required any more.
    pub(crate) fn pass(&self) -> Result<Summary, SyncError> {
        let mut summary = Summary::default();
        self.prepare()?;
        let wanted = self.wanted(&mut summary)?;
        let present = list(&self.destination)?;
        for (name, file) in &wanted {
            let done = match &self.layout {
                Layout::Docker => self.copy(name, file),
                Layout::Containerd(servers) => containerd::publish(&self.destination, name, file, servers),
            };
            match done {
                Ok(CopyResult::Copied) => summary.copied += 1,
                Ok(CopyResult::Equal) => summary.skipped += 1,
                Ok(CopyResult::LeftAlone) => summary.left_alone += 1,
                Err(error) => summary.fail(&error),
            }
        }
        for entry in present {
            if !wanted.contains_key(&entry.file_name()) {
                match self.trim(&entry) {
                    Ok(true) => summary.trimmed += 1,
                    Ok(false) => {}
                    Err(error) => summary.fail(&error),
                }
            }
        }
        Ok(summary)
    }

    /// Creates the destination if it is absent.
    fn prepare(&self) -> Result<(), SyncError> {
        match fs::metadata(&self.destination) {
            Ok(found) if found.is_dir() && found.nlink() == 0 => Err(SyncError::Deleted(self.destination.clone())),
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(SyncError::NotADirectory(self.destination.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::create_directory(&self.destination).map_err(SyncError::Destination)
            }
            Err(error) => Err(SyncError::Destination(FileError::new(&self.destination, error))),
        }
    }

    /// All files of the source. Directories are skipped, because the kubelet mounts a ConfigMap through a hidden directory. A
    /// file without readable metadata stays required, so that its last certificate is not removed.
    fn wanted(&self, summary: &mut Summary) -> Result<Wanted, SyncError> {
        let mut wanted = Wanted::new();
        for entry in list(&self.source)? {
            let (key, path) = (entry.file_name(), entry.path());
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => continue,
                // A link without its file: the kubelet removes the file first, then the link.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::debug!("{} is being removed", path.display());
                    continue;
                }
                _ => {}
            }
            let Some(name) = directory_name(&key) else { continue };
            if let Some(other) = wanted.get(&name) {
                let text = format!("skipped, {} is for the same host", other.display());
                summary.fail(&FileError::new(&path, io::Error::other(text)));
                continue;
            }
            wanted.insert(name, path);
        }
        Ok(wanted)
    }

    /// Creates or adopts the directory of a host and copies the certificate. Writes the marker first, so that after a failure
    /// the next pass knows that the directory is managed.
    fn copy(&self, name: &OsStr, file: &Path) -> Result<CopyResult, FileError> {
        let directory = self.destination.join(name);
        match fs::symlink_metadata(&directory) {
            Ok(found) if found.is_dir() => mark(&directory)?,
            // Somebody created this link on purpose. Follow it, and do not mark its target.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::create_directory(&directory)?;
                disk::flush_directory(&self.destination)?;
                mark(&directory)?;
            }
            Err(error) => return Err(FileError::new(&directory, error)),
        }
        let result = disk::copy_if_different(file, &directory.join(CERTIFICATE))?;
        if result == CopyResult::Copied {
            tracing::info!("copied {} to {}", file.display(), directory.display());
        }
        Ok(result)
    }

    /// Removes a directory that is not required. Returns whether it did. Files, links and directories without the marker stay.
    fn trim(&self, entry: &fs::DirEntry) -> Result<bool, FileError> {
        let directory = entry.path();
        if !entry
            .file_type()
            .map_err(|error| FileError::new(&directory, error))?
            .is_dir()
        {
            return Ok(false);
        }
        let files: &[&str] = match self.layout {
            Layout::Docker => &[CERTIFICATE],
            // Without `hosts.toml`, containerd reads `ca.crt` alone; the other way round it fails.
            Layout::Containerd(_) => &[HOSTS_FILE, CERTIFICATE],
        };
        let is_incomplete =
            matches!(self.layout, Layout::Containerd(_)) && containerd::is_incomplete(&entry.file_name());
        if self.prune_unmanaged || is_incomplete {
            disk::remove_directory(&directory)?;
        } else if is_marked(&directory)? {
            remove_managed(&directory, files)?;
        } else {
            return Ok(false);
        }
        disk::flush_directory(&self.destination)?;
        tracing::info!("trimmed {}", directory.display());
        Ok(true)
    }
}

/// Removes the managed files, the marker last, and then the directory. If it contains files of others, such as a client
/// certificate in an adopted directory, the directory and these files stay.
fn remove_managed(directory: &Path, files: &[&str]) -> Result<(), FileError> {
    for file in files.iter().chain(&[MARKER]).map(|name| directory.join(name)) {
        disk::remove_file(&disk::temporary(&file))?;
        disk::remove_file(&file)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            tracing::warn!("{} stays: it contains files of others", directory.display());
            disk::flush_directory(directory)
        }
        result => result.map_err(|error| FileError::new(directory, error)),
    }
}

/// All entries, sorted by name.
fn list(directory: &Path) -> Result<Vec<fs::DirEntry>, SyncError> {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .and_then(Iterator::collect)
        .map_err(|error| SyncError::List(FileError::new(directory, error)))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

/// Directory for a key: the last `..` stands for the colon before the port, which a key cannot contain. `None` for keys that
/// are no host name: the CA of the storage, and names that would leave the directory.
fn directory_name(key: &OsStr) -> Option<OsString> {
    let bytes = key.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || key == names::STORAGE_CA_KEY {
        return None;
    }
    let Some(at) = bytes.windows(2).rposition(|pair| pair == b"..") else {
        return Some(key.to_owned());
    };
    let (host, port) = bytes.split_at(at);
    Some(OsString::from_vec([host, b":", port.get(2..)?].concat()))
}

/// Metadata of a directory: names of its entries, and inode and modification time of each file (links followed).
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint(Result<Vec<Entry>, io::ErrorKind>);

/// Name; inode, seconds and nanoseconds of the modification time.
type Entry = (OsString, Option<[i64; 3]>);

impl Fingerprint {
    fn of(directory: &Path) -> Self {
        let read = || -> io::Result<_> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let file = fs::metadata(entry.path()).ok();
                let file = file.map(|file| [file.ino().cast_signed(), file.mtime(), file.mtime_nsec()]);
                entries.push((entry.file_name(), file));
            }
            entries.sort();
            Ok(entries)
        };
        Self(read().map_err(|error| error.kind()))
    }
}

impl Summary {
    fn fail(&mut self, error: &FileError) {
        self.failed += 1;
        tracing::error!("{error}");
    }

    fn log(&self) {
        let Self {
            copied,
            skipped,
            left_alone,
            trimmed,
            failed,
        } = self;
        let left_alone = match left_alone {
            0 => String::new(),
            some => format!(", left alone {some}"),
        };
        tracing::info!("sync done: copied {copied}, skipped {skipped}, trimmed {trimmed}, failed {failed}{left_alone}");
    }
}

#[cfg(test)]
mod tests;
