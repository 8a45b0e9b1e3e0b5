//! The operator's program: see [`image_registry_operator::cli`].

use std::process::ExitCode;

/// The version of the package; an image adds the commit that it was built from, such as `0.1.0+4f2a9c1`.
const VERSION: &str = match option_env!("OPERATOR_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    image_registry_operator::cli::run(std::env::args_os(), VERSION)
}
