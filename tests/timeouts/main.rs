//! Limits in real time: a Lease expires after 137 s, an error that lasts is reported after two minutes, a missing input delays
//! the Deployment for 30 s, an idle operator sends no request for a minute. Production code sets these limits, so a test can
//! only wait for them.
//!
//! These tests wait far more than they compute. Hence each long one has a cluster of its own, all of them run at the same
//! time (`RUST_TEST_THREADS=3`), and `tests/side-by-side` runs this program beside its lanes.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod idle;
mod lasting_errors;
mod lease_expiry;
mod missing_input;
mod plain;
mod unreadable;

use support::{TestCluster, shared_cluster, simulated};

/// The cluster that the shorter tests share.
async fn empty_cluster() -> TestCluster {
    shared_cluster(simulated("timeouts")).await
}
