//! Data types of the storage room, without I/O and without decisions about ownership. All parts of the room may import
//! them.

pub mod backend;
pub mod call;
pub mod container;
pub mod error;
pub mod fingerprint;
pub mod outcome;
pub mod preflight;
pub mod progress;
pub mod proof;
pub mod setting;
pub mod spec;
pub mod stage;
pub mod state;
pub mod target;
