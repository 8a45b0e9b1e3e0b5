//! Directories as containerd reads them: one for each host, with `hosts.toml` (where the registry is) and `ca.crt`. Format:
//! `docs/hosts.md` of containerd. containerd reads them at each pull.
//!
//! A directory appears with all its files: without `hosts.toml`, containerd would ask at the host's name. Each file changes
//! atomically. A directory without the marker belongs to others and is left alone, also if it has the name of a required host.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    net::SocketAddr,
    path::Path,
    str::FromStr,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    disk::{self, CopyResult, FileError},
    marker::{CERTIFICATE, is_marked, mark},
};
use crate::names;
use crate::runtime::shutdown::Shutdown;

/// Name of the file that containerd reads first.
pub(super) const HOSTS_FILE: &str = "hosts.toml";
/// End of the name of a directory that is not complete yet. No host begins with a dot, so containerd never reads it.
const INCOMPLETE: &str = ".image-registry-operator";
/// How often a missing directory is looked for, and logged.
const LOOK: Duration = Duration::from_secs(2);
const LOG: Duration = Duration::from_mins(1);
/// The host whose registry has another name, which containerd knows itself.
const DOCKER_HUB: &str = "docker.io";

/// Where a registry is, if not at its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Host of images, with its port unless that is 443.
    host: String,
    /// Where the registry answers.
    address: SocketAddr,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, address) = text.split_once('=').ok_or("it must be HOST=ADDRESS:PORT")?;
        if !is_host(host) {
            return Err(format!("{host:?} is no host"));
        }
        let address = address
            .parse()
            .map_err(|_| format!("{address:?} is no address with a port"))?;
        Ok(Self {
            host: host.to_owned(),
            address,
        })
    }
}

/// The servers by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers(BTreeMap<String, SocketAddr>);

impl FromIterator<Server> for Servers {
    fn from_iter<I: IntoIterator<Item = Server>>(servers: I) -> Self {
        Self(
            servers
                .into_iter()
                .map(|server| (server.host, server.address))
                .collect(),
        )
    }
}

impl Servers {
    /// Content of `hosts.toml` for a host; `None` if it is no host that containerd could ask for.
    fn file(&self, host: &OsStr) -> Option<String> {
        let host = host.to_str().filter(|host| is_host(host))?;
        let server = match self.0.get(host) {
            // An IPv6 address is in brackets.
            Some(address) => format!("server = \"https://{address}\"\n"),
            None if host == DOCKER_HUB => String::new(),
            None => format!("server = \"https://{host}\"\n"),
        };
        let (namespace, name) = (names::NAMESPACE, names::NODE_CA);
        Some(format!(
            "# DaemonSet {namespace}/{name} writes this file; edits are lost.\n{server}ca = \"{CERTIFICATE}\"\n"
        ))
    }
}

/// Whether the text can stand in `hosts.toml` as it is.
fn is_host(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_allowed)
}

/// Creates or updates the directory of a host.
pub(super) fn publish(root: &Path, host: &OsStr, ca: &Path, servers: &Servers) -> Result<CopyResult, FileError> {
    let Some(hosts) = servers.file(host) else {
        return Err(FileError::new(ca, io::Error::other("skipped, the key is no host")));
    };
    let directory = root.join(host);
    if let Some(other) = preferred_name(host).map(|name| root.join(name))
        && fs::symlink_metadata(&other).is_ok()
    {
        tracing::warn!(
            "directory {} has no file .managed-by-image-registry-operator, and containerd prefers it to {}: delete it \
             to let node-ca write the host",
            other.display(),
            directory.display()
        );
        return Ok(CopyResult::LeftAlone);
    }
    match fs::symlink_metadata(&directory) {
        Ok(found) if found.is_dir() && is_marked(&directory)? => write(&directory, ca, &hosts),
        Ok(_) => {
            tracing::warn!(
                "directory {} has no file .managed-by-image-registry-operator: node-ca does not change it; delete it \
                 to let node-ca write it",
                directory.display()
            );
            Ok(CopyResult::LeftAlone)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(root, host, ca, &hosts),
        Err(error) => Err(FileError::new(&directory, error)),
    }
}

/// The other name that containerd knows for the directory of a host with a port, and looks for first.
fn preferred_name(host: &OsStr) -> Option<String> {
    let (host, port) = host.to_str()?.rsplit_once(':')?;
    Some(format!("{host}_{port}_"))
}

fn create(root: &Path, host: &OsStr, ca: &Path, hosts: &str) -> Result<CopyResult, FileError> {
    let mut name = OsString::from(".");
    name.push(host);
    name.push(INCOMPLETE);
    let (incomplete, directory) = (root.join(name), root.join(host));
    disk::remove_directory(&incomplete)?;
    disk::create_directory(&incomplete)?;
    mark(&incomplete)?;
    write(&incomplete, ca, hosts)?;
    fs::rename(&incomplete, &directory).map_err(|error| FileError::new(&directory, error))?;
    disk::flush_directory(root)?;
    tracing::info!("created {}", directory.display());
    Ok(CopyResult::Copied)
}

/// `ca.crt` comes first, because `hosts.toml` names it.
fn write(directory: &Path, ca: &Path, hosts: &str) -> Result<CopyResult, FileError> {
    let ca = disk::copy_if_different(ca, &directory.join(CERTIFICATE))?;
    let hosts = disk::write_if_different(&directory.join(HOSTS_FILE), hosts.as_bytes(), 0o644)?;
    let result = if ca == CopyResult::Equal { hosts } else { ca };
    if result == CopyResult::Copied {
        tracing::info!("wrote {}", directory.display());
    }
    Ok(result)
}

/// Whether a directory is what an interrupted creation left behind.
pub(super) fn is_incomplete(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with('.') && name.ends_with(INCOMPLETE))
}

/// Waits until the directory of containerd exists and is not empty. A runtime creates a missing directory that a pod mounts, so
/// an empty one counts as missing.
pub(crate) async fn await_directory(path: &Path, shutdown: &Shutdown) {
    let mut last_told: Option<Instant> = None;
    while !shutdown.is_begun() {
        match fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
            Ok(true) => {
                tracing::info!("{} is there", path.display());
                return;
            }
            found => {
                if last_told.is_none_or(|told| told.elapsed() >= LOG) {
                    tracing::error!("{}", why_waiting(path, found.err()));
                    last_told = Some(Instant::now());
                }
            }
        }
        tokio::select! {
            biased;
            _ = shutdown.begun() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn why_waiting(path: &Path, error: Option<io::Error>) -> String {
    let error = error.map(|error| format!(" ({error})")).unwrap_or_default();
    format!(
        "this node has no directory {} of containerd, or an empty one{error}: waiting for it. If containerd runs here, create \
         {hosts} and set config_path = \"{hosts}\" in its configuration",
        path.display(),
        hosts = names::CONTAINERD_HOSTS,
    )
}

#[cfg(test)]
mod tests;
