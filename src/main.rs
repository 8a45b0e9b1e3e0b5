//! The operator's program: see [`image_registry_operator::cli`].

use std::{convert::Infallible, process::ExitCode};

use image_registry_operator::cli::{self, Program, Runtime};

fn main() -> ExitCode {
    cli::run(
        std::env::args_os(),
        Program {
            controllers,
            crds: None,
        },
    )
}

/// Waits for the end; the controllers come here.
async fn controllers(runtime: Runtime) -> Result<(), Infallible> {
    runtime.readiness.synced(true);
    runtime.shutdown.begun().await;
    Ok(())
}
