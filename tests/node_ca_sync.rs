//! `node-ca-sync` as a process, as the pods of the DaemonSet node-ca run it: what it logs, when it acts, how it ends.

// A test, or a helper of it, reports a failure by a panic.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// Well below the minute between two passes: whatever happens within this time is caused by the watch on the source.
const SOON: Duration = Duration::from_secs(20);

fn program() -> Command {
    // The program ends with the thread of its test, also if that is killed and drops nothing.
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        env!("CARGO_BIN_EXE_cluster-image-registry-operator"),
    ]);
    // The program needs no environment variable, no kubeconfig and no ServiceAccount.
    command.env_clear().stdin(Stdio::null()).arg("node-ca-sync");
    command
}

/// A running program with its two directories.
struct Node {
    root: tempfile::TempDir,
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn start(files: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), files, &[])
    }

    fn start_in(root: tempfile::TempDir, files: &[(&str, &str)], flags: &[&str]) -> Self {
        let source = root.path().join("source");
        fs::create_dir(&source).unwrap();
        for (name, content) in files {
            fs::write(source.join(name), content).unwrap();
        }
        let mut child = program()
            .arg("--source")
            .arg(source)
            .arg("--destination")
            .arg(root.path().join("certs.d"))
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            root,
            child,
            log,
            seen: Vec::new(),
        }
    }

    fn source(&self, name: &str) -> PathBuf {
        self.root.path().join("source").join(name)
    }

    fn there(&self, name: &str) -> PathBuf {
        self.root.path().join("certs.d").join(name)
    }

    /// Reads the log up to a line with `words`.
    fn await_line(&mut self, words: &str) {
        let started = Instant::now();
        loop {
            let left = SOON.saturating_sub(started.elapsed());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("no line with {words:?} in:\n{}", self.seen.join("\n"));
            };
            let found = line.contains(words);
            self.seen.push(line);
            if found {
                return;
            }
        }
    }

    /// Sends a signal; returns the exit status and how long the end took.
    fn end(&mut self, signal: &str) -> (Option<i32>, Duration) {
        let (process, sent) = (self.child.id().to_string(), Instant::now());
        let status = Command::new("kill").args([&format!("-{signal}"), &process]).status();
        assert!(status.unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), sent.elapsed());
            }
            assert!(sent.elapsed() < SOON, "the process does not end: {:?}", self.seen);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

// workload 88, lifecycle 130, deploy 49
#[test]
fn a_signal_ends_the_process_cleanly_within_a_second() {
    for signal in ["TERM", "INT"] {
        let mut node = Node::start(&[("registry..5000", "CA\n")]);
        node.await_line("copied 1, skipped 0, trimmed 0");
        let (status, took) = node.end(signal);
        assert_eq!(status, Some(0), "{signal}");
        assert!(took < Duration::from_secs(1), "{signal}: {took:?}");
        node.await_line("shutting down node-ca");
    }
}

// lifecycle 129, 130
#[test]
fn changes_of_the_source_are_copied_before_the_minute_is_over() {
    let mut node = Node::start(&[("reg.example.com..5000", "CA\n")]);
    node.await_line("copied 1, skipped 0, trimmed 0");
    let certificate = node.there("reg.example.com:5000/ca.crt");
    assert_eq!(fs::read_to_string(&certificate).unwrap(), "CA\n");
    // The file is written again without a change.
    fs::write(node.source("reg.example.com..5000"), "CA\n").unwrap();
    node.await_line("copied 0, skipped 1, trimmed 0");
    fs::remove_file(node.source("reg.example.com..5000")).unwrap();
    node.await_line("copied 0, skipped 0, trimmed 1");
    assert!(!certificate.parent().unwrap().exists());
}

#[test]
fn a_replaced_link_of_a_mounted_config_map_is_followed() {
    let mut node = Node::start(&[]);
    node.await_line("copied 0, skipped 0, trimmed 0");
    for (version, content) in [("..2026_01", "old"), ("..2026_02", "new")] {
        fs::create_dir(node.source(version)).unwrap();
        fs::write(node.source(version).join("a..443"), content).unwrap();
        symlink(version, node.source("..data_tmp")).unwrap();
        fs::rename(node.source("..data_tmp"), node.source("..data")).unwrap();
        if version == "..2026_01" {
            symlink("..data/a..443", node.source("a..443")).unwrap();
        }
        node.await_line("copied 1, skipped 0, trimmed 0");
        assert_eq!(fs::read_to_string(node.there("a:443/ca.crt")).unwrap(), content);
    }
    assert_eq!(fs::read_dir(node.there("")).unwrap().count(), 1);
}

// workload 87
#[test]
fn a_missing_source_is_logged_and_waited_for() {
    let mut node = Node::start(&[("a", "A")]);
    node.await_line("copied 1, skipped 0, trimmed 0");
    fs::rename(node.source(""), node.root.path().join("away")).unwrap();
    node.await_line("cannot list");
    assert!(node.there("a/ca.crt").exists());
    fs::rename(node.root.path().join("away"), node.source("")).unwrap();
    node.await_line("copied 0, skipped 1, trimmed 0");
}

// workload 87
#[test]
fn a_destination_that_is_a_file_is_logged_and_the_process_continues() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("certs.d"), "a file").unwrap();
    let mut node = Node::start_in(root, &[("a", "A")], &[]);
    node.await_line("certs.d is not a directory");
    fs::remove_file(node.root.path().join("certs.d")).unwrap();
    fs::write(node.source("a"), "B").unwrap();
    node.await_line("copied 1, skipped 0, trimmed 0");
    assert_eq!(node.end("TERM").0, Some(0));
}

// workload 86
#[test]
fn foreign_directories_are_deleted_only_with_the_flag() {
    for (flags, stays) in [(&[][..], true), (&["--prune-unmanaged"][..], false)] {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("certs.d/admins.example.com")).unwrap();
        let mut node = Node::start_in(root, &[("a", "A")], flags);
        node.await_line(&format!("copied 1, skipped 0, trimmed {}", usize::from(!stays)));
        assert_eq!(node.there("admins.example.com").exists(), stays);
    }
}

// lifecycle 9
#[test]
fn unknown_flags_are_refused_with_status_1_and_help_is_0() {
    let run = |flag| -> Output { program().arg(flag).output().unwrap() };
    let refused = run("--leader-elect");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--leader-elect"));
    let help = run("--help");
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--prune-unmanaged"));
}
