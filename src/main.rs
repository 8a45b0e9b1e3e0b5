//! The operator's program: see [`image_registry_operator::cli`].

use std::process::ExitCode;

use image_registry_operator::cli::{self, Program};
use image_registry_operator::{api, controllers};

fn main() -> ExitCode {
    let crds = || api::crd::print_all().map_err(Into::into);
    cli::run(
        std::env::args_os(),
        Program {
            controllers: controllers::run,
            crds: Some(crds),
        },
    )
}
