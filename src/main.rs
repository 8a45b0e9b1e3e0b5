//! The operator's program: see [`image_registry_operator::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    image_registry_operator::cli::run(std::env::args_os())
}
