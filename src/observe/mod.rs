//! Watches, and the stores that they fill; [`World::snapshot`] gathers what a pass looks at.
//!
//! Nothing is read twice: what a watch tells is not fetched again, and what this process wrote is put into the store from
//! the API server's answer, so that the next pass sees it. This room never writes to the cluster.

mod interest;
pub mod streams;
mod trim;
mod watch;
mod world;

pub use interest::{Controller, Interest, interests};
pub use world::World;
