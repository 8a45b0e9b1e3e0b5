//! The house's rules, checked by reading the source: imports point one way, and pure rooms stay pure.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms, and the rooms that each may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("api", &["names"]),
    ("config", &["api", "names"]),
    ("plan", &["config", "api", "names"]),
    ("status", &["config", "api", "names"]),
    ("storage", &["status", "config", "api", "names"]),
    ("observe", &["config", "api", "names"]),
    ("apply", &["plan", "status", "config", "api", "names"]),
    ("runtime", &["names"]),
    (
        "controllers",
        &[
            "observe", "apply", "storage", "status", "plan", "config", "api", "names", "runtime", "cli",
        ],
    ),
    ("cli", &["controllers", "api", "runtime", "names"]),
    ("main", &["cli", "controllers", "api"]),
];

/// Rooms that compute only, and what they may therefore not mention.
const PURE: &[&str] = &["config", "plan", "status", "api", "names"];
const IMPURE: &[&str] = &[
    "kube::Client",
    "kube::client",
    "tokio::",
    "std::env",
    "Timestamp::now",
    "SystemTime",
    "Instant::now",
    "std::fs",
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Lines of production code: unit tests may use what they like.
fn lines(path: &Path) -> Vec<(usize, String)> {
    let is_test =
        path.file_name().is_some_and(|n| n == "tests.rs") || path.components().any(|c| c.as_os_str() == "tests");
    let text = fs::read_to_string(path).unwrap();
    let code = text
        .split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .to_owned();
    let numbered = code.lines().enumerate().map(|(i, l)| (i + 1, l.to_owned()));
    let kept = numbered.filter(|(_, l)| !is_test && !l.trim_start().starts_with("//"));
    kept.collect()
}

fn room_of(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    for path in sources(&root) {
        let room = room_of(&root, &path);
        if room == "lib" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            breaches.push(format!("{}: room {room} is not in the house's plan", path.display()));
            continue;
        };
        for (number, line) in lines(&path) {
            for (other, _) in ROOMS {
                let mentions = line.contains(&format!("crate::{other}::"))
                    || line.contains(&format!("crate::{other};"))
                    || line.contains(&format!("image_registry_operator::{other}"));
                if mentions && *other != room && !allowed.contains(other) {
                    breaches.push(format!(
                        "{}:{number}: {room} may not use {other}: {}",
                        path.display(),
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn pure_rooms_mention_no_client_no_clock_and_no_environment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut breaches = Vec::new();
    for path in sources(&root)
        .iter()
        .filter(|p| PURE.contains(&room_of(&root, p).as_str()))
    {
        for (number, line) in lines(path) {
            for word in IMPURE.iter().filter(|w| line.contains(**w)) {
                breaches.push(format!("{}:{number}: mentions {word}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}
