//! The programs of a cluster that are written in Go: found by `KUBEBUILDER_ASSETS`, or built once from the modules that are pinned
//! in `tools/`.
//!
//! Nearly all share one Go module, so that what several of them use is compiled once: on a fresh machine that halves the build. Two have
//! modules of their own: Traefik replaces what others use as it is, and kwok needs newer libraries of Kubernetes. What is built is kept in
//! `${XDG_CACHE_HOME:-~/.cache}/image-registry-operator/devcluster/GROUP-HASH`, where the hash covers the module's files, the group's
//! sources and the flags that change the program: a change of either builds anew, a second run builds nothing.
//!
//! A crate of its own with few dependencies: on a fresh machine Go begins to build after seconds, and works beside cargo.

pub mod files;

mod groups;
mod replaced;

pub use groups::{
    CHARTS, CLIENT, CONTROL_PLANE, Demo, INGRESS_CONTROLLER, MONITORING, POLICIES, REAL, REGISTRY, REGISTRY_ON_SWIFT,
    SIMULATED, STOCK_REGISTRY,
};

use anyhow::{Context as _, Result, bail};
use groups::{GROUPS, Group, KUBERNETES_VERSION};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The file of that name in the directory that `KUBEBUILDER_ASSETS` names, if there is one: it is used as it is.
pub fn given(name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty())?;
    Some(Path::new(&directory).join(name)).filter(|path| path.is_file())
}

/// Every program that this crate knows.
pub fn all() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.programs).map(|(name, _)| *name)
}

/// Finds programs and builds those that are nowhere; waits for another process that builds the same. Their paths, by name.
pub fn ensure(names: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = BTreeMap::new();
    let mut wanted: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for name in names {
        if let Some(path) = given(name) {
            paths.insert((*name).to_owned(), path);
            continue;
        }
        let group = GROUPS
            .iter()
            .position(|group| group.programs.iter().any(|(program, _)| program == name));
        wanted
            .entry(group.with_context(|| format!("there is no program {name}"))?)
            .or_default()
            .push(name);
    }
    let mut directories = BTreeMap::new();
    for index in wanted.keys() {
        let group = &GROUPS[*index];
        directories.insert(*index, cache()?.join(format!("{}-{}", group.name, hash(group)?)));
    }
    announce(&wanted, &directories);
    for (index, names) in wanted {
        let directory = &directories[&index];
        build(&GROUPS[index], &names, directory)?;
        for name in names {
            paths.insert(name.to_owned(), directory.join(name));
        }
    }
    Ok(paths)
}

/// Says what will be built and about how long that takes, if there is more than one group to build.
fn announce(wanted: &BTreeMap<usize, Vec<&str>>, directories: &BTreeMap<usize, PathBuf>) {
    let incomplete = wanted.iter().filter(|(index, names)| {
        let directory = directories.get(index);
        directory.is_some_and(|directory| names.iter().any(|name| !directory.join(name).is_file()))
    });
    let missing: Vec<&Group> = incomplete.map(|(index, _)| &GROUPS[*index]).collect();
    if missing.len() > 1 {
        let names: Vec<&str> = missing.iter().map(|group| group.name).collect();
        let seconds: u64 = missing.iter().map(|group| group.seconds).sum();
        progress(&format!(
            "to be built once: {}; about {} minutes on two cores",
            names.join(", "),
            seconds.div_ceil(60)
        ));
    }
}

/// A folder of `tools/`: sources, and files that pin versions.
pub fn tools(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools").join(folder)
}

/// Where everything that is made once is kept.
pub fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    let base = match base {
        Some(base) => base,
        None => {
            PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache")
        }
    };
    Ok(base.join("image-registry-operator/devcluster"))
}

fn link_flags(group: &Group) -> String {
    let mut flags = "-s -w".to_owned();
    if group.name == "kubernetes" {
        let mut parts = KUBERNETES_VERSION.trim_start_matches('v').split('.');
        for (variable, value) in [
            ("gitVersion", KUBERNETES_VERSION),
            ("gitMajor", parts.next().unwrap_or_default()),
            ("gitMinor", parts.next().unwrap_or_default()),
        ] {
            flags.push_str(" -X k8s.io/component-base/version.");
            flags.push_str(variable);
            flags.push('=');
            flags.push_str(value);
        }
    }
    flags
}

/// What a group is built from, as twelve hex digits.
fn hash(group: &Group) -> Result<String> {
    let mut context = Fingerprint::default();
    let module = tools(group.module);
    let mut sources = vec![module.join("go.mod"), module.join("go.sum")];
    sources.extend(files::list(&tools(group.name), "go")?);
    for source in sources {
        context.file(&source)?;
    }
    context.update(format!("{} {}", link_flags(group), group.tags));
    Ok(context.finish())
}

/// What something is made from, for the name of its directory.
#[derive(Debug, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// Adds the content of a file.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        self.update(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
        Ok(())
    }

    /// Twelve hex digits.
    pub fn finish(self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for byte in self.0.finalize().iter().take(6) {
            // A String takes everything.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Waits for another process that makes the same; the lock is held as long as the file is open.
pub fn lock(name: &str, directory: &Path) -> Result<File> {
    let lock = File::create(directory.join("lock")).context("cannot create a lock file")?;
    if lock.try_lock().is_err() {
        progress(&format!("another process builds {name}; waiting for it"));
        lock.lock().context("cannot lock")?;
    }
    Ok(lock)
}

fn build(group: &Group, names: &[&str], directory: &Path) -> Result<()> {
    let missing = || -> Vec<&(&str, &str)> {
        group
            .programs
            .iter()
            .filter(|(name, _)| names.contains(name) && !directory.join(name).is_file())
            .collect()
    };
    if missing().is_empty() {
        return Ok(());
    }
    files::create_dir(directory)?;
    let _lock = lock(group.name, directory)?;
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    progress(&format!(
        "building {} (once; kept in {})",
        list.join(", "),
        directory.display()
    ));
    let start = Instant::now();
    // All at once: linking takes one core, so that the compiler has the others. What a killed build has compiled is in Go's own
    // cache.
    let unfinished = directory.join("unfinished");
    files::create_dir(&unfinished)?;
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    go_build(group, &packages, &unfinished)?;
    for (name, package) in &missing {
        let output = unfinished.join(go_name(package));
        std::fs::rename(&output, directory.join(name)).with_context(|| format!("cannot store {name}"))?;
    }
    progress(&format!("  {} after {} s", group.name, start.elapsed().as_secs()));
    // Ignored: what is left in a cache harms nobody.
    let _ = std::fs::remove_dir_all(&unfinished);
    Ok(())
}

/// The name that `go build` gives to the program of a package: the last element of its path that is not a major version.
fn go_name(package: &str) -> &str {
    let is_version = |element: &str| {
        let digits = element.strip_prefix('v').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    package
        .rsplit('/')
        .find(|element| !is_version(element))
        .unwrap_or(package)
}

/// Builds packages of a group into a directory.
fn go_build(group: &Group, packages: &[&str], directory: &Path) -> Result<()> {
    let module = tools(group.module);
    let mut command = Command::new("go");
    // The caller's environment stays: GOPROXY, GOFLAGS and the proxies are how a machine reaches its modules.
    command
        .current_dir(&module)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "auto");
    command.arg("build");
    if let Some(file) = replaced::module_file(group.name, &module, directory)? {
        command.arg("-modfile").arg(file);
    }
    // The linker leaves out what debuggers read, so the compiler need not write it: a sixth of its time. The program is the same, so
    // the hash does not cover it.
    command.arg("-gcflags=all=-dwarf=false");
    command.args(["-trimpath", "-ldflags", &link_flags(group), "-tags", group.tags, "-o"]);
    command.arg(format!("{}/", directory.display())).args(packages);
    let result = match command.output() {
        Ok(result) => result,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "{} must be built, and there is no `go` in PATH: install Go 1.26 or newer (https://go.dev/dl), or name a directory that \
             holds the program in KUBEBUILDER_ASSETS",
            group.name
        ),
        Err(error) => return Err(error).context("cannot run go"),
    };
    if !result.status.success() {
        bail!(
            "building {} failed:\n{}",
            group.name,
            String::from_utf8_lossy(&result.stderr)
        );
    }
    Ok(())
}

/// A build lasts minutes: told straight to the terminal, because a test's captured output would hide it.
pub fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "devcluster: {line}");
}
