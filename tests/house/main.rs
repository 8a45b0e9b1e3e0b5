//! The house's rules, checked by reading the source: imports point one way, no circle of files, pure rooms stay pure, files
//! and functions stay short.

// A test may stop at the first breach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod graph;
mod pages;
mod size;
mod source;

use graph::Graph;
use source::{Source, sources};

/// Rooms, and the rooms that each may use. Every room may use `sensitive`.
const ROOMS: &[(&str, &[&str])] = &[
    ("sensitive", &[]),
    ("names", &[]),
    ("api", &["names"]),
    ("config", &["api", "names"]),
    ("program", &["config", "api", "names"]),
    ("plan", &["config", "api", "names"]),
    ("status", &["config", "api", "names"]),
    ("storage", &["program", "status", "config", "api", "names"]),
    ("observe", &["config", "api", "names"]),
    ("apply", &["plan", "status", "config", "api", "names"]),
    ("runtime", &["names"]),
    ("node_ca", &["runtime", "names"]),
    (
        "controllers",
        &[
            "observe", "apply", "storage", "status", "plan", "program", "config", "api", "names", "runtime",
        ],
    ),
    ("cli", &["controllers", "node_ca", "api", "runtime", "names"]),
    ("main", &["cli"]),
];

/// Rooms that compute only, and what they may therefore not mention.
const PURE: &[&str] = &["config", "program", "plan", "status", "api", "names", "sensitive"];
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

/// The layers of `src/storage`, from the bottom up. Each may use those below it and what is listed beside it.
const STORAGE_LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("traits", &["model"]),
    ("net", &["inputs", "traits", "model"]),
    ("inputs", &["net", "traits", "model"]),
    ("s3api", &["net", "inputs", "traits", "model"]),
    ("preflight", &["engine", "net", "inputs", "traits", "model"]),
    ("engine", &["preflight", "net", "inputs", "traits", "model"]),
    (
        "backend",
        &["engine", "preflight", "s3api", "net", "inputs", "traits", "model"],
    ),
    (
        "dispatch",
        &[
            "backend",
            "engine",
            "preflight",
            "s3api",
            "net",
            "inputs",
            "traits",
            "model",
        ],
    ),
];

fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

fn may_use(room: &str, other: &str) -> bool {
    let allowed = ROOMS.iter().find(|(name, _)| *name == room);
    room == other || other == "sensitive" || allowed.is_none_or(|(_, allowed)| allowed.contains(&other))
}

#[test]
fn every_room_is_in_the_plan_of_the_house() {
    let known = |source: &&Source| source.room() == "lib" || ROOMS.iter().any(|(name, _)| *name == source.room());
    let unknown = sources();
    let unknown = unknown.iter().filter(|source| !known(source));
    assert_none(&unknown.map(|source| format!("src/{}", source.path)).collect::<Vec<_>>());
}

#[test]
fn imports_point_one_way() {
    let sources = sources();
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.room() != "lib") {
        let room = source.room();
        for (number, line) in source.lines() {
            for (other, _) in ROOMS.iter().filter(|(other, _)| !may_use(room, other)) {
                let mentions = line.contains(&format!("crate::{other}::"))
                    || line.contains(&format!("crate::{other};"))
                    || line.contains(&format!("image_registry_operator::{other}"));
                if mentions {
                    let line = line.trim();
                    breaches.push(format!(
                        "src/{}:{number}: {room} may not use {other}: {line}",
                        source.path
                    ));
                }
            }
        }
    }
    // What the text does not show: nested imports, and items behind a re-export.
    let room = |file: &str| file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
    for (from, to, names) in Graph::of(&sources).arrows() {
        if !may_use(&room(from), &room(to)) {
            for (name, line) in names {
                breaches.push(format!(
                    "src/{from}:{line}: {} may not use {}: {name}",
                    room(from),
                    room(to)
                ));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let graph = Graph::of(&sources());
    let circles = graph.circles();
    let told = circles.iter().map(|circle| {
        let files: Vec<&str> = circle.iter().map(String::as_str).collect();
        format!("a circle of {}:\n{}", files.join(", "), graph.describe(circle))
    });
    assert_none(&told.collect::<Vec<_>>());
}

/// The layer of a file: `storage/engine/cache.rs` and `storage/engine.rs` are of `engine`.
fn storage_layer(file: &str) -> Option<&'static str> {
    let layer = file
        .strip_prefix("storage/")?
        .split('/')
        .next()?
        .trim_end_matches(".rs");
    STORAGE_LAYERS.iter().map(|(name, _)| *name).find(|name| *name == layer)
}

#[test]
fn the_layers_of_storage_point_one_way() {
    let sources = sources();
    let mut breaches = Vec::new();
    for (from, to, names) in Graph::of(&sources).arrows() {
        let (Some(layer), Some(other)) = (storage_layer(from), storage_layer(to)) else {
            continue;
        };
        let (_, allowed) = STORAGE_LAYERS.iter().find(|(name, _)| *name == layer).unwrap();
        if layer != other && !allowed.contains(&other) {
            for (name, line) in names {
                breaches.push(format!("src/{from}:{line}: {layer} may not use {other}: {name}"));
            }
        }
    }
    for source in sources
        .iter()
        .filter(|source| source.path.starts_with("storage/engine"))
    {
        for (number, line) in source.lines() {
            // `model/backend.rs` holds the name of a backend, no backend.
            let line = line.replace("model::backend", "");
            if line.contains("storage::backend") || line.contains("backend::") {
                breaches.push(format!("src/{}:{number}: the engine knows no backend", source.path));
            }
        }
    }
    assert_none(&breaches);
}

/// The types say "made by the engine"; Rust's visibility cannot say it for two folders of one room.
#[test]
fn only_the_engine_grants_permits_and_proofs() {
    let mut breaches = Vec::new();
    let mut granted = 0;
    for source in sources() {
        for (number, line) in source.lines() {
            let grants = line.contains("CreationPermit::granted") || line.contains("OwnershipProof::read");
            granted += u32::from(grants);
            if grants && !source.path.starts_with("storage/engine/") {
                breaches.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(granted > 0);
    assert_none(&breaches);
}

#[test]
fn pure_rooms_mention_no_client_no_clock_and_no_environment() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room())) {
        for (number, line) in source.lines() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                breaches.push(format!(
                    "src/{}:{number}: mentions {word}: {}",
                    source.path,
                    line.trim()
                ));
            }
        }
    }
    assert_none(&breaches);
}
