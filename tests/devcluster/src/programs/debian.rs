//! Programs that come as packages of Debian: fetched by apt, which checks their signatures, and unpacked into the cache. Nothing is
//! installed, and no script of a package runs.
//!
//! They are those of the machine's own release, because they are linked against its libraries. apt gets lists of its own, so that
//! neither root nor fresh lists are needed, and nothing of the machine's apt changes.

use super::environment::once;
use crate::process;
use anyhow::{Context as _, Result};
use go_programs::{Fingerprint, files};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to do where packages cannot be unpacked.
const REMEDY: &str = "the machine has to be a Debian (or Ubuntu) that can reach its package archive";
const RELEASE: &str = "/etc/os-release";

/// Unpacks the packages, and those that they depend on and that the machine lacks, unless they are there; the directory that
/// stands for `/`.
pub(super) fn unpack(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let mut context = Fingerprint::default();
    context.update(&std::fs::read(RELEASE).with_context(|| format!("cannot read {RELEASE}: {REMEDY}"))?);
    context.update(packages.join(" "));
    let hash = context.finish();
    let what = format!("unpacking {name} from packages of Debian");
    let directory = once(name, &hash, &what, |directory| fetch(packages, directory))?;
    Ok(directory.join("root"))
}

fn fetch(packages: &[&str], directory: &Path) -> Result<()> {
    let (root, own) = (directory.join("root"), directory.join("apt"));
    let (lists, cache) = (own.join("lists"), own.join("cache"));
    let archives = cache.join("archives");
    for directory in [&root, &lists.join("partial"), &archives.join("partial")] {
        files::create_dir(directory)?;
    }
    let apt = |arguments: &[&str]| {
        // The caller's environment stays: the proxies are how a machine reaches the archive.
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]);
        command.args(["-o", "Acquire::Retries=3"]);
        command.arg("-o").arg(format!("Dir::State::lists={}", lists.display()));
        command.arg("-o").arg(format!("Dir::Cache={}", cache.display()));
        process::run(command.args(arguments)).context(REMEDY)
    };
    apt(&["update"])?;
    let options = ["install", "--yes", "--download-only", "--no-install-recommends"];
    apt(&[&options, packages].concat())?;
    for package in files::list(&archives, "deb")? {
        process::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root)).context(REMEDY)?;
    }
    std::fs::remove_dir_all(&own).with_context(|| format!("cannot remove {}", own.display()))
}
