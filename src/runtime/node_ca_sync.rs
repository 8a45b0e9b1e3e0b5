//! `node-ca-sync`: what the pods of DaemonSet `node-ca` run. Every node gets the CAs of the registry's host names where its
//! container runtime looks for them: key `registry.example.com..5000` of ConfigMap `image-registry-certificates` becomes
//! `/etc/docker/certs.d/registry.example.com:5000/ca.crt`.
//!
//! The directory on the node is not ours alone: administrators and the machine-config operator put directories there too. So
//! a directory that we make, or find under a name that is wanted now, gets a [marker](MARKER), and only what carries the
//! marker is ever taken away.
//!
//! No Kubernetes client is built here, and files are read one at a time: the process runs on every node of the cluster.

mod disk;

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

use self::disk::{At, Placed};
use super::shutdown::Shutdown;
use crate::names;

/// Where the DaemonSet mounts the ConfigMap.
pub const SOURCE: &str = "/tmp/serviceca";
/// Where the DaemonSet mounts the node's directory of the same path; CRI-O, podman and docker all read it.
pub const DESTINATION: &str = "/etc/docker/certs.d";
/// File that marks a directory as ours. No suffix that a container runtime would take for a certificate or a key.
pub const MARKER: &str = ".managed-by-image-registry-operator";
/// What container runtimes read.
const CERTIFICATE: &str = "ca.crt";

/// Passes are at most this far apart, so that a change made on the node is mended.
const PERIOD: Duration = Duration::from_mins(1);
/// How often the source is looked at; a look reads no file.
const LOOK: Duration = Duration::from_secs(2);

/// Why a pass was given up. What is wrong with a single entry is logged and the others go on.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Something else is where the directory should be.
    #[error("{} is not a directory: remove it", .0.display())]
    NotADirectory(PathBuf),
    /// The destination is absent and cannot be made, or cannot be looked at.
    #[error("cannot make directory {0}")]
    Destination(#[source] At),
    /// Without knowing all entries nothing is copied, and above all nothing removed.
    #[error("cannot list {0}")]
    List(#[source] At),
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Certificates written because they were absent or different.
    pub copied: usize,
    /// Certificates that were right already.
    pub skipped: usize,
    /// Directories taken away because nothing wants them any more.
    pub trimmed: usize,
    /// Entries that could not be dealt with; each was logged.
    pub failed: usize,
}

/// One directory kept as a copy of the other.
#[derive(Clone, Debug)]
pub struct NodeCaSync {
    /// A mounted ConfigMap, one key a host name.
    pub source: PathBuf,
    /// One directory a host name.
    pub destination: PathBuf,
    /// Takes away directories of others too, as the Go operator did.
    pub prune_unmanaged: bool,
}

/// What is wanted: name of the directory on the node, and the file to copy there.
type Wanted = BTreeMap<OsString, PathBuf>;

impl NodeCaSync {
    /// A pass at once, after each change of the source, and every minute, until shutdown is begun. A running pass finishes.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_begun() {
            // Taken before the pass: a change during it leads to another one.
            let seen = Fingerprint::of(&self.source);
            match self.pass() {
                Ok(summary) => summary.log(),
                Err(error) => tracing::error!("sync failed, trying again within {PERIOD:?}: {error}"),
            }
            tokio::select! {
                biased;
                _ = shutdown.begun() => {}
                () = self.due(&seen) => {}
            }
        }
        // Existing tests of users look for this line.
        tracing::info!("shutting down {}", names::NODE_CA);
    }

    /// Waits for the next pass.
    async fn due(&self, seen: &Fingerprint) {
        let latest = Instant::now() + PERIOD;
        loop {
            tokio::time::sleep(LOOK).await;
            if Instant::now() >= latest {
                return;
            }
            if Fingerprint::of(&self.source) != *seen {
                tracing::info!("{} changed", self.source.display());
                return;
            }
        }
    }

    /// Copies what differs and takes away what is no longer wanted.
    pub fn pass(&self) -> Result<Summary, SyncError> {
        let mut summary = Summary::default();
        self.prepare()?;
        let wanted = self.wanted(&mut summary)?;
        let present = list(&self.destination)?;
        for (name, file) in &wanted {
            match self.place(name, file) {
                Ok(Placed::Copied) => summary.copied += 1,
                Ok(Placed::Equal) => summary.skipped += 1,
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

    /// Makes the destination if it is absent.
    fn prepare(&self) -> Result<(), SyncError> {
        match fs::metadata(&self.destination) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(SyncError::NotADirectory(self.destination.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::make_directory(&self.destination).map_err(SyncError::Destination)
            }
            Err(error) => Err(SyncError::Destination(At::new(&self.destination, error))),
        }
    }

    /// All files of the source. Directories are passed over, which hides how the kubelet lays out a mounted ConfigMap. A
    /// file that cannot be looked at stays wanted: that is no reason to take the certificate of the last pass away.
    fn wanted(&self, summary: &mut Summary) -> Result<Wanted, SyncError> {
        let mut wanted = Wanted::new();
        for entry in list(&self.source)? {
            let (key, path) = (entry.file_name(), entry.path());
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => continue,
                // A link whose file is gone: the kubelet takes the file away first, then the link.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::debug!("{} is about to go", path.display());
                    continue;
                }
                _ => {}
            }
            let Some(name) = directory_name(&key) else { continue };
            if let Some(other) = wanted.get(&name) {
                let text = format!("passed over, {} stands for the same host", other.display());
                summary.fail(&At::new(&path, io::Error::other(text)));
                continue;
            }
            wanted.insert(name, path);
        }
        Ok(wanted)
    }

    /// Makes, or adopts, the directory of a host and puts the certificate there. The marker comes first: whatever happens
    /// afterwards, the next pass knows whose directory it is.
    fn place(&self, name: &OsStr, file: &Path) -> Result<Placed, At> {
        let directory = self.destination.join(name);
        match fs::symlink_metadata(&directory) {
            Ok(found) if found.is_dir() => mark(&directory)?,
            // A link is somebody's decision; it is followed, and what it points to does not become ours.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::make_directory(&directory)?;
                disk::flush_directory(&self.destination)?;
                mark(&directory)?;
            }
            Err(error) => return Err(At::new(&directory, error)),
        }
        let placed = disk::place(file, &directory.join(CERTIFICATE))?;
        if placed == Placed::Copied {
            tracing::info!("copied {} to {}", file.display(), directory.display());
        }
        Ok(placed)
    }

    /// Takes away a directory that nothing wants; tells whether it did. Plain files, links, and directories of others stay.
    fn trim(&self, entry: &fs::DirEntry) -> Result<bool, At> {
        let directory = entry.path();
        if !entry.file_type().map_err(|error| At::new(&directory, error))?.is_dir() {
            return Ok(false);
        }
        if self.prune_unmanaged {
            fs::remove_dir_all(&directory).map_err(|error| At::new(&directory, error))?;
        } else if is_marked(&directory)? {
            remove_ours(&directory)?;
        } else {
            return Ok(false);
        }
        disk::flush_directory(&self.destination)?;
        tracing::info!("trimmed {}", directory.display());
        Ok(true)
    }
}

/// Takes our files away, the marker last, and then the directory. What somebody else put beside them (a client certificate,
/// say, in a directory that was adopted) stays, and the directory with it.
fn remove_ours(directory: &Path) -> Result<(), At> {
    let certificate = directory.join(CERTIFICATE);
    for file in [disk::temporary(&certificate), certificate, directory.join(MARKER)] {
        disk::remove_file(&file)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            tracing::warn!("{} stays: it has files that are not ours", directory.display());
            disk::flush_directory(directory)
        }
        result => result.map_err(|error| At::new(directory, error)),
    }
}

/// Leaves the marker in a directory, unless it is there.
fn mark(directory: &Path) -> Result<(), At> {
    if is_marked(directory)? {
        return Ok(());
    }
    let text = format!(
        "Made or adopted by DaemonSet {}/{}, which removes it when the registry no longer needs it.\n",
        names::NAMESPACE,
        names::NODE_CA
    );
    disk::replace(&directory.join(MARKER), text.as_bytes(), 0o644)
}

fn is_marked(directory: &Path) -> Result<bool, At> {
    let marker = directory.join(MARKER);
    match fs::symlink_metadata(&marker) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(At::new(&marker, error)),
    }
}

/// All entries, or an error.
fn list(directory: &Path) -> Result<Vec<fs::DirEntry>, SyncError> {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .and_then(Iterator::collect)
        .map_err(|error| SyncError::List(At::new(directory, error)))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

/// Directory for a key: the last `..` stands for the colon before the port, which a key cannot have. `None` for keys that
/// are no host name: the CA of the storage, and whatever would lead out of the directory.
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

/// What can be seen of a directory without reading its files: names, and of each file (links followed) which one it is and
/// when it was written.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint(Result<Vec<Seen>, io::ErrorKind>);

/// Name; number of the file, and seconds and nanoseconds of its time stamp.
type Seen = (OsString, Option<[i64; 3]>);

impl Fingerprint {
    fn of(directory: &Path) -> Self {
        let look = || -> io::Result<_> {
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
        Self(look().map_err(|error| error.kind()))
    }
}

impl Summary {
    fn fail(&mut self, error: &At) {
        self.failed += 1;
        tracing::error!("{error}");
    }

    fn log(&self) {
        let Self {
            copied,
            skipped,
            trimmed,
            failed,
        } = self;
        tracing::info!("sync done: copied {copied}, skipped {skipped}, trimmed {trimmed}, failed {failed}");
    }
}

#[cfg(test)]
mod tests;
