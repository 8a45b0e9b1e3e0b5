//! Programs that come as packages of Node.js: installed once, from a lock file that pins all of them with their hashes. No
//! package runs a script of its own.

use super::environment::once;
use anyhow::{Context as _, Result, bail};
use go_programs::{Fingerprint, tools};
use std::path::{Path, PathBuf};
use std::process::Command;

const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// What to do where packages cannot be installed.
const REMEDY: &str = "install Node.js 20 or newer with npm (https://nodejs.org)";

/// Installs what `tools/NAME/package-lock.json` pins, unless it is there; the program `node`, and the directory that holds
/// `node_modules`.
pub(super) fn make(name: &str) -> Result<(PathBuf, PathBuf)> {
    let mut context = Fingerprint::default();
    for file in FILES {
        context.file(&tools(name).join(file))?;
    }
    let hash = context.finish();
    let node = which("node")?;
    let what = format!("installing {name} from packages of Node.js");
    let directory = once(name, &hash, &what, |directory| install(name, directory))?;
    Ok((node, directory))
}

fn install(name: &str, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for file in FILES {
        std::fs::copy(tools(name).join(file), directory.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    // The caller's environment stays: the registry, the proxies and the authorities are how a machine reaches it.
    let mut command = Command::new(which("npm")?);
    command
        .current_dir(directory)
        .args(["ci", "--omit=dev", "--ignore-scripts"]);
    command.args(["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]);
    let result = command.output().context("cannot run npm")?;
    if !result.status.success() {
        bail!(
            "npm ci in {} failed ({}): {REMEDY}\n{}{}",
            directory.display(),
            result.status,
            String::from_utf8_lossy(&result.stdout),
            String::from_utf8_lossy(&result.stderr)
        );
    }
    Ok(())
}

/// A program in PATH.
fn which(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
    places
        .find(|place| place.is_file())
        .with_context(|| format!("storage servers for tests need Node.js, and there is no `{name}` in PATH: {REMEDY}"))
}
