//! Removing a cluster, also one whose owner was killed: from its directory and its slot alone.

use crate::{layout::Layout, network, node, process, rights, slot::Slots};
use anyhow::{Context as _, Result};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Ends every process of the cluster in `directory` and removes all of it. Blocks, because it also runs in a destructor.
pub(crate) fn remove(directory: &Path, keep_logs: bool) -> Result<()> {
    clear(directory, keep_logs)?;
    release(&Slots::lock()?, directory)
}

/// Removes leftovers of clusters whose owners have ended; reports and keeps those that cannot be removed. The slots
/// stay locked, so that nobody takes the place of a leftover while it is being removed.
pub(crate) fn remove_leftovers() -> Result<()> {
    let slots = Slots::lock()?;
    for (_, holder) in slots.taken() {
        let orphan = holder.owner.is_some_and(|owner| !owner.alive());
        // One without an owner was left running; unless somebody has removed its directory by hand.
        if orphan || holder.owner.is_none() && !holder.directory.exists() {
            tell(&format!(
                "removing what is left of a cluster in {}",
                holder.directory.display()
            ));
            if let Err(error) = clear(&holder.directory, false).and_then(|()| release(&slots, &holder.directory)) {
                tell(&format!("{error:#}"));
            }
        }
    }
    Ok(())
}

/// The same for what holds no slot.
pub(crate) fn clear(directory: &Path, keep_logs: bool) -> Result<()> {
    let layout = Layout::at(directory);
    process::kill_all(&layout, Duration::from_secs(20))?;
    remove_cgroups(directory);
    rights::keep_audit_log(&layout);
    if keep_logs {
        keep(&layout);
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn release(slots: &Slots, directory: &Path) -> Result<()> {
    let Some((slot, holder)) = slots.find(directory) else {
        return Ok(());
    };
    if holder.real {
        network::remove(slot);
    }
    slots.free(slot)
}

/// Copies the logs to where they stay.
fn keep(layout: &Layout) {
    let target = layout.kept_logs();
    // What an earlier failure kept; absent as a rule.
    let _ = std::fs::remove_dir_all(&target);
    if std::fs::rename(layout.logs(), &target).is_ok() {
        // The audit log tells what was asked for; there is none if the API server never started.
        let _ = std::fs::rename(layout.audit_log(), target.join("audit.log"));
        tell(&format!("logs of what failed are in {}", target.display()));
    }
}

/// Writes to the terminal: destructors call this when a test's captured output may be gone.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "devcluster: {line}");
}

/// Control groups outlive the killed pods.
fn remove_cgroups(directory: &Path) {
    let name = node::cgroup_name(directory);
    let root = PathBuf::from("/sys/fs/cgroup");
    let mut candidates = vec![root.join(&name)];
    // One hierarchy per controller on machines with the old control groups.
    if let Ok(entries) = std::fs::read_dir(&root) {
        candidates.extend(entries.filter_map(Result::ok).map(|entry| entry.path().join(&name)));
    }
    // The kernel needs a moment after the death of the last process.
    let end = Instant::now() + Duration::from_secs(2);
    for group in candidates {
        while group.is_dir() && !remove_cgroup(&group) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Removes a control group after those below it. Their files are the kernel's and go with the directory.
fn remove_cgroup(group: &Path) -> bool {
    if let Ok(entries) = std::fs::read_dir(group) {
        for entry in entries.filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !remove_cgroup(&entry.path()) {
                return false;
            }
        }
    }
    std::fs::remove_dir(group).is_ok()
}
