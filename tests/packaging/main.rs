//! The kustomize overlay and the Helm chart: what they render, and an installation with each on a cluster with simulated nodes.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod chart;
mod inspect;
mod install;
mod kubernetes;
mod targets;

use std::path::{Path, PathBuf};
use std::process::Command;

use devcluster::programs;
use serde_json::Value;

const CHART: &str = "charts/image-registry-operator";
/// The overlay for OKD.
const OVERLAY: &str = "deploy/overlays/okd";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The programs of an administrator.
#[derive(Clone)]
struct Tools {
    kubectl: PathBuf,
    helm: PathBuf,
}

impl Tools {
    /// Builds the programs unless they are there.
    async fn get() -> Self {
        let programs = programs::ensure(&[programs::CLIENT, programs::CHARTS].concat())
            .await
            .unwrap();
        Self {
            kubectl: programs.path("kubectl").unwrap().to_owned(),
            helm: programs.path("helm").unwrap().to_owned(),
        }
    }

    /// Runs Helm at the root of the repository.
    fn helm(&self, words: &[&str]) -> Result<String, String> {
        run(Command::new(&self.helm).args(words))
    }

    /// Runs kubectl at the root of the repository.
    fn kubectl(&self, words: &[&str]) -> Result<String, String> {
        run(Command::new(&self.kubectl).args(words))
    }
}

/// Output of a command; as an error if it fails.
fn run(command: &mut Command) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let output = command
        .current_dir(ROOT)
        // Helm and kubectl write caches.
        .env("HOME", directory.path())
        .output()
        .unwrap();
    let (out, log) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    if output.status.success() {
        Ok(out)
    } else {
        Err(out + &log)
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The objects of a YAML stream.
fn objects(yaml: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    objects.into_iter().filter(|object| !object.is_null()).collect()
}
