//! Programs that a person would run on a node, such as `crane`: they resolve and trust what the node does.

use crate::{files, network, programs, record::Record};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

/// A command inside a real node that finds `crane` and trusts the registries that the node's runtime trusts.
///
/// The runtime looks for authorities by registry, in `/etc/docker/certs.d`; programs of Go want them in one file, which
/// is made anew each time.
pub async fn command(record: &Record, node: &str, words: &[&str]) -> Result<Command> {
    let layout = record.layout();
    let programs = programs::ensure(&["crane"]).await?;
    let trust = layout.node(node).join("trust.pem");
    files::replace(&trust, authorities(&layout.certs(node))?)?;
    let mut path = vec![programs.directory("crane")?.to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    path.extend(["/usr/sbin".into(), "/sbin".into()]);
    let mut inside = network::enter(&layout, node)?;
    inside.args(words);
    inside
        .env("PATH", std::env::join_paths(path)?)
        .env("SSL_CERT_FILE", trust);
    Ok(inside)
}

/// Runs `crane` in a node to its end; its standard output without the line's end.
pub async fn crane(record: &Record, node: &str, words: &[&str]) -> Result<String> {
    let words: Vec<&str> = ["crane"].iter().chain(words).copied().collect();
    run(command(record, node, &words).await?).await
}

/// Runs a command of [`command`] to its end; its standard output without the line's end.
pub async fn run(mut command: Command) -> Result<String> {
    let output = tokio::task::spawn_blocking(move || crate::process::run(&mut command)).await?;
    Ok(output?.trim().to_owned())
}

/// Every authority below a runtime's directory of registries.
fn authorities(directory: &Path) -> Result<String> {
    let mut bundle = String::new();
    let what = || format!("cannot list {}", directory.display());
    for registry in std::fs::read_dir(directory).with_context(what)? {
        let authority = registry.with_context(what)?.path().join("ca.crt");
        if authority.is_file() {
            bundle.push_str(files::read(&authority)?.trim_end());
            bundle.push('\n');
        }
    }
    Ok(bundle)
}
