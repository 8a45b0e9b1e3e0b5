//! The commands of `docs/runbooks`, as an administrator runs them.

use std::fs;

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
            self.kubectl(&format!("oc() {{ kubectl \"$@\"; }}\n{commands}")).await;
        }
        assert!(number > 20, "{number}");
        self.say("the commands of the runbooks run");
    }
}
