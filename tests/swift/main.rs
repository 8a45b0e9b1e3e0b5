//! Swift at the level of the storage room: driver and engine together, against the real Keystone, the real Swift and Ceph's
//! gateway, with a gate in between. No cluster.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.
#![allow(clippy::large_futures)]

mod bootstrap;
mod ceph;
mod cloud;
mod cluster;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../conformance/mod.rs"]
mod conformance;
mod container;
mod faults;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../storage/harness.rs"]
mod harness;
mod logins;
mod many;
mod preflight;
mod projects;
mod removal;
mod rendering;
mod settled;
mod trust;
mod under_test;
