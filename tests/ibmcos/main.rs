//! IBM Cloud Object Storage at the level of the storage room: driver and engine together, against a stand-in for IBM Cloud before
//! real stores, with a gate in between. No cluster.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.

mod bucket;
mod cases;
mod cluster;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../conformance/mod.rs"]
mod conformance;
mod faults;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../storage/harness.rs"]
mod harness;
mod held;
mod identity;
mod instance;
mod key;
mod preflight;
mod removal;
mod rendering;
mod stores;
mod under_test;
