//! Processes of a cluster: started with a clean environment, recorded by id and start time, ended by exactly that.
//!
//! A pid file holds id and start time, so that a reused id is never signalled. Each process also carries
//! [`MARKER`] in its environment: that finds those whose recording was cut short by the death of their owner.

use crate::{files, layout::Layout, limits};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Environment variable that names the cluster's directory in each of its processes.
pub(crate) const MARKER: &str = "DEVCLUSTER_DIRECTORY";

/// Kills everything recorded once its standard input closes, which the kernel does when the owner dies, however it does.
/// `$1` is the directory of the pid files, `$2` one to remove afterwards, or empty.
const WATCHDOG: &str = r#"
read -r _
pids=$1 remove=$2 mark=$3
for f in "$pids"/*; do
  read -r pid start <"$f" || continue
  stat=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
  set -- ${stat##*) }
  [ "${20}" = "$start" ] && kill -9 "$pid"
done
# Processes whose owner was killed before it recorded them; the second round finds one that had not run its program yet.
for round in 1 2; do
  for f in $(grep -lzxF "$mark" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${f#/proc/}
    kill -9 "${pid%/environ}" 2>/dev/null
  done
  sleep 0.5
done
[ -z "$remove" ] || rm -rf "$remove"
"#;

/// A process for good: ids are reused, the pair of id and start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub pid: i32,
    /// Clock ticks between boot and the start of the process.
    pub start: u64,
}

impl ProcessId {
    /// The process that has this id now; none when there is none, or it is dead and only waits to be reaped.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may itself hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    pub fn current() -> Result<Self> {
        let pid = i32::try_from(std::process::id()).context("process id")?;
        Self::of(pid).context("cannot read /proc/self/stat: is /proc mounted?")
    }

    pub fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Signals the process if it still is the one recorded.
    pub fn signal(self, signal: Signal) {
        if let (true, Some(pid)) = (self.alive(), Pid::from_raw(self.pid)) {
            // It may end in between; then there is nothing left to do.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        Some(Self {
            pid: pid.parse().ok()?,
            start: start.parse().ok()?,
        })
    }
}

/// A command with nothing of the caller's environment but what programs need to run at all: no cloud credentials, no
/// proxies, no trust settings of this machine.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs a command to its end; its standard output, or an error with what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_string_lossy).collect();
        bail!(
            "{} {}: {}: {}{}",
            command.get_program().display(),
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The processes of one cluster that this process started.
#[derive(Debug)]
pub(crate) struct Processes {
    layout: Layout,
    children: Mutex<Vec<(String, Child)>>,
    watchdog: Mutex<Option<Child>>,
}

impl Processes {
    pub fn new(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            children: Mutex::new(Vec::new()),
            watchdog: Mutex::new(None),
        }
    }

    /// Lets a small process wait for the death of this one and then end the cluster's: a killed test leaves no load
    /// behind. What else remains is removed by the next `up`.
    pub fn watch_over(&self) -> Result<()> {
        self.start_watchdog(None)
    }

    /// The same; it also removes the directory, for processes that nobody would look for later.
    pub fn watch_over_and_remove(&self) -> Result<()> {
        self.start_watchdog(Some(self.layout.root()))
    }

    fn start_watchdog(&self, remove: Option<&Path>) -> Result<()> {
        let mut command = command("sh");
        command
            .args(["-c", WATCHDOG, "devcluster-watchdog"])
            .arg(self.layout.pids())
            .arg(remove.unwrap_or(Path::new("")))
            .arg(format!("{MARKER}={}", self.layout.root().display()))
            .stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().context("cannot start sh")?;
        *lock(&self.watchdog) = Some(child);
        Ok(())
    }

    /// Starts a process that writes to the log of its name.
    pub fn spawn(&self, name: &str, mut command: Command) -> Result<ProcessId> {
        let path = self.layout.logs().join(format!("{name}.log"));
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        command
            .env(MARKER, self.layout.root())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A group of its own: Ctrl-C in the terminal is for us, we stop it in order.
        let child = command.process_group(0).spawn();
        let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let id = ProcessId::of(i32::try_from(child.id())?);
        lock(&self.children).push((name.to_owned(), child));
        let Some(id) = id else {
            bail!("{name} ended at once, see {}", path.display())
        };
        files::replace(&self.layout.pids().join(name), format!("{} {}\n", id.pid, id.start))?;
        Ok(id)
    }

    /// Fails when one of the processes has ended, with the last errors of its log.
    pub fn check(&self) -> Result<()> {
        for (name, child) in lock(&self.children).iter_mut() {
            if let Some(status) = child.try_wait()? {
                let log = self.layout.logs().join(format!("{name}.log"));
                let text = std::fs::read(&log).unwrap_or_default();
                bail!(
                    "{name} ended early ({status}); its last words ({}):\n{}",
                    log.display(),
                    limits::last_words(&String::from_utf8_lossy(&text), 5)
                );
            }
        }
        Ok(())
    }

    /// Gives the processes up without ending them: the cluster outlives this process.
    pub fn release(&self) {
        lock(&self.children).clear();
        self.end_watchdog();
    }

    pub fn end_watchdog(&self) {
        if let Some(mut watchdog) = lock(&self.watchdog).take() {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
    }

    /// Collects those that have ended, so that no zombie stays.
    pub fn reap(&self) {
        for (_, mut child) in lock(&self.children).drain(..) {
            if !matches!(child.try_wait(), Ok(Some(_))) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The recorded processes of a cluster with their names; `None` where one no longer runs.
pub(crate) fn recorded(layout: &Layout) -> Vec<(String, Option<ProcessId>)> {
    let Ok(entries) = std::fs::read_dir(layout.pids()) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|e| {
            (
                e.file_name().to_string_lossy().into_owned(),
                ProcessId::read(&e.path()).filter(|p| p.alive()),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// A running recorded process by name.
pub(crate) fn named(layout: &Layout, name: &str) -> Option<ProcessId> {
    ProcessId::read(&layout.pids().join(name)).filter(|p| p.alive())
}

/// Every process that carries the cluster's mark, recorded or not.
fn marked(layout: &Layout) -> Vec<ProcessId> {
    let mut mark = format!("{MARKER}=").into_bytes();
    mark.extend_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(layout.root().as_os_str()));
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let environment: PathBuf = format!("/proc/{pid}/environ").into();
            std::fs::read(environment).is_ok_and(|text| text.split(|b| *b == 0).any(|variable| variable == mark))
        })
        .filter_map(ProcessId::of)
        .collect()
}

/// Ends every process of a cluster at once. Nothing needs an orderly end: all their data goes with the directory.
/// Whatever runs on a real node ends with the holder, the first process of the node's process namespace.
pub(crate) fn kill_all(layout: &Layout, limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    let mut own: Vec<ProcessId> = recorded(layout)
        .into_iter()
        .filter_map(|(_, process)| process)
        .collect();
    let myself = ProcessId::current()?;
    loop {
        own.extend(marked(layout));
        own.retain(|process| *process != myself && process.alive());
        if own.is_empty() {
            return Ok(());
        }
        for process in &own {
            process.signal(Signal::KILL);
        }
        if Instant::now() > end {
            bail!("these processes do not end: {own:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
