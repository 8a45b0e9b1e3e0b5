//! Watches and the caches that they fill. [`Caches::snapshot`] returns everything that a pass reads.
//!
//! Nothing is read twice: objects come from watches, and a write puts the API server's response into the cache, so that the
//! next pass sees it. This room never writes to the cluster.

mod caches;
pub(crate) mod image_streams;
mod watch;
mod watch_spec;

pub(crate) use caches::Caches;
pub(crate) use watch_spec::Controller;
