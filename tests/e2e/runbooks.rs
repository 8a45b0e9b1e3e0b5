//! The commands of `docs/runbooks`, as an administrator runs them.

use std::fs;
use std::path::Path;
use std::process::Command;

use devcluster::programs;

use crate::Scenario;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbooks");

/// The commands of section Diagnosis.
fn commands(page: &str) -> Vec<&str> {
    let diagnosis = page
        .split("## Diagnosis\n")
        .nth(1)
        .unwrap()
        .split("## ")
        .next()
        .unwrap();
    diagnosis.lines().filter_map(|line| line.strip_prefix("    ")).collect()
}

impl Scenario {
    /// Runs every command that a runbook tells an administrator to diagnose with.
    // issue 16
    pub async fn runbooks_can_be_followed(&self) {
        let kubectl = programs::ensure(programs::CLIENT).await.unwrap();
        let kubectl = kubectl.path("kubectl").unwrap().display().to_string();
        let kubeconfig = self.cluster.devcluster.kubeconfig().display().to_string();
        let mut number = 0;
        for page in fs::read_dir(DIRECTORY).unwrap() {
            let page = page.unwrap().path();
            let commands = commands(&fs::read_to_string(&page).unwrap()).join("\n");
            assert!(
                commands.lines().all(|line| line.starts_with("oc ")),
                "{}: {commands}",
                page.display()
            );
            number += commands.lines().count();
            let script = format!("set -eu\noc() {{ '{kubectl}' --kubeconfig '{kubeconfig}' \"$@\"; }}\n{commands}");
            let output = tokio::task::spawn_blocking(move || Command::new("bash").args(["-c", &script]).output());
            let output = output.await.unwrap().unwrap();
            let name = Path::new(page.file_name().unwrap()).display();
            assert!(
                output.status.success(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        assert!(number > 20, "{number}");
        self.say("the commands of the runbooks run");
    }
}
