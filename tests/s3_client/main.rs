//! The client of S3 and STS: against real stores, and against a gate that answers as no store can be made to.

// A test may end where it stands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::large_futures)]

mod addressing;
mod bench;
mod calls;
mod environment;
mod failures;
mod headers;
mod identity;
mod network;
mod sts;
