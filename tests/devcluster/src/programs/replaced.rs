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
    /// A file of the module, and the one of the group that takes its place.
    file: (&'static str, &'static str),
}

/// Traefik's ACME client contains clients of a hundred clouds: half of the time of the build, and modules that not every proxy has.
const REPLACED: &[Replaced] = &[Replaced {
    group: "traefik",
    module: "github.com/go-acme/lego/v4",
    file: ("providers/dns/zz_gen_dns_providers.go", "dns.go"),
}];

/// The `go.mod` to build a group with, if it replaces something. `pins`: the group's folder. `directory`: for what is made.
pub(super) fn module_file(group: &str, pins: &Path, directory: &Path) -> Result<Option<PathBuf>> {
    let Some(replaced) = REPLACED.iter().find(|replaced| replaced.group == group) else {
        return Ok(None);
    };
    let copy = directory.join("replaced");
    copy_tree(&downloaded(pins, replaced.module)?, &copy)?;
    let (to, from) = replaced.file;
    files::replace(&copy.join(to), std::fs::read(pins.join(from))?)?;
    let mut text = files::read(&pins.join("go.mod"))?;
    writeln!(text, "\nreplace {} => {}", replaced.module, copy.display())?;
    let file = directory.join("go.mod");
    files::write(&file, text)?;
    // Go looks for it beside that file.
    files::write(&directory.join("go.sum"), files::read(&pins.join("go.sum"))?)?;
    Ok(Some(file))
}

/// The folder of a module in Go's cache.
fn downloaded(pins: &Path, module: &str) -> Result<PathBuf> {
    let mut command = Command::new("go");
    command.current_dir(pins).args(["mod", "download", "-json", module]);
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
