//! Programs that come as Python packages: a virtual environment, made once from requirements that are pinned with their
//! hashes.
//!
//! An environment cannot be moved (its programs name their interpreter by path), so it is made where it stays, and a mark
//! is written last: one without the mark was cut short, and is made anew.

use anyhow::{Context as _, Result, bail};
use go_programs::{Fingerprint, cache, files, lock, progress, tools};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const REQUIREMENTS: &str = "requirements.txt";
/// Packages that are published as source only. They are built with the setuptools of the requirements.
const SOURCES: &str = "sources.txt";
/// What to do where an environment cannot be made.
const REMEDY: &str = "install Python 3.10 or newer with venv (`tests/devcluster/install-prerequisites` as root does it \
                      on Debian), or name a directory that holds the programs in KUBEBUILDER_ASSETS";
/// Where a Python is looked for. The distribution's own comes first: it is optimized with profiles, and a server takes a quarter less CPU
/// time with it than with one that pyenv has compiled.
const INTERPRETERS: [&str; 2] = ["/usr/bin/python3", "python3"];
/// Succeeds in a Python that can make an environment, and prints what an environment is bound to. Debian's Python has `venv` without
/// `ensurepip` until `python3-venv` is installed.
const IDENTIFY: &str = "import ensurepip, sys, venv; print(sys.implementation.cache_tag, sys.prefix); sys.exit(sys.version_info < (3, 10))";

/// Makes the environment that `tools/NAME/requirements.txt` pins, unless it is there; its directory.
pub(super) fn make(name: &str) -> Result<PathBuf> {
    let requirements = tools(name).join(REQUIREMENTS);
    let sources = Some(tools(name).join(SOURCES)).filter(|sources| sources.is_file());
    let all: Vec<&Path> = [Some(&requirements), sources.as_ref()]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect();
    let hash = hash(&all, "")?;
    let what = format!("installing {name} from Python packages");
    once(name, &hash, &what, |directory| {
        install(&requirements, directory)?;
        sources.as_ref().map_or(Ok(()), |sources| {
            pip(directory, &["--no-build-isolation", "--no-binary=:all:"], sources)
        })
    })
}

/// Runs a script of `tools/NAME` once, in that group's environment: `SCRIPT DIRECTORY ARGUMENT` fills the directory, which
/// is returned. It is filled anew when the script, the argument or the pins change.
pub(super) fn fill(name: &str, script: &str, argument: &str) -> Result<PathBuf> {
    let python = make(name)?.join("bin/python");
    let path = tools(name).join(script);
    let hash = hash(&[&tools(name).join(REQUIREMENTS), &path], argument)?;
    once(
        &format!("{name}-data"),
        &hash,
        &format!("running {script}"),
        |directory| {
            files::create_dir(directory)?;
            // Nothing of the caller's: no settings of OpenStack's clients, no proxies.
            let mut command = crate::process::command(&python);
            run(command.arg("-I").arg(&path).arg(directory).arg(argument))
        },
    )
}

/// Makes `NAME-HASH` in the cache unless it is complete; waits for another process that makes it.
pub(super) fn once(name: &str, hash: &str, what: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let directory = cache()?.join(format!("{name}-{hash}"));
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
        "{what} (once, about a minute; kept in {})",
        directory.display()
    ));
    let start = Instant::now();
    make(&directory)?;
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
    run(Command::new(interpreter()?.0).args(["-m", "venv"]).arg(directory))?;
    // Nothing that would have to be compiled.
    pip(directory, &["--only-binary=:all:"], requirements)
}

fn pip(directory: &Path, options: &[&str], requirements: &Path) -> Result<()> {
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]);
    // Nothing that is not in the list.
    pip.args(["--no-deps", "--require-hashes"]).args(options);
    run(pip.arg("--requirement").arg(requirements))
}

/// What an environment is made from: files such as its pins, an argument, and the Python that it is bound to.
fn hash(sources: &[&Path], argument: &str) -> Result<String> {
    let (_, python) = interpreter()?;
    let mut context = Fingerprint::default();
    for source in sources {
        context.file(source)?;
    }
    context.update(argument);
    context.update(&python);
    Ok(context.finish())
}

/// The first Python of this machine that can make an environment, and what the environment is bound to.
fn interpreter() -> Result<(&'static str, Vec<u8>)> {
    let identify = |python| {
        let found = Command::new(python).args(["-I", "-c", IDENTIFY]).output().ok()?;
        found.status.success().then_some((python, found.stdout))
    };
    let found = INTERPRETERS.into_iter().find_map(identify);
    found.with_context(|| format!("storage servers for tests need Python: {REMEDY}"))
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_owned();
    let result = command
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
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
