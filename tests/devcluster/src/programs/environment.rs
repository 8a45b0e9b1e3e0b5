//! Programs that come as Python packages: a virtual environment, made once from requirements that are pinned with their
//! hashes.
//!
//! An environment cannot be moved (its programs name their interpreter by path), so it is made where it stays, and a mark
//! is written last: one without the mark was cut short, and is made anew.

use super::{abbreviate, cache, lock, pins, progress};
use crate::files;
use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const REQUIREMENTS: &str = "requirements.txt";
/// What to do where an environment cannot be made.
const REMEDY: &str = "install Python 3.10 or newer with venv (`tests/devcluster/install-prerequisites` as root does it \
                      on Debian), or name a directory that holds the programs in KUBEBUILDER_ASSETS";

/// Makes the environment that `tools/NAME/requirements.txt` pins, unless it is there; its directory.
pub(super) fn make(name: &str) -> Result<PathBuf> {
    let requirements = pins(name).join(REQUIREMENTS);
    let directory = cache()?.join(format!("{name}-{}", hash(&requirements)?));
    let mark = directory.join("complete");
    if mark.is_file() {
        return Ok(directory);
    }
    // Beside it, because what was cut short is removed.
    let locks = cache()?.join(format!("{name}-lock"));
    files::create_dir(&locks)?;
    let _lock = lock(name, &locks)?;
    if mark.is_file() {
        return Ok(directory);
    }
    if directory.exists() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    progress(&format!(
        "installing {name} from Python packages (once, about a minute; kept in {})",
        directory.display()
    ));
    let start = Instant::now();
    install(&requirements, &directory)?;
    files::write(&mark, "")?;
    progress(&format!("  {name} after {} s", start.elapsed().as_secs()));
    Ok(directory)
}

/// Where an environment's packages lie.
pub(super) fn packages(directory: &Path) -> Result<PathBuf> {
    let versions = std::fs::read_dir(directory.join("lib")).context("no directory of packages")?;
    let mut packages = versions
        .filter_map(Result::ok)
        .map(|version| version.path().join("site-packages"));
    packages
        .find(|packages| packages.join("googleapiclient").is_dir())
        .with_context(|| format!("{} has no googleapiclient", directory.display()))
}

fn install(requirements: &Path, directory: &Path) -> Result<()> {
    // The caller's environment stays: the package index, the proxies and the authorities are how a machine reaches it.
    run(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]);
    // Nothing that is not in the list, nothing that would have to be compiled.
    pip.args(["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement"]);
    run(pip.arg(requirements))
}

/// What an environment is made from: its pins, and the Python that it is bound to.
fn hash(requirements: &Path) -> Result<String> {
    let pinned = std::fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let version = "import sys; print(sys.implementation.cache_tag, sys.prefix)";
    let python = output(Command::new("python3").args(["-I", "-c", version]))?;
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&pinned);
    context.update(&python);
    Ok(abbreviate(context.finish()))
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let result = match command.output() {
        Ok(result) => result,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("storage servers for tests need Python, and there is no `python3` in PATH: {REMEDY}")
        }
        Err(error) => return Err(error).context("cannot run python3"),
    };
    if !result.status.success() {
        let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_string_lossy).collect();
        bail!(
            "{} {} failed ({}): {REMEDY}\n{}{}",
            command.get_program().display(),
            arguments.join(" "),
            result.status,
            String::from_utf8_lossy(&result.stdout),
            String::from_utf8_lossy(&result.stderr)
        );
    }
    Ok(result.stdout)
}
