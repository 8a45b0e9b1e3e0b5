//! Google Cloud Storage at the level of the storage room: backend and engine together, against a real data plane behind a
//! stand-in for what Google keeps beside it, with faults in between. No cluster.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.
#![allow(clippy::large_futures)]

mod cluster;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../conformance/mod.rs"]
mod conformance;
mod creation;
mod faults;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../storage/harness.rs"]
mod harness;
mod identity;
mod preflight;
mod proxies;
mod removal;
mod rendering;
mod stores;
mod tags;
mod under_test;
mod universe;
