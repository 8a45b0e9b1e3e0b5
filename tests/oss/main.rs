//! Alibaba Cloud OSS at the level of the storage room: driver and engine together, before real stores that a gate makes as poor and
//! as strict as the S3 API of OSS. No cluster.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.

mod cases;
mod cluster;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../conformance/mod.rs"]
mod conformance;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../storage/harness.rs"]
mod harness;
mod under_test;
