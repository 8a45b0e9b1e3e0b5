//! Limits of the machine that a cluster with real nodes meets, and the last words of a program that met one.

use std::fs;
use std::path::Path;

/// A setting of the kernel and the least value that several clusters on one machine need.
struct Limit {
    sysctl: &'static str,
    least: u64,
}

/// Each kubelet, containerd and API server has several instances; the usual limits are 128 instances, and 8192 watches on small
/// machines.
const LIMITS: [Limit; 2] = [
    Limit {
        sysctl: "fs.inotify.max_user_instances",
        least: 8192,
    },
    Limit {
        sysctl: "fs.inotify.max_user_watches",
        least: 524_288,
    },
];

/// What programs write when they meet a limit: all of these parts, and the command that mends it.
const REMEDIES: [(&[&str], &str); 8] = [
    (
        &["inotify", "too many open files"],
        "sysctl -w fs.inotify.max_user_instances=8192",
    ),
    (
        &["fsnotify", "too many open files"],
        "sysctl -w fs.inotify.max_user_instances=8192",
    ),
    (
        &["watcher", "too many open files"],
        "sysctl -w fs.inotify.max_user_instances=8192",
    ),
    (
        &["inotify", "no space left on device"],
        "sysctl -w fs.inotify.max_user_watches=524288",
    ),
    (&["too many open files in system"], "sysctl -w fs.file-max=1000000"),
    (&["too many open files"], "ulimit -n 65536"),
    (
        &["keyring", "disk quota exceeded"],
        "sysctl -w kernel.keys.maxkeys=20000",
    ),
    (
        &["resource temporarily unavailable"],
        "sysctl -w kernel.threads-max=200000 kernel.pid_max=200000",
    ),
];

/// Raises the limits as far as this process may: as root, outside of a container with a read-only `/proc/sys`. Never lowers one.
pub(crate) fn raise() {
    for limit in &LIMITS {
        raise_one(Path::new("/proc/sys"), limit);
    }
}

fn raise_one(directory: &Path, limit: &Limit) {
    let file = directory.join(limit.sysctl.replace('.', "/"));
    let current = fs::read_to_string(&file)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    if current.is_none_or(|current| current >= limit.least) {
        return;
    }
    match fs::write(&file, limit.least.to_string()) {
        Ok(()) => tracing::info!("raised {} from {current:?} to {}", limit.sysctl, limit.least),
        Err(error) => tracing::warn!(
            "{} is {current:?} and cannot be raised ({error}): run `sysctl -w {}={}` if a program of a node ends",
            limit.sysctl,
            limit.sysctl,
            limit.least
        ),
    }
}

/// The last lines of a log that tell of errors, at most `count`, and the command that mends a limit of the machine which they
/// name. Without such lines, the last lines.
pub(crate) fn last_words(log: &str, count: usize) -> String {
    let all: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let errors: Vec<&str> = all.iter().copied().filter(|line| is_error(line)).collect();
    let chosen = if errors.is_empty() { &all } else { &errors };
    let mut words = chosen[chosen.len().saturating_sub(count)..].join("\n");
    if words.is_empty() {
        return "(it wrote nothing)".to_owned();
    }
    if let Some(remedy) = remedy(&words) {
        words = format!("{words}\nA limit of this machine is the cause: run `{remedy}`");
    }
    words
}

/// An error in the formats of klog, logrus and slog, or in plain text.
fn is_error(line: &str) -> bool {
    let mut start = line.chars();
    let klog = matches!(start.next(), Some('E' | 'F')) && start.take(4).filter(char::is_ascii_digit).count() == 4;
    let lower = line.to_lowercase();
    klog || [
        "level=error",
        "level=fatal",
        "level=panic",
        "\"level\":\"error\"",
        "\"level\":\"fatal\"",
        "error:",
        "panic:",
        "fatal",
    ]
    .iter()
    .any(|part| lower.contains(part))
}

fn remedy(words: &str) -> Option<&'static str> {
    let lower = words.to_lowercase();
    let met = |(parts, _): &&(&[&str], &str)| lower.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    REMEDIES.iter().find(met).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_last_errors_and_name_the_limit_that_was_met() {
        let kubelet = "I1128 10:00:00.000000 1 server.go:1] \"Kubelet version\"\n\
                       E1128 10:00:01.000000 1 run.go:72] \"command failed\" err=\"failed to run Kubelet: inotify_init: too many open files\"\n\
                       I1128 10:00:01.000001 1 exit.go:1] \"bye\"\n\n";
        let instances = "sysctl -w fs.inotify.max_user_instances=8192";
        for (what, log, first, command) in [
            ("a kubelet", kubelet, "E1128", Some(instances)),
            (
                "containerd",
                "time=\"x\" level=info msg=\"a\"\ntime=\"x\" level=fatal msg=\"failed to create fsnotify watcher: too many open files\"\n",
                "time=\"x\" level=fatal",
                Some(instances),
            ),
            (
                "watches",
                "E1128 1 x.go:1] inotify_add_watch /x: no space left on device",
                "E1128",
                Some("sysctl -w fs.inotify.max_user_watches=524288"),
            ),
            (
                "a full disk",
                "E1128 1 x.go:1] write /x: no space left on device",
                "E1128",
                None,
            ),
            (
                "files",
                "Error: accept: too many open files",
                "Error: accept",
                Some("ulimit -n 65536"),
            ),
            (
                "files of the system",
                "panic: open /x: too many open files in system",
                "panic: open",
                Some("sysctl -w fs.file-max=1000000"),
            ),
            (
                "keys",
                "level=error msg=\"runc: unable to join session keyring: Disk quota exceeded\"",
                "level=error",
                Some("sysctl -w kernel.keys.maxkeys=20000"),
            ),
            (
                "threads",
                "fatal: fork: Resource temporarily unavailable",
                "fatal",
                Some("sysctl -w kernel.threads-max=200000 kernel.pid_max=200000"),
            ),
            (
                "a port",
                "F1128 1 x.go:1] listen tcp 127.0.0.1:1: bind: address already in use",
                "F1128",
                None,
            ),
            ("no error", "one\ntwo\n", "one", None),
            ("a word that begins with E", "Every 1234\nlast\n", "Every", None),
            ("nothing", "\n \n", "(it wrote nothing)", None),
        ] {
            let words = last_words(log, 5);
            assert!(words.starts_with(first), "{what}: {words}");
            let told = words
                .lines()
                .last()
                .unwrap()
                .split_once("run `")
                .map(|(_, command)| command.trim_end_matches('`'));
            assert_eq!(told, command, "{what}: {words}");
        }
        assert_eq!(last_words("1\n2\n3\n", 2), "2\n3");
        assert_eq!(
            last_words("error: 1\nerror: 2\nnote\nerror: 3\nnote\n", 2),
            "error: 2\nerror: 3"
        );
    }

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        let directory = tempfile::tempdir().unwrap();
        let limit = Limit {
            sysctl: "a.b.c",
            least: 1000,
        };
        let file = directory.path().join("a/b/c");
        raise_one(directory.path(), &limit);
        assert!(!file.exists(), "a machine without the setting");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        for (before, after) in [
            ("128\n", "1000"),
            ("999", "1000"),
            ("1000", "1000"),
            ("9999\n", "9999\n"),
            ("x", "x"),
        ] {
            fs::write(&file, before).unwrap();
            raise_one(directory.path(), &limit);
            assert_eq!(fs::read_to_string(&file).unwrap(), after, "{before}");
        }
    }
}
