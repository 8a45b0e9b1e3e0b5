//! The registry program as a process that has exactly what its pod would have: the files of its image, the environment
//! that was rendered, and what was to be mounted. For backends that a pod of the test cluster cannot reach, and for tests
//! that need no cluster.
//!
//! It runs in a root directory of its own. Different from a pod: it listens at a free port of loopback, the file system
//! can be written, and there is no user but the caller.

use crate::image::{self, SEARCH_PATH};
use crate::stores::home::Home;
use crate::stores::{Authority, Call, Target};
use crate::{files, node, process, programs};
use anyhow::{Context as _, Result, bail};
use hyper::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

const BUSYBOX: &str = "/bin/busybox";
/// First word of the stock registry's command; the platform's begins with a shell.
const STOCK: &str = "registry";
const ADDRESS: &str = "REGISTRY_HTTP_ADDR";
const DEBUG_ADDRESS: &str = "REGISTRY_HTTP_DEBUG_ADDR";
const CERTIFICATE: &str = "REGISTRY_HTTP_TLS_CERTIFICATE";
/// The Secret that the platform makes for the registry's Service.
const SERVING: &str = "image-registry-tls";

/// Files by name, as the data of a Secret or ConfigMap.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a registry pod is made of.
#[derive(Clone, Debug)]
pub struct OperandOptions {
    /// `spec.template.spec` of the rendered Deployment.
    pub pod: Value,
    /// Secrets of its namespace. Where `image-registry-tls` is missing, `authority` issues one.
    pub secrets: BTreeMap<String, Files>,
    /// ConfigMaps of its namespace.
    pub config_maps: BTreeMap<String, Files>,
    /// Token of its ServiceAccount, whatever the audience that is asked for.
    pub token: String,
    /// Names that it resolves beside `localhost`.
    pub hosts: Vec<(String, IpAddr)>,
    /// Plays the authority of serving certificates.
    pub authority: Authority,
}

/// A running registry; dropping it stops it.
#[derive(Debug)]
pub struct Operand {
    home: Home,
    target: Target,
    debug: Target,
    options: OperandOptions,
}

impl Operand {
    /// Starts it; the path of its readiness probe, or `/healthz`, answers 200 when this returns.
    pub async fn start(mut options: OperandOptions) -> Result<Self> {
        let mut home = Home::create("registry", 2)?;
        let [port, debug] = home.ports() else {
            bail!("two ports")
        };
        let [address, debug] = [*port, *debug].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        if !options.secrets.contains_key(SERVING) {
            let identity = options.authority.issue(&[])?;
            let pair = [("tls.crt", identity.certificate), ("tls.key", identity.key)];
            let pair = pair.map(|(name, text)| (name.to_owned(), text.into_bytes()));
            options.secrets.insert(SERVING.to_owned(), pair.into());
        }
        let root = home.directory().join("root");
        let mut names = String::from("127.0.0.1 localhost\n");
        for (name, address) in &options.hosts {
            writeln!(names, "{address} {name}")?;
        }
        let container = options
            .pod
            .pointer("/containers/0")
            .context("the pod has no container")?
            .clone();
        let container = &container;
        image_of(container).await?.unpack(&root)?;
        files::create_dir(&root.join("etc"))?;
        files::write(&root.join("etc/hosts"), names)?;
        mount(&options, container, &root)?;
        let environment = environment(container)?;
        let secure = environment.iter().any(|(name, _)| name == CERTIFICATE);
        let mut command = inside(&root)?;
        command.args(words(container)).env_clear().envs(environment);
        if let Some((name, path)) = SEARCH_PATH.split_once('=') {
            command.env(name, path);
        }
        command.env(ADDRESS, address.to_string());
        command.env(DEBUG_ADDRESS, debug.to_string());
        home.spawn("registry", command)?;
        let target = Target {
            address,
            tls: if secure {
                Some(options.authority.client()?)
            } else {
                None
            },
        };
        let path = container.pointer("/readinessProbe/httpGet/path").and_then(text);
        let path = path.unwrap_or_else(|| "/healthz".to_owned());
        let name = options.authority.server_name();
        home.until("the registry is healthy", || async {
            let call = Call {
                host: name,
                ..Call::new(Method::GET, &path)
            };
            let answer = target.call(call).await;
            answer.ok().filter(|answer| answer.status == 200)
        })
        .await?;
        files::write(&home.directory().join("authority.pem"), options.authority.pem())?;
        home.complete = true;
        let debug = Target {
            address: debug,
            tls: None,
        };
        Ok(Self {
            home,
            target,
            debug,
            options,
        })
    }

    /// Changes a Secret, as the kubelet brings it to a running pod.
    pub fn update_secret(&mut self, name: &str, data: Files) -> Result<()> {
        self.options.secrets.insert(name.to_owned(), data);
        let container = self
            .options
            .pod
            .pointer("/containers/0")
            .context("the pod has no container")?;
        mount(&self.options, container, &self.home.directory().join("root"))
    }

    /// Its metrics and its profiler.
    pub fn debug(&self) -> &Target {
        &self.debug
    }

    /// `127.0.0.1:PORT`, as names of images begin.
    pub fn host(&self) -> String {
        self.target.address.to_string()
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Its output so far.
    pub fn log(&self) -> Result<String> {
        files::read(&self.home.log("registry"))
    }

    /// Runs a command to its end with the files and the environment of the container, as `kubectl exec` does; its standard output.
    pub async fn exec(&self, words: &[&str]) -> Result<String> {
        let container = self
            .options
            .pod
            .pointer("/containers/0")
            .context("the pod has no container")?;
        let mut command = inside(&self.home.directory().join("root"))?;
        command.args(words).env_clear().envs(environment(container)?);
        if let Some((name, path)) = SEARCH_PATH.split_once('=') {
            command.env(name, path);
        }
        tokio::task::spawn_blocking(move || process::run(&mut command)).await?
    }

    /// Runs `crane` to its end, which trusts the registry; its standard output without the line's end.
    pub async fn crane(&self, words: &[&str]) -> Result<String> {
        self.crane_with(None, words).await
    }

    /// The same with the text of a Docker configuration file, for logins.
    pub async fn crane_with(&self, logins: Option<&str>, words: &[&str]) -> Result<String> {
        let programs = programs::ensure(&["crane"]).await?;
        let mut command = process::command(programs.path("crane")?);
        let configuration = self.home.directory().join("docker");
        files::create_dir(&configuration)?;
        files::write(&configuration.join("config.json"), logins.unwrap_or("{}"))?;
        command.env("DOCKER_CONFIG", configuration);
        command.args(words).current_dir(self.home.directory());
        command.env("SSL_CERT_FILE", self.home.directory().join("authority.pem"));
        let output = tokio::task::spawn_blocking(move || process::run(&mut command)).await??;
        Ok(output.trim().to_owned())
    }
}

/// What the pod's command needs.
async fn image_of(container: &Value) -> Result<image::Image> {
    let reference = "localhost/registry:process";
    if words(container).first().is_some_and(|word| word == STOCK) {
        let programs = programs::ensure(programs::STOCK_REGISTRY).await?;
        return Ok(image::stock_registry_image(reference, programs.path("distribution")?));
    }
    let programs = programs::ensure(&[programs::REGISTRY, programs::REGISTRY_ON_SWIFT].concat()).await?;
    Ok(image::registry_image(
        reference,
        &programs.registry()?,
        Path::new(BUSYBOX),
    ))
}

/// A command in that root directory; without root's rights in a namespace where the caller has them.
fn inside(root: &Path) -> Result<Command> {
    let program =
        |name| node::find(name).with_context(|| format!("there is no {name} (Debian: coreutils, util-linux)"));
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new(program("chroot")?)
    } else {
        let mut command = Command::new(program("unshare")?);
        command.args(["--user", "--map-root-user"]).arg(program("chroot")?);
        command
    };
    command.arg(root).stdin(std::process::Stdio::null());
    Ok(command)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

/// What the container runs: its command and arguments, or what the image runs.
fn words(container: &Value) -> Vec<String> {
    let list = |name: &str| container[name].as_array().into_iter().flatten().filter_map(text);
    let words: Vec<String> = list("command").chain(list("args")).collect();
    if words.is_empty() {
        vec!["/usr/bin/dockerregistry".to_owned()]
    } else {
        words
    }
}

fn environment(container: &Value) -> Result<Vec<(String, String)>> {
    let entries = container["env"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let name = text(&entry["name"]).context("a variable without a name")?;
            let given = entry.get("value").and_then(Value::as_str);
            if given.is_none() && entry.get("valueFrom").is_some() {
                bail!("{name} comes from elsewhere, which a process cannot follow");
            }
            Ok((name, given.unwrap_or_default().to_owned()))
        })
        .collect()
}

/// Writes what the pod's volumes hold to where the container mounts them.
fn mount(options: &OperandOptions, container: &Value, root: &Path) -> Result<()> {
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let (name, path) = (
            &mount["name"],
            mount["mountPath"].as_str().context("a mount without a path")?,
        );
        let mut volumes = options.pod["volumes"].as_array().into_iter().flatten();
        let volume = volumes
            .find(|volume| volume["name"] == *name)
            .with_context(|| format!("no volume {name}"))?;
        let at = root.join(path.trim_matches('/'));
        files::create_dir(&at)?;
        for (file, content) in content(options, volume)? {
            let file = at.join(file);
            files::create_dir(file.parent().unwrap_or(&at))?;
            files::replace(&file, content)?;
        }
    }
    Ok(())
}

/// Paths and bytes of a volume, as the kubelet would make them.
fn content(options: &OperandOptions, volume: &Value) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    if volume.get("emptyDir").is_some() {
        return Ok(Vec::new());
    }
    if let Some(sources) = volume.pointer("/projected/sources").and_then(Value::as_array) {
        let parts: Result<Vec<_>> = sources.iter().map(|source| content_of(options, source)).collect();
        return Ok(parts?.concat());
    }
    content_of(options, volume)
}

fn content_of(options: &OperandOptions, source: &Value) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    if let Some(token) = source.get("serviceAccountToken") {
        let path = token["path"].as_str().context("a token without a path")?;
        return Ok(vec![(path.into(), options.token.clone().into_bytes())]);
    }
    let (kind, source, objects) = match (source.get("secret"), source.get("configMap")) {
        (Some(secret), _) => ("Secret", secret, &options.secrets),
        (_, Some(map)) => ("ConfigMap", map, &options.config_maps),
        _ => bail!("a process cannot have the volume {source}"),
    };
    let optional = source["optional"] == true;
    let name = source.get("secretName").or_else(|| source.get("name"));
    let name = name.and_then(Value::as_str).context("a volume without an object")?;
    let Some(data) = objects.get(name) else {
        if optional {
            return Ok(Vec::new());
        }
        bail!("the pod would wait for {kind} {name}: it does not exist");
    };
    let Some(items) = source.get("items").and_then(Value::as_array) else {
        return Ok(data.iter().map(|(key, value)| (key.into(), value.clone())).collect());
    };
    let mut chosen = Vec::new();
    for item in items {
        let (Some(key), Some(path)) = (item["key"].as_str(), item["path"].as_str()) else {
            bail!("an item without key or path");
        };
        match data.get(key) {
            Some(value) => chosen.push((path.into(), value.clone())),
            None if optional => {}
            None => bail!("the pod would wait for {kind} {name}: it has no key {key}"),
        }
    }
    Ok(chosen)
}
