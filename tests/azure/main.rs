//! Azure Blob Storage at the level of the storage room: backend and engine together, against a real data plane behind a
//! stand-in for Entra ID and Resource Manager, with faults in between. No cluster.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.
#![allow(clippy::large_futures)]

mod account;
mod account_removal;
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
mod identity;
mod inherited;
mod keys;
mod private;
mod private_faults;
mod private_guards;
mod private_network;
mod private_removal;
mod relocation;
mod removal;
mod rendering;
mod rights;
mod stack;
mod stores;
mod under_test;
