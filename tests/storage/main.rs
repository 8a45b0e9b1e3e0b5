//! The storage engine: what is the same for every backend, proven with a fake cloud that has everything a real one may need;
//! and the volumes.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock, clippy::await_holding_refcell_ref)]
#![allow(clippy::match_wildcard_for_single_variants)] // A further backend changes nothing here.
#![allow(clippy::needless_pass_by_value, clippy::assigning_clones)] // `json!` at each call reads better without `&`.

#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
#[path = "../conformance/mod.rs"]
mod conformance;
mod exercise;
mod existence;
mod fake;
mod guards;
#[allow(
    dead_code,
    reason = "shared with the tests of all backends, each of which uses a part"
)]
mod harness;
mod ownership;
mod preflight;
mod program;
mod scramble;
mod selection;
mod site;
mod stages;
mod under_test;
mod vanished;
mod volumes;
