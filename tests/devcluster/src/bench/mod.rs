//! Measures the operator from outside, on a cluster with simulated nodes: what it costs and how soon it acts.
//!
//! The operator runs as a process under the account and the rights of `deploy/`, with the arguments of its Deployment.
//! `docs/performance.md` tells what the figures mean.

mod course;
mod figures;
mod follow;
mod foreign;
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
    let cluster = Cluster::up(options).await?;
    let figures = course::run(&cluster, &settings).await;
    let removed = cluster.down().await;
    let figures = figures?;
    removed?;
    Ok(figures.table())
}
