//! Measures the operator from outside, on a cluster with simulated nodes: what it costs and how soon it acts.
//!
//! The operator runs as a process under the account and the rights of `deploy/`, with the arguments of its Deployment.
//! `docs/performance.md` tells what the figures mean.

mod figures;
mod follow;
mod foreign;
mod scenario;
mod subject;

use crate::{Cluster, Options};
use anyhow::Result;
use std::path::PathBuf;
use std::time::Duration;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program; a release build.
    pub operator: PathBuf,
    /// How long the settled operator is watched.
    pub settled: Duration,
    /// Starts and stops, each measured.
    pub rounds: usize,
    /// Edits of the Config, each measured; once at rest, once in quick succession.
    pub edits: usize,
    /// Objects of each kind that are not ours.
    pub foreign: usize,
}

/// Brings a cluster up, measures, and answers the figures as a table.
pub async fn run(settings: Settings) -> Result<String> {
    let options = Options {
        name: format!("bench-{}", std::process::id()),
        simulated_nodes: 3,
        platform: "Libvirt".into(),
        security_api: true,
        imagestreams: true,
        ..Options::default()
    };
    let begun = format!("{}; {}", jiff::Timestamp::now().strftime("%Y-%m-%d"), machine());
    let before = load();
    let cluster = Cluster::up(options).await?;
    let figures = scenario::run(&cluster, &settings).await;
    let removed = cluster.down().await;
    let figures = figures?;
    removed?;
    Ok(format!(
        "{begun}; load average {before} before, {} after\n\n{}",
        load(),
        figures.table()
    ))
}

/// What the figures were measured on.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models = text.lines().filter(|line| line.starts_with("model name"));
    let model = models
        .next()
        .and_then(|line| line.split_once(": "))
        .map_or("CPU", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} cores of {model}, Linux {}", 1 + models.count(), kernel.trim())
}

/// Of the last minute: above the number of cores, latencies tell more of the machine than of the operator.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}
