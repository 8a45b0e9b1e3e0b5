//! Builds what the demo uses and what is written in Go: `go-programs okd|kubernetes`.

use anyhow::{Context as _, Result};
use go_programs::{Demo, ensure};

fn main() -> Result<()> {
    let kind = std::env::args().nth(1).context("usage: go-programs okd|kubernetes")?;
    ensure(&kind.parse::<Demo>()?.programs()).map(drop)
}
