//! Files of Go modules that a group replaces: Go admits no overlay in its module cache, so that the group gets a copy of the module.

use crate::files;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Replaced {
    group: &'static str,
    module: &'static str,
    /// A file of the module, or a folder of which all Go files go; and the file of the group that takes the place.
    files: &'static [(&'static str, &'static str)],
}

/// Half of what Traefik consists of are clients of clouds and an interpreter for plugins. Without them the build takes half of the
/// time, and needs no modules that not every proxy has.
const REPLACED: &[Replaced] = &[
    Replaced {
        group: "traefik",
        module: "github.com/go-acme/lego/v4",
        files: &[("providers/dns", "dns.go")],
    },
    Replaced {
        group: "traefik",
        module: "github.com/traefik/traefik/v3",
        files: &[
            ("pkg/provider/docker", "docker.go"),
            ("pkg/provider/ecs", "ecs.go"),
            ("pkg/provider/kv/etcd", "etcd.go"),
            ("pkg/provider/kv/redis", "redis.go"),
            ("pkg/middlewares/ratelimiter/redis_limiter.go", "redis_limiter.go"),
            ("pkg/middlewares/ratelimiter/lua.go", "lua.go"),
            ("pkg/plugins", "plugins.go"),
            ("pkg/observability/metrics/influxdb2.go", "influxdb2.go"),
        ],
    },
];

/// The `go.mod` to build a group with, if it replaces something. `module`: the folder of its Go module. `directory`: for what is made.
pub(super) fn module_file(group: &str, module: &Path, directory: &Path) -> Result<Option<PathBuf>> {
    let all: Vec<&Replaced> = REPLACED.iter().filter(|replaced| replaced.group == group).collect();
    if all.is_empty() {
        return Ok(None);
    }
    let mut text = files::read(&module.join("go.mod"))?;
    for replaced in all {
        let copy = directory.join(replaced.module.replace('/', "-"));
        copy_tree(&downloaded(module, replaced.module)?, &copy)?;
        for (at, with) in replaced.files {
            put(&module.join(with), &copy.join(at))?;
        }
        writeln!(text, "\nreplace {} => {}", replaced.module, copy.display())?;
    }
    let file = directory.join("go.mod");
    files::write(&file, text)?;
    // Go looks for it beside that file.
    files::write(&directory.join("go.sum"), files::read(&module.join("go.sum"))?)?;
    Ok(Some(file))
}

/// Puts a file in the place of another one, or of all Go files of a folder.
fn put(file: &Path, at: &Path) -> Result<()> {
    let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if !at.is_dir() {
        return files::replace(at, content);
    }
    for old in files::list(at, "go")? {
        files::remove(&old)?;
    }
    files::replace(&at.join("replaced.go"), content)
}

/// The folder of a module in Go's cache, in the version that the module in the folder `within` uses.
fn downloaded(within: &Path, module: &str) -> Result<PathBuf> {
    let mut command = Command::new("go");
    command.current_dir(within).args(["mod", "download", "-json", module]);
    let output = command.output().context("cannot run go")?;
    if !output.status.success() {
        bail!("cannot get {module}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let folder = told.get("Dir").and_then(Value::as_str);
    folder
        .map(PathBuf::from)
        .with_context(|| format!("{module} has no folder"))
}

/// Copies a tree without its tests. What a killed build has left is written over.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    files::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if !entry.path().to_string_lossy().ends_with("_test.go") {
            files::replace(&target, std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
