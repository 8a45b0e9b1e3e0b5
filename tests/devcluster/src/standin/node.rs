//! Plays the node resolver of the platform's DNS operator, and the trust that nodes have: files that devcluster binds
//! into each node's mount namespace as /etc/hosts and /etc/docker/certs.d.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cache::{Cache, Key, Kind, key, text};
use super::route::ConditionUpdate;

/// The Service whose name nodes resolve.
const SERVICE: (&str, &str) = ("openshift-image-registry", "image-registry");
/// Marks the lines that are ours; it is the platform's mark.
pub(crate) const MARK: &str = "# openshift-generated-node-resolver";
const HTTPS: u16 = 443;

/// What a node is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Knowledge {
    /// Lines for the hosts file.
    hosts: Vec<String>,
    /// Authorities by registry, given as host or host:port.
    trust: BTreeMap<String, String>,
}

/// The authorities that nodes trust.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authorities<'a> {
    /// For the registry's Service; None leaves that to node-ca.
    pub(super) service_ca: Option<&'a str>,
    /// For Routes without a certificate of their own.
    pub(super) router_ca: &'a str,
}

/// What nodes are to know now.
pub(super) fn knowledge(
    cache: &Cache,
    condition_updates: &BTreeMap<Key, ConditionUpdate>,
    router: Option<SocketAddr>,
    authorities: Authorities<'_>,
) -> Knowledge {
    let mut knowledge = Knowledge::default();
    let (namespace, name) = SERVICE;
    if let Some(service) = cache.get(Kind::Service, namespace, name) {
        let host = format!("{name}.{namespace}.svc");
        if let Some(ip) = text(service, "/spec/clusterIP").filter(|ip| *ip != "None") {
            knowledge.hosts.push(format!("{ip} {host} {host}.cluster.local {MARK}"));
        }
        let port = service.data["spec"]["ports"][0]["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        if let (Some(authority), Some(port)) = (authorities.service_ca, port) {
            knowledge.trust.insert(registry(&host, port), authority.to_owned());
        }
    }
    let Some(router) = router else { return knowledge };
    for route in cache
        .all(Kind::Route)
        .filter(|route| condition_updates.get(&key(route)) == Some(&ConditionUpdate::Admitted))
    {
        if let Some(host) = text(route, "/spec/host") {
            knowledge.hosts.push(format!("{} {host} {MARK}", router.ip()));
            let own = text(route, "/spec/tls/caCertificate").or_else(|| text(route, "/spec/tls/certificate"));
            knowledge.trust.insert(
                registry(host, router.port()),
                own.unwrap_or(authorities.router_ca).to_owned(),
            );
        }
    }
    knowledge
}

/// How a runtime names a registry's directory.
fn registry(host: &str, port: u16) -> String {
    if port == HTTPS {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    }
}

/// The files of all nodes, and what was last written into them.
#[derive(Debug)]
pub(super) struct Nodes {
    directories: Vec<PathBuf>,
    told: Knowledge,
}

impl Nodes {
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        Self {
            directories,
            told: Knowledge::default(),
        }
    }

    /// Writes what changed since the last call. A file that somebody else changes meanwhile is left alone: on a node
    /// with node-ca, its program has the last word.
    pub(super) fn tell(&mut self, knowledge: Knowledge) -> Result<()> {
        if knowledge == self.told {
            return Ok(());
        }
        for directory in &self.directories {
            write_hosts(&directory.join("hosts"), &knowledge.hosts)?;
            write_trust(&directory.join("certs.d"), &self.told.trust, &knowledge.trust)?;
        }
        self.told = knowledge;
        Ok(())
    }
}

/// Replaces our lines in a hosts file. In place, because a bind mount holds on to the file itself.
fn write_hosts(path: &Path, lines: &[String]) -> Result<()> {
    let work = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut before = String::new();
        file.read_to_string(&mut before)?;
        let foreign = before.lines().filter(|line| !line.ends_with(MARK));
        let mut after = String::new();
        for line in foreign.chain(lines.iter().map(String::as_str)) {
            after.push_str(line);
            after.push('\n');
        }
        if after != before {
            std::io::Seek::rewind(&mut file)?;
            file.write_all(after.as_bytes())?;
            file.set_len(after.len() as u64)?;
        }
        Ok(())
    };
    work().with_context(|| format!("write {}", path.display()))
}

/// Writes the authorities that changed, and removes directories that are no longer wanted.
fn write_trust(root: &Path, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Result<()> {
    for (registry, authority) in after
        .iter()
        .filter(|(registry, authority)| before.get(*registry) != Some(authority))
    {
        let directory = root.join(registry);
        let work = || {
            fs::create_dir_all(&directory)?;
            fs::write(directory.join("ca.crt.new"), authority)?;
            fs::rename(directory.join("ca.crt.new"), directory.join("ca.crt"))
        };
        work().with_context(|| format!("write an authority into {}", directory.display()))?;
    }
    for registry in before.keys().filter(|registry| !after.contains_key(*registry)) {
        let directory = root.join(registry);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", directory.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use serde_json::json;

    use super::super::cache::fixture::cache;
    use super::super::control::Control;
    use super::super::route::condition_updates;
    use super::*;

    fn objects() -> Cache {
        let service = json!({
            "metadata": {"name": SERVICE.1, "namespace": SERVICE.0},
            "spec": {"clusterIP": "198.19.0.7", "ports": [{"port": 5000}]},
        });
        let route = json!({"metadata": {"name": "quux", "namespace": SERVICE.0}, "spec": {"host": "q.apps.quux"}});
        cache([(Kind::Service, service), (Kind::Route, route)])
    }

    fn known(cache: &Cache, router: Option<SocketAddr>) -> Knowledge {
        let authorities = Authorities {
            service_ca: Some("SERVICE CA"),
            router_ca: "ROUTER CA",
        };
        knowledge(
            cache,
            &condition_updates(cache, &Control::default()),
            router,
            authorities,
        )
    }

    #[test]
    fn nodes_know_the_service_and_the_admitted_routes() {
        let registry = "image-registry.openshift-image-registry.svc";
        let knowledge = known(&objects(), Some(SocketAddr::from(([198, 18, 0, 1], 443))));
        assert_eq!(
            knowledge.hosts[0],
            format!("198.19.0.7 {registry} {registry}.cluster.local {MARK}")
        );
        assert_eq!(knowledge.hosts[1], format!("198.18.0.1 q.apps.quux {MARK}"));
        assert_eq!(knowledge.trust[&format!("{registry}:5000")], "SERVICE CA");
        assert_eq!(knowledge.trust["q.apps.quux"], "ROUTER CA");
        let other_port = known(&objects(), Some(SocketAddr::from(([127, 0, 0, 1], 8443))));
        assert!(other_port.trust.contains_key("q.apps.quux:8443"));
        assert_eq!(
            known(&objects(), None).hosts.len(),
            1,
            "without a router a route's host leads nowhere"
        );
    }

    #[test]
    fn files_follow_in_place_and_foreign_content_stays() {
        let root = std::env::temp_dir().join(format!("node-{}", std::process::id()));
        fs::create_dir_all(root.join("certs.d/foreign")).unwrap();
        fs::write(root.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        let inode = fs::metadata(root.join("hosts")).unwrap().ino();
        let mut nodes = Nodes::new(vec![root.clone()]);
        nodes
            .tell(known(&objects(), Some(SocketAddr::from(([198, 18, 0, 1], 443)))))
            .unwrap();
        let hosts = fs::read_to_string(root.join("hosts")).unwrap();
        assert!(hosts.starts_with("127.0.0.1 localhost\n198.19.0.7 image-registry."));
        assert!(root.join("certs.d/q.apps.quux/ca.crt").exists());
        nodes.tell(Knowledge::default()).unwrap();
        assert_eq!(fs::read_to_string(root.join("hosts")).unwrap(), "127.0.0.1 localhost\n");
        assert_eq!(fs::metadata(root.join("hosts")).unwrap().ino(), inode);
        assert!(root.join("certs.d/foreign").exists() && !root.join("certs.d/q.apps.quux").exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
