//! The operator's program: see `image_registry_operator::cli`.
fn main() {}
